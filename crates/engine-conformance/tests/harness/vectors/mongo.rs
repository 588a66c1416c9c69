//! The vectors of MongoDB, on a real server.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document};
use rolecall_engine::{AccountName, Applied, plan};
use rolecall_engine_conformance::{DesiredAccount, Harness as _, State, Stopped};
use rolecall_mongodb::{RoleName, user_name};
use serde::Deserialize;
use serde_json::Value;

use super::super::MongoServer;
use super::{Done, Outcome, SessionOutcome, cases, check_all, in_phase, read, same, us};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ParseInput {
    roles: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ParseExpect {
    roles: Option<BTreeSet<Role>>,
    #[serde(default)]
    invalid: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub(super) struct Role {
    role: String,
    db: String,
}

/// Database roles as the server has them.
pub(super) fn parse_roles(input: &ParseInput, expect: &ParseExpect) -> Outcome {
    let parsed: Result<BTreeSet<Role>, _> = input
        .roles
        .iter()
        .map(|text| RoleName::parse(text).map(|name| Role { role: name.role, db: name.database }))
        .collect();
    same("invalid", &parsed.is_err(), &expect.invalid)?;
    if let (Ok(parsed), Some(expected)) = (parsed, &expect.roles) {
        same("roles", &parsed, expected)?;
    }
    Ok(Done::Checked)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    username: String,
    before: Before,
    live_sessions: Vec<Session>,
    session: Option<Session>,
    event: Option<String>,
    mode: Option<String>,
    #[serde(default)]
    then_ends: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Before {
    exists: bool,
    #[serde(default)]
    managed: bool,
    #[serde(default)]
    roles: BTreeSet<Role>,
    #[serde(default)]
    authentication_restrictions: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Session {
    db_roles: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expect {
    session: Option<SessionOutcome>,
    account: Account,
    while_active: Option<Account>,
    commands: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Account {
    phase: String,
    user: Option<String>,
    auth_db: Option<String>,
    roles: Option<BTreeSet<Role>>,
    authentication_restrictions: Option<Vec<Value>>,
    custom_data_contains: Option<serde_json::Map<String, Value>>,
}

/// Runs the cases about accounts, and only then says which failed.
pub(crate) async fn run(server: &MongoServer) {
    let mut failed = Vec::new();
    let all = cases("mongo_lifecycle");
    assert!(!all.is_empty(), "no case ran");
    let (passed, left) = check_all(&all, &mut failed, async |case| {
        lifecycle(server, &read(&case.input)?, &read(&case.expect)?).await
    })
    .await;
    println!("mongo_lifecycle: {passed}/{} {}", all.len(), left.join(", "));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

async fn lifecycle(server: &MongoServer, input: &Input, expect: &Expect) -> Outcome {
    let user = server.name(&input.username);
    let live = !input.live_sessions.is_empty();
    if input.before.exists {
        let state = State {
            managed: input.before.managed,
            login: input.before.authentication_restrictions.is_empty(),
            memberships: input.before.roles.iter().map(|role| format!("{}@{}", role.role, role.db)).collect(),
            owner: (live || input.event.is_some()).then(us),
            ..State::default()
        };
        server.put(&user, &state).await;
    }
    let before = server.document(&user).await;
    let drop = input.mode.as_deref() == Some("BestEffortDrop");
    let desired = DesiredAccount::start(&user, &server.database())?;
    if let Some(session) = &input.session {
        if input.live_sessions.iter().any(|other| other.db_roles != session.db_roles) {
            account(server, &input.username, &user, &expect.account).await?;
            return Ok(Done::LeftTo("the operator, which knows the other sessions"));
        }
        let desired = desired.clone().roles(&session.db_roles);
        let desired = if live { desired.live() } else { desired };
        let reason = reason(desired.bring(server.engine()).await)?;
        if let Some(expected) = &expect.session {
            same("reason", &reason.as_deref(), &expected.reason.as_deref())?;
            same("rejected", &reason.is_some(), &(expected.phase == "Rejected"))?;
        }
        if let Some(expected) = &expect.while_active {
            account(server, &input.username, &user, expected).await?;
        }
    }
    if input.then_ends || input.event.is_some() {
        if let Some(other) = input.live_sessions.first() {
            // What the others need stays, and nothing has to be done for that.
            let desired = desired.roles(&other.db_roles).live();
            let observed =
                server.engine().observe(&desired.0.query()).await.map_err(|error| error.to_string())?;
            let plan = plan::plan(&desired.0, &observed).map_err(|refusal| refusal.to_string())?;
            same("nothing to do", &plan.is_nothing(), &true)?;
        } else {
            same("reason", &reason(desired.end(drop).bring(server.engine()).await)?, &None)?;
        }
    }
    account(server, &input.username, &user, &expect.account).await?;
    let after = server.document(&user).await;
    match expect.commands.as_deref() {
        Some([]) => same("the user", &after, &before)?,
        // Recognized by the id, which a user gets when it is created.
        Some([only]) if only == "updateUser" => same("the id", &id(&after), &id(&before))?,
        Some([only]) if only == "createUser" => same("new", &(before.is_none() && after.is_some()), &true)?,
        Some([only]) if only == "dropUser" => same("gone", &(before.is_some() && after.is_none()), &true)?,
        _ => {}
    }
    Ok(Done::Checked)
}

fn reason(result: Result<Applied, Stopped>) -> Result<Option<String>, String> {
    match result {
        Ok(_) => Ok(None),
        Err(stopped) => match stopped.reason() {
            Some(reason) => Ok(Some(reason.to_string())),
            None => Err(stopped.to_string()),
        },
    }
}

fn id(user: &Option<Document>) -> Option<Bson> {
    user.as_ref().and_then(|user| user.get("userId").cloned())
}

/// Compares a user with what a case expects, by the name that it has here.
async fn account(server: &MongoServer, name: &str, here: &str, expected: &Account) -> Result<(), String> {
    let found = server.document(here).await;
    same("exists", &found.is_some(), &(expected.phase != "Dropped"))?;
    let Some(found) = found else { return Ok(()) };
    let state = server.user_state(here).await.ok_or("it is gone")?;
    in_phase(&state, &expected.phase)?;
    let called =
        |name: &str| AccountName::new(name).map(|account| user_name(&account)).map_err(|e| e.to_string());
    if let Some(user) = &expected.user {
        same("user of the case", user, &called(name)?)?;
        same("user", &found.get_str("user").unwrap_or_default(), &called(here)?.as_str())?;
    }
    if let Some(database) = &expected.auth_db {
        same("authDb", &found.get_str("db").unwrap_or_default(), &database.as_str())?;
    }
    let json = serde_json::to_value(&found).map_err(|error| error.to_string())?;
    if let Some(roles) = &expected.roles {
        same("roles", &read::<BTreeSet<Role>>(&json["roles"])?, roles)?;
    }
    if let Some(restrictions) = &expected.authentication_restrictions {
        // The server nests them once more.
        let nested = json["authenticationRestrictions"].as_array().cloned().unwrap_or_default();
        let flat: Vec<Value> =
            nested.into_iter().flat_map(|one| one.as_array().cloned().unwrap_or_else(|| vec![one])).collect();
        same("authenticationRestrictions", &flat, restrictions)?;
    }
    for (key, value) in expected.custom_data_contains.iter().flatten() {
        same(key, &json["customData"].get(key), &Some(value))?;
    }
    Ok(())
}
