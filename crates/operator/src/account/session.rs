//! One session in one reconcile: what was read of it, the outcome of the steps, and what follows for it.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::{CreateDbUserMode, DatabaseSession, SessionPhase};
use rolecall_policy::Mode;
use rolecall_resolve::{Blocked, Grant};

use super::approval::{Approval, Asked};
use super::decide::{Access, AdminState, Decision, End, Facts, Setback, decide};
use super::issued::Issued;
use crate::model::Blocker;
use crate::model::session::{Times, is_timed, is_touched, phase};
use crate::sets::{SetContents, SetState};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// As it was read: decisions go by this.
    read: Arc<DatabaseSession>,
    /// As it was written last: writes go by this.
    pub(super) object: Arc<DatabaseSession>,
    admin: AdminState,
    /// What policy gives it.
    pub(super) grant: Result<Grant, Blocked>,
    /// Whether it has the approval that it needs.
    approval: Approval,
    /// It ends by itself at some time.
    pub(super) timed: bool,
    /// Something of it may exist in the database: by what is recorded, or because this reconcile has begun its start.
    pub(super) touched: bool,
    pub(super) times: Times,
    setback: Option<Setback>,
    decision: Decision,
    /// Its start waits for the outcome of others, whose roles differ.
    pub(super) set_aside: bool,
    /// The permission set that it wants.
    pub(super) set: Option<SetOfSession>,
    /// The credentials that it has.
    pub(super) issued: Option<Issued>,
    /// Its finalizer could not be put back.
    pub(super) mark_failed: bool,
    /// Why its credentials could not be renewed.
    pub(super) renewal_failed: Option<Blocker>,
    /// Why its credentials could not be taken back.
    pub(super) revocation_failed: Option<Blocker>,
}

/// The permission set that a session wants.
#[derive(Clone, Debug)]
pub(super) struct SetOfSession {
    /// The name of its role.
    pub(super) role: String,
    /// Whether it is ready.
    pub(super) state: SetState,
    /// What the set gives that the account stays in meanwhile.
    pub(super) meanwhile: Option<Arc<SetContents>>,
    /// The account was seen to be a member; `None`: it has not been read.
    pub(super) is_member: Option<bool>,
}

impl Session {
    /// As it was read, with what policy gives it. It takes no approval.
    #[cfg(test)]
    pub(super) fn new(
        object: Arc<DatabaseSession>,
        admin: AdminState,
        grant: Result<Grant, Blocked>,
        times: Times,
        issued: Option<Issued>,
    ) -> Self {
        Self::with_approval(object, admin, (grant, Approval::default()), times, issued)
    }

    /// As it was read, with what policy gives it, and whether it has the approval that it needs.
    pub(super) fn with_approval(
        object: Arc<DatabaseSession>,
        admin: AdminState,
        (grant, approval): (Result<Grant, Blocked>, Approval),
        times: Times,
        issued: Option<Issued>,
    ) -> Self {
        // The time for its start begins when it may start.
        let seen = approval.given_at().map_or(times.seen, |at| at.max(times.seen));
        let times = Times { seen, ..times };
        let mut session = Self {
            timed: is_timed(&object, grant.as_ref().ok()),
            touched: is_touched(&object),
            read: Arc::clone(&object),
            object,
            admin,
            grant,
            approval,
            times,
            setback: None,
            decision: Decision::Untouched,
            set_aside: false,
            set: None,
            issued,
            mark_failed: false,
            renewal_failed: None,
            revocation_failed: None,
        };
        session.decide();
        session
    }

    fn decide(&mut self) {
        let facts = Facts {
            session: &self.read,
            admin: self.admin,
            grant: &self.grant,
            approval: &self.approval,
            timed: self.timed,
            touched: self.touched,
            times: self.times,
        };
        self.decision = decide(facts, self.setback.as_ref());
    }

    /// It is being deleted, and nothing was ever done for it.
    pub(super) fn is_never_begun(&self) -> bool {
        self.decision == Decision::Release
    }

    /// What it asks other people for.
    pub(super) fn asked(&self) -> Option<&Asked> {
        self.approval.asked()
    }

    /// What should happen to it.
    pub(super) fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Its start failed: it is decided again, with that.
    pub(super) fn set_back(&mut self, setback: Setback) {
        self.setback = Some(setback);
        self.decide();
    }

    /// Its start deadline has passed at `now`: it is decided again, as of then.
    pub(super) fn set_back_late(&mut self, now: Timestamp) {
        self.times.now = now;
        self.set_back(Setback::TooLate);
    }

