//! Whether and when the permission sets of a logical database are reconciled. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use rolecall_api::DatabaseAdmin;
use rolecall_engine::{ChangedObjects, ObjectRef};

use crate::model::Cause;
use crate::servers::ServerState;

/// While something is missing, reconciles take at most this fraction of the time: one part in so many.
const SHARE: u32 = 100;
/// And are at least this far apart.
const LEAST: Duration = Duration::from_secs(5);

/// Looks at all objects that were announced take at most one part of the time in so many.
const ANNOUNCED_SHARE: u32 = 5;

/// What to do with a logical database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) step: Step,
    /// Its changes are not listened to meanwhile.
    pub(super) stop_listening: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nobody wants a set there: everything about it is forgotten.
    Forget,
    /// Nothing, until something changes.
    Wait,
    /// Try again soon: the server may answer then.
    Retry,
    /// Give its sets what they should have.
    Sync,
}

/// What to do with a logical database; `is_empty`: none of its sets is wanted any more.
pub(super) fn next(is_empty: bool, admin: Option<&DatabaseAdmin>, server: Option<&ServerState>) -> Next {
    let next = |step, stop_listening| Next { step, stop_listening };
    if is_empty {
        return next(Step::Forget, true);
    }
    let (Some(admin), Some(server)) = (admin, server) else { return next(Step::Wait, false) };
    // Its accounts are torn down, and then its sets.
    if admin.metadata.deletion_timestamp.is_some() {
        return next(Step::Wait, true);
    }
    // Its accounts wait as well, and trigger this when the server can be worked on again.
    if server.unreachable || admin.spec.suspend {
        return next(Step::Retry, admin.spec.suspend);
    }
    next(if server.server.is_some() { Step::Sync } else { Step::Wait }, false)
}

/// After how long the objects are read again. While something is missing, somebody may fix it at any moment, so they
/// are read more often than every `object_sync`, but without loading the server too much: a pass `took` so long.
pub(super) fn interval(complete: bool, took: Duration, object_sync: Duration) -> Duration {
    if complete { object_sync } else { took.saturating_mul(SHARE).max(LEAST).min(object_sync) }
}

/// Which objects are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    All,
    /// These, where what was found before holds, and all otherwise.
    Some(BTreeSet<ObjectRef>),
}

/// Which objects a reconcile looks at that has this cause, when so much was announced before it: all of them, whenever there
/// is another reason for it than what was announced.
pub(super) fn look(cause: Cause, announced: ChangedObjects) -> Look {
    match announced {
        ChangedObjects::These(these) if cause == Cause::Announced => Look::Some(these),
        _ => Look::All,
    }
}

/// For how long a look at all objects is not made again because something was announced, when the last one took so long.
pub(super) fn rest(took: Duration) -> Duration {
    took.saturating_mul(ANNOUNCED_SHARE - 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admin(spec: serde_json::Value, deleted: bool) -> DatabaseAdmin {
        let mut spec = spec;
        spec["protocol"] = json!("postgres");
        spec["uri"] = json!("db:5432");
        spec["auth"] = json!({});
        let deleted = deleted.then_some("2026-01-01T12:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"name": "orders", "namespace": "shop", "deletionTimestamp": deleted},
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn a_database_is_reconciled_only_where_its_server_may_be_worked_on() {
        let of = |admin: &DatabaseAdmin, unreachable| {
            let server = ServerState { unreachable, ..ServerState::default() };
            next(false, Some(admin), Some(&server))
        };
        let plain = admin(json!({}), false);
        let wait = |stop_listening| Next { step: Step::Wait, stop_listening };
        let retry = |stop_listening| Next { step: Step::Retry, stop_listening };
        assert_eq!(next(true, Some(&plain), None), Next { step: Step::Forget, stop_listening: true });
        assert_eq!(next(false, None, None), wait(false));
        assert_eq!(of(&plain, false), wait(false), "no server could be made of it");
        assert_eq!(of(&plain, true), retry(false));
        assert_eq!(of(&admin(json!({"suspend": true}), false), false), retry(true));
        assert_eq!(of(&admin(json!({}), true), false), wait(true), "it is torn down");
    }

    #[test]
    fn what_is_missing_is_checked_often_but_not_at_the_cost_of_the_server() {
        let seconds = Duration::from_secs;
        assert_eq!(interval(true, seconds(9), seconds(60)), seconds(60));
        assert_eq!(interval(false, Duration::from_millis(1), seconds(60)), seconds(5));
        assert_eq!(interval(false, Duration::from_millis(200), seconds(60)), seconds(20));
        assert_eq!(interval(false, seconds(9), seconds(60)), seconds(60));
    }

    #[test]
    fn only_what_was_announced_and_nothing_else_is_looked_at_by_itself() {
        let object = ObjectRef { class: rolecall_engine::objects::ObjectClass::Table, id: 1 };
        let these = || ChangedObjects::These([object].into());
        assert_eq!(look(Cause::Announced, these()), Look::Some([object].into()));
        assert_eq!(look(Cause::Announced, ChangedObjects::All), Look::All);
        assert_eq!(look(Cause::Timer, these()), Look::All);
        assert_eq!(look(Cause::Change, these()), Look::All);
        assert_eq!(look(Cause::Timer, ChangedObjects::default()), Look::All);
    }

    #[test]
    fn what_is_announced_costs_a_server_a_fifth_of_its_time_at_most() {
        let took = Duration::from_secs(2);
        assert_eq!(rest(took) + took, took * ANNOUNCED_SHARE);
    }
}
