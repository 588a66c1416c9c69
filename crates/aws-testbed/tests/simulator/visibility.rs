//! What the admin user sees, by its rights.

use rolecall_aws_testbed::redshift::{Admin, Redshift, Unknowns};

use super::{ADMIN, Cluster, refusal, rows, run};

/// How many rows of other users or roles each view shows.
async fn seen(admin: Admin) -> Vec<(&'static str, usize)> {
    let cluster = Cluster::with(admin).await;
    let redshift = &cluster.redshift;
    redshift.create_user("alice").unwrap();
    redshift.open_session("IAM:alice", "dev").unwrap();
    cluster.table("dev", "s", "t", None);
    let prepared = "CREATE ROLE r; CREATE ROLE q; GRANT ROLE r TO alice; GRANT ROLE q TO ROLE r; \
                    GRANT SELECT ON TABLE s.t TO ROLE r; GRANT USAGE ON SCHEMA s TO ROLE r";
    redshift.sql("dev", prepared).await.unwrap();
    let mut all = Vec::new();
    for (view, condition) in [
        ("svv_user_info", "user_name = 'alice'"),
        ("svv_user_grants", "user_name = 'alice'"),
        ("svv_roles", "role_name = 'r'"),
        ("svv_role_grants", "role_name = 'r'"),
        ("svv_relation_privileges", "identity_name = 'r'"),
        ("svv_schema_privileges", "identity_name = 'r'"),
        ("stv_sessions", "user_name = 'IAM:alice'"),
        ("pg_user", "usename = 'alice'"),
    ] {
        let query = format!("SELECT * FROM {view} WHERE {condition}");
        all.push((view, rows(&cluster.admin, &query).await.len()));
    }
    all
}

#[tokio::test]
async fn a_superuser_sees_everything() {
    for (view, rows) in seen(Admin::Superuser).await {
        assert_eq!(rows, 1, "{view}");
    }
}

#[tokio::test]
async fn with_sys_superuser_alone_connection_limits_and_rights_on_tables_of_others_are_not_seen() {
    for (view, rows) in seen(Admin::SystemRole).await {
        let hidden = ["svv_user_info", "svv_relation_privileges"].contains(&view);
        assert_eq!(rows, usize::from(!hidden), "{view}");
    }
}

#[tokio::test]
async fn with_syslog_access_connection_limits_of_others_are_not_seen() {
    for (view, rows) in seen(Admin::SystemRoleWithSyslog).await {
        assert_eq!(rows, usize::from(view != "svv_user_info"), "{view}");
    }
}

#[tokio::test]
async fn everybody_else_sees_what_is_its_own() {
    let cluster = Cluster::start().await;
    let password = cluster.redshift.create_user("alice").unwrap();
    cluster.redshift.create_user("bob").unwrap();
    cluster.redshift.open_session("bob", "dev").unwrap();
    run(&cluster.admin, "CREATE ROLE r; CREATE ROLE q; GRANT ROLE r TO alice; GRANT ROLE q TO bob").await;
    let alice = cluster.redshift.connect("alice", &password, "dev").await.unwrap();
    assert_eq!(rows(&alice, "SELECT user_name FROM svv_user_info").await, ["alice"]);
    assert_eq!(rows(&alice, "SELECT role_name FROM svv_roles").await, ["r"]);
    assert_eq!(rows(&alice, "SELECT role_name FROM svv_user_grants").await, ["r"]);
    assert_eq!(rows(&alice, "SELECT trim(user_name) FROM stv_sessions").await, ["alice"]);
    assert_eq!(refusal(&alice, "SELECT * FROM pg_user_info").await, "42501");
    assert_eq!(refusal(&alice, "SELECT * FROM svl_user_info").await, "42501");
    assert_eq!(refusal(&alice, "CREATE USER c PASSWORD DISABLE").await, "42501");
    assert_eq!(refusal(&alice, "GRANT ROLE r TO bob").await, "42501");
    assert_eq!(refusal(&alice, "CREATE ROLE c").await, "42501");
    assert_eq!(refusal(&alice, "ALTER USER alice CONNECTION LIMIT 5").await, "42501");
}

#[tokio::test]
async fn sys_superuser_makes_no_superusers_and_gives_no_rights_on_objects_of_others() {
    let cluster = Cluster::with(Admin::SystemRole).await;
    cluster.table("dev", "s", "t", None);
    cluster.redshift.create_admin("boss", Admin::Superuser).unwrap();
    run(&cluster.admin, "CREATE USER alice PASSWORD DISABLE; CREATE ROLE r; GRANT ROLE r TO alice").await;
    for text in [
        "ALTER USER alice CREATEUSER",
        "ALTER USER alice SYSLOG ACCESS UNRESTRICTED",
        "ALTER USER boss CONNECTION LIMIT 0",
        "DROP USER boss",
        "GRANT SELECT ON TABLE s.t TO ROLE r",
    ] {
        assert_eq!(refusal(&cluster.admin, text).await, "42501", "{text}");
    }
    let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA s TO \"{ADMIN}\" WITH GRANT OPTION");
    cluster.redshift.sql("dev", &grant).await.unwrap();
    run(&cluster.admin, "GRANT SELECT ON TABLE s.t TO ROLE r").await;
    assert_eq!(refusal(&cluster.admin, "GRANT INSERT ON TABLE s.t TO ROLE r").await, "42501");
}

#[tokio::test]
async fn what_is_not_known_can_be_answered_the_other_way() {
    let unknowns = Unknowns {
        user_info_with_system_access: true,
        relation_privileges_with_system_access: true,
        ..Unknowns::default()
    };
    let redshift = Redshift::builder().unknowns(unknowns).start().await.unwrap();
    let password = redshift.create_admin(ADMIN, Admin::SystemRole).unwrap();
    let admin = redshift.connect(ADMIN, &password, "dev").await.unwrap();
    redshift.create_user("alice").unwrap();
    let query = "SELECT connection_limit FROM svv_user_info WHERE user_name = 'alice'";
    assert_eq!(rows(&admin, query).await, ["UNLIMITED"]);
}
