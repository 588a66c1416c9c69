//! On the versions that the other tests do not use: kinds of objects, drift, lacking rights, closed schemas. One server
//! for each, and one story, as servers take their time.

use anyhow::Result;
use rolecall_testbed::PgVersion;
use rolecall_tests::TestEnv;
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
    let env = env_of(TestEnv::builder().version(version)).await?;
    env.admin(json!({"spec": {"objectSync": "1s"}})).await?;
    env.pg.sql("app", OBJECTS).await?;
    kinds(&env, version).await?;
    drift(&env).await?;
    lacking(&env).await?;
    closed(&env).await
}

/// A new connection of alice: PostgreSQL 15 ends the old ones whenever her set changes.
async fn again(env: &TestEnv) -> Result<Client> {
    complete(env, "alice-orders").await?;
    env.login("alice-orders").await
}

async fn kinds(env: &TestEnv, version: PgVersion) -> Result<()> {
    let everything = ["SELECT", "MAINTAIN", "USAGE", "EXECUTE"];
    allow(env, json!([{"match": {"schema": ["hr"]}, "permissions": everything}])).await?;
    let alice = alice(env).await?;
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
    let session: DatabaseSession = env.get("alice-orders").await?;
    // Four tables, two views, a foreign table and a sequence; the schema and the sequence.
    let mut expected: BTreeMap<&str, u64> = [("EXECUTE", 2), ("SELECT", 8), ("USAGE", 2)].into();
    if version >= PgVersion::V17 {
        // All that is read like a table.
        expected.insert("MAINTAIN", 7);
    }
    assert_eq!(counts(&session), expected, "{version}");
    Ok(())
}

async fn drift(env: &TestEnv) -> Result<()> {
    allow(env, select_in("hr")).await?;
    counting(env, "alice-orders", &[("SELECT", 4)]).await?;
    let alice = again(env).await?;
    env.pg.sql("app", "create table hr.later (id int)").await?;
    may_soon(env, &alice, "select * from hr.later").await?;
    let set = sets_of(env, rolecall_tests::test_env::ALICE).await?.pop().context("a set")?;
    let by_hand = format!(
        r#"set role "teleport-admin"; revoke select on hr.employees from "{set}"; grant select on sales.deals to "{set}""#
    );
    env.pg.sql("app", &by_hand).await?;
    may_soon(env, &alice, "select * from hr.employees").await?;
    may_not_soon(env, &alice, "select * from sales.deals").await?;
    drop_by_hand(env, &set).await?;
    may_soon(env, &alice, "select * from hr.employees").await
}

async fn lacking(env: &TestEnv) -> Result<()> {
    env.pg.sql("app", r#"revoke all on hr.scratchpad from "teleport-admin" cascade"#).await?;
    let session = incomplete(env, "alice-orders", "MissingObjectPrivileges").await?;
    let message = permissions_complete(&session).context("a condition")?.message.clone();
    let alice = env.login("alice-orders").await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may_not(&alice, &["select * from hr.scratchpad"]).await?;
    env.pg.sql("app", statement_in(&message)?).await?;
    may_soon(env, &alice, "select * from hr.scratchpad").await
}

async fn closed(env: &TestEnv) -> Result<()> {
    let close = r#"revoke all on schema public from public; grant usage on schema public to "teleport-admin" with grant option;
        create table public.notes (id int); grant select on public.notes to "teleport-admin" with grant option"#;
    env.pg.sql("app", close).await?;
    allow(env, json!([{"match": {"schema": ["public"], "name": ["notes"]}, "permissions": ["SELECT"]}]))
        .await?;
    counting(env, "alice-orders", &[("SELECT", 1)]).await?;
    let alice = again(env).await?;
    may(&alice, &["select * from public.notes"]).await?;
    may_not(&alice, &["create table public.mine (id int)", "select * from hr.employees"]).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
