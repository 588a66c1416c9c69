//! `kubectl rolecall queries`, `cancel`, `terminate`: by people who may create sessions and read no Secrets.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rolecall_api::DatabaseSession;
use rolecall_aws_testbed::redshift::Admin;
use rolecall_testbed::Identity;
use rolecall_tests::base_env::BaseEnv;
use rolecall_tests::process::kubectl_rolecall;
use rolecall_tests::redshift::RedshiftEnv;
use rolecall_tests::test_env::ALICE;
use rolecall_tests::{Credentials, MongoTestEnv, TestEnv};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// Somebody who may work with sessions in this namespace, and with what else is named.
async fn person(env: &BaseEnv, more: &str) -> Result<Identity> {
    let group = format!("people-of-{}", env.namespace);
    let rights = format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: rolecall-people}}
rules:
- {{apiGroups: [rolecall.dev], resources: [databaseadmins], verbs: [get, list]}}
- {{apiGroups: [rolecall.dev], resources: [databasesessions], verbs: [get, list, create, delete]}}
- {{apiGroups: [rolecall.dev], resources: [databaseusers, databaseadmins], verbs: [connect]}}
{more}"
    );
    env.apply_yaml(&rights).await?;
    env.apply(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "rolecall-people"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rolecall-people"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }))
    .await?;
    Ok(Identity::user("somebody", &[&group]))
}

async fn run(env: &BaseEnv, who: &Identity, args: &[&str]) -> Result<Output> {
    kubectl_rolecall(who, &[args, &["-n", &env.namespace]].concat()).await
}

