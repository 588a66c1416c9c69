//! What a DatabaseAdmin says about its server. The statement in a message is run as printed.

use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase};
use rolecall_testbed::PgVersion;
use rolecall_tests::TestEnv;
use rolecall_tests::accounts::MARKER;
use rolecall_tests::objects::{message_of, phase};
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::json;

use crate::checks::{
    admin_ready, admin_reports, capable, condition, session_reports, statement, trigger_reconcile,
};

#[tokio::test]
async fn a_server_that_can_be_worked_with_is_ready_reachable_and_capable() -> Result<()> {
    let env = TestEnv::start().await?;
    let admin = admin_ready(&env).await?;
    assert_eq!(condition(&admin, "Reachable")?.status, "True");
    assert_eq!(condition(&admin, "Capable")?.status, "True");
    let status = admin.status.unwrap_or_default();
    assert!(status.version.is_some_and(|version| version.starts_with("17.")));
    Ok(())
}

#[tokio::test]
async fn a_missing_createrole_is_fixed_by_the_statement_in_the_message() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    env.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" nocreaterole")).await?;
    let mut env = env;
    env.start_operator().await?;
    env.session("alice-orders", json!({})).await?;
    admin_reports(&env, "MissingCreateRole", "ALTER ROLE").await?;
    session_reports(&env, "alice-orders", "MissingCreateRole", "ALTER ROLE").await?;
    let message = capable(&env, "False", "MissingCreateRole").await?;

    env.pg.sql("postgres", statement(&message)?).await?;
    env.active("alice-orders").await?;
    capable(&env, "True", "PublicConnect").await.map(drop)
}

#[tokio::test]
async fn a_missing_admin_option_is_fixed_by_the_statement_in_the_message() -> Result<()> {
    let env = TestEnv::start().await?;
    env.pg.sql("postgres", &format!("revoke admin option for reader from \"{ADMIN_USER}\"")).await?;
    env.session("alice-orders", json!({})).await?;
    session_reports(&env, "alice-orders", "MissingAdminOption", "WITH ADMIN OPTION").await?;
    trigger_reconcile(&env).await?;
    let message = capable(&env, "False", "MissingAdminOption").await?;

    env.pg.sql("postgres", statement(&message)?).await?;
    env.active("alice-orders").await?;
    trigger_reconcile(&env).await?;
    capable(&env, "True", "PublicConnect").await.map(drop)
}

#[tokio::test]
async fn on_postgresql_15_createrole_is_all_it_takes() -> Result<()> {
    let env = TestEnv::builder().version(PgVersion::V15).start().await?;
    env.pg.sql("postgres", &format!("revoke reader from \"{ADMIN_USER}\"")).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    trigger_reconcile(&env).await?;
    capable(&env, "True", "PublicConnect").await.map(drop)
}

#[tokio::test]
async fn a_marker_that_somebody_else_made_is_fixed_by_the_statement_in_the_message() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    env.pg.sql("postgres", &format!("create role \"{MARKER}\" nologin")).await?;
    let mut env = env;
    env.start_operator().await?;
    env.session("alice-orders", json!({})).await?;
    session_reports(&env, "alice-orders", "MissingAdminOption", MARKER).await?;
    assert!(env.account().await?.is_none(), "a part of the account was made");
    let message = capable(&env, "False", "MissingAdminOption").await?;

    env.pg.sql("postgres", statement(&message)?).await?;
    env.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn a_missing_connect_is_fixed_by_the_statements_in_the_messages() -> Result<()> {
    let env = TestEnv::start().await?;
    env.pg.sql("postgres", "revoke connect on database app from public").await?;
    env.session("alice-orders", json!({})).await?;
    let session = session_reports(&env, "alice-orders", "MissingConnect", "GRANT CONNECT").await?;
    assert!(env.account().await?.is_none(), "a part of the account was made");
    trigger_reconcile(&env).await?;
    let message = capable(&env, "False", "MissingConnect").await?;

    env.pg.sql("postgres", statement(&message)?).await?;
    env.pg.sql("postgres", statement(message_of(&session))?).await?;
    env.active("alice-orders").await?;
    env.login("alice-orders").await?;
    trigger_reconcile(&env).await?;
    capable(&env, "True", "PublicConnect").await.map(drop)
}

