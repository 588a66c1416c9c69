//! Whoever owns a logical database, or may alter the admin user, does not decide whether an access ends.

use anyhow::Result;
use rolecall_api::{DatabaseAdmin, DatabaseSession};
use rolecall_testbed::{PgVersion, rows};
use rolecall_tests::World;
use rolecall_tests::objects::{is_ready, message_of};
use rolecall_tests::world::ADMIN_USER;
use serde_json::json;

use crate::checks::{admin_tells, look_again};

/// A live session whose role owns its logical database, on a server where the admin user has no database of its own.
async fn owning(version: PgVersion) -> Result<(World, tokio_postgres::Client)> {
    let world = World::builder().version(version).without_operator().start().await?;
    let mut world = world;
    world.admin(json!({"spec": {"adminUser": {"name": ADMIN_USER, "defaultDatabase": null}}})).await?;
    world.pg.sql("postgres", "alter database app owner to reader").await?;
    world.start_operator().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    Ok((world, client))
}

/// Connections of the operator, which were made before.
async fn cut(world: &World) -> Result<()> {
    let all =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ADMIN_USER}'");
    world.pg.sql("postgres", &all).await.map(drop).map_err(Into::into)
}

#[tokio::test]
async fn what_the_owner_sets_for_its_database_does_not_hold_an_end_up() -> Result<()> {
    for version in [PgVersion::V15, PgVersion::V17] {
        let (world, client) = owning(version).await?;
        for setting in [
            "set role = 'reader'",
            "set local_preload_libraries = 'nothing'",
            "set idle_session_timeout = 1",
            "set statement_timeout = 1",
            "connection limit 0",
        ] {
            rows(&client, &format!("set role reader; alter database app {setting}")).await?;
        }
        cut(&world).await?;
        world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        assert!(client.simple_query("select 1").await.is_err(), "{version}");
        assert!(world.account().await?.is_some_and(|account| account.is_disabled()), "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn the_admin_users_own_database_that_lets_nobody_in_does_not_hold_an_end_up() -> Result<()> {
    let (world, client) = owning(PgVersion::V17).await?;
    world.admin(json!({"spec": {"adminUser": {"name": ADMIN_USER, "defaultDatabase": "app"}}})).await?;
    rows(&client, "set role reader; alter database app connection limit 0").await?;
    cut(&world).await?;
    look_again(&world).await?;
    admin_tells(&world, "DatabaseUnreachable", "ALTER DATABASE \"app\" CONNECTION LIMIT -1").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.simple_query("select 1").await.is_err());
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_role_that_is_set_for_the_admin_user_is_given_no_rights_and_holds_nothing_up() -> Result<()> {
    let (world, client) = owning(PgVersion::V17).await?;
    let set = format!(
        "create role app_owner; grant app_owner to \"{ADMIN_USER}\"; alter role \"{ADMIN_USER}\" set role = 'app_owner'"
    );
    world.pg.sql("postgres", &set).await?;
    cut(&world).await?;
    look_again(&world).await?;
    let admin: DatabaseAdmin = world.until("orders", "Ready", is_ready).await?;
    assert!(!format!("{:?}", admin.status).contains("app_owner"), "{}", message_of(&admin));
    world.session("alice-again", json!({})).await?;
    world.active("alice-again").await?;
    for session in ["alice-again", "alice-orders"] {
        world.delete_and_wait::<DatabaseSession>(session).await?;
    }
    assert!(client.simple_query("select 1").await.is_err());
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
