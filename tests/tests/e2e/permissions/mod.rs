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
mod planned;
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
use rolecall_tests::{TestEnv, TestEnvBuilder};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// What the server says to a user who may not do something.
const DENIED: &str = "42501";

/// The schemas `hr` (`employees`, `scratchpad`) and `sales` (`deals`) in `app`. The admin user owns nothing there; it
/// may pass on what it was granted, also on tables that are made later.
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

/// A test environment with [`TABLES`], in which nothing is granted yet.
async fn env() -> Result<TestEnv> {
    env_of(TestEnv::builder()).await
}

async fn env_of(builder: TestEnvBuilder) -> Result<TestEnv> {
    let env = builder.start().await?;
    env.pg.sql("app", TABLES).await?;
    Ok(env)
}

/// A test environment in which objects are read again every second.
async fn env_with_frequent_object_sync() -> Result<TestEnv> {
    let env = env().await?;
    env.admin(json!({"spec": {"objectSync": "1s"}})).await?;
    Ok(env)
}

/// Makes the role `reader` give these object permissions, and no database role.
async fn allow(env: &TestEnv, permissions: Value) -> Result<()> {
    env.role("reader", json!({"allow": {"dbRoles": [], "dbPermissions": permissions}})).await
}

/// `SELECT` on the tables of a schema.
fn select_in(schema: &str) -> Value {
    json!([{"match": {"object_kind": ["table"], "schema": [schema]}, "permissions": ["SELECT"]}])
}

/// Applies a DbObjectImportRule for every database.
async fn rule(env: &TestEnv, name: &str, mappings: Value) -> Result<()> {
    let manifest = json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DbObjectImportRule",
        "metadata": {"name": name},
        "spec": {"databaseLabels": {"*": ["*"]}, "mappings": mappings},
    });
    env.apply(manifest).await.map(drop)
}

/// A session that is Active with all its object permissions.
async fn complete(env: &TestEnv, session: &str) -> Result<DatabaseSession> {
    let complete = |session: &DatabaseSession| {
        phase(session) == SessionPhase::Active
            && conditions::is_true(session.conditions(), conditions::PERMISSIONS_COMPLETE)
    };
    env.until(session, "Active with complete permissions", complete).await
}

/// A session that is Active, with object permissions that are incomplete for this reason.
async fn incomplete(env: &TestEnv, session: &str, reason: &str) -> Result<DatabaseSession> {
    let wanted = |session: &DatabaseSession| {
        let condition = permissions_complete(session);
        phase(session) == SessionPhase::Active
            && condition.is_some_and(|condition| condition.status == "False" && condition.reason == reason)
    };
    env.until(session, &format!("Active and incomplete as {reason}"), wanted).await
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
async fn counting(env: &TestEnv, session: &str, expected: &[(&str, u64)]) -> Result<DatabaseSession> {
    let expected: BTreeMap<&str, u64> = expected.iter().copied().collect();
    env.until(session, &format!("counting {expected:?}"), |session| counts(session) == expected).await
}

/// A new session of `alice` on `app`, complete, and a connection of hers.
async fn alice(env: &TestEnv) -> Result<Client> {
    env.session("alice-orders", json!({})).await?;
    complete(env, "alice-orders").await?;
    env.login("alice-orders").await
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
async fn may_soon(env: &TestEnv, client: &Client, statement: &str) -> Result<()> {
    env.eventually(statement, async || Ok(!denied(client, statement).await?)).await
}

/// Waits until the user may not do this any more.
async fn may_not_soon(env: &TestEnv, client: &Client, statement: &str) -> Result<()> {
    let what = format!("denied: {statement}");
    env.eventually(&what, async || denied(client, statement).await).await
}

async fn denied(client: &Client, statement: &str) -> Result<bool> {
    match rows(client, statement).await {
        Ok(_) => Ok(false),
        Err(error) if error.sqlstate() == Some(DENIED) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The permission sets on the server, by name.
async fn sets(env: &TestEnv) -> Result<Vec<String>> {
    let query = "select rolname from pg_roles where rolname like 'rolecall:%' order by 1";
    Ok(env.pg.sql("postgres", query).await?.into_iter().flatten().flatten().collect())
}

/// The permission sets that a user is a member of, by name.
async fn sets_of(env: &TestEnv, username: &str) -> Result<Vec<String>> {
    let account = env.account_of(username).await?.context("the account")?;
    Ok(account.memberships.into_iter().filter(|role| role.starts_with("rolecall:")).collect())
}

/// What access lists in a database say beside owners and the admin user: changes when anything is granted or revoked.
async fn access_lists(env: &TestEnv, database: &str) -> Result<Vec<Vec<Option<String>>>> {
    let query = "select c.oid::regclass::text, c.xmin::text, c.relacl::text from pg_class c
        where relnamespace in ('hr'::regnamespace, 'sales'::regnamespace) order by 1";
    Ok(env.pg.sql(database, query).await?)
}
