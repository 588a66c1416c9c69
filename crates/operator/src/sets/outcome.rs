//! What a permission set that was synced means for its accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use rolecall_api::reasons;
use rolecall_engine::sets::{SyncedSet, Why};

use super::{SetContents, SetState};
use crate::model::Blocker;

/// The most objects that a message names.
const LISTED: usize = 5;

/// The state of a set.
pub(super) fn state(outcome: &SyncedSet) -> SetState {
    if let Some(failure) = &outcome.failure {
        return SetState::Failed(Blocker::from(failure));
    }
    let counts: BTreeMap<String, u64> = outcome
        .granted
        .iter()
        .map(|(privilege, objects)| {
            (privilege.as_str().to_owned(), u64::try_from(*objects).unwrap_or(u64::MAX))
        })
        .collect();
    let incomplete = incomplete(outcome);
    match incomplete {
        // Nothing at all could be granted: that is no access.
        Some(blocker) if counts.is_empty() => SetState::Failed(blocker),
        incomplete => SetState::Ready(Arc::new(SetContents { counts, incomplete })),
    }
}

/// The missing and the excess privileges of a set, in one message with the statements that fix it.
fn incomplete(outcome: &SyncedSet) -> Option<Blocker> {
    let mut lines: Vec<String> = outcome
        .missing
        .iter()
        .take(LISTED)
        .map(|missing| {
            let refused = match &missing.why {
                Why::Refused(said) => format!(", the server refuses it, {said}"),
                _ => String::new(),
            };
            format!("{} on {} is missing{refused}: {}", missing.privileges, missing.object, missing.statement)
        })
        .collect();
    if outcome.missing.len().max(outcome.missing_objects) > lines.len() {
        lines.push(format!("{} objects in all lack something", outcome.missing_objects));
    }
    lines.extend(outcome.excess.iter().take(LISTED).map(|excess| {
        let by = match excess.grantor.as_str() {
            "" => "is more than a permission set has".to_owned(),
            grantor => format!("was granted by {grantor}"),
        };
        let kept =
            if excess.busy { "is not taken away yet" } else { "cannot be taken away by the admin user" };
        let refused = match excess.refused.as_str() {
            "" => String::new(),
            said => format!(", the server refuses it, {said}"),
        };
        format!("{} on {} {by} and {kept}{refused}: {}", excess.privileges, excess.object, excess.statement)
    }));
    let blocker = if outcome.busy { Blocker::passing } else { Blocker::stalled };
    (!lines.is_empty()).then(|| blocker(reasons::MISSING_OBJECT_PRIVILEGES, lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use rolecall_engine::sets::{Excess, Missing};

    use super::*;

    fn missing(object: &str, why: Why) -> Missing {
        Missing {
            object: format!("TABLE {object}"),
            privileges: "SELECT".to_owned(),
            why,
            statement: format!("GRANT SELECT ON TABLE {object} TO admin"),
        }
    }

    #[test]
    fn a_message_names_the_first_objects_and_counts_all() {
        let outcome = SyncedSet {
            missing_objects: 7,
            missing: (0..7).map(|i| missing(&format!("t{i}"), Why::NotGrantable)).collect(),
            ..SyncedSet::default()
        };
        let SetState::Failed(blocker) = state(&outcome) else { panic!("nothing was granted") };
        assert!(blocker.stalled && blocker.message.contains("t4") && !blocker.message.contains("t5"));
        assert!(blocker.message.ends_with("7 objects in all lack something"), "{}", blocker.message);
    }

    #[test]
    fn what_another_transaction_holds_up_may_go_away_by_itself() {
        let excess = Excess { object: "TABLE t".to_owned(), busy: true, ..Excess::default() };
        let outcome = SyncedSet { excess: vec![excess], busy: true, ..SyncedSet::default() };
        let SetState::Failed(blocker) = state(&outcome) else { panic!("nothing was granted") };
        assert!(!blocker.stalled && blocker.message.contains("not taken away yet"), "{}", blocker.message);
    }

    #[test]
    fn what_the_server_said_is_shown() {
        let said = "relation \"log\" does not exist (SQLSTATE 42P01)";
        let outcome = SyncedSet {
            missing: vec![missing("t", Why::Refused(said.to_owned()))],
            excess: vec![Excess {
                object: "TABLE u".to_owned(),
                refused: "no (SQLSTATE P0001)".to_owned(),
                ..Excess::default()
            }],
            ..SyncedSet::default()
        };
        let lines = incomplete(&outcome).unwrap().message;
        assert!(lines.contains(said) && lines.contains("no (SQLSTATE P0001)"), "{lines}");
    }
}
