//! What DROP looks at, and what it leaves.

use rolecall_aws_testbed::redshift::Kind;

use super::{Cluster, refusal, rows, run};

#[tokio::test]
async fn drop_user_looks_into_the_current_database_alone() {
    let cluster = Cluster::start().await;
    cluster.redshift.create_database("other", false);
    run(&cluster.admin, "CREATE USER alice PASSWORD DISABLE").await;
    cluster.table("other", "s", "t", Some("alice"));
    cluster.table("other", "s", "u", None);
    cluster.redshift.sql("other", "grant select on table s.u to alice").await.unwrap();
    let query = "SELECT usesysid FROM pg_user WHERE usename = 'alice'";
    let id = rows(&cluster.admin, query).await.remove(0);
    run(&cluster.admin, "DROP USER alice").await;
    // The table has an owner that nobody is, and the right of nobody is still there.
    let owners =
        cluster.redshift.sql("other", "select table_owner from svv_redshift_tables where table_name = 't'");
    assert_eq!(owners.await.unwrap(), [[Some("unknown".to_owned())]]);
    let rights = "select identity_id, identity_name from svv_relation_privileges where relation_name = 'u'";
    let left = [[Some(id.clone()), Some("unknown".to_owned())]];
    assert_eq!(cluster.redshift.sql("other", rights).await.unwrap(), left);
    // Whoever gets the number gets both.
    run(&cluster.admin, "CREATE USER mallory PASSWORD DISABLE").await;
    let left = [[Some(id), Some("mallory".to_owned())]];
    assert_eq!(cluster.redshift.sql("other", rights).await.unwrap(), left);
}

#[tokio::test]
async fn drop_user_is_refused_for_what_the_user_has_in_this_database() {
    let cluster = Cluster::start().await;
    for user in ["owner", "reader", "schema", "default", "role_maker", "copier"] {
        run(&cluster.admin, &format!("CREATE USER \"{user}\" PASSWORD DISABLE")).await;
    }
    cluster.table("dev", "s", "t", Some("owner"));
    run(&cluster.admin, "GRANT SELECT ON TABLE s.t TO reader; GRANT USAGE ON SCHEMA s TO schema").await;
    cluster.redshift.add_default_privilege("dev", "awsuser", "default", Kind::Table, "SELECT").unwrap();
    run(&cluster.admin, "CREATE ROLE made; ALTER ROLE made OWNER TO role_maker").await;
    cluster.redshift.grant_assume_role("copier", "arn:aws:iam::1:role/copy").unwrap();
    for user in ["owner", "reader", "schema", "default", "role_maker", "copier", "rdsdb", "awsuser"] {
        assert_eq!(refusal(&cluster.admin, &format!("DROP USER \"{user}\"")).await, "55006", "{user}");
    }
    run(&cluster.admin, "REVOKE ALL ON TABLE s.t FROM reader; DROP USER reader").await;
}

#[tokio::test]
async fn memberships_do_not_keep_a_user() {
    let cluster = Cluster::start().await;
    run(&cluster.admin, "CREATE USER alice PASSWORD DISABLE; CREATE ROLE r; GRANT ROLE r TO alice").await;
    run(&cluster.admin, "DROP USER alice").await;
    assert_eq!(rows(&cluster.admin, "SELECT * FROM svv_user_grants").await, Vec::<String>::new());
    run(&cluster.admin, "DROP USER IF EXISTS alice").await;
    assert_eq!(refusal(&cluster.admin, "DROP USER alice").await, "42704");
}

#[tokio::test]
async fn a_granted_role_is_dropped_by_force_only() {
    let cluster = Cluster::start().await;
    run(&cluster.admin, "CREATE USER alice PASSWORD DISABLE; CREATE ROLE r; CREATE ROLE s").await;
    run(&cluster.admin, "GRANT ROLE r TO alice; GRANT ROLE s TO ROLE r").await;
    for role in ["r", "s"] {
        assert_eq!(refusal(&cluster.admin, &format!("DROP ROLE {role}")).await, "2BP01");
        assert_eq!(refusal(&cluster.admin, &format!("DROP ROLE {role} RESTRICT")).await, "2BP01");
    }
    run(&cluster.admin, "DROP ROLE r FORCE; DROP ROLE s").await;
    assert_eq!(rows(&cluster.admin, "SELECT role_name FROM svv_user_grants").await, Vec::<String>::new());
    assert_eq!(refusal(&cluster.admin, "GRANT ROLE r TO alice").await, "42704");
}