#[tokio::test]
async fn databases_that_are_open_to_everybody_are_a_warning_that_its_statements_clear() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    trigger_reconcile(&env).await?;
    let warned = |admin: &DatabaseAdmin| {
        let capable = condition(admin, "Capable");
        capable.is_ok_and(|c| c.message.contains("\"app2\"") && !c.message.contains("\"app\""))
    };
    let admin = env.until("orders", "warned of app2 and not of the session's own", warned).await?;
    let message = &condition(&admin, "Capable")?.message;

    for line in message.lines() {
        env.pg.sql("postgres", statement(line)?).await?;
    }
    // What clears the warning must not lock the admin user out.
    let all = "select pg_terminate_backend(pid) from pg_stat_activity where usename <> 'postgres'";
    env.pg.sql("postgres", all).await?;
    trigger_reconcile(&env).await?;
    capable(&env, "True", "Succeeded").await?;
    env.session("alice-again", json!({})).await?;
    env.active("alice-again").await.map(drop)
}

#[tokio::test]
async fn a_replica_is_reported() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    env.pg.stop().await;
    let signal = env.pg.socket_dir().join("data/standby.signal");
    std::fs::write(&signal, "")?;
    std::fs::set_permissions(&signal, std::fs::Permissions::from_mode(0o666))?;
    env.pg.start_again().await?;

    let mut env = env;
    env.start_operator().await?;
    env.session("alice-orders", json!({})).await?;
    admin_reports(&env, "ReadOnlyEndpoint", "use the writer's address").await?;
    session_reports(&env, "alice-orders", "ReadOnlyEndpoint", "use the writer's address").await?;
    capable(&env, "False", "ReadOnlyEndpoint").await.map(drop)
}

#[tokio::test]
async fn a_database_that_is_read_only_by_default_is_none() -> Result<()> {
    let env = TestEnv::start().await?;
    let read_only = format!("alter role \"{ADMIN_USER}\" set default_transaction_read_only = on");
    env.pg.sql("postgres", &read_only).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await.map(drop)
}

/// As after pg_upgrade from 15: who made an account there has no ADMIN OPTION on it, which 16 asks for.
#[tokio::test]
async fn accounts_that_cannot_be_ended_any_more_are_named_with_the_statement() -> Result<()> {
    let env = TestEnv::builder().flag("--resync-interval=1s").start().await?;
    for name in ["alice", "bob"] {
        env.user("bob", json!({})).await?;
        env.session(name, json!({"user": name})).await?;
    }
    let revoke = "revoke \"alice@example.com\", bob from \"teleport-admin\" cascade";
    for name in ["alice", "bob"] {
        env.active(name).await?;
    }
    env.pg.sql("postgres", revoke).await?;
    let message = capable(&env, "False", "MissingAdminOption").await?;
    let statement = statement(&message)?;
    assert_eq!(statement, "GRANT \"alice@example.com\", \"bob\" TO \"teleport-admin\" WITH ADMIN OPTION");
    env.delete::<DatabaseSession>("bob").await?;
    env.until("bob", "held", |session: &DatabaseSession| phase(session) == SessionPhase::Ending).await?;
    env.pg.sql("postgres", statement).await?;
    env.gone::<DatabaseSession>("bob").await?;
    assert!(env.account_of("bob").await?.is_some_and(|account| account.is_disabled()));
    let again =
        |admin: &DatabaseAdmin| condition(admin, "Capable").is_ok_and(|capable| capable.status == "True");
    env.until("orders", "capable again", again).await.map(drop)
}
