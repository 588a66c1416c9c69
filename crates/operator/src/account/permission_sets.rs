//! The permission sets of an account's sessions: which they want, who has to wait for one, what is reported about them.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::{Condition, conditions, reasons};
use tokio::time::Instant;

use super::decide::{Setback, set_deadline};
use super::session::{Session, SetOfSession};
use crate::model::Blocker;
use crate::model::plus;
use crate::model::{ObjectKey, Priority};
use crate::servers::Server;
use crate::sets::{self, SetState, Wanted, WantedSets};

/// How long a session waits for its permission set before its status says so. Nearly all are ready long before.
const UNREPORTED: Duration = Duration::from_secs(2);

/// The permission sets that the sessions want, by the number of the session.
pub(super) fn wanted(sessions: &[Session], admin: &ObjectKey, server: &Server) -> Vec<(usize, Wanted)> {
    let wanting = sessions
        .iter()
        .enumerate()
        .filter(|(_, session)| session.is_live() || session.is_starting() || session.waits_for_set());
    wanting
        .filter_map(|(index, session)| {
            let grant = session.grant.as_ref().ok()?;
            Some((index, sets::wanted(admin, server, &session.object, grant)?))
        })
        .collect()
}

/// Records on each session the state of its set. A start waits until its set is ready; where that cannot be created, it
/// fails. Returns when to reconcile again by itself.
pub(super) fn assign(
    sessions: &mut [Session],
    wanted: Vec<(usize, Wanted)>,
    answer: &WantedSets,
    now: Timestamp,
) -> Option<(Timestamp, Priority)> {
    let mut again: Option<(Timestamp, Priority)> = answer
        .lingering
        .values()
        .flatten()
        .filter_map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            plus(now, left).map(|at| (at, Priority::Urgent))
        })
        .min();
    sessions.iter_mut().for_each(|session| session.set = None);
    for (index, wanted) in wanted {
        let Some(session) = sessions.get_mut(index) else { continue };
        let state = answer.states.get(&wanted.role).cloned().unwrap_or_default();
        if session.is_starting() {
            match &state {
                SetState::Pending => {
                    let waited = answer.waiting.get(&wanted.role).map(Instant::elapsed).unwrap_or_default();
                    let (setback, at) = wait_for_set(session, waited, now);
                    session.set_back(setback);
                    again = again.into_iter().chain(at.map(|at| (at, Priority::Normal))).min();
                }
                SetState::Failed(blocker) => session.set_back(Setback::Failed(blocker.clone())),
                SetState::Ready(_) | SetState::Withheld(_) => {}
            }
        }
        let meanwhile = answer.meanwhile.get(&wanted.key).cloned();
        session.set = Some(SetOfSession { role: wanted.role, state, meanwhile, is_member: None });
    }
    again
}

/// The reconcile of the set triggers this account. A wait that is usually over at once is not reported.
fn wait_for_set(session: &Session, waited: Duration, now: Timestamp) -> (Setback, Option<Timestamp>) {
    let deadline = set_deadline(&session.object, session.timed, session.times);
    if deadline.is_some_and(|at| at <= now) {
        return (Setback::Failed(super::decide::set_not_ready()), None);
    }
    let mut report_at = plus(now, UNREPORTED.saturating_sub(waited));
    if deadline.is_some_and(|at| report_at.is_none_or(|report_at| at <= report_at)) {
        // What its status said last is the reason why it is rejected.
        report_at = Some(now);
    }
    let report = report_at.is_some_and(|at| at <= now);
    let again = report_at.filter(|_| !report).into_iter().chain(deadline).min();
    (Setback::SetNotReady { report }, again)
}

