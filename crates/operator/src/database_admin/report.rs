//! Writing the status of a DatabaseAdmin, with its events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rolecall_api::{DatabaseAdmin, DatabaseAdminStatus, conditions, reasons};
use tokio_util::sync::CancellationToken;

use super::observation::Observation;
use super::orphans::Orphan;
use super::status;
use crate::Shared;
use crate::account::returned::{self, Response};
use crate::api_writer::Severity;
use crate::model::{AccountKey, ObjectKey};

/// How long an observation may take before what accounts have found is reported.
const SILENT: Duration = Duration::from_secs(1);

/// Writes the status where it differs, with an event for each condition that turned bad.
///
/// # Errors
///
/// What the API server answered.
pub(super) async fn write(
    shared: &Shared,
    admin: &Arc<DatabaseAdmin>,
    status: &DatabaseAdminStatus,
) -> kube::Result<()> {
    if admin.status.as_ref() != Some(status) {
        shared.api.apply_status(shared, &**admin, status).await?;
        events(shared, admin, status);
    }
    Ok(())
}

/// Waits for an observation, and reports meanwhile what accounts have found: that the server does not answer.
pub(super) async fn while_observing(
    shared: &Shared,
    key: &ObjectKey,
    admin: &Arc<DatabaseAdmin>,
    observing: impl Future<Output = Observation>,
) -> Observation {
    let done = CancellationToken::new();
    let report = async {
        while tokio::time::timeout(SILENT, done.cancelled()).await.is_err() {
            let mark =
                shared.servers.get(key).filter(|state| state.unreachable).and_then(|state| state.blocker);
            let known = shared.cache().admin(key).filter(|known| known.metadata.uid == admin.metadata.uid);
            let (Some(blocker), Some(known)) = (mark, known) else { continue };
            let ready =
                known.status.as_ref().and_then(|s| conditions::find(&s.conditions, conditions::READY));
            if ready.is_some_and(|ready| ready.status == conditions::FALSE) {
                continue;
            }
            let status = status::silent(&known, &blocker, shared.now());
            match shared.api.apply_status(shared, &*known, &status).await {
                Ok(()) => events(shared, &known, &status),
                Err(error) => {
                    tracing::debug!(admin = %key, %error, "that the server does not answer could not be reported")
                }
            }
        }
    };
    let observe = async {
        let observed = observing.await;
        done.cancel();
        observed
    };
    tokio::join!(observe, report).0
}

/// One event for each account that is named as an orphan for the first time.
pub(super) async fn orphans(
    shared: &Shared,
    admin: &Arc<DatabaseAdmin>,
    key: &ObjectKey,
    named: &[Orphan],
    came_back: &BTreeSet<AccountKey>,
) {
    let keys = named.iter().map(|orphan| orphan.key.clone()).collect();
    let new = shared.orphans.report(key, &keys);
    for orphan in named.iter().filter(|orphan| new.contains(&orphan.key)) {
        tracing::warn!(account = %orphan.key, "it can be used and no session accounts for it");
        let severity = Severity::Warning;
        shared.api.event(&**admin, severity, reasons::ORPHANED, "Report", &orphan.message);
        if came_back.contains(&orphan.key) {
            returned::report(shared, &orphan.key, Response::Reported(&orphan.message)).await;
        }
    }
}

/// An event for each condition that turned bad, and one where the host was written that a blue/green deployment renames.
fn events(shared: &Shared, admin: &Arc<DatabaseAdmin>, after: &DatabaseAdminStatus) {
    let before = admin.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    for type_ in [conditions::READY, conditions::CAPABLE] {
        let Some(new) = conditions::find(&after.conditions, type_).cloned() else { continue };
        let known = conditions::find(before, type_)
            .is_some_and(|old| old.reason == new.reason && old.status == new.status);
        let benign = new.status == conditions::TRUE && new.reason != reasons::PUBLIC_CONNECT;
        if known || benign || new.reason == reasons::TEARING_DOWN {
            continue;
        }
        shared.api.event(&**admin, Severity::Warning, &new.reason, "Preflight", &new.message);
    }
    let observed = admin.status.as_ref().and_then(|status| status.observed_generation);
    if observed != after.observed_generation
        && let Some(host) = rolecall_resolve::blue_green_host(admin)
    {
        let note = format!(
            "{host} is one side of a blue/green deployment and gets another name at the switchover: write the name without -green-... or -old..."
        );
        shared.api.event(&**admin, Severity::Warning, reasons::BLUE_GREEN_HOST, "Check", &note);
    }
}
