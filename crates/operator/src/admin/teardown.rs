//! Deleting a DatabaseAdmin: its accounts go first.
//!
//! The sessions end by themselves once the deletion shows; this waits for them, sweeps what no session accounts for,
//! and lets the object go. After the teardown deadline it goes whatever is left, with an event that names it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::names::TEARDOWN_FINALIZER;
use rolecall_api::{DatabaseAdmin, Deletion, reasons};
use rolecall_engine::{AccountName, Applied, Class, Desired, Want, plan};

use super::status::Seen;
use crate::Shared;
use crate::account::lifecycle::{is_touched, plus};
use crate::objects::Severity;
use crate::permissions;
use crate::queue::Lane;
use crate::runtime::{Done, Failed};
use crate::servers::Server;
use crate::world::{ObjectKey, Work};

/// How soon the sessions are counted again.
const AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn tear_down(
    shared: &Shared,
    key: &ObjectKey,
    admin: &Arc<DatabaseAdmin>,
    seen: &Seen,
    now: Timestamp,
) -> Result<Done, Failed> {
    let holds = admin.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TEARDOWN_FINALIZER);
    if !holds {
        return Ok(Done::nothing());
    }
    let deadline = admin
        .metadata
        .deletion_timestamp
        .as_ref()
        .and_then(|deleted| plus(deleted.0, shared.settings.teardown_deadline))
        .unwrap_or(Timestamp::MAX);
    let late = deadline <= now;
    let waiting = {
        let world = shared.world();
        for account in world.accounts_of_admin(key) {
            shared.queue.add(Work::Account(account), Lane::Urgent);
        }
        world.sessions_of_admin(key).filter(|session| is_touched(session)).count()
    };
    if waiting > 0 {
        return Ok(Done { at: plus(now, AGAIN).map(|at| (at, Lane::Normal)), retry: false });
    }
    let server = seen.state.server.as_ref().filter(|_| !seen.state.unreachable && !admin.spec.suspend);
    let left = match (admin.spec.deletion, server) {
        (Deletion::Retain, _) => Ok(()),
        (Deletion::Revoke, Some(server)) => sweep(server, key).await,
        // Nothing was ever done on a server that was never reached.
        (Deletion::Revoke, None) if admin.status.as_ref().is_none_or(|status| status.endpoint.is_none()) => {
            Ok(())
        }
        (Deletion::Revoke, None) => Err("the server does not answer".to_owned()),
    };
    if let Err(why) = left {
        if !late {
            return Ok(Done { at: Some((deadline, Lane::Normal)), retry: true });
        }
        let note = format!(
            "the server was not swept before the teardown deadline: {why}. Look for managed users ({}) there that can log in",
            rolecall_engine::MARKER
        );
        shared.objects.event(&**admin, Severity::Warning, reasons::ABANDONED, "TearDown", &note).await;
        tracing::warn!(admin = %key, why, "abandoned");
    }
    let newest = shared.world().admin(key).unwrap_or_else(|| Arc::clone(admin));
    shared.objects.remove_finalizer(shared, &*newest, TEARDOWN_FINALIZER, serde_json::json!({})).await?;
    Ok(Done::nothing())
}

/// Disables every account that carries our record and can still log in, though no session accounts for it, and drops
/// the permission sets.
async fn sweep(server: &Server, key: &ObjectKey) -> Result<(), String> {
    let census = server.engine.census().await.map_err(|error| error.to_string())?;
    for entry in census.accounts {
        let ours = entry.owner.as_ref().is_some_and(|owner| owner.uid == server.owner.uid);
        if ours && (entry.enabled || entry.backends > 0) {
            tracing::info!(admin = %key, account = %entry.account, "disabling an account that no session accounts for");
            end_account(server, entry.account, false).await.map_err(|error| error.to_string())?;
        }
    }
    permissions::drop_all(server).await.map_err(|error| error.to_string())
}

/// Ends an account without any session: it is disabled, and dropped where that is wanted and possible.
///
/// # Errors
///
/// What the server answered.
pub async fn end_account(
    server: &Server,
    account: AccountName,
    drop: bool,
) -> Result<Applied, rolecall_engine::Error> {
    let desired =
        Desired { account, owner: server.owner.clone(), session_database: None, want: Want::Ended { drop } };
    let observed = server.engine.observe(&desired.query()).await?;
    if let Err(refusal) = plan::check_ended(&desired, &observed, true) {
        return Err(rolecall_engine::Error {
            class: Class::Refused,
            reason: refusal.reason,
            attempted: format!("ending {}", desired.account),
            code: String::new(),
            detail: refusal.message,
            remedy: String::new(),
        });
    }
    // Planning an end is never refused: what is not ours is left alone.
    match plan::plan(&desired, &observed) {
        Ok(plan) => server.engine.apply(&plan).await,
        Err(_) => Ok(Applied::default()),
    }
}
