//! An access that came back after it had ended: reported wherever its end was.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::{AccountPhase, AccountStatus, DatabaseSession, SessionPhase, conditions, reasons};
use rolecall_engine::{Applied, HistoryChange};

use super::reports::{self, AccountReport};
use crate::Shared;
use crate::api_writer::Severity;
use crate::model::session::{may_have_access, phase, recorded_username};
use crate::model::{AccountKey, ObjectKey};

/// What was done about an access that came back.
#[derive(Clone, Debug)]
pub enum Response<'a> {
    /// It was ended again.
    Ended(&'a Applied),
    /// It was left alone, as the DatabaseAdmin says: what closes it.
    Reported(&'a str),
}

impl Response<'_> {
    /// Its name in the audit log and in metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Ended(_) => "ended",
            Self::Reported(_) => "reported",
        }
    }

    fn message(&self, username: &str, cause: &str) -> String {
        match self {
            Self::Ended(applied) => {
                let mut after = match (&applied.kept_because, applied.dropped) {
                    (Some(why), _) => format!(", and is disabled, not dropped: {why}"),
                    (None, true) => ", and the account was dropped".to_owned(),
                    (None, false) => String::new(),
                };
                if let Some(reassigned) = &applied.reassigned {
                    after.push_str(&format!("; {reassigned}"));
                }
                format!(
                    "{username} could be used again after its access had ended ({cause}): it was ended again{after}"
                )
            }
            Self::Reported(statement) => {
                format!("{username} can be used again though its access had ended ({cause}): {statement}")
            }
        }
    }
}

/// Does a status say that this access is over?
pub fn was_over(shared: &Shared, key: &AccountKey) -> bool {
    let over = |report: &AccountReport| {
        matches!(
            report.account.phase,
            AccountPhase::Disabled | AccountPhase::Dropped | AccountPhase::Orphaned
        )
    };
    last_report(shared, key).as_ref().is_some_and(over) || !ended_sessions(shared, key).is_empty()
}

/// The last report of an account, also where a previous operator process made it; where there is none, the beginning of
/// one for its DatabaseUser. `None` where there is no DatabaseUser of its name.
pub(super) fn last_report(shared: &Shared, key: &AccountKey) -> Option<AccountReport> {
    shared.reports.get(key).or_else(|| {
        let user = shared.cache().user_named(&key.admin.namespace, &key.username)?;
        let account = reports::in_status(&user, key).unwrap_or_else(|| AccountStatus {
            database: key.admin.name.to_string(),
            username: key.username.to_string(),
            ..AccountStatus::default()
        });
        Some(AccountReport { user: ObjectKey::of(&*user), account })
    })
}

/// Reports an access that came back: in events and on the sessions that ended, in the audit log, in a metric. Returns
/// what the status of its DatabaseUser will say.
pub async fn report(shared: &Shared, key: &AccountKey, action: Response<'_>) -> String {
    let cause = cause(shared.failover_watch.loss(&key.admin).map(|loss| (loss.noticed, loss.change)));
    let note = action.message(&key.username, &cause);
    tracing::warn!(account = %key, action = action.name(), cause, "an access came back");
    shared.metrics.returned(&key.admin, action.name());
    shared.audit.returned(key, action.name(), &cause).await;
    let user = shared.cache().user_named(&key.admin.namespace, &key.username);
    if let Some(user) = user {
        shared.api.event(&*user, Severity::Warning, reasons::ACCESS_RETURNED, "End", &note);
    }
    for session in ended_sessions(shared, key) {
        shared.api.event(&*session, Severity::Warning, reasons::ACCESS_RETURNED, "End", &note);
        let Some(mut status) = session.status.clone() else { continue };
        let ready = status.conditions.iter_mut().find(|condition| condition.type_ == conditions::READY);
        // Its reason stays: that is why the session ended.
        if let Some(ready) = ready {
            ready.message.clone_from(&note);
            if let Err(error) = shared.api.apply_status(shared, &*session, &status).await {
                tracing::warn!(account = %key, %error, "an access that came back could not be reported on its session");
            }
        }
    }
    note
}

/// The sessions of an account that are over and still there. What they are bound to may be another account by now.
fn ended_sessions(shared: &Shared, key: &AccountKey) -> Vec<Arc<DatabaseSession>> {
    let cache = shared.cache();
    let sessions = cache.sessions_of_admin(&key.admin).filter(|session| {
        phase(session) == SessionPhase::Ended
            && session.metadata.deletion_timestamp.is_none()
            && !may_have_access(session)
            && recorded_username(session) == Some(&key.username)
    });
    sessions.cloned().collect()
}

/// Why it came back, where that is known.
fn cause(loss: Option<(Timestamp, HistoryChange)>) -> String {
    match loss {
        Some((noticed, change)) => format!("{change}, noticed at {}", seconds(noticed)),
        None => {
            "somebody let the account log in again, or the server was set back to an earlier state".to_owned()
        }
    }
}

fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_is_reported_with_its_cause_and_what_was_done() {
        let noticed = "2026-01-01T12:00:00.5Z".parse().unwrap();
        let change = HistoryChange::Branched { from: "timeline 1".into(), to: "timeline 2".into() };
        let cause = cause(Some((noticed, change)));
        assert_eq!(cause, "failover from timeline 1 to timeline 2, noticed at 2026-01-01T12:00:00Z");
        let said = |action: Response<'_>| action.message("alice", "why");
        assert_eq!(
            said(Response::Ended(&Applied::default())),
            "alice could be used again after its access had ended (why): it was ended again"
        );
        let dropped = Applied { dropped: true, ..Applied::default() };
        assert!(said(Response::Ended(&dropped)).ends_with("ended again, and the account was dropped"));
        let kept = Applied { kept_because: Some("it owns a table".to_owned()), ..Applied::default() };
        assert!(said(Response::Ended(&kept)).ends_with("disabled, not dropped: it owns a table"));
        assert!(
            said(Response::Reported("run X"))
                .ends_with("can be used again though its access had ended (why): run X")
        );
    }
}