    /// The object as it is from now on: with its finalizer, and under a name.
    pub(super) fn mark(&mut self, object: DatabaseSession) {
        self.object = Arc::new(object);
        self.touched = true;
    }

    pub(super) fn setback(&self) -> Option<&Setback> {
        self.setback.as_ref()
    }

    /// Does its start wait for its permission set?
    pub(super) fn waits_for_set(&self) -> bool {
        matches!(self.setback, Some(Setback::SetNotReady { .. }))
    }

    /// Should the account be reconciled again soon because of it?
    pub(super) fn wants_retry(&self) -> bool {
        let tried = match self.setback {
            Some(Setback::Failed(_) | Setback::TooLate) => {
                matches!(self.decision, Decision::Wait(_) | Decision::End(_))
            }
            Some(Setback::RolesTaken(_)) => true,
            Some(Setback::ObjectChanged { retry }) => retry,
            Some(Setback::SetNotReady { .. }) | None => false,
        };
        tried || self.mark_failed || self.renewal_failed.is_some() || self.revocation_failed.is_some()
    }

    /// Its uid; empty where it has none.
    pub(super) fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.decision, Decision::Live(_))
    }

    /// Does this attempt start it?
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.decision, Decision::Start(_)) && !self.set_aside
    }

    pub(super) fn is_ending(&self) -> bool {
        self.end().is_some()
    }

    pub(super) fn end(&self) -> Option<&End> {
        match &self.decision {
            Decision::End(end) => Some(end),
            _ => None,
        }
    }

    /// What it has, or would get.
    pub(super) fn access(&self) -> Option<&Access> {
        match &self.decision {
            Decision::Live(access) | Decision::Start(access) => Some(access),
            _ => None,
        }
    }

    /// What should happen to it needs its account's server.
    pub(super) fn needs_server(&self) -> bool {
        matches!(self.decision, Decision::Live(_) | Decision::Start(_) | Decision::End(_))
    }

    /// What becomes of the account when this session ends: as policy says now, otherwise as it said last; of an access that
    /// others approved, as they were told.
    pub(super) fn mode(&self) -> Option<CreateDbUserMode> {
        match &self.grant {
            Ok(grant) if !self.ends_as_approved() => api_mode(grant),
            _ => self.object.status.as_ref().and_then(|status| status.mode),
        }
    }

    /// Who gets what the account owns before it is dropped, likewise.
    fn reassign_to(&self) -> Option<&str> {
        match &self.grant {
            Ok(grant) if !self.ends_as_approved() => grant.reassign_to.as_deref(),
            _ => self.object.status.as_ref().and_then(|status| status.reassign_to.as_deref()),
        }
    }

    /// Is this the end of an access that others approved?
    fn ends_as_approved(&self) -> bool {
        self.asked().is_some() && phase(&self.read) == SessionPhase::Ending
    }
}

/// Who gets what the account of these sessions owns before it is dropped: nobody, where they do not agree.
pub(super) fn reassign_to<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> Option<String> {
    let mut sessions = sessions.into_iter();
    let first = sessions.next()?.reassign_to()?;
    sessions.all(|session| session.reassign_to() == Some(first)).then(|| first.to_owned())
}

/// The mode of a decision, as the API calls it; `None`: no user is created.
pub(super) fn api_mode(grant: &Grant) -> Option<CreateDbUserMode> {
    match grant.mode {
        Mode::Disabled => None,
        Mode::Keep => Some(CreateDbUserMode::Keep),
        Mode::BestEffortDrop => Some(CreateDbUserMode::BestEffortDrop),
    }
}

