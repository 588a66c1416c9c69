//! What policy gives is what the user can do, and nothing beside it.

use anyhow::Result;
use rolecall_testbed::{PgVersion, rows};
use rolecall_tests::TestEnv;
use rolecall_tests::test_env::ALICE;
use serde_json::json;

use super::*;

/// The example of the documents: beside the rule that labels every object by what it is, one that labels the tables of
/// some schemas, and a role that goes by the labels of both.
const EXAMPLE: &str = r#"
apiVersion: rolecall.dev/v1alpha1
kind: DbObjectImportRule
metadata: {name: import-all-objects}
spec:
  priority: 0
  databaseLabels: {"*": ["*"]}
  mappings:
  - addLabels: {object_kind: "{{obj.object_kind}}", name: "{{obj.name}}"}
    match: {tableNames: ["*"], viewNames: ["*"], schemaNames: ["*"]}
---
apiVersion: rolecall.dev/v1alpha1
kind: DbObjectImportRule
metadata: {name: ownership-nonprod}
spec:
  priority: 100
  databaseLabels: {env: [staging, dev, prod]}
  mappings:
  - addLabels: {project: horizon}
    match: {tableNames: ["*"]}
    scope: {databaseNames: [horizon, horizon_v2], schemaNames: [application, data_import]}
  - addLabels: {dept: hr}
    match: {tableNames: ["*"]}
    scope: {schemaNames: [recruitment, salaries, pto, hr_scratchpad]}
  - addLabels: {dept: sales}
    match: {tableNames: ["commission*"]}
---
apiVersion: rolecall.dev/v1alpha1
kind: ProvisioningRole
metadata: {name: dept-hr-permissions}
spec:
  options: {createDbUserMode: Keep}
  allow:
    dbLabels: {"*": ["*"]}
    dbNames: ["*"]
    dbPermissions:
    - {match: {object_kind: [table], dept: [hr]}, permissions: [SELECT]}
    - {match: {object_kind: [table], dept: [hr], name: [hr_scratchpad]}, permissions: [SELECT, UPDATE, DELETE, INSERT]}
  deny:
    dbPermissions:
    - {match: {dept: [sales]}, permissions: ["*"]}
"#;

const EXAMPLE_TABLES: &str = r#"
    create schema salaries; create schema hr_scratchpad; create schema application;
    create table salaries.current (amount int); create table salaries.commissions (amount int);
    create table hr_scratchpad.hr_scratchpad (note text); create view hr_scratchpad.notes as select 1 as one;
    create table application.settings (key text);
    grant usage on schema salaries, hr_scratchpad, application to "teleport-admin" with grant option;
    grant all on all tables in schema salaries, hr_scratchpad, application to "teleport-admin" with grant option;
"#;

#[tokio::test]
async fn the_example_of_the_documents_reads_hr_edits_the_scratchpad_and_hides_sales() -> Result<()> {
    let env = TestEnv::start().await?;
    env.pg.sql("app", EXAMPLE_TABLES).await?;
    env.apply_yaml(EXAMPLE).await?;
    env.user("alice", json!({"username": ALICE, "roles": ["dept-hr-permissions"]})).await?;
    let alice = alice(&env).await?;
    let session = env.get("alice-orders").await?;
    assert_eq!(counts(&session), [("DELETE", 1), ("INSERT", 1), ("SELECT", 2), ("UPDATE", 1)].into());

    let scratchpad = [
        "insert into hr_scratchpad.hr_scratchpad values ('a'), ('b')",
        "update hr_scratchpad.hr_scratchpad set note = 'c' where note = 'a'",
        "delete from hr_scratchpad.hr_scratchpad where note = 'b'",
    ];
    may(&alice, &["select * from salaries.current"]).await?;
    may(&alice, &scratchpad).await?;
    assert_eq!(rows(&alice, "select note from hr_scratchpad.hr_scratchpad").await?, [[Some("c".to_owned())]]);
    let others = [
        "select * from salaries.commissions",
        "insert into salaries.current values (1)",
        "truncate hr_scratchpad.hr_scratchpad",
        "select * from hr_scratchpad.notes",
        "select * from application.settings",
        "create table salaries.mine (id int)",
    ];
    may_not(&alice, &others).await
}

