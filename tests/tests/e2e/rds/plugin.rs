//! `kubectl rolecall` with a database of RDS.

use std::process::Output;
use std::time::Duration;

use anyhow::{Result, ensure};
use rolecall_api::DatabaseAdmin;
use rolecall_testbed::{Identity, PgVersion};
use rolecall_tests::objects::is_ready;
use rolecall_tests::process::kubectl_rolecall_command;
use rolecall_tests::rds::RdsEnv;
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::{Value, json};

const EXPLAIN: &[&str] =
    &["explain", "--user", "alice", "--database", "orders", "--database-name", "app", "--live", "-o", "json"];

/// What the plugin answers somebody who may read everything in the cluster. `with_keys`: and who has AWS credentials.
async fn ask(env: &RdsEnv, args: &[&str], with_keys: bool) -> Result<Output> {
    let who = Identity::user(&format!("reader-{}", env.namespace), &["system:masters"]);
    let mut command = kubectl_rolecall_command(&who).await?;
    if with_keys {
        let keys = env.keys();
        command.env("AWS_ACCESS_KEY_ID", keys.access_key_id).env("AWS_SECRET_ACCESS_KEY", keys.secret);
        command.env("AWS_SESSION_TOKEN", keys.session_token.unwrap_or_default());
    }
    Ok(command.args(args).args(["-n", &env.namespace]).output().await?)
}

#[tokio::test]
async fn explain_live_signs_for_the_admin_user() -> Result<()> {
    let env = RdsEnv::start(PgVersion::V18, None).await?;
    env.pg.sql("app", "create table invoices (id int)").await?;
    let permissions = json!([{"match": {"schema": ["public"]}, "permissions": ["SELECT"]}]);
    env.role("reader", json!({"allow": {"dbRoles": [], "dbPermissions": permissions}})).await?;
    env.until("orders", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?;
    let before = env.front.seen().tokens;

    let without = ask(&env, EXPLAIN, false).await?;
    let said = String::from_utf8_lossy(&without.stderr);
    assert_eq!(without.status.code(), Some(1), "{said}");
    assert!(said.contains("AWS credentials"), "{said}");
    assert_eq!(env.front.seen().tokens, before);

    // A token of the same second would be the operator's.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let with = ask(&env, EXPLAIN, true).await?;
    ensure!(with.status.success(), "{}", String::from_utf8_lossy(&with.stderr));
    let explained: Value = serde_json::from_slice(&with.stdout)?;
    assert_eq!(explained["objects"]["source"], "Server");
    let items = explained["objects"]["items"].as_array().cloned().unwrap_or_default();
    assert!(items.iter().any(|item| item["name"] == "invoices"), "{items:?}");
    let seen = env.front.seen();
    let new: Vec<&String> = seen.tokens.difference(&before).collect();
    assert!(new.len() == 1 && new[0].contains(&format!("DBUser={ADMIN_USER}&")), "{new:?}");
    Ok(())
}

#[tokio::test]
async fn ls_shows_it_as_what_it_speaks() -> Result<()> {
    let env = RdsEnv::start(PgVersion::V18, None).await?;
    let listed = ask(&env, &["ls", "--user", "alice"], false).await?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8_lossy(&listed.stdout);
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words.len(), 2, "{text}");
    assert_eq!(words[1][..2], ["orders", "postgres"], "{text}");
    assert_eq!(words[1].last(), Some(&"Keep"), "{text}");
    // It takes no AWS credentials, and no login.
    assert!(env.front.seen().tokens.len() <= 1, "nobody but the operator signs");
    Ok(())
}
