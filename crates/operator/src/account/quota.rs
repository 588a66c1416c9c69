//! How many sessions a user may have at once. Pure.
//!
//! A role counts the sessions of a user that are not over and that it takes part in, the oldest first. One that is beyond
//! its number does not start; one that has access keeps it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rolecall_api::{DatabaseSession, reasons};
use rolecall_policy::SessionQuota;
use rolecall_resolve::Blocked;

use crate::model::session::{is_over, is_touched};

/// Which sessions of a user each of its roles has room for.
#[derive(Clone, Debug, Default)]
pub(super) struct Quotas(BTreeMap<String, Places>);

#[derive(Clone, Debug)]
struct Places {
    sessions: usize,
    /// Names of sessions that are within.
    within: BTreeSet<String>,
}

impl Quotas {
    /// Of a user's sessions, in any order. `taking_part`: the roles that limit sessions on the server of one.
    pub(super) fn of<'a>(
        sessions: impl IntoIterator<Item = &'a DatabaseSession>,
        mut taking_part: impl FnMut(&DatabaseSession) -> Vec<SessionQuota>,
    ) -> Self {
        let mut open: Vec<&DatabaseSession> =
            sessions.into_iter().filter(|session| is_open(session)).collect();
        open.sort_by_key(|session| age(session));
        let mut quotas = Self::default();
        for session in open {
            for quota in taking_part(session) {
                let sessions = usize::try_from(quota.sessions).unwrap_or(usize::MAX);
                let places = quotas
                    .0
                    .entry(quota.role)
                    .or_insert_with(|| Places { sessions, within: BTreeSet::new() });
                if places.within.len() < places.sessions {
                    places.within.insert(age(session).1.to_owned());
                }
            }
        }
        quotas
    }

    /// Is there room for a session that is about to start?
    ///
    /// # Errors
    ///
    /// One of its roles has none; that is final.
    pub(super) fn check(&self, session: &DatabaseSession, quotas: &[SessionQuota]) -> Result<(), Blocked> {
        let name = age(session).1;
        let full = quotas
            .iter()
            .find(|quota| self.0.get(&quota.role).is_some_and(|places| !places.within.contains(name)));
        match full {
            None => Ok(()),
            Some(SessionQuota { role, sessions }) => Err(Blocked::permanent(
                reasons::QUOTA_EXCEEDED,
                format!(
                    "the DatabaseUser {:?} has {sessions} older sessions that are not over, as many as maxSessions of the ProvisioningRole \
                     {role:?} allows; end one (kubectl rolecall sessions --user {}), then create this one again",
                    session.spec.user, session.spec.user
                ),
            )),
        }
    }
}

fn is_open(session: &DatabaseSession) -> bool {
    !is_over(session) && (session.metadata.deletion_timestamp.is_none() || is_touched(session))
}

fn age(session: &DatabaseSession) -> (Option<Timestamp>, &str) {
    let created = session.metadata.creation_timestamp.as_ref().map(|at| at.0);
    (created, session.metadata.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rolecall_api::{DatabaseSessionSpec, DatabaseSessionStatus, SessionPhase, Time};

    use super::*;

    fn session(name: &str, created: i64, phase: SessionPhase) -> DatabaseSession {
        let spec = DatabaseSessionSpec { user: "alice".into(), ..DatabaseSessionSpec::default() };
        let mut session = DatabaseSession::new(name, spec);
        session.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
        session.status =
            Some(DatabaseSessionStatus { phase: Some(phase), ..DatabaseSessionStatus::default() });
        session
    }

    fn quota(role: &str, sessions: u32) -> SessionQuota {
        SessionQuota { role: role.to_owned(), sessions }
    }

    /// Names of those that there is no room for.
    fn beyond(sessions: &[DatabaseSession], quotas: &[SessionQuota]) -> Vec<String> {
        let places = Quotas::of(sessions, |_| quotas.to_vec());
        let beyond =
            sessions.iter().filter(|session| is_open(session) && places.check(session, quotas).is_err());
        beyond.filter_map(|session| session.metadata.name.clone()).collect()
    }

    #[test]
    fn the_oldest_count_then_the_first_by_name_whatever_order_they_come_in() {
        use SessionPhase::{Active, Ended, Pending, Rejected};
        let mut sessions = vec![
            session("d", 7, Pending),
            session("b", 5, Pending),
            session("c", 5, Pending),
            session("a", 6, Active),
            session("over", 1, Ended),
            session("refused", 1, Rejected),
        ];
        assert_eq!(beyond(&sessions, &[quota("r", 2)]), ["d", "a"]);
        sessions.reverse();
        assert_eq!(beyond(&sessions, &[quota("r", 2)]), ["a", "d"]);
        assert_eq!(beyond(&sessions, &[quota("r", 4)]), [""; 0]);
        assert_eq!(beyond(&sessions, &[quota("r", 9), quota("s", 3)]), ["d"], "each role has its own");
    }

    #[test]
    fn a_session_that_goes_makes_room_once_its_access_is_gone() {
        let mut going = session("a", 1, SessionPhase::Active);
        going.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(9).unwrap()));
        going.metadata.finalizers = Some(vec![rolecall_api::names::ACCOUNT_FINALIZER.to_owned()]);
        let name = (rolecall_api::names::USERNAME_ANNOTATION.to_owned(), "alice".to_owned());
        going.metadata.annotations = Some([name].into());
        let next = session("b", 2, SessionPhase::Pending);
        assert_eq!(beyond(&[going.clone(), next.clone()], &[quota("r", 1)]), ["b"]);
        going.metadata.finalizers = None;
        assert_eq!(beyond(&[going, next], &[quota("r", 1)]), [""; 0]);
    }

    #[test]
    fn a_role_counts_only_sessions_that_it_takes_part_in() {
        let mut elsewhere = session("a", 1, SessionPhase::Active);
        elsewhere.spec.database = "billing".to_owned();
        let here = session("b", 2, SessionPhase::Pending);
        let quotas = [quota("r", 1)];
        let places = Quotas::of([&elsewhere, &here], |session| match session.spec.database.as_str() {
            "billing" => Vec::new(),
            _ => quotas.to_vec(),
        });
        assert!(places.check(&here, &quotas).is_ok());
    }
}
