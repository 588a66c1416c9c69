//! Secrets of live sessions that somebody deleted, or removed the password from: they are created again.
//!
//! Secrets are not watched, as that would need the right to read all of them. So those of live sessions are read one by
//! one, at a slow pace: a few with each reconcile of their DatabaseAdmin, the least recently seen first. Those that were
//! seen a moment ago, or have just been written, are left for later.

use std::sync::Arc;

use futures::StreamExt;
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_engine::AccountName;
use tokio::time::Instant;

use super::credentials::recall;
use crate::Shared;
use crate::model::session::phase;
use crate::model::{AccountKey, ObjectKey, Priority, ReconcileKey};
use crate::servers::Server;

/// How many are read with each reconcile of a DatabaseAdmin.
const PER_RECONCILE: usize = 20;
const AT_ONCE: usize = 4;

/// Triggers the accounts whose sessions lack the credentials that they were issued.
pub async fn find_missing(shared: &Shared, admin: &ObjectKey, server: &Server) {
    let asked: Vec<_> =
        due(shared, admin).into_iter().map(|(key, session)| ask(shared, server, key, session)).collect();
    let mut asked = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
    while let Some(missing) = asked.next().await {
        if let Some(account) = missing {
            tracing::info!(%account, "the Secret of a live session is missing or was changed: it is created again");
            shared.queue.add(ReconcileKey::Account(account), Priority::Normal);
        }
    }
}

/// The live sessions whose Secrets were least recently seen, and their accounts.
fn due(shared: &Shared, admin: &ObjectKey) -> Vec<(AccountKey, Arc<DatabaseSession>)> {
    let cache = shared.cache();
    let live = cache.sessions_of_admin(admin).filter(|session| {
        let is_live = phase(session) == SessionPhase::Active && session.metadata.deletion_timestamp.is_none();
        is_live && session.spec.certificate_request.is_none()
    });
    let fresh = shared.settings.resync_interval / 2;
    let mut found: Vec<(Instant, &Arc<DatabaseSession>)> = live
        .filter_map(|session| {
            let uid = session.metadata.uid.as_deref()?;
            let confirmed = shared.issued.confirmed(uid).filter(|at| at.elapsed() >= fresh)?;
            shared.issued.get(uid)?.secret?;
            Some((confirmed, session))
        })
        .collect();
    found.sort_by_key(|(confirmed, _)| *confirmed);
    found.truncate(PER_RECONCILE);
    found
        .into_iter()
        .filter_map(|(_, session)| {
            Some((cache.account_of_session(&ObjectKey::of(&**session))?.clone(), Arc::clone(session)))
        })
        .collect()
}

/// Returns the account where the Secret has to be made again.
async fn ask(
    shared: &Shared,
    server: &Server,
    account: AccountKey,
    session: Arc<DatabaseSession>,
) -> Option<AccountKey> {
    let uid = session.metadata.uid.as_deref()?;
    let name = AccountName::new(&*account.username).ok()?;
    let found = match recall(shared, &session, server, &name, shared.now()).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%account, %error, "the Secret of a live session could not be read");
            return None;
        }
    };
    let is_right = found.is_some_and(|(_, found)| match (found, shared.passwords.get(&account)) {
        (Some(found), Some(password)) => found.is_same(&password),
        _ => true,
    });
    if is_right {
        shared.issued.confirm(uid);
        return None;
    }
    shared.issued.set(uid, None);
    Some(account)
}