async fn answer(env: &BaseEnv, who: &Identity, args: &[&str]) -> Result<String> {
    let output = run(env, who, args).await?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

async fn items(env: &BaseEnv, who: &Identity) -> Result<Vec<Value>> {
    let list: Value =
        serde_json::from_str(&answer(env, who, &["queries", "alice-orders", "-o", "json"]).await?)?;
    assert_eq!((list["kind"].as_str(), list["user"].as_str()), (Some("QueryList"), Some("alice")), "{list}");
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Runs a statement; the SQLSTATE that ends it, or empty where the connection ends.
fn spawn(client: Client, statement: &'static str) -> JoinHandle<String> {
    tokio::spawn(async move {
        let error = client.simple_query(statement).await.err();
        error.and_then(|error| error.code().map(|code| code.code().to_owned())).unwrap_or_default()
    })
}

/// Nothing but the session that was there before, which goes on.
async fn only_the_session_is_left(env: &BaseEnv) -> Result<()> {
    env.eventually("the sessions in between are gone", async || {
        Ok(env.list::<DatabaseSession>().await?.len() == 1)
    })
    .await?;
    env.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn a_query_is_seen_cancelled_and_its_connection_terminated() -> Result<()> {
    let env = TestEnv::start().await?;
    let who = person(&env, "").await?;
    env.session("alice-orders", json!({"dbRoles": ["reader"]})).await?;
    env.active("alice-orders").await?;
    let quiet = run(&env, &who, &["queries", "alice-orders"]).await?;
    assert!(quiet.status.success() && quiet.stdout.is_empty(), "{quiet:?}");
    assert_eq!(String::from_utf8_lossy(&quiet.stderr), format!("{ALICE} runs nothing on orders.\n"));

    let running = spawn(env.login("alice-orders").await?, "select pg_sleep(600)");
    let idle = env.login("alice-orders").await?;
    idle.batch_execute("begin; select id from orders").await?;
    let table = answer(&env, &who, &["queries", "alice-orders"]).await?;
    assert!(table.starts_with("PID") && table.contains("idle in transaction"), "{table}");
    let items = items(&env, &who).await?;
    assert_eq!(items.len(), 2, "{items:?}");
    let pid = |of: usize| items[of]["pid"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (items[0]["query"].as_str(), items[0]["active"].as_bool()),
        (Some("select pg_sleep(600)"), Some(true))
    );
    assert_eq!(items[0]["databaseName"], "app");

    // An idle connection has nothing to cancel, and a number that is not its user's stops nothing.
    for (args, expected) in [
        (["cancel", "alice-orders", &pid(1)], "kubectl rolecall terminate alice-orders"),
        (["terminate", "alice-orders", "1"], "nothing of the number 1"),
    ] {
        let refused = run(&env, &who, &args).await?;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains(expected), "{said}");
    }
    let cancelled = answer(&env, &who, &["cancel", "alice-orders"]).await?;
    assert_eq!(cancelled, format!("cancelled {}: select pg_sleep(600)\n", pid(0)));
    assert_eq!(running.await?, "57014");
    let terminated = answer(&env, &who, &["terminate", "alice-orders", &pid(1)]).await?;
    assert_eq!(terminated, format!("terminated {}: begin; select id from orders\n", pid(1)));
    assert!(idle.simple_query("select 1").await.is_err(), "its connection has ended");
    only_the_session_is_left(&env).await?;
    drop(env.login("alice-orders").await?);

    env.session("bob-orders", json!({"user": "bob"})).await?;
    let waiting = run(&env, &who, &["queries", "bob-orders"]).await?;
    assert!(String::from_utf8_lossy(&waiting.stderr).contains("kubectl rolecall sessions"), "{waiting:?}");
    Ok(())
}

#[tokio::test]
async fn with_passwords_it_takes_the_right_to_read_the_secret() -> Result<()> {
    let env = TestEnv::builder().credentials(Credentials::Password).start().await?;
    let who = person(&env, "").await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let refused = run(&env, &who, &["queries", "alice-orders"]).await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(1) && said.contains("could not read the session's Secret"),
        "{said}"
    );
    only_the_session_is_left(&env).await?;

    let who = person(&env, "- {apiGroups: [\"\"], resources: [secrets], verbs: [get]}").await?;
    let running = spawn(env.login("alice-orders").await?, "select pg_sleep(600)");
    answer(&env, &who, &["terminate", "alice-orders"]).await?;
    assert_ne!(running.await?, "57014", "the connection ended with it");
    only_the_session_is_left(&env).await
}

#[tokio::test]
async fn on_redshift_a_query_is_seen_cancelled_and_its_connection_terminated() -> Result<()> {
    let env = RedshiftEnv::start(Admin::Superuser).await?;
    let who = person(&env, "- {apiGroups: [\"\"], resources: [secrets], verbs: [get]}").await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    // Nobody else asks for it.
    env.cluster.delay("select pg_group", Some(Duration::from_secs(600)));
    let slow = "SELECT groname FROM pg_group";
    for (command, code) in [("cancel", "57014"), ("terminate", "57P01")] {
        let mut client = None;
        // The end of a session that asked changes the password, which the other sessions get.
        env.eventually("its password lets in", async || {
            client = env.login("alice-orders").await.ok();
            Ok(client.is_some())
        })
        .await?;
        let running = spawn(client.context("a login")?, slow);
        env.eventually("it runs", async || {
            Ok(items(&env, &who).await?.iter().any(|item| item["query"] == slow && item["active"] == true))
        })
        .await?;
        let said = answer(&env, &who, &[command, "alice-orders"]).await?;
        assert!(said.contains(slow), "{said}");
        let ended = running.await?;
        assert!(ended == code || (ended.is_empty() && command == "terminate"), "{command}: {ended}");
    }
    only_the_session_is_left(&env).await
}

#[tokio::test]
async fn on_mongodb_an_operation_is_seen_and_stopped() -> Result<()> {
    let env = MongoTestEnv::builder().alice("alice").start().await?;
    let who = person(&env, "").await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    for command in ["cancel", "terminate"] {
        let database = client.database(&env.app);
        let slow =
            mongodb::bson::doc! { "find": "orders", "filter": { "$where": "sleep(600000); return true" } };
        let running = tokio::spawn(async move { database.run_command(slow).await.is_err() });
        env.eventually("it runs", async || {
            let items = items(&env, &who).await?;
            Ok(items.iter().any(|item| item["query"].as_str().is_some_and(|query| query.contains("sleep"))))
        })
        .await?;
        let said = answer(&env, &who, &[command, "alice-orders"]).await?;
        assert!(said.contains("sleep(600000)"), "{said}");
        assert!(running.await.context("it ran")?, "{command}: it was stopped");
    }
    only_the_session_is_left(&env).await
}
