//! Accounts: what several sessions share, which roles they may have, and what becomes of them.

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_testbed::{PgVersion, rows};
use rolecall_tests::objects::{is_ready, message_of, phase};
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use rolecall_tests::{Account, TestEnv};
use serde_json::json;

#[tokio::test]
async fn an_account_works_on_every_version_of_postgresql() -> Result<()> {
    for version in PgVersion::ALL {
        let env = TestEnv::builder().version(version).start().await?;
        env.session("alice-orders", json!({})).await?;
        env.active("alice-orders").await.with_context(|| version.to_string())?;
        let client = env.login("alice-orders").await?;
        assert_eq!(rows(&client, "select note from orders").await?.len(), 1, "{version}");
        env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        assert!(client.query_one("select 1", &[]).await.is_err(), "{version}");
        assert!(env.account().await?.is_some_and(|account| account.is_disabled()), "{version}");

        env.session("again", json!({})).await?;
        env.active("again").await.with_context(|| version.to_string())?;
        env.login("again").await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_account_stays_until_its_last_session_ends() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("one", json!({})).await?;
    env.session("two", json!({"databaseName": "app2"})).await?;
    env.active("one").await?;
    env.active("two").await?;
    let client = env.login("two").await?;

    env.delete_and_wait::<DatabaseSession>("one").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    rows(&client, "select 1").await.context("the other session is not disturbed")?;

    env.delete_and_wait::<DatabaseSession>("two").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_session_with_other_roles_than_the_live_ones_waits_for_their_end() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    env.session("reads", json!({"dbRoles": ["reader"]})).await?;
    env.active("reads").await?;
    env.session("writes", json!({"dbRoles": ["writer"]})).await?;
    env.session("timed", json!({"dbRoles": ["writer"], "ttl": "1h", "startDeadline": "1s"})).await?;
    let waiting = env.pending("writes", "RolesChanged").await?;
    let message = message_of(&waiting);
    assert!(message.contains("reader") && message.contains("writer"), "{message}");
    env.rejected("timed", "RolesChanged").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));

    env.delete_and_wait::<DatabaseSession>("reads").await?;
    env.active("writes").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["writer"])));
    Ok(())
}

#[tokio::test]
async fn a_waiting_session_blocks_no_other() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer", "analyst", "auditor"]}})).await?;
    env.session("all", json!({})).await?;
    env.pending("all", "DbRoleNotFound").await?;
    env.session("some", json!({"dbRoles": ["reader", "auditor"]})).await?;
    env.pending("some", "DbRoleNotFound").await?;
    env.session("nowhere", json!({"dbRoles": ["writer"], "databaseName": "gone"})).await?;
    env.pending("nowhere", "DatabaseNameNotFound").await?;
    env.session("reads", json!({"dbRoles": ["reader"], "ttl": "1h", "startDeadline": "20s"})).await?;
    env.active("reads").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    // From now on it uses the account.
    env.session("writes", json!({"dbRoles": ["writer"]})).await?;
    env.pending("writes", "RolesChanged").await?;
    Ok(())
}

#[tokio::test]
async fn of_sessions_that_ask_for_different_roles_at_once_the_oldest_that_can_starts() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer", "analyst"]}})).await?;
    for (name, roles) in [("a", vec!["analyst"]), ("b", vec!["reader"]), ("c", vec!["writer"])] {
        env.session(name, json!({"dbRoles": roles})).await?;
        // Creation times are cut to seconds.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    let mut env = env;
    env.start_operator().await?;
    env.active("b").await?;
    let waiting = env.pending("c", "RolesChanged").await?;
    let message = message_of(&waiting);
    assert!(message.contains("hold the database roles [reader]"), "{message}");
    env.delete_and_wait::<DatabaseSession>("b").await?;
    env.active("c").await?;
    Ok(())
}

#[tokio::test]
async fn a_database_role_that_is_missing_rejects_or_is_created_as_the_admin_says() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "analyst"]}})).await?;
    env.session("alice-orders", json!({})).await?;
    let waiting = env.pending("alice-orders", "DbRoleNotFound").await?;
    assert!(message_of(&waiting).contains("\"analyst\""), "{}", message_of(&waiting));
    assert!(env.account().await?.is_none(), "nothing is created");

    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"missingDbRoles": "Create"}})).await?;
    env.active("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["analyst", "reader"])));
    let bare = "select not (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb) from pg_roles where rolname = 'analyst'";
    assert_eq!(env.pg.value("postgres", bare).await?.as_deref(), Some("t"));
    Ok(())
}

#[tokio::test]
async fn what_policy_takes_is_taken_though_what_it_gives_cannot_be_given() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.session("second", json!({"databaseName": "app2"})).await?;
    env.active("alice-orders").await?;
    env.active("second").await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "missing"]}})).await?;
    let without_writer = |account: Option<&Account>| account.is_some_and(|a| a.is_enabled_with(&["reader"]));
    env.account_until("without the role that was taken", without_writer).await?;
    let reported = env.phase("alice-orders", SessionPhase::Active, "DbRoleNotFound").await?;
    assert_eq!(reported.status.map(|status| status.db_roles), Some(vec!["reader".to_owned()]));
    env.delete_and_wait::<DatabaseSession>("second").await?;

    let create = format!("create role missing; grant missing to \"{ADMIN_USER}\" with admin option");
    env.pg.sql("postgres", &create).await?;
    env.active("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["missing", "reader"])));
    Ok(())
}

