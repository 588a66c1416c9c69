//! On the versions that the other tests do not use: kinds of objects, drift, lacking rights, closed schemas. One server for
//! each, and one story, as servers take their time.

use anyhow::Result;
use rolecall_testbed::PgVersion;
use rolecall_tests::World;
use serde_json::json;

use super::drift::drop_by_hand;
use super::kinds::OBJECTS;
use super::lacking::statement_in;
use super::*;

#[tokio::test]
async fn kinds_drift_lacking_rights_and_closed_schemas_are_alike_on_15() -> Result<()> {
    story(PgVersion::V15).await
}

#[tokio::test]
async fn kinds_drift_lacking_rights_and_closed_schemas_are_alike_on_16() -> Result<()> {
    story(PgVersion::V16).await
}

#[tokio::test]
async fn kinds_drift_lacking_rights_and_closed_schemas_are_alike_on_18() -> Result<()> {
    story(PgVersion::V18).await
}

#[tokio::test]
async fn kinds_drift_lacking_rights_and_closed_schemas_are_alike_on_19() -> Result<()> {
    story(PgVersion::V19).await
}

async fn story(version: PgVersion) -> Result<()> {
    let world = world_of(World::builder().version(version)).await?;
    world.admin(json!({"spec": {"objectSync": "1s"}})).await?;
    world.pg.sql("app", OBJECTS).await?;
    kinds(&world, version).await?;
    drift(&world).await?;
    lacking(&world).await?;
    closed(&world).await
}

/// A new connection of alice: PostgreSQL 15 ends the old ones whenever her set changes.
async fn again(world: &World) -> Result<Client> {
    complete(world, "alice-orders").await?;
    world.login("alice-orders").await
}

async fn kinds(world: &World, version: PgVersion) -> Result<()> {
    let everything = ["SELECT", "MAINTAIN", "USAGE", "EXECUTE"];
    allow(world, json!([{"match": {"schema": ["hr"]}, "permissions": everything}])).await?;
    let alice = alice(world).await?;
    let possible = [
        "select * from hr.measures_2026",
        "select * from hr.names",
        "select * from hr.totals",
        "select nextval('hr.numbers')",
        "select hr.twice(2)",
        "call hr.tidy()",
    ];
    may(&alice, &possible).await?;
    may_not(&alice, &["select setval('hr.numbers', 1)", "delete from hr.employees"]).await?;
    let session: DatabaseSession = world.get("alice-orders").await?;
    // Four tables, two views, a foreign table and a sequence; the schema and the sequence.
    let mut expected: BTreeMap<&str, u64> = [("EXECUTE", 2), ("SELECT", 8), ("USAGE", 2)].into();
    if version >= PgVersion::V17 {
        // All that is read like a table.
        expected.insert("MAINTAIN", 7);
    }
    assert_eq!(counts(&session), expected, "{version}");
    Ok(())
}

async fn drift(world: &World) -> Result<()> {
    allow(world, select_in("hr")).await?;
    counting(world, "alice-orders", &[("SELECT", 4)]).await?;
    let alice = again(world).await?;
    world.pg.sql("app", "create table hr.later (id int)").await?;
    may_soon(world, &alice, "select * from hr.later").await?;
    let set = sets_of(world, rolecall_tests::world::ALICE).await?.pop().context("a set")?;
    let by_hand = format!(
        r#"set role "teleport-admin"; revoke select on hr.employees from "{set}"; grant select on sales.deals to "{set}""#
    );
    world.pg.sql("app", &by_hand).await?;
    may_soon(world, &alice, "select * from hr.employees").await?;
    may_not_soon(world, &alice, "select * from sales.deals").await?;
    drop_by_hand(world, &set).await?;
    may_soon(world, &alice, "select * from hr.employees").await
}

async fn lacking(world: &World) -> Result<()> {
    world.pg.sql("app", r#"revoke all on hr.scratchpad from "teleport-admin" cascade"#).await?;
    let session = incomplete(world, "alice-orders", "MissingObjectPrivileges").await?;
    let message = permissions_complete(&session).context("a condition")?.message.clone();
    let alice = world.login("alice-orders").await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may_not(&alice, &["select * from hr.scratchpad"]).await?;
    world.pg.sql("app", statement_in(&message)?).await?;
    may_soon(world, &alice, "select * from hr.scratchpad").await
}

async fn closed(world: &World) -> Result<()> {
    let close = r#"revoke all on schema public from public; grant usage on schema public to "teleport-admin" with grant option;
        create table public.notes (id int); grant select on public.notes to "teleport-admin" with grant option"#;
    world.pg.sql("app", close).await?;
    allow(world, json!([{"match": {"schema": ["public"], "name": ["notes"]}, "permissions": ["SELECT"]}]))
        .await?;
    counting(world, "alice-orders", &[("SELECT", 1)]).await?;
    let alice = again(world).await?;
    may(&alice, &["select * from public.notes"]).await?;
    may_not(&alice, &["create table public.mine (id int)", "select * from hr.employees"]).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
