//! Sessions that end.

use std::collections::BTreeSet;

use rolecall_engine::{Class, plan};
use rolecall_engine_conformance::{DesiredAccount, Trace};
use serde::Deserialize;

use super::{AccountOutcome, Before, Done, Names, Outcome, Server, SessionOutcome, same};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EndInput {
    #[serde(rename = "event")]
    _event: String,
    mode: String,
    before: Before,
    other_live_sessions: u32,
    #[serde(rename = "inherited")]
    _inherited: Option<Vec<String>>,
    #[serde(default)]
    server_down: bool,
    #[serde(default)]
    owns_objects: bool,
    drop_error: Option<String>,
    leftover_grant_in_database: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EndExpect {
    session: SessionOutcome,
    account: Option<AccountOutcome>,
    account_exists: Option<bool>,
    revoked: Option<BTreeSet<String>>,
    backends_left: Option<u32>,
}

pub(super) async fn end(server: &dyn Server, input: EndInput, expect: EndExpect) -> Outcome {
    if input.drop_error.as_ref().is_some_and(|code| code != "2BP01") && !server.is_fake() {
        return Ok(Done::LeftTo("the fake: no server refuses a drop alone for want of a right"));
    }
    let mut names = Names::new(server);
    let user = server.name("user");
    names.put(&user, &input.before, true).await;
    if input.owns_objects {
        server.leave(&user, &Trace::OwnedObject).await;
    }
    if input.leftover_grant_in_database.is_some() {
        server.leave(&user, &Trace::Right).await;
    }
    if input.drop_error.is_some() {
        // Whatever the server says, the account is kept.
        server.leave(&user, &Trace::OwnedObject).await;
    }
    let before = server.user_state(&user).await.unwrap_or_default();
    let drop = match input.mode.as_str() {
        "Keep" => false,
        "BestEffortDrop" => true,
        other => return Err(format!("unknown mode {other}")),
    };
    let desired = DesiredAccount::start(&user, &server.database())?.roles(&before.memberships);
    let desired = if input.other_live_sessions > 0 { desired.live() } else { desired.end(drop) };

    let ended = if input.server_down {
        let observed =
            server.engine().observe(&desired.0.query()).await.map_err(|error| error.to_string())?;
        let plan = plan::plan(&desired.0, &observed).map_err(|refusal| refusal.to_string())?;
        match server.unreachable().apply(&plan).await {
            Ok(_) => return Err("a server that is down has answered".to_owned()),
            Err(error) => same("class", &error.class, &Class::Unreachable)?,
        }
        false
    } else {
        desired.bring(server.engine()).await.map_err(|stopped| stopped.to_string())?;
        true
    };
    same("ended", &ended, &(expect.session.phase == "Ended"))?;
    // Why a session ends is the operator's to say.
    let _ = (&expect.session.end_reason, &expect.session.reason);
    if let Some(account) = &expect.account {
        names.account(&user, account).await?;
    }
    let after = server.user_state(&user).await;
    if let Some(exists) = expect.account_exists {
        same("accountExists", &after.is_some(), &exists)?;
    }
    if let Some(left) = expect.backends_left {
        same("backendsLeft", &after.as_ref().map_or(0, |state| state.backends), &left)?;
    }
    if let Some(revoked) = &expect.revoked {
        let kept = after.map(|state| state.memberships).unwrap_or_default();
        let gone: BTreeSet<String> = before.memberships.difference(&kept).cloned().collect();
        same("revoked", &names.back(&gone), revoked)?;
    }
    Ok(Done::Checked)
}
