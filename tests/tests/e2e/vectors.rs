//! The vectors of kind `session_integration`: `vectors/session_integration.json` of this package, or the file of that
//! name in the directory that the environment variable ROLECALL_VECTORS names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, SessionPhase};
use rolecall_tests::objects::{is_ready, phase, reason_of};
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use rolecall_tests::{Account, TestEnv};
use serde::Deserialize;
use serde_json::{Value, json};

const KIND: &str = "session_integration";
/// Roles of permission sets are no database roles of the session.
const SET_PREFIX: &str = "rolecall:";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    kind: String,
    #[serde(rename = "about")]
    _about: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    input: Input,
    expect: Expect,
    #[serde(rename = "departure")]
    _departure: Option<u32>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    mode: String,
    allow_db_roles: Vec<String>,
    #[serde(default)]
    allow_db_permissions: Vec<Value>,
    #[serde(default)]
    tables: Vec<Table>,
    admin_user: AdminUser,
    database_name: String,
    #[serde(default)]
    then_ends: bool,
    #[serde(default)]
    fails_after_user_created: bool,
    parallel_sessions: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    schema: String,
    name: String,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdminUser {
    default_database: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expect {
    session: Option<State>,
    sessions: Option<Vec<State>>,
    memberships: Option<BTreeSet<String>>,
    effective: Option<BTreeSet<Vec<String>>>,
    granted_to_user: Option<BTreeSet<Vec<String>>>,
    admin_database: Option<String>,
    after_end: Option<AfterEnd>,
    account_exists: Option<bool>,
    account_login: Option<bool>,
    account_sessions: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    phase: SessionPhase,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterEnd {
    phase: String,
    login: Option<bool>,
    managed: Option<bool>,
    memberships: Option<BTreeSet<String>>,
}

#[tokio::test]
async fn sessions_run_from_end_to_end_as_the_vectors_say() -> Result<()> {
    let directory = std::env::var_os("ROLECALL_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors")), PathBuf::from);
    let file = directory.join(format!("{KIND}.json"));
    if !file.exists() {
        println!("{} does not exist: no vectors of this kind", file.display());
        return Ok(());
    }
    let vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    ensure!(vectors.kind == KIND, "{} contains vectors of kind {}", file.display(), vectors.kind);
    let mut failed = Vec::new();
    for case in &vectors.cases {
        if let Err(error) = run(case).await {
            failed.push(format!("{}: {error:#}", case.id));
        }
    }
    let total = vectors.cases.len();
    println!("{KIND}: {}/{total}", total - failed.len());
    assert!(failed.is_empty(), "{} of {total} failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

async fn run(case: &Case) -> Result<()> {
    let Case { input, expect, .. } = case;
    let env = prepare(input).await?;
    // The first reconcile prepares the server; what fails later is the start of a session.
    env.until("orders", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?;
    let lock = env.pg.superuser("postgres").await?;
    if input.fails_after_user_created {
        lock.batch_execute("begin; lock table pg_catalog.pg_auth_members in share mode").await?;
    }

    let expected: Vec<&State> = expect.session.iter().chain(expect.sessions.iter().flatten()).collect();
    let names: Vec<String> =
        (0..input.parallel_sessions.unwrap_or(1)).map(|number| format!("s{number}")).collect();
    ensure!(expected.len() == names.len(), "expectations for {} sessions", names.len());
    // Rejected is what a timed session is after its startDeadline.
    let mut spec = json!({"databaseName": input.database_name, "ttl": "1h"});
    if expected.iter().any(|state| state.phase == SessionPhase::Rejected) {
        spec["startDeadline"] = json!("0s");
    }
    futures::future::try_join_all(names.iter().map(|name| env.session(name, spec.clone()))).await?;
    for (name, state) in names.iter().zip(expected) {
        let as_expected = |session: &DatabaseSession| {
            let reason = reason_of(session);
            // Every object is Pending before it is first reconciled.
            phase(session) == state.phase
                && reason != "Pending"
                && state.reason.as_deref().is_none_or(|r| r == reason)
        };
        env.until(name, &format!("{:?} {:?}", state.phase, state.reason), as_expected).await?;
    }
    check_account(&env, input, expect).await?;

    if input.fails_after_user_created {
        lock.batch_execute("rollback").await?;
        env.active(&names[0]).await.context("after the step stopped to fail")?;
    }
    if input.then_ends {
        for name in &names {
            env.delete_and_wait::<DatabaseSession>(name).await?;
        }
    }
    match &expect.after_end {
        Some(after) => check_after_end(after, env.account().await?),
        None => Ok(()),
    }
}

async fn prepare(input: &Input) -> Result<TestEnv> {
    let mut env = TestEnv::builder().without_operator().without_objects().start().await?;
    let databases = input.admin_user.default_database.iter().chain([&input.database_name]);
    for database in databases {
        let exists = format!("select from pg_database where datname = '{database}'");
        if env.pg.sql("postgres", &exists).await?.is_empty() {
            env.pg.sql("postgres", &format!("create database \"{database}\"")).await?;
        }
    }
    for role in &input.allow_db_roles {
        if env.account_of(role).await?.is_none() {
            let create =
                format!("create role \"{role}\"; grant \"{role}\" to \"{ADMIN_USER}\" with admin option");
            env.pg.sql("postgres", &create).await?;
        }
    }
    for (number, Table { schema, name, labels }) in input.tables.iter().enumerate() {
        let create = format!(
            "create schema if not exists \"{schema}\"; grant usage on schema \"{schema}\" to \"{ADMIN_USER}\" with grant option;
             create table if not exists \"{schema}\".\"{name}\" (id int);
             alter table \"{schema}\".\"{name}\" owner to \"{ADMIN_USER}\""
        );
        env.pg.sql(&input.database_name, &create).await?;
        let mapping =
            json!({"match": {"tableNames": [name]}, "scope": {"schemaNames": [schema]}, "addLabels": labels});
        let rule = json!({
            "apiVersion": "rolecall.dev/v1alpha1",
            "kind": "DbObjectImportRule",
            "metadata": {"name": format!("table-{number}")},
            "spec": {"priority": 0, "databaseLabels": {"*": ["*"]}, "mappings": [mapping]},
        });
        env.apply(rule).await?;
    }
    let mut admin_user = json!({"name": ADMIN_USER, "defaultDatabase": null});
    if let Some(database) = &input.admin_user.default_database {
        admin_user["defaultDatabase"] = json!(database);
    }
    env.admin(json!({"spec": {"adminUser": admin_user}})).await?;
    let role = json!({
        "options": {"createDbUserMode": input.mode},
        "allow": {"dbRoles": input.allow_db_roles, "dbPermissions": input.allow_db_permissions},
    });
    env.role("reader", role).await?;
    env.user("alice", json!({"username": ALICE})).await?;
    env.start_operator().await?;
    Ok(env)
}

async fn check_account(env: &TestEnv, input: &Input, expect: &Expect) -> Result<()> {
    let account = env.account().await?;
    if let Some(exists) = expect.account_exists {
        ensure!(account.is_some() == exists, "the account: {account:?}");
    }
    if let Some(login) = expect.account_login {
        ensure!(account.as_ref().is_some_and(|account| account.login) == login, "the account: {account:?}");
    }
    if let Some(wanted) = &expect.memberships {
        ensure!(db_roles(account.as_ref()) == *wanted, "the account: {account:?}");
    }
    if let Some(wanted) = &expect.effective {
        let query = format!(
            "select p, schemaname, tablename from pg_tables, unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE',
                 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
             where schemaname not in ('pg_catalog', 'information_schema')
             and has_table_privilege('{ALICE}', format('%I.%I', schemaname, tablename), p)"
        );
        let found = triples(env, input, &query).await?;
        ensure!(found == *wanted, "the user can do {found:?}");
    }
    if let Some(wanted) = &expect.granted_to_user {
        let query = format!(
            "select privilege_type, table_schema, table_name from information_schema.role_table_grants
             where grantee = '{ALICE}'"
        );
        let found = triples(env, input, &query).await?;
        ensure!(found == *wanted, "granted to the user itself: {found:?}");
    }
    if let Some(wanted) = &expect.admin_database {
        let query = format!("select distinct datname from pg_stat_activity where usename = '{ADMIN_USER}'");
        let found = env.pg.sql("postgres", &query).await?;
        ensure!(found.contains(&vec![Some(wanted.clone())]), "the admin user is connected to {found:?}");
    }
    if let Some(wanted) = expect.account_sessions {
        let reported = |user: &DatabaseUser| {
            let accounts = user.status.iter().flat_map(|status| &status.accounts);
            accounts.map(|account| account.sessions).sum::<u32>() == wanted
        };
        env.until("alice", &format!("a user of {wanted} sessions"), reported).await?;
    }
    Ok(())
}

fn check_after_end(after: &AfterEnd, account: Option<Account>) -> Result<()> {
    let found = match &account {
        None => "Dropped",
        Some(account) if !account.managed => "Conflict",
        Some(account) if account.login => "Enabled",
        Some(_) => "Disabled",
    };
    ensure!(found == after.phase, "after the end: {account:?}");
    let Some(account) = &account else { return Ok(()) };
    ensure!(after.login.is_none_or(|login| login == account.login), "after the end: {account:?}");
    ensure!(after.managed.is_none_or(|managed| managed == account.managed), "after the end: {account:?}");
    let memberships = after.memberships.as_ref();
    ensure!(memberships.is_none_or(|wanted| account.memberships == *wanted), "after the end: {account:?}");
    ensure!(account.backends == 0, "after the end: {account:?}");
    Ok(())
}

async fn triples(env: &TestEnv, input: &Input, query: &str) -> Result<BTreeSet<Vec<String>>> {
    let rows = env.pg.sql(&input.database_name, query).await?;
    Ok(rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect())
}

fn db_roles(account: Option<&Account>) -> BTreeSet<String> {
    let memberships = account.into_iter().flat_map(|account| &account.memberships);
    memberships.filter(|role| !role.starts_with(SET_PREFIX)).cloned().collect()
}
