//! Accounts on their way from one permission set to another.
//!
//! When policy changes what a live session may do, its account leaves one set for another, which may not be ready yet.
//! If it left the old one at once, statements would fail until then that policy allowed before and allows now. If it
//! stayed for as long as that takes, it would keep what policy took away. So, until the new set is ready:
//!
//! - Where the new permissions give all that the old ones gave, the account stays in the old set: nothing that it gives
//!   was taken away.
//! - Otherwise it stays for [`GRACE`] at most. Most sets are ready in a small fraction of that, as what a live session
//!   waits for has priority over everything else; so what was taken away usually goes with the change, and before it
//!   only where the change takes long.
//! - Where the new set cannot be created, or nobody may be a member of it now, the account leaves at once.
//! - It stays in no set that is not replaced by another one: a session that ends, or gets no permissions any more,
//!   loses its set at once.
//!
//! The change itself is one transaction: at no moment is the account in neither set.

use std::collections::BTreeMap;
use std::time::Duration;

use rolecall_policy::CanonicalPermissions;
use tokio::time::Instant;

use super::state::{LingeringSets, SetState};
use crate::model::AccountKey;

/// How long a live session may keep what policy took away, so that it does not lose what policy left it.
const GRACE: Duration = Duration::from_secs(1);

/// See the module. The transitions of one logical database.
#[derive(Debug, Default)]
pub(super) struct Transitions(BTreeMap<AccountKey, LingeringSets>);

/// A set that an account wants now.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) role: &'a str,
    pub(super) permissions: CanonicalPermissions,
    pub(super) state: &'a SetState,
}

impl Transitions {
    /// Is no transition under way?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records that the account wants these sets now, and no longer wants those. Returns the sets that it stays in.
    ///
    /// `permissions_of` returns the permissions that a set gives, where they are known.
    pub(super) fn update(
        &mut self,
        account: &AccountKey,
        targets: &[Target<'_>],
        left: &[String],
        permissions_of: impl Fn(&str) -> Option<CanonicalPermissions>,
        now: Instant,
    ) -> LingeringSets {
        let mut lingering = self.0.remove(account).unwrap_or_default();
        for role in left {
            lingering.entry(role.clone()).or_insert(None);
        }
        let all = |is: fn(&SetState) -> bool| targets.iter().all(|target| is(target.state));
        let waits = !all(|state| matches!(state, SetState::Ready(_)))
            && all(|state| !matches!(state, SetState::Withheld(_)));
        if !waits {
            return LingeringSets::new();
        }
        lingering.retain(|role, until| {
            if targets.iter().any(|target| target.role == role) {
                return false;
            }
            let before = permissions_of(role);
            let covered =
                before.is_some_and(|before| targets.iter().any(|target| target.permissions.covers(&before)));
            // The time runs from the first change that took something away, also through further changes.
            *until = if covered { None } else { Some(until.unwrap_or(now + GRACE)) };
            covered || (until.is_some_and(|until| until > now) && all(|s| !matches!(s, SetState::Failed(_))))
        });
        if !lingering.is_empty() {
            self.0.insert(account.clone(), lingering.clone());
        }
        lingering
    }

    /// The accounts that stay in a set that they no longer want.
    pub(super) fn lingering_in<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a AccountKey> {
        self.0.iter().filter(move |(_, lingering)| lingering.contains_key(role)).map(|(account, _)| account)
    }

    /// Is the account waiting for a new set while it has an old one?
    pub(super) fn has(&self, account: &AccountKey) -> bool {
        self.0.contains_key(account)
    }
}

#[cfg(test)]
mod tests {
    use rolecall_policy::{CanonicalEntry, Privilege, PrivilegeSet};

    use super::*;
    use crate::model::{Blocker, ObjectKey};

    fn alice() -> AccountKey {
        let admin = ObjectKey { namespace: "shop".into(), name: "orders".into() };
        AccountKey { admin, username: "alice".into() }
    }

