//! Reports for tests.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rolecall_ledger::{Access, State};

use super::{Item, Report, Source, Sources};
use crate::explain::API_VERSION;

/// When accesses of samples begin.
pub(crate) fn then() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

/// An access of alice on orders, of an hour.
pub(crate) fn access(id: &str, state: State) -> Access {
    let over = matches!(state, State::Ended | State::LeftOpen | State::Refused);
    Access {
        id: id.to_owned(),
        namespace: "shop".to_owned(),
        session: format!("session-{id}"),
        uid: id.to_owned(),
        user: "alice".to_owned(),
        database: "orders".to_owned(),
        database_name: "app".to_owned(),
        username: "alice@example.com".to_owned(),
        db_roles: BTreeSet::from(["reader".to_owned()]),
        permissions: BTreeMap::from([("SELECT".to_owned(), 12)]),
        roles: BTreeSet::from(["developer".to_owned()]),
        why: "INC-1234".to_owned(),
        requested_by: "alice".to_owned(),
        approved_by: BTreeSet::from(["bob".to_owned()]),
        state,
        started_at: Some(then()),
        expires_at: Some(then() + SignedDuration::from_hours(2)),
        ended_at: over.then(|| then() + SignedDuration::from_hours(1)),
        reason: if over { "Expired" } else { "" }.to_owned(),
        proven: state == State::Ended,
        returned: Vec::new(),
        evidence: vec!["c0ffee:7".to_owned()],
    }
}

/// A report of these accesses.
pub(crate) fn report(accesses: Vec<Access>) -> Report {
    let item = |access| Item { access, source: Source::Ledger, disagreement: Vec::new() };
    Report {
        api_version: API_VERSION,
        kind: "AccessReport",
        made_at: then() + SignedDuration::from_hours(240),
        since: Some(then() - SignedDuration::from_hours(24)),
        until: then() + SignedDuration::from_hours(240),
        user: None,
        database: None,
        sources: Sources::default(),
        missing: vec!["No policy was read: who reaches what is not told.".to_owned()],
        accesses: accesses.into_iter().map(item).collect(),
        reach: None,
    }
}
