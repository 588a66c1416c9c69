//! Accounts: what several sessions share, which roles they may have, and what becomes of them.

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_testbed::{PgVersion, rows};
use rolecall_tests::objects::{is_ready, message_of, phase};
use rolecall_tests::world::{ADMIN_USER, ALICE};
use rolecall_tests::{Account, World};
use serde_json::json;

#[tokio::test]
async fn an_account_works_on_every_version_of_postgresql() -> Result<()> {
    for version in PgVersion::ALL {
        let world = World::builder().version(version).start().await?;
        world.session("alice-orders", json!({})).await?;
        world.active("alice-orders").await.with_context(|| version.to_string())?;
        let client = world.login("alice-orders").await?;
        assert_eq!(rows(&client, "select note from orders").await?.len(), 1, "{version}");
        world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        assert!(client.query_one("select 1", &[]).await.is_err(), "{version}");
        assert!(world.account().await?.is_some_and(|account| account.is_disabled()), "{version}");

        world.session("again", json!({})).await?;
        world.active("again").await.with_context(|| version.to_string())?;
        world.login("again").await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_account_stays_until_its_last_session_ends() -> Result<()> {
    let world = World::start().await?;
    world.session("one", json!({})).await?;
    world.session("two", json!({"databaseName": "app2"})).await?;
    world.active("one").await?;
    world.active("two").await?;
    let client = world.login("two").await?;

    world.delete_and_wait::<DatabaseSession>("one").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    rows(&client, "select 1").await.context("the other session is not disturbed")?;

    world.delete_and_wait::<DatabaseSession>("two").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_session_with_other_roles_than_the_live_ones_waits_for_their_end() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    world.session("reads", json!({"dbRoles": ["reader"]})).await?;
    world.active("reads").await?;
    world.session("writes", json!({"dbRoles": ["writer"]})).await?;
    world.session("timed", json!({"dbRoles": ["writer"], "ttl": "1h", "startDeadline": "1s"})).await?;
    let waiting = world.pending("writes", "RolesChanged").await?;
    let message = message_of(&waiting);
    assert!(message.contains("reader") && message.contains("writer"), "{message}");
    world.rejected("timed", "RolesChanged").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));

    world.delete_and_wait::<DatabaseSession>("reads").await?;
    world.active("writes").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["writer"])));
    Ok(())
}

#[tokio::test]
async fn a_session_that_only_waits_stands_in_nobodys_way() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "writer", "analyst", "auditor"]}})).await?;
    world.session("all", json!({})).await?;
    world.pending("all", "DbRoleNotFound").await?;
    world.session("some", json!({"dbRoles": ["reader", "auditor"]})).await?;
    world.pending("some", "DbRoleNotFound").await?;
    world.session("nowhere", json!({"dbRoles": ["writer"], "databaseName": "gone"})).await?;
    world.pending("nowhere", "DatabaseNameNotFound").await?;
    world.session("reads", json!({"dbRoles": ["reader"], "ttl": "1h", "startDeadline": "20s"})).await?;
    world.active("reads").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    // It holds the account: that is so from now on.
    world.session("writes", json!({"dbRoles": ["writer"]})).await?;
    world.pending("writes", "RolesChanged").await?;
    Ok(())
}

#[tokio::test]
async fn of_sessions_that_ask_for_different_roles_at_once_the_oldest_that_can_starts() -> Result<()> {
    let world = World::builder().without_operator().start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "writer", "analyst"]}})).await?;
    for (name, roles) in [("a", vec!["analyst"]), ("b", vec!["reader"]), ("c", vec!["writer"])] {
        world.session(name, json!({"dbRoles": roles})).await?;
        // Creation times are cut to seconds.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    let mut world = world;
    world.start_operator().await?;
    world.active("b").await?;
    let waiting = world.pending("c", "RolesChanged").await?;
    let message = message_of(&waiting);
    assert!(message.contains("hold the database roles [reader]"), "{message}");
    world.delete_and_wait::<DatabaseSession>("b").await?;
    world.active("c").await?;
    Ok(())
}

#[tokio::test]
async fn a_database_role_that_is_missing_rejects_or_is_created_as_the_admin_says() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "analyst"]}})).await?;
    world.session("alice-orders", json!({})).await?;
    let waiting = world.pending("alice-orders", "DbRoleNotFound").await?;
    assert!(message_of(&waiting).contains("\"analyst\""), "{}", message_of(&waiting));
    assert!(world.account().await?.is_none(), "nothing is created");

    world.patch::<DatabaseAdmin>("orders", json!({"spec": {"missingDbRoles": "Create"}})).await?;
    world.active("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["analyst", "reader"])));
    let bare = "select not (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb) from pg_roles where rolname = 'analyst'";
    assert_eq!(world.pg.value("postgres", bare).await?.as_deref(), Some("t"));
    Ok(())
}

#[tokio::test]
async fn what_policy_takes_is_taken_though_what_it_gives_cannot_be_given() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.session("second", json!({"databaseName": "app2"})).await?;
    world.active("alice-orders").await?;
    world.active("second").await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "missing"]}})).await?;
    let without_writer = |account: Option<&Account>| account.is_some_and(|a| a.is_enabled_with(&["reader"]));
    world.account_until("without the role that was taken", without_writer).await?;
    let told = world.phase("alice-orders", SessionPhase::Active, "DbRoleNotFound").await?;
    assert_eq!(told.status.map(|status| status.db_roles), Some(vec!["reader".to_owned()]));
    world.delete_and_wait::<DatabaseSession>("second").await?;

    let create = format!("create role missing; grant missing to \"{ADMIN_USER}\" with admin option");
    world.pg.sql("postgres", &create).await?;
    world.active("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["missing", "reader"])));
    Ok(())
}

