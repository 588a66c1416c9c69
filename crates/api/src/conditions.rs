//! Condition types, and how to report conditions without moving their transition times.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object is what its spec says; always present.
pub const READY: &str = "Ready";
/// The operator is at work or waits for something; present (True) only while it applies.
pub const RECONCILING: &str = "Reconciling";
/// Only a person can help; present (True) only while it applies.
pub const STALLED: &str = "Stalled";
/// DatabaseAdmin: the admin user can log in.
pub const REACHABLE: &str = "Reachable";
/// DatabaseAdmin: the admin user has the rights that live and waiting sessions need.
pub const CAPABLE: &str = "Capable";
/// DatabaseAdmin: objects whose access list is nearly full; present (True) only while there are some.
pub const ACCESS_LISTS_CROWDED: &str = "AccessListsCrowded";
/// DatabaseAdmin: accounts that can be used though no session accounts for them, and that are not ended automatically;
/// present (True) only while there are some.
pub const ORPHANED_ACCOUNTS: &str = "OrphanedAccounts";
/// DatabaseSession: every object permission that was decided has been given.
pub const PERMISSIONS_COMPLETE: &str = "PermissionsComplete";
/// ProvisioningRole, DbObjectImportRule: every template, pattern and expression can be read.
pub const VALID: &str = "Valid";
/// DatabaseUser: every role that the user names exists and is valid.
pub const ROLES_RESOLVED: &str = "RolesResolved";

/// `status` of a condition that is true.
pub const TRUE: &str = "True";
/// `status` of a condition that is false.
pub const FALSE: &str = "False";
/// `status` of a condition that is not known.
pub const UNKNOWN: &str = "Unknown";

/// The longest message of a condition, in bytes, as for Kubernetes' own conditions.
pub const MAX_MESSAGE: usize = 32_768;

/// Takes the transition times of `old` over into `new`, for every condition whose `status` is the same. Of Reconciling
/// the reason must be the same as well: an object that waits for something else has started to wait again.
///
/// Conditions that are only in `old` are gone: `new` is complete, so nothing has to be removed.
#[must_use]
pub fn merge_transition_times(old: &[Condition], mut new: Vec<Condition>) -> Vec<Condition> {
    for condition in &mut new {
        let is_same = |old: &&Condition| {
            old.status == condition.status && (old.type_ != RECONCILING || old.reason == condition.reason)
        };
        if let Some(old) = find(old, &condition.type_).filter(is_same) {
            condition.last_transition_time = old.last_transition_time.clone();
        }
    }
    new
}

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type is True.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == TRUE)
}

/// A condition that changes now. The message is cut to [`MAX_MESSAGE`].
#[must_use]
pub fn new(
    type_: &str,
    status: bool,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Time,
) -> Condition {
    let mut message = message.into();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    Condition {
        type_: type_.to_owned(),
        status: if status { TRUE } else { FALSE }.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u8) -> Time {
        format!("1970-01-01T00:00:{second:02}Z").parse().map(Time).unwrap()
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let old = [
            new(READY, false, "A", "", Some(1), at(1)),
            new(STALLED, true, "A", "", None, at(2)),
            new(CAPABLE, true, "A", "", None, at(3)),
        ];
        let report = vec![
            new(READY, false, "B", "other", Some(2), at(9)),
            new(RECONCILING, true, "C", "", None, at(9)),
            new(CAPABLE, false, "A", "", None, at(9)),
        ];
        let merged = merge_transition_times(&old, report);
        assert_eq!(merged[0], new(READY, false, "B", "other", Some(2), at(1)));
        assert_eq!(merged[1].last_transition_time, at(9));
        assert_eq!(merged[2].last_transition_time, at(9));
        assert!(
            find(&merged, STALLED).is_none() && is_true(&merged, RECONCILING) && !is_true(&merged, READY)
        );
    }

    #[test]
    fn who_waits_for_something_else_waits_anew() {
        let waits = |reason, second| vec![new(RECONCILING, true, reason, "", None, at(second))];
        assert_eq!(merge_transition_times(&waits("A", 1), waits("A", 9)), waits("A", 1));
        assert_eq!(merge_transition_times(&waits("A", 1), waits("B", 9)), waits("B", 9));
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let condition = new(READY, true, "A", "ü".repeat(MAX_MESSAGE), None, at(0));
        assert_eq!(condition.message.len(), MAX_MESSAGE);
        let condition = new(READY, true, "A", format!("a{}", "ü".repeat(MAX_MESSAGE)), None, at(0));
        assert_eq!(condition.message.len(), MAX_MESSAGE - 1);
    }
}
