//! What the admin user may not grant is left out and named, with the statement that fixes it.

use anyhow::Result;
use rolecall_api::DatabaseAdmin;
use rolecall_tests::objects::{is_ready, message_of};
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::json;

use super::*;

#[tokio::test]
async fn what_the_admin_user_may_not_grant_is_named_and_the_rest_is_given() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    let revoke = format!(r#"revoke all on hr.scratchpad from "{ADMIN_USER}""#);
    env.pg.sql("app", &revoke).await?;
    allow(&env, select_in("hr")).await?;
    env.session("alice-orders", json!({})).await?;
    let session = incomplete(&env, "alice-orders", "MissingObjectPrivileges").await?;
    assert_eq!(counts(&session), [("SELECT", 1)].into());
    let alice = env.login("alice-orders").await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may_not(&alice, &["select * from hr.scratchpad"]).await?;

    let message = permissions_complete(&session).context("a condition")?.message.clone();
    let statement = statement_in(&message)?;
    assert!(statement.contains("hr.scratchpad"), "{message}");
    env.pg.sql("app", statement).await?;
    complete(&env, "alice-orders").await?;
    may(&alice, &["select * from hr.scratchpad"]).await
}

#[tokio::test]
async fn a_session_to_which_nothing_can_be_granted_waits_and_says_what_fixes_it() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    let revoke = format!(r#"revoke all on all tables in schema hr from "{ADMIN_USER}""#);
    env.pg.sql("app", &revoke).await?;
    allow(&env, select_in("hr")).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.pending("alice-orders", "MissingObjectPrivileges").await?;
    let message = message_of(&session);
    assert!(message.contains("hr.employees") && message.contains("hr.scratchpad"), "{message}");
    assert!(env.account().await?.is_none_or(|account| !account.login), "no login without any right");
    for line in message.lines() {
        env.pg.sql("app", statement_in(line)?).await?;
    }
    complete(&env, "alice-orders").await?;
    may(&env.login("alice-orders").await?, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn a_database_reports_that_its_admin_user_lacks_object_privileges() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    let revoke = format!(r#"revoke all on hr.scratchpad from "{ADMIN_USER}""#);
    env.pg.sql("app", &revoke).await?;
    allow(&env, select_in("hr")).await?;
    env.session("alice-orders", json!({})).await?;
    incomplete(&env, "alice-orders", "MissingObjectPrivileges").await?;
    let capable = |status: &'static str, reason: &'static str| {
        move |admin: &DatabaseAdmin| {
            let capable = conditions::find(admin.conditions(), conditions::CAPABLE);
            capable.is_some_and(|condition| condition.status == status && condition.reason == reason)
        }
    };
    let lacking = capable("False", "MissingObjectPrivileges");
    let admin = env.until("orders", "lacking object privileges", lacking).await?;
    let message = &conditions::find(admin.conditions(), conditions::CAPABLE).context("Capable")?.message;
    env.pg.sql("app", statement_in(message)?).await?;
    // PublicConnect is a warning that says nothing of objects.
    let repaired = |admin: &DatabaseAdmin| conditions::is_true(admin.conditions(), conditions::CAPABLE);
    env.until("orders", "Capable", repaired).await?;
    Ok(())
}

#[tokio::test]
async fn an_access_list_that_is_nearly_full_is_reported_by_the_database_admin() -> Result<()> {
    let env = env().await?;
    let crowd = "do $$ begin for i in 1..1550 loop
            execute format('create role crowd%s', i); execute format('grant select on hr.employees to crowd%s', i);
        end loop; end $$";
    env.pg.sql("app", crowd).await?;
    allow(&env, select_in("hr")).await?;
    alice(&env).await?;
    let crowded = |admin: &DatabaseAdmin| {
        let found = conditions::find(admin.conditions(), conditions::ACCESS_LISTS_CROWDED);
        found
            .is_some_and(|condition| condition.status == "True" && condition.message.contains("hr.employees"))
    };
    let admin = env.until("orders", "crowded", crowded).await?;
    assert!(is_ready(&admin), "it is a warning");
    let operator = env.operator.as_ref().context("an operator")?;
    let line = format!("rolecall_crowded_access_lists{{database_admin=\"{}/orders\"}} 1", env.namespace);
    let shown = async || Ok(operator.get("/metrics").await?.lines().any(|found| found == line));
    env.eventually(&line, shown).await
}

/// The statement that a line of a message ends with.
pub(super) fn statement_in(line: &str) -> Result<&str> {
    let start = line.find("GRANT ").with_context(|| format!("no statement in {line:?}"))?;
    Ok(line[start..].lines().next().unwrap_or_default())
}
