//! Sessions from start to end.

use std::collections::BTreeSet;

use rolecall_engine::{Plan, plan};
use rolecall_engine_conformance::{DesiredAccount, bring};
use serde::Deserialize;
use serde_json::Value;

use super::{AccountOutcome, Done, Names, Outcome, Server, SessionOutcome, same};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IntegrationInput {
    mode: String,
    allow_db_roles: Vec<String>,
    admin_user: AdminUser,
    #[serde(rename = "databaseName")]
    _database_name: String,
    #[serde(default)]
    then_ends: bool,
    #[serde(default)]
    fails_after_user_created: bool,
    parallel_sessions: Option<usize>,
    allow_db_permissions: Option<Value>,
    #[serde(rename = "tables")]
    _tables: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AdminUser {
    default_database: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IntegrationExpect {
    session: Option<SessionOutcome>,
    sessions: Option<Vec<SessionOutcome>>,
    memberships: Option<BTreeSet<String>>,
    admin_database: Option<String>,
    after_end: Option<AccountOutcome>,
    account_login: Option<bool>,
    #[serde(rename = "accountExists")]
    _account_exists: Option<bool>,
    #[serde(rename = "accountSessions")]
    _account_sessions: Option<usize>,
    #[serde(rename = "effective")]
    _effective: Option<Value>,
    #[serde(rename = "grantedToUser")]
    _granted_to_user: Option<Value>,
}

pub(super) async fn integration(
    server: &dyn Server,
    input: IntegrationInput,
    expect: IntegrationExpect,
) -> Outcome {
    if input.mode == "Disabled" {
        return Ok(Done::LeftTo("the operator, which never asks the engine"));
    }
    if input.allow_db_permissions.is_some() {
        return Ok(Done::LeftTo("the tests of permission sets"));
    }
    if input.admin_user.default_database.is_some() {
        return Ok(Done::LeftTo("the_admin_user_works_in_its_default_database, on PostgreSQL"));
    }
    let mut names = Names::new(server);
    let user = server.name("user");
    let roles = names.roles(&input.allow_db_roles).await;
    let desired = DesiredAccount::start(&user, &server.database())?.roles(&roles);

    if input.fails_after_user_created {
        // The last grant of the transaction fails.
        let ghost = server.name("ghost");
        let observed =
            server.engine().observe(&desired.0.query()).await.map_err(|error| error.to_string())?;
        let Ok(Plan::Activate(mut plan)) = plan::plan(&desired.0, &observed) else {
            return Err("no activation was planned".to_owned());
        };
        plan.grant.push(ghost);
        if server.engine().apply(&Plan::Activate(plan)).await.is_ok() {
            return Err("it was carried out".to_owned());
        }
        let login = server.user_state(&user).await.is_some_and(|state| state.login);
        same("accountLogin", &Some(login), &expect.account_login)?;
        return Ok(Done::Checked);
    }

    match input.parallel_sessions {
        None => drop(desired.bring(server.engine()).await.map_err(|stopped| stopped.to_string())?),
        Some(sessions) => {
            // The operator has one task for an account. The engine tolerates two: the second may close what the
            // first has opened, but the account is complete in the end.
            let outcomes =
                futures::future::join_all((0..sessions).map(|_| bring(server.engine(), &desired.0))).await;
            same("one has started", &outcomes.iter().any(Result::is_ok), &true)?;
            desired.clone().live().bring(server.engine()).await.map_err(|stopped| stopped.to_string())?;
        }
    }
    let phases = expect.session.iter().chain(expect.sessions.iter().flatten());
    same("phases", &phases.map(|session| session.phase.as_str()).all(|phase| phase == "Active"), &true)?;
    let seen = server.user_state(&user).await.ok_or("the account is gone")?;
    if let Some(memberships) = &expect.memberships {
        same("memberships", &names.back(&seen.memberships), memberships)?;
    }
    if expect.admin_database.is_some()
        && let Some(database) = server.admin_database().await
    {
        same("adminDatabase", &database, &server.database())?;
    }
    if input.then_ends {
        let desired = desired.end(input.mode == "BestEffortDrop");
        desired.bring(server.engine()).await.map_err(|stopped| stopped.to_string())?;
    }
    if let Some(after) = &expect.after_end {
        names.account(&user, after).await?;
    }
    Ok(Done::Checked)
}