#[tokio::test]
async fn a_deny_takes_away_what_it_names_and_leaves_the_rest() -> Result<()> {
    let env = env().await?;
    let everything = json!([{"match": {"schema": ["hr", "sales"], "object_kind": ["table"]},
        "permissions": [" select ", "Insert", "UPDATE", "USAGE"]}]);
    let deny = json!([
        {"match": {"name": ["employees"]}, "permissions": ["update"]},
        {"match": {"schema": ["sales"]}, "permissions": ["*"]},
    ]);
    let spec = json!({"allow": {"dbRoles": [], "dbPermissions": everything}});
    env.role("reader", spec).await?;
    // A deny counts whichever of the user's roles carries it, also one that gives nothing.
    env.role("limits", json!({"options": null, "allow": null, "deny": {"dbPermissions": deny}})).await?;
    env.user("alice", json!({"username": ALICE, "roles": ["reader", "limits"]})).await?;
    let alice = alice(&env).await?;
    may(
        &alice,
        &[
            "select * from hr.employees",
            "insert into hr.employees values (3, 'Eve')",
            "update hr.scratchpad set note = ''",
        ],
    )
    .await?;
    may_not(&alice, &["update hr.employees set name = ''", "select * from sales.deals"]).await?;
    let session = env.get("alice-orders").await?;
    assert_eq!(counts(&session), [("INSERT", 2), ("SELECT", 2), ("UPDATE", 1)].into());
    Ok(())
}

#[tokio::test]
async fn database_roles_and_object_permissions_work_together() -> Result<()> {
    let env = env().await?;
    env.role("reader", json!({"allow": {"dbPermissions": select_in("hr")}})).await?;
    let alice = alice(&env).await?;
    may(&alice, &["select * from orders", "select * from hr.employees"]).await?;
    may_not(&alice, &["select * from sales.deals", "insert into orders values (2, 'second')"]).await?;
    let session: DatabaseSession = env.get("alice-orders").await?;
    assert_eq!(
        session.status.map(|status| status.db_roles),
        Some(vec!["reader".to_owned()]),
        "sets are not reported as roles"
    );
    Ok(())
}

#[tokio::test]
async fn each_of_two_logical_databases_of_one_account_has_what_it_was_given() -> Result<()> {
    let env = env().await?;
    let tables = r#"create table public.invoices (id int); create table public.secrets (id int);
        grant all on public.invoices, public.secrets to "teleport-admin" with grant option"#;
    env.pg.sql("app2", tables).await?;
    let permissions = json!([
        {"match": {"database": ["app"], "schema": ["hr"]}, "permissions": ["SELECT"]},
        {"match": {"database": ["app2"], "name": ["invoices"]}, "permissions": ["SELECT", "INSERT"]},
    ]);
    allow(&env, permissions).await?;
    env.session("second", json!({"databaseName": "app2"})).await?;
    let on_app = alice(&env).await?;
    let second = complete(&env, "second").await?;
    let on_app2 = env.login("second").await?;
    assert_eq!(counts(&second), [("INSERT", 1), ("SELECT", 1)].into());
    may(&on_app, &["select * from hr.employees"]).await?;
    may_not(&on_app, &["insert into hr.employees values (3, '')", "select * from sales.deals"]).await?;
    may(&on_app2, &["insert into invoices values (1)", "select * from invoices"]).await?;
    may_not(&on_app2, &["select * from secrets"]).await?;
    assert_eq!(sets_of(&env, ALICE).await?.len(), 2, "one for each database");

    env.delete_and_wait::<DatabaseSession>("second").await?;
    may(&on_app, &["select * from hr.employees"]).await?;
    may_not_soon(&env, &on_app2, "select * from invoices").await?;
    assert_eq!(sets_of(&env, ALICE).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn every_version_of_the_server_gives_and_takes_alike() -> Result<()> {
    let versions = [PgVersion::V15, PgVersion::V16, PgVersion::V18, PgVersion::V19];
    futures::future::try_join_all(versions.map(gives_and_takes)).await?;
    Ok(())
}

async fn gives_and_takes(version: PgVersion) -> Result<()> {
    let env = env_of(TestEnv::builder().version(version)).await?;
    allow(&env, select_in("hr")).await?;
    let client = alice(&env).await?;
    may(&client, &["select * from hr.employees"]).await?;
    may_not(&client, &["delete from hr.employees", "select * from sales.deals"]).await?;
    allow(&env, select_in("sales")).await?;
    counting(&env, "alice-orders", &[("SELECT", 1)]).await?;
    // PostgreSQL 15 ends her connections, as she could have taken on the role of the set.
    let client = env.login("alice-orders").await?;
    may(&client, &["select * from sales.deals"]).await?;
    may_not(&client, &["select * from hr.employees"]).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
