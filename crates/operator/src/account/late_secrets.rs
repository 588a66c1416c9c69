//! Secrets of sessions that are over: one that another operator wrote late goes.
//!
//! A leader that was frozen while another one took over does one thing more when it goes on: it sends the request that it
//! was about to send. If that writes the Secret of a session that has ended meanwhile, nobody else hears of it, as
//! Secrets are not watched. So each session that is over is looked at once more, some time after its end.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use rolecall_api::{DatabaseSession, SessionPhase};

use super::credentials::take_back;
use crate::Shared;
use crate::model::session::phase;
use crate::model::{ObjectKey, plus};

/// How many are looked at with each reconcile of a DatabaseAdmin.
const PER_RECONCILE: usize = 20;
const AT_ONCE: usize = 4;
/// From when until when after its end a session is looked at, in intervals between two looks at a server: later than
/// anybody writes who was late, and not for ever where there are too many.
const LOOKED_AT: std::ops::Range<u32> = 2..10;

/// Takes back what another operator wrote for sessions of this DatabaseAdmin that were over. Returns when the next
/// session is to be looked at.
pub async fn take_back_late(shared: &Shared, admin: &ObjectKey) -> Option<Timestamp> {
    let (due, next) = due(shared, admin);
    let looks: Vec<_> = due.into_iter().map(|session| look(shared, admin, session)).collect();
    futures::stream::iter(looks).buffer_unordered(AT_ONCE).collect::<()>().await;
    next
}

/// The sessions to look at, those that ended first before the others; and when the next ones are.
fn due(shared: &Shared, admin: &ObjectKey) -> (Vec<Arc<DatabaseSession>>, Option<Timestamp>) {
    let cache = shared.cache();
    let (now, interval) = (shared.now(), shared.settings.resync_interval);
    let mut all = shared.looked_at.locked();
    let looked_at = all.remove(admin).unwrap_or_default();
    let mut still_there = HashSet::new();
    let (mut found, mut next): (Vec<(Timestamp, &Arc<DatabaseSession>)>, _) = (Vec::new(), None);
    for session in cache.sessions_of_admin(admin) {
        let Some((ended, uid)) = ended_at(session).zip(session.metadata.uid.as_deref()) else { continue };
        let Some((from, until)) =
            plus(ended, interval * LOOKED_AT.start).zip(plus(ended, interval * LOOKED_AT.end))
        else {
            continue;
        };
        if from > now {
            next = Some(next.map_or(from, |next: Timestamp| next.min(from)));
        } else if until > now {
            match looked_at.get(uid) {
                Some(uid) => drop(still_there.insert(uid.clone())),
                None => found.push((ended, session)),
            }
        }
    }
    if !still_there.is_empty() {
        all.insert(admin.clone(), still_there);
    }
    found.sort_by_key(|(ended, _)| *ended);
    if found.len() > PER_RECONCILE {
        next = plus(now, interval);
    }
    (found.into_iter().take(PER_RECONCILE).map(|(_, session)| Arc::clone(session)).collect(), next)
}

/// When a session ended that may have had a Secret.
fn ended_at(session: &DatabaseSession) -> Option<Timestamp> {
    let had_secret = session.spec.certificate_request.is_none();
    let is_over = phase(session) == SessionPhase::Ended && session.metadata.deletion_timestamp.is_none();
    let ended = session.status.as_ref()?.ended_at.as_ref()?.0;
    (had_secret && is_over).then_some(ended)
}

async fn look(shared: &Shared, admin: &ObjectKey, session: Arc<DatabaseSession>) {
    let key = ObjectKey::of(&*session);
    match take_back(shared, &session).await {
        Ok(false) => {}
        Ok(true) => {
            tracing::warn!(session = %key, "another operator wrote the Secret of a session that was over: it is deleted");
        }
        Err(error) => {
            tracing::debug!(session = %key, %error, "the Secret of a session that is over could not be deleted");
            return;
        }
    }
    if let Some(uid) = session.metadata.uid.clone() {
        shared.looked_at.locked().entry(admin.clone()).or_default().insert(uid);
    }
}