#[tokio::test]
async fn what_the_server_refuses_is_reported_on_live_sessions() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" nocreaterole")).await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader"]}})).await?;
    let reported = |session: &DatabaseSession| phase(session) == SessionPhase::Active && !is_ready(session);
    let session = env.until("alice-orders", "reporting what the server refuses", reported).await?;
    assert!(message_of(&session).contains("SQLSTATE 42501"), "{}", message_of(&session));

    env.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" createrole")).await?;
    env.active("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

#[tokio::test]
async fn a_database_role_that_somebody_creates_lets_the_waiting_session_start() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["analyst"]}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "DbRoleNotFound").await?;
    let create = format!("create role analyst; grant analyst to \"{ADMIN_USER}\" with admin option");
    env.pg.sql("postgres", &create).await?;
    env.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn only_grantable_database_roles_are_given() -> Result<()> {
    let env = TestEnv::start().await?;
    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"grantableDbRoles": ["read*"]}})).await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    env.session("alice-orders", json!({})).await?;
    let waiting = env.pending("alice-orders", "DbRoleNotGrantable").await?;
    assert!(message_of(&waiting).contains("\"writer\""), "{}", message_of(&waiting));
    assert!(env.account().await?.is_none(), "it is not trimmed");
    env.session("fewer", json!({"dbRoles": ["reader"]})).await?;
    env.active("fewer").await?;
    env.pending("alice-orders", "DbRoleNotGrantable").await?;
    Ok(())
}

#[tokio::test]
async fn roles_with_power_are_given_only_where_they_are_named_literally() -> Result<()> {
    let env = TestEnv::start().await?;
    let roles = format!(
        "create role boss login; grant boss to \"{ADMIN_USER}\" with admin option;
         grant pg_read_all_data to \"{ADMIN_USER}\" with admin option"
    );
    env.pg.sql("postgres", &roles).await?;
    for (name, role) in [
        ("login", "boss"),
        ("system", "pg_read_all_data"),
        ("admin", ADMIN_USER),
        ("marker", "teleport-auto-user"),
    ] {
        let allow = json!({"options": {"createDbUserMode": "Keep"}, "allow": {"dbRoles": [role]}});
        env.role(name, allow).await?;
        env.user(name, json!({"roles": [name]})).await?;
        env.session(name, json!({"user": name})).await?;
        env.pending(name, "DbRoleNotGrantable").await.with_context(|| role.to_owned())?;
    }
    let grantable = json!(["*", "boss", "pg_read_all_data", ADMIN_USER, "teleport-auto-user"]);
    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"grantableDbRoles": grantable}})).await?;
    env.active("login").await?;
    env.active("system").await?;
    env.pending("admin", "DbRoleNotGrantable").await?;
    env.pending("marker", "DbRoleNotGrantable").await?;
    Ok(())
}

#[tokio::test]
async fn a_user_that_somebody_made_by_hand_is_never_touched() -> Result<()> {
    let env = TestEnv::start().await?;
    env.pg.sql("postgres", &format!("create role \"{ALICE}\" login; grant writer to \"{ALICE}\"")).await?;
    let before = env.account().await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "UserConflict").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(env.account().await?, before);
    Ok(())
}

#[tokio::test]
async fn an_account_is_dropped_at_the_end_where_the_mode_says_so() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    env.session("alice-orders", json!({"ttl": "2s"})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    env.ended("alice-orders", EndReason::Expired).await?;
    assert!(env.account().await?.is_none());
    assert!(client.query_one("select 1", &[]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn an_account_that_owns_something_is_disabled_instead_of_dropped_and_an_event_says_why() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    env.pg.sql("app", "grant create on schema public to reader").await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    rows(&client, "create table mine (id int)").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    let note = env.event("alice-orders", "AccountKept").await?;
    assert!(note.contains(ALICE), "{note}");

    // It can be used again, and goes when it owns nothing any more.
    env.session("again", json!({})).await?;
    env.active("again").await?;
    env.pg.sql("app", "drop table mine").await?;
    env.delete_and_wait::<DatabaseSession>("again").await?;
    assert!(env.account().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_a_user_set_for_itself_does_not_survive_its_session() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let own = format!(
        "alter role \"{ALICE}\" password 'mine'; alter role \"{ALICE}\" set search_path = evil;
         alter role \"{ALICE}\" in database app set work_mem = '1GB'"
    );
    rows(&client, &own).await?;
    assert!(env.account().await?.is_some_and(|account| account.password && account.settings));
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn two_admins_of_one_server_do_not_take_each_others_live_accounts() -> Result<()> {
    let env = TestEnv::start().await?;
    env.admin(json!({"metadata": {"name": "twin"}})).await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    let client = env.login("first").await?;
    env.session("second", json!({"database": "twin"})).await?;
    env.pending("second", "AccountInUse").await?;
    rows(&client, "select 1").await.context("the first session is not disturbed")?;
    env.delete_and_wait::<DatabaseSession>("first").await?;
    env.active("second").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    env.delete_and_wait::<DatabaseSession>("second").await?;
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    Ok(())
}