/// Each start that this attempt is about fails with this.
pub(super) fn fail_starts(sessions: &mut [Session], blocker: &Blocker) {
    for session in sessions.iter_mut().filter(|session| session.is_starting()) {
        session.set_back(Setback::Failed(blocker.clone()));
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! Sessions for the tests of the steps.

    use rolecall_api::names::ACCOUNT_FINALIZER;
    use rolecall_api::{
        ApprovalProgress, DatabaseSessionSpec, DatabaseSessionStatus, GoDuration, SessionRequest, Time,
        reasons,
    };

    use super::*;

    /// When the samples are read.
    pub(in crate::account) fn now() -> Timestamp {
        Timestamp::from_second(10_000).unwrap()
    }

    /// What policy gives: these database roles.
    pub(in crate::account) fn grant(roles: &[&str]) -> Grant {
        Grant {
            mode: Mode::Keep,
            db_roles: roles.iter().map(|&role| (role.to_owned(), true)).collect(),
            max_session_ttl: None,
            reassign_to: None,
            permissions: rolecall_policy::CanonicalPermissions::default(),
            entries: Arc::default(),
            roles: Vec::new(),
            approvals: Vec::new(),
            session_quotas: Vec::new(),
        }
    }

    fn object(name: &str) -> DatabaseSession {
        let spec = DatabaseSessionSpec {
            user: "alice".into(),
            database: "orders".into(),
            database_name: Some("app".into()),
            ttl: Some(GoDuration::from_secs(600)),
            retain_after_end: GoDuration::from_secs(100),
            ..DatabaseSessionSpec::default()
        };
        let mut object = DatabaseSession::new(name, spec);
        object.metadata.namespace = Some("shop".into());
        object.metadata.uid = Some(format!("uid of {name}"));
        object
    }

    fn read(object: DatabaseSession, roles: &[&str]) -> Session {
        let times = Times { now: now(), seen: now() };
        Session::new(Arc::new(object), AdminState::Present, Ok(grant(roles)), times, None)
    }

    /// One that may start.
    pub(in crate::account) fn starting(name: &str, roles: &[&str]) -> Session {
        read(object(name), roles)
    }

    /// One that is Active since now.
    pub(in crate::account) fn live(name: &str, roles: &[&str]) -> Session {
        let mut object = object(name);
        object.metadata.finalizers = Some(vec![ACCOUNT_FINALIZER.to_owned()]);
        object.status = Some(DatabaseSessionStatus {
            phase: Some(SessionPhase::Active),
            username: Some("alice".into()),
            started_at: Some(Time(now())),
            ..DatabaseSessionStatus::default()
        });
        read(object, roles)
    }

    /// One that was Active and whose access policy took away.
    pub(in crate::account) fn ending(name: &str) -> Session {
        let live = live(name, &[]);
        let denied = Err(Blocked::new(reasons::ACCESS_DENIED, "no"));
        Session::new(live.object, AdminState::Present, denied, live.times, None)
    }

    /// Counts by name.
    pub(in crate::account) fn names(sessions: &[Session], is: impl Fn(&Session) -> bool) -> Vec<String> {
        let found = sessions.iter().filter(|session| is(session));
        found.filter_map(|session| session.object.metadata.name.clone()).collect::<Vec<_>>()
    }

    #[test]
    fn a_start_that_failed_asks_for_another_reconcile_and_one_that_was_rejected_does_not() {
        let mut session = starting("a", &[]);
        assert!(session.is_starting() && !session.wants_retry());
        session.set_back(Setback::Failed(Blocker::passing("R", "")));
        assert!(!session.is_starting() && session.wants_retry());
        let mut session = starting("a", &[]);
        session.set_back_late(Timestamp::from_second(20_000).unwrap());
        assert!(matches!(session.decision(), Decision::Reject(_)) && !session.wants_retry());
        let mut session = starting("a", &[]);
        session.set_back(Setback::SetNotReady { report: true });
        assert!(session.waits_for_set() && !session.wants_retry(), "the reconcile of the set triggers it");
    }

    #[test]
    fn what_an_approved_access_made_goes_to_whom_its_approvers_were_told() {
        let mut object = (*live("a", &[]).object).clone();
        let status = object.status.as_mut().unwrap();
        (status.phase, status.reassign_to) = (Some(SessionPhase::Ending), Some("told".into()));
        status.mode = Some(CreateDbUserMode::BestEffortDrop);
        let goes_to = |approval| {
            let grant = Grant { reassign_to: Some("other".into()), ..grant(&[]) };
            let times = Times { now: now(), seen: now() };
            let terms = (Ok(grant), approval);
            let session =
                Session::with_approval(Arc::new(object.clone()), AdminState::Present, terms, times, None);
            (session.reassign_to().map(str::to_owned), session.mode())
        };
        let at = Time(now());
        let asked = Asked {
            request: SessionRequest::default(),
            progress: ApprovalProgress { requested_at: at.clone(), expires_at: at, needs: Vec::new() },
            decisions: Vec::new(),
            outcome: super::super::approval::Outcome::Approved(now()),
        };
        let told = (Some("told".to_owned()), Some(CreateDbUserMode::BestEffortDrop));
        assert_eq!(goes_to(Approval::Asked(Box::new(asked))), told);
        let other = (Some("other".to_owned()), Some(CreateDbUserMode::Keep));
        assert_eq!(goes_to(Approval::NotAsked), other);
    }

    #[test]
    fn what_was_marked_in_this_reconcile_counts_as_touched() {
        let mut session = starting("a", &[]);
        session.mark(object("a"));
        session.set_back(Setback::Failed(Blocker::passing("R", "")));
        assert!(session.is_ending(), "{:?}", session.decision());
    }
}
