//! Rights on objects.

use rolecall_aws_testbed::redshift::{Kind, Object};

use super::{Cluster, refusal, rows, run};

const RELATIONS: &str = "SELECT relation_name, privilege_type FROM svv_relation_privileges \
                         WHERE identity_type = 'role' AND identity_name = 'r' ORDER BY relation_name, privilege_type";

#[tokio::test]
async fn rights_are_listed_in_their_database_alone() {
    let cluster = Cluster::start().await;
    cluster.redshift.create_database("other", false);
    for database in ["dev", "other"] {
        cluster.table(database, "s", database, None);
    }
    run(&cluster.admin, "CREATE ROLE r; GRANT SELECT, INSERT ON TABLE s.dev TO ROLE r").await;
    cluster.redshift.sql("other", "grant delete on table s.other to role r").await.unwrap();
    assert_eq!(rows(&cluster.admin, RELATIONS).await, ["dev|INSERT", "dev|SELECT"]);
    let there = cluster.redshift.sql("other", RELATIONS).await.unwrap();
    assert_eq!(there, [[Some("other".to_owned()), Some("DELETE".to_owned())]]);
    // Tables are listed of all databases.
    let tables = "SELECT database_name, table_name FROM svv_redshift_tables ORDER BY database_name";
    assert_eq!(rows(&cluster.admin, tables).await, ["dev|dev", "other|other"]);
    assert_eq!(refusal(&cluster.admin, "GRANT SELECT ON TABLE s.other TO ROLE r").await, "42P01");
}

#[tokio::test]
async fn public_has_its_defaults_and_nobody_has_connect() {
    let cluster = Cluster::start().await;
    let public = "SELECT namespace_name, privilege_type FROM svv_schema_privileges \
                  WHERE identity_type = 'public' ORDER BY privilege_type";
    assert_eq!(rows(&cluster.admin, public).await, ["public|CREATE", "public|USAGE"]);
    let databases = "SELECT database_name, privilege_type FROM svv_database_privileges \
                     WHERE identity_type = 'public'";
    assert_eq!(rows(&cluster.admin, databases).await, ["dev|TEMP"]);
    let function = Object { arguments: &["integer"], ..Object::new(Kind::Function, "s", "f") };
    cluster.redshift.create_object("dev", &function).unwrap();
    let functions = "SELECT function_name, privilege_type FROM svv_function_privileges \
                     WHERE identity_type = 'public'";
    assert_eq!(rows(&cluster.admin, functions).await, ["f|EXECUTE"]);
    run(&cluster.admin, "CREATE ROLE r").await;
    assert_eq!(refusal(&cluster.admin, "GRANT CONNECT ON DATABASE dev TO ROLE r").await, "42601");
    run(&cluster.admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    assert_eq!(rows(&cluster.admin, public).await, ["public|USAGE"]);
}

#[tokio::test]
async fn rights_that_are_given_can_be_taken() {
    let cluster = Cluster::start().await;
    for (kind, name) in [(Kind::Table, "t"), (Kind::View, "v"), (Kind::MaterializedView, "m")] {
        cluster.redshift.create_object("dev", &Object::new(kind, "s", name)).unwrap();
    }
    run(&cluster.admin, "CREATE ROLE r; GRANT SELECT ON TABLE s.t, s.v, s.m TO ROLE r").await;
    run(&cluster.admin, "GRANT TRUNCATE, DROP ON s.t TO ROLE r").await;
    // TRUNCATE can be given and is in no list.
    assert_eq!(rows(&cluster.admin, RELATIONS).await, ["m|SELECT", "t|DROP", "t|SELECT", "v|SELECT"]);
    assert_eq!(refusal(&cluster.admin, "DROP ROLE r").await, "2BP01");
    run(&cluster.admin, "REVOKE ALL ON TABLE s.t FROM ROLE r; REVOKE SELECT ON TABLE s.v, s.m FROM ROLE r")
        .await;
    assert_eq!(rows(&cluster.admin, RELATIONS).await, Vec::<String>::new());
    run(&cluster.admin, "DROP ROLE r").await;
    assert_eq!(refusal(&cluster.admin, "GRANT SELECT ON TABLE s.t TO ROLE r").await, "42704");
}

#[tokio::test]
async fn grant_options_are_for_users() {
    let cluster = Cluster::start().await;
    cluster.table("dev", "s", "t", None);
    run(&cluster.admin, "CREATE ROLE r; CREATE USER alice PASSWORD DISABLE").await;
    let grant = "GRANT SELECT ON TABLE s.t TO ROLE r WITH GRANT OPTION";
    assert_eq!(refusal(&cluster.admin, grant).await, "0LP01");
    assert_eq!(refusal(&cluster.admin, "GRANT USAGE ON TABLE s.t TO ROLE r").await, "0LP01");
    assert_eq!(refusal(&cluster.admin, "GRANT SELECT ON TABLE s.t TO ROLE \"ds:share\"").await, "0A000");
    run(&cluster.admin, "GRANT SELECT ON TABLE s.t TO alice WITH GRANT OPTION").await;
    let option = "SELECT admin_option FROM svv_relation_privileges WHERE identity_name = 'alice'";
    assert_eq!(rows(&cluster.admin, option).await, ["t"]);
}

#[tokio::test]
async fn materialized_views_are_views_with_a_table_beside_them() {
    let cluster = Cluster::start().await;
    cluster.redshift.create_object("dev", &Object::new(Kind::MaterializedView, "s", "m")).unwrap();
    let tables = "SELECT table_name, table_type FROM svv_redshift_tables ORDER BY table_name";
    assert_eq!(rows(&cluster.admin, tables).await, ["m|VIEW", "mv_tbl__m__0|TABLE"]);
    assert_eq!(rows(&cluster.admin, "SELECT trim(name) FROM svv_mv_info").await, ["m"]);
}
