//! Reconciling or Stalled: the conditions that tools wait for.
//!
//! Such tools treat Stalled as a failure. So an object that is merely not there yet (the objects of one manifest come
//! in any order, Secrets are made by others) is waited for before the status says that only a person can help. The two
//! are never True at once.

use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::{Condition, Time, conditions};

use crate::model::{Blocker, plus};

/// How long an object that is not there yet is waited for.
pub const NOT_THERE_YET: Duration = Duration::from_secs(120);

/// The condition next to Ready False, given the previous conditions.
pub fn condition(
    blocker: &Blocker,
    before: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let stalled = blocker.stalled && stalled_at(blocker, before, now).is_none();
    let type_ = if stalled { conditions::STALLED } else { conditions::RECONCILING };
    conditions::new(type_, true, &blocker.reason, &blocker.message, generation, Time(now))
}

/// When it counts as something only a person can fix, if what is awaited has not come by then; `None` where that is so
/// already, or never.
pub fn stalled_at(blocker: &Blocker, before: &[Condition], now: Timestamp) -> Option<Timestamp> {
    if !blocker.awaited {
        return None;
    }
    let known = |type_| {
        conditions::find(before, type_)
            .filter(|known| known.status == conditions::TRUE && known.reason == blocker.reason)
    };
    if known(conditions::STALLED).is_some() {
        return None;
    }
    let since = known(conditions::RECONCILING).map_or(now, |known| known.last_transition_time.0);
    plus(since, NOT_THERE_YET).filter(|at| *at > now)
}

/// The conditions of an object whose reconcile failed: not Ready because of `blocker`. The others stay.
pub fn conditions_after_failure(
    before: &[Condition],
    generation: Option<i64>,
    blocker: &Blocker,
    now: Timestamp,
) -> Vec<Condition> {
    let replaced = [conditions::READY, conditions::RECONCILING, conditions::STALLED];
    let new = |type_: &str, status: bool| {
        conditions::new(type_, status, &blocker.reason, &blocker.message, generation, Time(now))
    };
    let mut list = vec![new(conditions::READY, false), new(conditions::RECONCILING, true)];
    list.extend(before.iter().filter(|one| !replaced.contains(&one.type_.as_str())).cloned());
    conditions::merge_transition_times(before, list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn reported(blocker: &Blocker, before: &[Condition], now: i64) -> Condition {
        let new = condition(blocker, before, None, at(now));
        conditions::merge_transition_times(before, vec![new]).remove(0)
    }

    #[test]
    fn what_is_not_there_yet_may_come_for_two_minutes() {
        let missing = Blocker::awaited("UserNotFound", "there is no such user");
        let first = reported(&missing, &[], 1_000);
        assert_eq!(first.type_, conditions::RECONCILING);
        assert_eq!(stalled_at(&missing, std::slice::from_ref(&first), at(1_010)), Some(at(1_120)));
        let later = reported(&missing, &[first], 1_119);
        assert_eq!(later.type_, conditions::RECONCILING);
        let late = reported(&missing, &[later], 1_120);
        assert_eq!(late.type_, conditions::STALLED);
        assert_eq!(reported(&missing, &[late], 9_000).type_, conditions::STALLED, "and stays so");
    }

    #[test]
    fn what_comes_next_in_the_way_has_its_own_time() {
        let user = Blocker::awaited("UserNotFound", "");
        let role = Blocker::awaited("RoleNotFound", "");
        let first = reported(&user, &[], 1_000);
        let second = reported(&role, &[first], 1_100);
        assert_eq!(stalled_at(&role, &[second], at(1_100)), Some(at(1_220)));
        let stalled = conditions::new(conditions::STALLED, true, "UserNotFound", "", None, Time(at(1_000)));
        assert_eq!(reported(&role, &[stalled], 1_300).type_, conditions::RECONCILING);
    }

    #[test]
    fn what_only_a_person_can_mend_is_reported_at_once() {
        assert_eq!(reported(&Blocker::stalled("AccessDenied", "no"), &[], 1).type_, conditions::STALLED);
        let unreachable = Blocker::passing("DatabaseUnreachable", "");
        let first = reported(&unreachable, &[], 1);
        assert_eq!(reported(&unreachable, &[first], 9_000).type_, conditions::RECONCILING);
    }
}