/// The permission sets that the account may have: all but those that are withheld, and those that a live one stays in
/// until it has others (`kept`).
pub(super) fn sets_of(sessions: &[Session], kept: &BTreeSet<String>) -> BTreeSet<String> {
    let users = sessions.iter().filter(|session| session.is_live() || session.is_starting());
    let sets = users.filter_map(|session| session.set.as_ref());
    let wanted = sets.filter(|set| !matches!(set.state, SetState::Withheld(_))).map(|set| &set.role);
    let kept = kept.iter().filter(|_| sessions.iter().any(Session::is_live));
    wanted.chain(kept).cloned().collect()
}

/// What its permission set gives a session, as its status says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Permissions {
    /// Objects per privilege.
    pub(super) counts: BTreeMap<String, u64>,
    /// There are object permissions, and all of them were given.
    pub(super) complete: bool,
    /// Why some, or all, could not be given.
    pub(super) incomplete: Option<Blocker>,
}

/// What its permission set gives a session.
pub(super) fn permissions(session: &Session) -> Permissions {
    let Some(set) = &session.set else {
        let wants = session.access().is_some_and(|access| access.grant.has_permissions());
        let why = "object permissions are given on one logical database; create the session anew with spec.databaseName";
        let incomplete = wants.then(|| Blocker::stalled(reasons::DATABASE_NAME_REQUIRED, why));
        return Permissions { incomplete, ..Permissions::default() };
    };
    let meanwhile = || set.meanwhile.as_ref().map(|contents| contents.counts.clone()).unwrap_or_default();
    match &set.state {
        SetState::Ready(contents) => Permissions {
            counts: contents.counts.clone(),
            complete: contents.incomplete.is_none(),
            incomplete: contents.incomplete.clone(),
        },
        SetState::Withheld(blocker) | SetState::Failed(blocker) => {
            Permissions { counts: meanwhile(), complete: false, incomplete: Some(blocker.clone()) }
        }
        SetState::Pending => match recorded(session, set) {
            Some((counts, condition)) => {
                let complete = condition.status == conditions::TRUE;
                let incomplete = (!complete)
                    .then(|| Blocker::passing(condition.reason.clone(), condition.message.clone()));
                Permissions { counts: counts.clone(), complete, incomplete }
            }
            None => {
                let preparing = "the object permissions are being read";
                let incomplete = Some(Blocker::passing(reasons::STARTING, preparing));
                Permissions { counts: meanwhile(), complete: false, incomplete }
            }
        },
    }
}