    /// SELECT where `schema` is one of these letters.
    fn permissions(schemas: &str) -> CanonicalPermissions {
        let values = schemas.chars().map(String::from).collect();
        let entry = CanonicalEntry {
            matching: [("schema".to_owned(), values)].into(),
            privileges: PrivilegeSet::from_iter([Privilege::Select]),
        };
        CanonicalPermissions { allow: vec![entry], deny: vec![] }
    }

    /// Moves to the set of these schemas, each set being called like its schemas.
    fn go(
        transitions: &mut Transitions,
        left: &[&str],
        to: &str,
        state: &SetState,
        now: Instant,
    ) -> LingeringSets {
        let target = Target { role: to, permissions: permissions(to), state };
        let left: Vec<String> = left.iter().map(|role| (*role).to_owned()).collect();
        transitions.update(&alice(), &[target], &left, |role| Some(permissions(role)), now)
    }

    fn failed() -> SetState {
        SetState::Failed(Blocker::passing("R", ""))
    }

    fn lingering(role: &str, until: Option<Instant>) -> LingeringSets {
        [(role.to_owned(), until)].into()
    }

    #[test]
    fn what_the_new_permissions_give_too_is_kept_until_the_new_set_is_ready() {
        let (mut transitions, now) = (Transitions::default(), Instant::now());
        assert_eq!(go(&mut transitions, &["a"], "ab", &SetState::Pending, now), lingering("a", None));
        let later = now + 100 * GRACE;
        assert_eq!(go(&mut transitions, &[], "ab", &SetState::Pending, later), lingering("a", None));
        assert_eq!(go(&mut transitions, &[], "ab", &failed(), later), lingering("a", None));
        assert!(go(&mut transitions, &[], "ab", &SetState::Ready(Default::default()), later).is_empty());
        assert!(!transitions.has(&alice()));
    }

    #[test]
    fn what_policy_took_away_goes_when_the_new_set_is_ready_and_soon_in_any_case() {
        let (mut transitions, now) = (Transitions::default(), Instant::now());
        let end = Some(now + GRACE);
        assert_eq!(go(&mut transitions, &["ab"], "a", &SetState::Pending, now), lingering("ab", end));
        assert_eq!(go(&mut transitions, &[], "a", &SetState::Pending, now + GRACE / 2), lingering("ab", end));
        assert!(go(&mut transitions, &[], "a", &SetState::Pending, now + GRACE).is_empty());
        assert!(go(&mut transitions, &["ab"], "a", &SetState::Ready(Default::default()), now).is_empty());
    }

    #[test]
    fn further_changes_do_not_make_the_time_longer() {
        let (mut transitions, now) = (Transitions::default(), Instant::now());
        go(&mut transitions, &["ab"], "a", &SetState::Pending, now);
        let then = go(&mut transitions, &["a"], "b", &SetState::Pending, now + GRACE / 2);
        assert_eq!(then["ab"], Some(now + GRACE));
        let covered = go(&mut transitions, &[], "abc", &SetState::Pending, now + GRACE / 2);
        assert_eq!(covered["ab"], None, "policy gives it again");
    }

    #[test]
    fn an_old_set_goes_at_once_where_no_new_one_can_take_its_place() {
        let now = Instant::now();
        let withheld = SetState::Withheld(Blocker::stalled("R", ""));
        for (to, state) in [("a", &failed()), ("a", &withheld), ("abc", &withheld)] {
            let mut transitions = Transitions::default();
            assert!(go(&mut transitions, &["ab"], to, state, now).is_empty(), "{to} {state:?}");
        }
        let mut transitions = Transitions::default();
        let none = |_: &str| Some(permissions("a"));
        assert!(transitions.update(&alice(), &[], &["a".to_owned()], none, now).is_empty());
    }

    #[test]
    fn a_set_of_which_nothing_is_known_is_not_kept_for_long() {
        let mut transitions = Transitions::default();
        let target = Target { role: "ab", permissions: permissions("ab"), state: &SetState::Pending };
        let now = Instant::now();
        let left = ["a".to_owned()];
        assert_eq!(
            transitions.update(&alice(), &[target], &left, |_| None, now),
            lingering("a", Some(now + GRACE))
        );
    }
}