#[tokio::test]
async fn what_the_server_refuses_is_reported_on_live_sessions() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" nocreaterole")).await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader"]}})).await?;
    let told = |session: &DatabaseSession| phase(session) == SessionPhase::Active && !is_ready(session);
    let session = world.until("alice-orders", "told what the server refuses", told).await?;
    assert!(message_of(&session).contains("SQLSTATE 42501"), "{}", message_of(&session));

    world.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" createrole")).await?;
    world.active("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

#[tokio::test]
async fn a_database_role_that_somebody_creates_lets_the_waiting_session_start() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"allow": {"dbRoles": ["analyst"]}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.pending("alice-orders", "DbRoleNotFound").await?;
    let create = format!("create role analyst; grant analyst to \"{ADMIN_USER}\" with admin option");
    world.pg.sql("postgres", &create).await?;
    world.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn only_grantable_database_roles_are_given() -> Result<()> {
    let world = World::start().await?;
    world.patch::<DatabaseAdmin>("orders", json!({"spec": {"grantableDbRoles": ["read*"]}})).await?;
    world.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    world.session("alice-orders", json!({})).await?;
    let waiting = world.pending("alice-orders", "DbRoleNotGrantable").await?;
    assert!(message_of(&waiting).contains("\"writer\""), "{}", message_of(&waiting));
    assert!(world.account().await?.is_none(), "it is not trimmed");
    world.session("fewer", json!({"dbRoles": ["reader"]})).await?;
    world.active("fewer").await?;
    world.pending("alice-orders", "DbRoleNotGrantable").await?;
    Ok(())
}

#[tokio::test]
async fn roles_with_power_are_given_only_where_they_are_named_literally() -> Result<()> {
    let world = World::start().await?;
    let roles = format!(
        "create role boss login; grant boss to \"{ADMIN_USER}\" with admin option;
         grant pg_read_all_data to \"{ADMIN_USER}\" with admin option"
    );
    world.pg.sql("postgres", &roles).await?;
    for (name, role) in [
        ("login", "boss"),
        ("system", "pg_read_all_data"),
        ("admin", ADMIN_USER),
        ("marker", "teleport-auto-user"),
    ] {
        let allow = json!({"options": {"createDbUserMode": "Keep"}, "allow": {"dbRoles": [role]}});
        world.role(name, allow).await?;
        world.user(name, json!({"roles": [name]})).await?;
        world.session(name, json!({"user": name})).await?;
        world.pending(name, "DbRoleNotGrantable").await.with_context(|| role.to_owned())?;
    }
    let grantable = json!(["*", "boss", "pg_read_all_data", ADMIN_USER, "teleport-auto-user"]);
    world.patch::<DatabaseAdmin>("orders", json!({"spec": {"grantableDbRoles": grantable}})).await?;
    world.active("login").await?;
    world.active("system").await?;
    world.pending("admin", "DbRoleNotGrantable").await?;
    world.pending("marker", "DbRoleNotGrantable").await?;
    Ok(())
}

#[tokio::test]
async fn a_user_that_somebody_made_by_hand_is_never_touched() -> Result<()> {
    let world = World::start().await?;
    world.pg.sql("postgres", &format!("create role \"{ALICE}\" login; grant writer to \"{ALICE}\"")).await?;
    let before = world.account().await?;
    world.session("alice-orders", json!({})).await?;
    world.pending("alice-orders", "UserConflict").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(world.account().await?, before);
    Ok(())
}

#[tokio::test]
async fn an_account_is_dropped_at_the_end_where_the_mode_says_so() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    world.session("alice-orders", json!({"ttl": "2s"})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    world.ended("alice-orders", EndReason::Expired).await?;
    assert!(world.account().await?.is_none());
    assert!(client.query_one("select 1", &[]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn an_account_that_owns_something_is_disabled_instead_of_dropped_and_an_event_says_why() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    world.pg.sql("app", "grant create on schema public to reader").await?;
    world.session("alice-orders", json!({"ttl": "1h"})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    rows(&client, "create table mine (id int)").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    let note = world.event("alice-orders", "AccountKept").await?;
    assert!(note.contains(ALICE), "{note}");

    // It can be used again, and goes when it owns nothing any more.
    world.session("again", json!({})).await?;
    world.active("again").await?;
    world.pg.sql("app", "drop table mine").await?;
    world.delete_and_wait::<DatabaseSession>("again").await?;
    assert!(world.account().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_a_user_set_for_itself_does_not_survive_its_session() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    let own = format!(
        "alter role \"{ALICE}\" password 'mine'; alter role \"{ALICE}\" set search_path = evil;
         alter role \"{ALICE}\" in database app set work_mem = '1GB'"
    );
    rows(&client, &own).await?;
    assert!(world.account().await?.is_some_and(|account| account.password && account.settings));
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn two_admins_of_one_server_do_not_take_each_others_live_accounts() -> Result<()> {
    let world = World::start().await?;
    world.admin(json!({"metadata": {"name": "twin"}})).await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    let client = world.login("first").await?;
    world.session("second", json!({"database": "twin"})).await?;
    world.pending("second", "AccountInUse").await?;
    rows(&client, "select 1").await.context("the first session is not disturbed")?;
    world.delete_and_wait::<DatabaseSession>("first").await?;
    world.active("second").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    world.delete_and_wait::<DatabaseSession>("second").await?;
    world.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    Ok(())
}