/// What the status says of a set of which it is not known yet whether it is ready, as after a restart. It is valid as
/// long as nothing else is known: the account is in the set, or could not be read.
fn recorded<'a>(
    session: &'a Session,
    set: &SetOfSession,
) -> Option<(&'a BTreeMap<String, u64>, &'a Condition)> {
    let status = session.object.status.as_ref()?;
    let condition = conditions::find(&status.conditions, conditions::PERMISSIONS_COMPLETE)?;
    set.is_member.unwrap_or(true).then_some((&status.permissions, condition))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rolecall_api::{DatabaseSessionStatus, GoDuration, Time};

    use super::super::decide::Decision;
    use super::super::session::samples::{live, now, starting};
    use super::*;
    use crate::model::DatabaseKey;
    use crate::sets::SetContents;

    const SET: &str = "rolecall:0123";

    fn wanted() -> Vec<(usize, Wanted)> {
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        let key = DatabaseKey { admin, database: "app".into() };
        vec![(0, Wanted { key, role: SET.to_owned(), entries: Arc::default() })]
    }

    /// The session as it is when its set is in this state, for so long already.
    fn assigned(session: Session, state: SetState, waited: Duration) -> (Session, Option<i64>) {
        let mut answer = WantedSets::default();
        answer.states.insert(SET.to_owned(), state);
        answer.waiting.insert(SET.to_owned(), Instant::now() - waited);
        let mut sessions = [session];
        let again = assign(&mut sessions, wanted(), &answer, now());
        let [session] = sessions;
        (session, again.map(|(at, _)| at.as_second() - now().as_second()))
    }

    fn with_deadline(seconds: u64) -> Session {
        let session = starting("a", &[]);
        let mut object = (*session.object).clone();
        object.spec.start_deadline = Some(GoDuration::from_secs(seconds));
        let grant = session.grant.clone();
        Session::new(Arc::new(object), super::super::decide::AdminState::Present, grant, session.times, None)
    }

    fn contents(count: u64, incomplete: Option<Blocker>) -> Arc<SetContents> {
        Arc::new(SetContents { counts: [("SELECT".to_owned(), count)].into(), incomplete })
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_its_set_and_says_so_only_when_that_takes_long() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let (session, again) = assigned(starting("a", &[]), SetState::Pending, Duration::ZERO);
        assert_eq!((session.setback(), again), (Some(&Setback::SetNotReady { report: false }), Some(2)));
        let (session, again) = assigned(starting("a", &[]), SetState::Pending, UNREPORTED);
        assert_eq!((session.setback(), again), (Some(&Setback::SetNotReady { report: true }), Some(60)));
        let (session, again) = assigned(with_deadline(1), SetState::Pending, Duration::ZERO);
        assert_eq!(
            session.setback(),
            Some(&Setback::SetNotReady { report: true }),
            "its deadline comes first"
        );
        assert_eq!(again, Some(1));
        let (session, again) = assigned(with_deadline(0), SetState::Pending, Duration::ZERO);
        assert!(session.waits_for_set() && again == Some(2), "waiting for the set is part of the first try");
    }

    #[tokio::test]
    async fn a_start_fails_with_its_set_and_a_live_session_stays_whatever_becomes_of_it() {
        let failed = || SetState::Failed(Blocker::stalled("R", "why"));
        let (session, _) = assigned(starting("a", &[]), failed(), Duration::ZERO);
        assert!(matches!(session.decision(), Decision::Wait(blocker) if blocker.reason == "R"));
        for state in [failed(), SetState::Pending] {
            let (session, again) = assigned(live("a", &[]), state, Duration::ZERO);
            assert!(session.is_live() && again.is_none());
        }
    }

    #[test]
    fn what_a_set_gives_is_in_the_status_with_what_it_lacks() {
        let said = |state, meanwhile| {
            let mut session = live("a", &[]);
            session.set = Some(SetOfSession { role: SET.to_owned(), state, meanwhile, is_member: None });
            permissions(&session)
        };
        let whole = said(SetState::Ready(contents(3, None)), None);
        assert!(whole.complete && whole.incomplete.is_none() && whole.counts["SELECT"] == 3);
        let lacking = Blocker::stalled("MissingObjectPrivileges", "");
        let part = said(SetState::Ready(contents(2, Some(lacking.clone()))), None);
        assert!(!part.complete && part.incomplete == Some(lacking.clone()));
        let withheld = said(SetState::Withheld(lacking.clone()), Some(contents(1, None)));
        assert_eq!(withheld.counts["SELECT"], 1, "what the account stays in meanwhile");
        assert_eq!(withheld.incomplete, Some(lacking));
        assert_eq!(said(SetState::Pending, None).incomplete.unwrap().reason, reasons::STARTING);
    }

    #[test]
    fn after_a_restart_the_status_counts_until_the_account_is_seen_outside_the_set() {
        let said = |is_member| {
            let mut session = live("a", &[]);
            let complete = conditions::new(
                conditions::PERMISSIONS_COMPLETE,
                true,
                reasons::SUCCEEDED,
                "",
                None,
                Time(now()),
            );
            let mut object = (*session.object).clone();
            object.status = Some(DatabaseSessionStatus {
                permissions: [("SELECT".to_owned(), 3)].into(),
                conditions: vec![complete],
                ..object.status.unwrap_or_default()
            });
            session.object = Arc::new(object);
            let state = SetState::Pending;
            session.set = Some(SetOfSession { role: SET.to_owned(), state, meanwhile: None, is_member });
            permissions(&session).complete
        };
        assert!(said(None) && said(Some(true)) && !said(Some(false)));
    }
}
