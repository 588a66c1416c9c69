//! What a user made in its sessions, when its account is to be dropped.

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, conditions};
use rolecall_testbed::rows;
use rolecall_tests::test_env::TestEnv;
use serde_json::json;

/// What the DatabaseAdmin says of an admin user that may not give away what users own.
fn lacks(admin: &DatabaseAdmin) -> Option<String> {
    let conditions = &admin.status.as_ref()?.conditions;
    let capable = conditions::find(conditions, conditions::CAPABLE)?;
    (capable.reason == "CannotReassign").then(|| capable.message.clone())
}

#[tokio::test]
async fn what_a_user_made_goes_to_the_role_that_policy_names_and_the_account_is_dropped() -> Result<()> {
    let env = TestEnv::start().await?;
    env.pg.sql("app", "create role graveyard; grant create on schema public to reader").await?;
    let owned = json!({"policy": "ReassignTo", "role": "graveyard"});
    env.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop", "ownedObjects": owned}}))
        .await?;
    env.session("one", json!({"ttl": "1h"})).await?;
    let session = env.active("one").await?;
    assert_eq!(session.status.and_then(|status| status.reassign_to).as_deref(), Some("graveyard"));
    rows(&env.login("one").await?, "create table mine (id int)").await?;

    // The admin user is no member of it yet. Nothing waits for that.
    env.until::<DatabaseAdmin>("orders", "it names what is missing", |admin| lacks(admin).is_some()).await?;
    let message = lacks(&env.get::<DatabaseAdmin>("orders").await?).context("it is gone")?;
    let (_, statement) = message.split_once("run ").context("a statement")?;
    let statement = statement.lines().next().unwrap_or_default();
    env.delete_and_wait::<DatabaseSession>("one").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    let note = env.event("one", "AccountKept").await?;
    assert!(note.contains(statement) && note.contains("table public.mine"), "{note}");

    env.pg.sql("app", statement).await?;
    env.session("two", json!({"ttl": "1h"})).await?;
    env.active("two").await?;
    env.delete_and_wait::<DatabaseSession>("two").await?;
    assert_eq!(env.account().await?, None);
    let note = env.event("two", "ObjectsReassigned").await?;
    assert!(note.contains("\"graveyard\"") && note.contains("table public.mine"), "{note}");
    let owner = "select tableowner from pg_tables where tablename = 'mine'";
    assert_eq!(env.pg.value("app", owner).await?.as_deref(), Some("graveyard"));
    env.until::<DatabaseUser>("alice", "its status says so", |user| {
        let accounts = user.status.iter().flat_map(|status| &status.accounts);
        accounts.filter_map(|account| account.message.as_ref()).any(|message| message.contains("graveyard"))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn roles_that_do_not_agree_leave_a_user_what_it_made() -> Result<()> {
    let env = TestEnv::start().await?;
    env.pg.sql("app", "create role graveyard; grant create on schema public to reader").await?;
    let options = |owned| json!({"options": {"createDbUserMode": "BestEffortDrop", "ownedObjects": owned}});
    env.role("reader", options(json!({"policy": "ReassignTo", "role": "graveyard"}))).await?;
    env.role("careful", options(json!({"policy": "Keep"}))).await?;
    env.patch::<DatabaseUser>("alice", json!({"spec": {"roles": ["reader", "careful"]}})).await?;
    env.session("one", json!({"ttl": "1h"})).await?;
    env.active("one").await?;
    rows(&env.login("one").await?, "create table mine (id int)").await?;
    env.delete_and_wait::<DatabaseSession>("one").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    let note = env.event("one", "AccountKept").await?;
    assert!(note.contains("2BP01"), "{note}");
    Ok(())
}
