//! What follows when a server may be another one than before.

use std::sync::Arc;

use rolecall_api::{DatabaseAdmin, reasons};
use rolecall_engine::{History, HistoryChange};

use crate::Shared;
use crate::api_writer::Severity;
use crate::model::{ObjectKey, Priority, ReconcileKey};
use crate::servers::Server;

/// Records the position of a server in its history: `history` as a reconcile saw it, else as the watching task did.
/// Where the server may have lost changes, that is reported, and its permission sets are reconciled.
pub(super) async fn notice(
    shared: &Shared,
    key: &ObjectKey,
    admin: &Arc<DatabaseAdmin>,
    server: &Server,
    history: Option<&History>,
) -> Option<HistoryChange> {
    let seen = shared.failover_watch.seen(key);
    let history = history.cloned().or(seen)?;
    let status = admin.status.as_ref();
    let is_used = status.and_then(|status| status.endpoint.as_ref()) == Some(&server.endpoint);
    let before = status.filter(|_| is_used).and_then(|status| status.server_history.as_deref());
    let change = shared.failover_watch.record(key, &server.endpoint.uri, &history, before, shared.now())?;
    if !change.may_have_lost() {
        tracing::info!(admin = %key, %change, "its accounts are checked");
        return Some(change);
    }
    shared.metrics.failover(key);
    tracing::warn!(admin = %key, %change, "the server may have lost changes: its accounts are checked");
    shared.audit.failover(key, &change).await;
    let note = format!(
        "{change}: changes that the server had confirmed may be lost, the end of accesses among them; every account was checked"
    );
    shared.api.event(&**admin, Severity::Warning, reasons::FAILOVER, "Check", &note);
    for objects in shared.sets.to_reconcile_again(key) {
        shared.queue.add(ReconcileKey::PermissionSets(objects), Priority::Urgent);
    }
    Some(change)
}
