//! Sessions that start.

use rolecall_engine::account::WantedRole;
use rolecall_engine::{AccountName, Want};
use rolecall_engine_conformance::DesiredAccount;
use serde::Deserialize;

use super::{AccountOutcome, Before, Done, Names, Outcome, Server, SessionOutcome, platform, same};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ActivateInput {
    platform: String,
    before: Before,
    live_sessions: Vec<Session>,
    session: Session,
    #[serde(default)]
    missing_in_database: Vec<String>,
    missing_db_roles: Option<String>,
    username: Option<String>,
    #[serde(rename = "markerExists")]
    _marker_exists: Option<bool>,
    #[serde(rename = "serverMessages")]
    _server_messages: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ActivateExpect {
    session: SessionOutcome,
    account: Option<AccountOutcome>,
    account_exists: Option<bool>,
    changed: Option<bool>,
}

pub(super) async fn activate(server: &dyn Server, input: ActivateInput, expect: ActivateExpect) -> Outcome {
    if expect.session.reason.as_deref() == Some("RolesChanged") {
        return Ok(Done::LeftTo("the operator, which knows the other sessions"));
    }
    let mut names = Names::new(server);
    for role in &input.missing_in_database {
        names.role(role, false).await;
    }
    let user = match &input.username {
        // One that no server could have stays as it is.
        Some(username) if AccountName::new(username.as_str()).is_err() => username.clone(),
        Some(username) => server.name(username),
        None => server.name("user"),
    };
    let live = !input.live_sessions.is_empty();
    names.put(&user, &input.before, live).await;
    let before = server.user_state(&user).await;

    let reason = match DesiredAccount::start(&user, &server.database()) {
        Err(_) => Some("InvalidUsername".to_owned()),
        Ok(desired) => {
            let mut desired = desired.roles(names.roles(&input.session.db_roles).await);
            if let Want::Enabled(enabled) = &mut desired.0.want {
                // The cases are about users with IAM tokens.
                for role in platform(&input.platform)?.roles(true) {
                    names.role(role, true).await;
                    enabled.roles.insert((*role).to_owned(), WantedRole { named_literally: true });
                }
                enabled.in_use = live;
                enabled.create_missing_roles = input.missing_db_roles.as_deref() == Some("Create");
            }
            match desired.bring(server.engine()).await {
                Ok(_) => None,
                Err(stopped) => Some(stopped.reason().ok_or_else(|| stopped.to_string())?.to_string()),
            }
        }
    };
    same("reason", &reason, &expect.session.reason)?;
    same("phase", &reason.is_none(), &(expect.session.phase == "Active"))?;
    let after = server.user_state(&user).await;
    if let Some(changed) = expect.changed {
        same("changed", &(before != after), &changed)?;
    }
    if let Some(exists) = expect.account_exists {
        same("accountExists", &after.is_some(), &exists)?;
    }
    match &expect.account {
        Some(account) => names.account(&user, account).await?,
        None => same("an account", &after.is_some(), &false)?,
    }
    Ok(Done::Checked)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Session {
    #[serde(rename = "databaseName")]
    _database_name: String,
    db_roles: Vec<String>,
}
