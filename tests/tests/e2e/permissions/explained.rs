//! `kubectl rolecall explain --live` shows in advance what a session gets.

use anyhow::Result;
use rolecall_testbed::{Identity, PgVersion};
use rolecall_tests::TestEnv;
use rolecall_tests::process::kubectl_rolecall;
use serde_json::{Value, json};

use super::*;

const FUNCTION: &str = r#"create function hr.one() returns int language sql as 'select 1';
    revoke all on function hr.one() from public;
    grant execute on function hr.one() to "teleport-admin" with grant option"#;

#[tokio::test]
async fn explain_live_shows_what_the_status_of_a_session_says_and_writes_nothing() -> Result<()> {
    let versions = [PgVersion::V15, PgVersion::V18];
    futures::future::try_join_all(versions.map(check_explanation)).await?;
    Ok(())
}

async fn check_explanation(version: PgVersion) -> Result<()> {
    // Nothing else takes transaction numbers.
    let mut env = env_of(TestEnv::builder().version(version).setting("autovacuum", "off")).await?;
    env.pg.sql("app", FUNCTION).await?;
    let spec = json!({
        "allow": {"dbRoles": [], "dbPermissions": [
            {"match": {"schema": ["hr", "sales"]}, "permissions": ["SELECT", "EXECUTE", "USAGE", "MAINTAIN"]},
        ]},
        "deny": {"dbPermissions": [{"match": {"name": ["scratchpad"]}, "permissions": ["*"]}]},
    });
    env.role("reader", spec).await?;
    env.session("alice-orders", json!({})).await?;
    let session = complete(&env, "alice-orders").await?;
    env.stop_operator().await?;

    let auditor = auditor(&env, "secrets").await?;
    let before = state(&env).await?;
    let explained = explain(&env, &auditor, &[]).await?;
    assert_eq!(state(&env).await?, before, "{version:?}: something was written");
    assert_eq!(explained["objects"]["source"], "Server");
    assert_eq!(explained["objects"]["counts"], json!(counts(&session)), "{version:?}");
    let items = explained["objects"]["items"].as_array().context("a list")?;
    let item = |name: &str| items.iter().find(|item| item["name"] == name).cloned().unwrap_or_default();
    let employees = item("employees");
    let mut privileges = employees["privileges"].as_array().context("a list")?.iter();
    let given = privileges.find(|given| given["privilege"] == "SELECT").context("SELECT")?;
    assert_eq!(given["granted"], true);
    assert_eq!(given["givenBy"][0]["entry"]["path"], "allow.dbPermissions[0]");
    assert_eq!(item("scratchpad")["privileges"][0]["takenBy"][0]["entry"]["role"], "reader");
    let knows_maintain = items.iter().any(|item| {
        item["privileges"].as_array().into_iter().flatten().any(|given| given["privilege"] == "MAINTAIN")
    });
    assert_eq!(knows_maintain, version >= PgVersion::V17);

    // The server is somewhere else, and only a port-forward leads to it.
    let elsewhere = format!("{}:1", env.pg.host());
    env.admin(json!({"spec": {"uri": elsewhere}})).await?;
    let through = explain(&env, &auditor, &["--address", &env.pg.address()]).await?;
    assert_eq!(through["objects"], explained["objects"]);
    Ok(())
}

#[tokio::test]
async fn without_the_right_to_read_the_secret_the_error_says_so_and_what_works_without() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    let auditor = auditor(&env, "configmaps").await?;
    let output = run(&env, &auditor, &[]).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("orders-admin-cert") && said.contains("forbidden"), "{said}");
    assert!(said.contains("--objects FILE"), "{said}");
    Ok(())
}

/// Somebody who may read our kinds in the namespace, and these.
async fn auditor(env: &TestEnv, also: &str) -> Result<Identity> {
    let name = format!("auditor-{}", env.namespace);
    let rights = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "auditor"},
        "rules": [
            {"apiGroups": ["rolecall.dev"], "resources": ["*"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": [also], "verbs": ["get"]},
        ],
    });
    env.apply(rights).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "auditor"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "auditor"},
        "subjects": [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}],
    });
    env.apply(binding).await?;
    Ok(Identity::user(&name, &[]))
}

async fn run(env: &TestEnv, who: &Identity, more: &[&str]) -> Result<std::process::Output> {
    let question = ["explain", "--user", "alice", "--database", "orders", "--database-name", "app", "--live"];
    let form = ["-o", "json", "-n", &env.namespace];
    kubectl_rolecall(who, &[&question[..], &form, more].concat()).await
}

async fn explain(env: &TestEnv, who: &Identity, more: &[&str]) -> Result<Value> {
    let output = run(env, who, more).await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The number of the next transaction that writes, and who may do what.
async fn state(env: &TestEnv) -> Result<Value> {
    let next = env.pg.value("postgres", "select pg_snapshot_xmax(pg_current_snapshot())::text").await?;
    Ok(json!([next, access_lists(env, "app").await?]))
}
