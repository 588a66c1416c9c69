//! The vectors of Redshift, on the simulator.

use std::collections::BTreeSet;

use rolecall_engine::{Applied, plan};
use rolecall_engine_conformance::{DesiredAccount, Harness as _, State, Stopped, Trace};
use serde::Deserialize;

use super::super::RedshiftServer;
use super::{Done, Outcome, SessionOutcome, cases, check_all, in_phase, read, same, us};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    before: Before,
    live_sessions: Vec<Session>,
    session: Option<Session>,
    event: Option<String>,
    mode: Option<String>,
    drop_error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Before {
    exists: bool,
    #[serde(default)]
    managed: bool,
    connection_limit: Option<u32>,
    #[serde(default)]
    memberships: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Session {
    db_roles: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expect {
    session: SessionOutcome,
    account: Account,
    changed: Option<bool>,
    password_disabled: Option<bool>,
    account_exists: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Account {
    phase: String,
    #[serde(default)]
    connection_limit: Option<u32>,
    managed: Option<bool>,
    memberships: Option<BTreeSet<String>>,
}

/// Runs the cases about accounts, and only then says which failed.
pub(crate) async fn run(server: &RedshiftServer) {
    let mut failed = Vec::new();
    let all = cases("redshift_lifecycle");
    assert!(!all.is_empty(), "no case ran");
    let (passed, left) = check_all(&all, &mut failed, async |case| {
        lifecycle(server, &read(&case.input)?, &read(&case.expect)?).await
    })
    .await;
    println!("redshift_lifecycle: {passed}/{} {}", all.len(), left.join(", "));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

async fn lifecycle(server: &RedshiftServer, input: &Input, expect: &Expect) -> Outcome {
    let user = server.name("user");
    let live = !input.live_sessions.is_empty();
    for role in input.before.memberships.iter().chain(input.session.iter().flat_map(|one| &one.db_roles)) {
        server.named(role).await;
    }
    if input.before.exists {
        let state = State {
            managed: input.before.managed,
            login: input.before.connection_limit.is_none(),
            memberships: input.before.memberships.clone(),
            owner: (input.before.managed && (live || input.event.is_some())).then(us),
            ..State::default()
        };
        server.put(&user, &state).await;
    }
    if input.drop_error.is_some() {
        server.leave(&user, &Trace::OwnedObject).await;
    }
    let before = server.user_state(&user).await;
    let drop = input.mode.as_deref() == Some("BestEffortDrop");
    let desired = DesiredAccount::start(&user, &server.database())?;
    if let Some(session) = &input.session {
        if input.live_sessions.iter().any(|other| other.db_roles != session.db_roles) {
            account(server, &user, &expect.account).await?;
            return Ok(Done::LeftTo("the operator, which knows the other sessions"));
        }
        let desired = desired.clone().roles(&session.db_roles);
        let desired = if live { desired.live() } else { desired };
        let reason = reason(desired.bring(server.engine()).await)?;
        same("reason", &reason.as_deref(), &expect.session.reason.as_deref())?;
        same("rejected", &reason.is_some(), &(expect.session.phase == "Rejected"))?;
    }
    if input.event.is_some() {
        if let Some(other) = input.live_sessions.first() {
            // What the others need stays, and nothing has to be done for that.
            let desired = desired.roles(&other.db_roles).live();
            let observed =
                server.engine().observe(&desired.0.query()).await.map_err(|error| error.to_string())?;
            let plan = plan::plan(&desired.0, &observed).map_err(|refusal| refusal.to_string())?;
            same("nothing to do", &plan.is_nothing(), &true)?;
        } else {
            same("reason", &reason(desired.end(drop).bring(server.engine()).await)?, &None)?;
            same("ended", &expect.session.phase.as_str(), &"Ended")?;
        }
    }
    account(server, &user, &expect.account).await?;
    let after = server.user_state(&user).await;
    if let Some(changed) = expect.changed {
        same("changed", &(before != after), &changed)?;
    }
    if let Some(exists) = expect.account_exists {
        same("accountExists", &after.is_some(), &exists)?;
    }
    if let Some(disabled) = expect.password_disabled {
        same("passwordDisabled", &after.is_some_and(|state| !state.password), &disabled)?;
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

/// Compares a user with what a case expects.
async fn account(server: &RedshiftServer, user: &str, expected: &Account) -> Result<(), String> {
    let found = server.user_state(user).await;
    same("exists", &found.is_some(), &(expected.phase != "Dropped"))?;
    let Some(found) = found else { return Ok(()) };
    in_phase(&found, &expected.phase)?;
    if expected.phase != "Conflict" {
        same("connectionLimit", &(!found.login).then_some(0), &expected.connection_limit)?;
    }
    if let Some(managed) = expected.managed {
        same("managed", &found.managed, &managed)?;
    }
    if let Some(memberships) = &expected.memberships {
        same("memberships", &found.memberships, memberships)?;
    }
    Ok(())
}
