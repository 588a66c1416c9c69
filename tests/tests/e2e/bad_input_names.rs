//! Names that need care everywhere: in SQL, in certificates, in connection strings, in messages.

use anyhow::Result;
use futures::future::try_join_all;
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{message_of, phase};
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::json;

use crate::checks::{admin_ready, row_of};

/// Legal, and each breaks some tool.
const ODD: [&str; 14] = [
    r#"o"brien"#,
    "o'brien",
    "100%",
    "%s%n",
    "$user",
    "two words",
    " leading",
    "päivi 🦀",
    "UPPER",
    "upper",
    "a@b@c",
    r"back\slash",
    "x'; drop role reader; --",
    "{{internal.db_roles}}",
];

#[tokio::test]
async fn users_with_odd_names_log_in_and_are_gone_afterwards() -> Result<()> {
    let env = TestEnv::start().await?;
    let longest = "ü".repeat(31) + "x";
    let names: Vec<&str> = ODD.into_iter().chain([longest.as_str()]).collect();
    try_join_all(names.iter().enumerate().map(|(index, name)| access(&env, index, name))).await?;
    assert!(env.pg.value("postgres", "select 1 from pg_roles where rolname = 'reader'").await?.is_some());
    Ok(())
}

/// One access from start to end.
async fn access(env: &TestEnv, index: usize, name: &str) -> Result<()> {
    let object = format!("user-{index}");
    env.user(&object, json!({"username": name})).await?;
    env.session(&object, json!({"user": object})).await?;
    env.active(&object).await?;
    let secret = env.secret(&object).await?;
    assert_eq!(secret["username"], name);
    let client = env.login_with(&secret).await?;
    let row = client.query_one("select session_user::text, note from orders", &[]).await?;
    assert_eq!(row.get::<_, String>(0), name);

    env.delete_and_wait::<DatabaseSession>(&object).await?;
    assert!(env.account_of(name).await?.is_some_and(|account| account.is_disabled()), "{name}");
    Ok(())
}

#[tokio::test]
async fn a_name_of_64_bytes_is_refused() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    let refused = env.user("long", json!({"username": "x".repeat(64)})).await;
    assert!(refused.is_err_and(|error| format!("{error:#}").contains("63 bytes")));
    Ok(())
}

#[tokio::test]
async fn a_remote_name_that_becomes_too_long_is_rejected_and_hits_nobody() -> Result<()> {
    let env = TestEnv::builder().flag("--cluster-name=here").start().await?;
    let name = "x".repeat(50);
    // What a server would truncate it to.
    let cut: String = format!("remote-{name}-elsewhere").chars().take(63).collect();
    env.pg.sql("postgres", &format!("create role \"{cut}\" login")).await?;
    let before = row_of(&env, &cut).await?;

    env.user("remote", json!({"username": name, "originCluster": "elsewhere"})).await?;
    env.session("remote", json!({"user": "remote"})).await?;
    let session = env.rejected("remote", "InvalidUsername").await?;
    assert!(message_of(&session).contains("set another spec.username"), "{}", message_of(&session));
    env.event("remote", "InvalidUsername").await?;
    assert_eq!(row_of(&env, &cut).await?, before);
    Ok(())
}

#[tokio::test]
async fn reserved_names_and_the_admin_user_are_rejected_at_once() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    let before = row_of(&env, ADMIN_USER).await?;
    let names = ["pg_monitor", "public", "none", "teleport-auto-user", "rolecall:abc", ADMIN_USER];
    for (index, name) in names.iter().enumerate() {
        let object = format!("user-{index}");
        env.user(&object, json!({"username": name})).await?;
        env.session(&object, json!({"user": object})).await?;
    }
    for index in 0..names.len() {
        let object = format!("user-{index}");
        let session =
            env.until(&object, "Rejected", |session| phase(session) == SessionPhase::Rejected).await?;
        assert!(message_of(&session).contains("spec.username"), "{}", message_of(&session));
        env.event(&object, "InvalidUsername").await?;
    }
    assert_eq!(row_of(&env, ADMIN_USER).await?, before);
    Ok(())
}
