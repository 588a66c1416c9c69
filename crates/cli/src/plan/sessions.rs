//! What becomes of live sessions.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use rolecall_api::{DatabaseSession, SessionPhase, reasons};
use rolecall_resolve::Grant;

use super::question::{Pair, Question};
use super::view::{SessionChange, SessionEffect};
use crate::explain::BlockedView;

/// The sessions of a user on a database that notice the change, by name.
pub(super) fn changes(question: &Question<'_>, pair: &Pair<'_>) -> Vec<SessionChange> {
    let sessions = of_pair(question.sessions, pair);
    let mut changes: Vec<SessionChange> =
        sessions.filter_map(|session| change(session, pair, question.now)).collect();
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes
}

/// Those of them that have an account, each with what policy gives it before and afterwards.
pub(super) fn live_of<'a>(sessions: &'a [DatabaseSession], pair: &Pair<'_>) -> Vec<Live<'a>> {
    let live = of_pair(sessions, pair).filter(|session| phase(session) != SessionPhase::Pending);
    live.map(|session| Live {
        session,
        before: pair.before.0.session(session).ok(),
        after: pair.after.0.session(session).ok(),
    })
    .collect()
}

/// A session with an account.
pub(super) struct Live<'a> {
    pub(super) session: &'a DatabaseSession,
    pub(super) before: Option<Grant>,
    pub(super) after: Option<Grant>,
}

fn of_pair<'a>(
    sessions: &'a [DatabaseSession],
    pair: &Pair<'_>,
) -> impl Iterator<Item = &'a DatabaseSession> {
    let (user, database) = (pair.user.to_owned(), pair.database.to_owned());
    sessions.iter().filter(move |session| {
        session.spec.user == user
            && session.spec.database == database
            && session.metadata.deletion_timestamp.is_none()
            && !matches!(phase(session), SessionPhase::Ended | SessionPhase::Rejected | SessionPhase::Ending)
    })
}

fn phase(session: &DatabaseSession) -> SessionPhase {
    session.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

fn change(session: &DatabaseSession, pair: &Pair<'_>, now: Timestamp) -> Option<SessionChange> {
    let (before, after) = (pair.before.0.session(session), pair.after.0.session(session));
    // One that expires is over.
    let waits = after.is_err() && session.spec.ttl.is_none();
    let (effect, why) = match (before, after) {
        (Ok(_), Err(blocked)) => (SessionEffect::Ends, Some(blocked.into())),
        (Err(_), Ok(_)) => (SessionEffect::Starts, None),
        (Err(_), Err(_)) => return None,
        (Ok(before), Ok(after)) => match expiry(session, &after) {
            Some(at) if at <= now => (SessionEffect::Ends, Some(expired(at))),
            Some(at) => (SessionEffect::ExpiresEarlier, Some(expired(at))),
            None if before.db_roles != after.db_roles || before.permissions != after.permissions => {
                (SessionEffect::Changes, None)
            }
            None => return None,
        },
    };
    Some(SessionChange {
        name: session.name_any(),
        database_name: session.spec.database_name.clone(),
        effect,
        why,
        waits,
    })
}

fn expired(at: Timestamp) -> BlockedView {
    BlockedView {
        reason: reasons::EXPIRED.to_owned(),
        message: format!("with maxSessionTtl it ends at {}", at.strftime("%Y-%m-%dT%H:%M:%SZ")),
    }
}

/// When it would end, if that is earlier than now.
fn expiry(session: &DatabaseSession, after: &Grant) -> Option<Timestamp> {
    let status = session.status.as_ref()?;
    let (started, expires) = (status.started_at.as_ref()?.0, status.expires_at.as_ref()?.0);
    let limit = SignedDuration::try_from(after.max_session_ttl?).ok()?;
    let at = started.checked_add(limit).ok()?;
    (at < expires).then_some(at)
}
