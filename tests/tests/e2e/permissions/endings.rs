//! However a user clings to its object permissions, they are gone when the session has ended.

use anyhow::Result;
use rolecall_api::{CreateDbUserMode, DatabaseAdmin, EndReason};
use rolecall_testbed::PgVersion;
use rolecall_tests::world::ALICE;
use serde_json::json;

use super::*;

/// Ending the session ends a connection on which `statements` were run, and nothing can be done with it or a new one.
async fn ends(version: PgVersion, statements: &str) -> Result<()> {
    let world = world_of(World::builder().version(version)).await?;
    allow(&world, json!([{"match": {"schema": ["hr"]}, "permissions": ["SELECT", "UPDATE", "CREATE"]}]))
        .await?;
    let alice = alice(&world).await?;
    let set = sets(&world).await?.pop().context("a set")?;
    rows(&alice, &statements.replace("SET", &set)).await?;
    let secret = world.secret("alice-orders").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(alice.simple_query("select * from hr.employees").await.is_err());
    assert!(world.login_with(&secret).await.is_err());
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    let name = world.pg.value("app", "select name from hr.employees where id = 1").await?;
    assert_eq!(name.as_deref(), Some("Ada"));
    Ok(())
}

#[tokio::test]
async fn whoever_took_on_the_role_of_the_set_loses_it() -> Result<()> {
    // From 16 on no user can.
    ends(PgVersion::V15, r#"set role "SET"; select * from hr.employees"#).await
}

#[tokio::test]
async fn from_16_on_nobody_can_take_on_the_role_of_a_set() -> Result<()> {
    let world = world_of(World::builder().version(PgVersion::V16)).await?;
    allow(&world, select_in("hr")).await?;
    let alice = alice(&world).await?;
    let set = sets(&world).await?.pop().context("a set")?;
    may_not(&alice, &[&format!(r#"set role "{set}""#)]).await
}

#[tokio::test]
async fn an_open_transaction_a_prepared_statement_and_a_cursor_end() -> Result<()> {
    let clinging = "prepare mine as select * from hr.employees;
        begin; update hr.employees set name = 'Eve' where id = 1; declare c cursor for select * from hr.employees";
    ends(PgVersion::V17, clinging).await
}

#[tokio::test]
async fn the_tables_that_a_user_made_stay_and_the_user_is_disabled_where_it_would_have_been_dropped()
-> Result<()> {
    let world = world().await?;
    let spec = json!({
        "options": {"createDbUserMode": "BestEffortDrop"},
        "allow": {"dbRoles": [], "dbPermissions": [{"match": {"schema": ["hr"]}, "permissions": ["SELECT", "CREATE", "USAGE"]}]},
    });
    world.role("reader", spec).await?;
    let connection = alice(&world).await?;
    let session: DatabaseSession = world.get("alice-orders").await?;
    assert_eq!(session.status.and_then(|status| status.mode), Some(CreateDbUserMode::BestEffortDrop));
    may(&connection, &["create table hr.mine (id int)"]).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    let note = world.event("alice-orders", "AccountKept").await?;
    assert!(note.contains(r#"owns 1 object in the database "app" (table hr.mine)"#), "{note}");
    assert!(connection.simple_query("select * from hr.mine").await.is_err());

    world.pg.sql("app", "drop table hr.mine").await?;
    alice(&world).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(world.account().await?, None, "nothing keeps it any more");
    Ok(())
}

#[tokio::test]
async fn one_of_two_sessions_that_ends_leaves_the_other_what_it_has() -> Result<()> {
    let world = world().await?;
    allow(&world, select_in("hr")).await?;
    world.session("timed", json!({"ttl": "2s"})).await?;
    let alice = alice(&world).await?;
    world.ended("timed", EndReason::Expired).await?;
    may(&alice, &["select * from hr.employees"]).await?;
    assert_eq!(sets_of(&world, ALICE).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn sets_that_nobody_uses_are_dropped_after_a_while() -> Result<()> {
    let world = world_of(World::builder().flag("--keep-unused-sets=1s")).await?;
    allow(&world, select_in("hr")).await?;
    alice(&world).await?;
    world.user("bob", json!({})).await?;
    world.session("bob-orders", json!({"user": "bob"})).await?;
    complete(&world, "bob-orders").await?;
    assert_eq!(sets(&world).await?.len(), 1);
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    may(&world.login("bob-orders").await?, &["select * from hr.employees"]).await?;
    world.delete_and_wait::<DatabaseSession>("bob-orders").await?;
    no_sets(&world).await?;
    // The next session finds its set recreated.
    may(&alice(&world).await?, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn sets_that_nobody_uses_since_before_a_restart_are_dropped_too() -> Result<()> {
    let mut world = world_of(World::builder().flag("--keep-unused-sets=1s")).await?;
    allow(&world, select_in("hr")).await?;
    alice(&world).await?;
    world.crash_operator().await;
    allow(&world, select_in("sales")).await?;
    world.start_operator().await?;
    counting(&world, "alice-orders", &[("SELECT", 1)]).await?;
    world.eventually("one set is left", async || Ok(sets(&world).await?.len() == 1)).await?;
    may(&world.login("alice-orders").await?, &["select * from sales.deals"]).await
}

#[tokio::test]
async fn a_database_that_is_deleted_leaves_no_sets_behind() -> Result<()> {
    let world = world().await?;
    allow(&world, select_in("hr")).await?;
    alice(&world).await?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    assert_eq!(sets(&world).await?, [""; 0]);
    let query = "select count(*) from pg_class where relacl::text like '%rolecall:%'";
    assert_eq!(world.pg.value("app", query).await?.as_deref(), Some("0"));
    Ok(())
}

async fn no_sets(world: &World) -> Result<()> {
    world.eventually("the sets are dropped", async || Ok(sets(world).await?.is_empty())).await
}
