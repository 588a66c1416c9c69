//! Object permissions, as users meet them: they log in, and read, write, or get 42501.

mod announced;
mod changes;
mod closed;
mod drift;
mod endings;
mod explained;
mod granting;
mod kinds;
mod lacking;
mod sharing;
mod statuses;
mod untouched;
mod vector;
mod versions;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rolecall_api::{DatabaseSession, SessionPhase, conditions};
use rolecall_testbed::rows;
use rolecall_tests::objects::{Conditions, phase};
use rolecall_tests::{World, WorldBuilder};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// What the server says to a user who may not do something.
const DENIED: &str = "42501";

/// The schemas `hr` (`employees`, `scratchpad`) and `sales` (`deals`) in `app`. The admin user owns nothing there; it may
/// pass on what it was granted, also on tables that are made later.
const TABLES: &str = r#"
    create schema hr; create schema sales;
    alter default privileges in schema hr grant all on tables to "teleport-admin" with grant option;
    grant usage, create on schema hr, sales to "teleport-admin" with grant option;
    create table hr.employees (id int primary key, name text);
    create table hr.scratchpad (note text);
    create table sales.deals (id int primary key, amount int);
    insert into hr.employees values (1, 'Ada'), (2, 'Grace');
    insert into hr.scratchpad values ('a note');
    insert into sales.deals values (1, 100);
    grant all on all tables in schema sales to "teleport-admin" with grant option;
"#;

/// A world with [`TABLES`], in which nothing is granted yet.
async fn world() -> Result<World> {
    world_of(World::builder()).await
}

async fn world_of(builder: WorldBuilder) -> Result<World> {
    let world = builder.start().await?;
    world.pg.sql("app", TABLES).await?;
    Ok(world)
}

/// A world in which objects are read again every second.
async fn world_that_looks_often() -> Result<World> {
    let world = world().await?;
    world.admin(json!({"spec": {"objectSync": "1s"}})).await?;
    Ok(world)
}

/// Makes the role `reader` give these object permissions, and no database role.
async fn allow(world: &World, permissions: Value) -> Result<()> {
    world.role("reader", json!({"allow": {"dbRoles": [], "dbPermissions": permissions}})).await
}

/// `SELECT` on the tables of a schema.
fn select_in(schema: &str) -> Value {
    json!([{"match": {"object_kind": ["table"], "schema": [schema]}, "permissions": ["SELECT"]}])
}

/// Applies a DbObjectImportRule for every database.
async fn rule(world: &World, name: &str, mappings: Value) -> Result<()> {
    let manifest = json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DbObjectImportRule",
        "metadata": {"name": name},
        "spec": {"databaseLabels": {"*": ["*"]}, "mappings": mappings},
    });
    world.apply(manifest).await.map(drop)
}

/// A session that is Active with all its object permissions.
async fn complete(world: &World, session: &str) -> Result<DatabaseSession> {
    let complete = |session: &DatabaseSession| {
        phase(session) == SessionPhase::Active
            && conditions::is_true(session.conditions(), conditions::PERMISSIONS_COMPLETE)
    };
    world.until(session, "Active with complete permissions", complete).await
}

/// A session that is Active, with object permissions that are incomplete for this reason.
async fn incomplete(world: &World, session: &str, reason: &str) -> Result<DatabaseSession> {
    let wanted = |session: &DatabaseSession| {
        let condition = permissions_complete(session);
        phase(session) == SessionPhase::Active
            && condition.is_some_and(|condition| condition.status == "False" && condition.reason == reason)
    };
    world.until(session, &format!("Active and incomplete as {reason}"), wanted).await
}

fn permissions_complete(session: &DatabaseSession) -> Option<&Condition> {
    conditions::find(session.conditions(), conditions::PERMISSIONS_COMPLETE)
}

/// How many objects the status counts, by privilege.
fn counts(session: &DatabaseSession) -> BTreeMap<&str, u64> {
    let permissions = session.status.iter().flat_map(|status| &status.permissions);
    permissions.map(|(privilege, objects)| (privilege.as_str(), *objects)).collect()
}

/// Waits until the status counts these objects.
async fn counting(world: &World, session: &str, expected: &[(&str, u64)]) -> Result<DatabaseSession> {
    let expected: BTreeMap<&str, u64> = expected.iter().copied().collect();
    world.until(session, &format!("counting {expected:?}"), |session| counts(session) == expected).await
}

/// A new session of `alice` on `app`, complete, and a connection of hers.
async fn alice(world: &World) -> Result<Client> {
    world.session("alice-orders", json!({})).await?;
    complete(world, "alice-orders").await?;
    world.login("alice-orders").await
}

/// The user may do each of these.
async fn may(client: &Client, statements: &[&str]) -> Result<()> {
    for statement in statements {
        rows(client, statement).await?;
    }
    Ok(())
}

/// The user may do none of these.
async fn may_not(client: &Client, statements: &[&str]) -> Result<()> {
    for statement in statements {
        ensure!(denied(client, statement).await?, "{statement} is possible");
    }
    Ok(())
}

/// Waits until the user may do this.
async fn may_soon(world: &World, client: &Client, statement: &str) -> Result<()> {
    world.eventually(statement, async || Ok(!denied(client, statement).await?)).await
}

/// Waits until the user may not do this any more.
async fn may_not_soon(world: &World, client: &Client, statement: &str) -> Result<()> {
    let what = format!("denied: {statement}");
    world.eventually(&what, async || denied(client, statement).await).await
}

async fn denied(client: &Client, statement: &str) -> Result<bool> {
    match rows(client, statement).await {
        Ok(_) => Ok(false),
        Err(error) if error.sqlstate() == Some(DENIED) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The permission sets on the server, by name.
async fn sets(world: &World) -> Result<Vec<String>> {
    let query = "select rolname from pg_roles where rolname like 'rolecall:%' order by 1";
    Ok(world.pg.sql("postgres", query).await?.into_iter().flatten().flatten().collect())
}

/// The permission sets that a user is a member of, by name.
async fn sets_of(world: &World, username: &str) -> Result<Vec<String>> {
    let account = world.account_of(username).await?.context("the account")?;
    Ok(account.memberships.into_iter().filter(|role| role.starts_with("rolecall:")).collect())
}

/// What access lists in a database say beside owners and the admin user: changes when anything is granted or revoked.
async fn access_lists(world: &World, database: &str) -> Result<Vec<Vec<Option<String>>>> {
    let query = "select c.oid::regclass::text, c.xmin::text, c.relacl::text from pg_class c
        where relnamespace in ('hr'::regnamespace, 'sales'::regnamespace) order by 1";
    Ok(world.pg.sql(database, query).await?)
}
