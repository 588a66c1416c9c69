//! What an observation of a server means. Pure: no clock, no client, no server.

use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::{Condition, DatabaseAdmin, Endpoint, SessionPhase, reasons};
use rolecall_engine::{Class, Error, Finding, Preflight, Reason};

use crate::model::session::phase;
use crate::model::{Action, Blocker, Priority, plus};
use crate::progress;
use crate::servers::connect;

/// When a DatabaseAdmin is due again, unless its blocker says otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// Something failed that may succeed soon.
    pub(super) retry: bool,
    /// After so long in any case.
    pub(super) resync: Duration,
}

/// When a DatabaseAdmin is reconciled again.
pub(super) fn next(due: Due, blocker: Option<&Blocker>, conditions: &[Condition], now: Timestamp) -> Action {
    let mut action = Action { retry: due.retry, ..Action::await_change() };
    if !due.retry {
        action.at_earliest(plus(now, due.resync).map(|at| (at, Priority::Normal)));
    }
    let stalled_at = blocker.and_then(|blocker| progress::stalled_at(blocker, conditions, now));
    action.at_earliest(stalled_at.map(|at| (at, Priority::Normal)));
    action
}

/// Where accesses can still be ended although the DatabaseAdmin leads to no server as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// Nowhere: nothing is touched, or nothing else is known.
    Nowhere,
    /// On the server that was used last.
    Last,
    /// On the server that is used with the credentials that were kept for its teardown.
    Kept,
}

/// Where to end accesses when `blocker` keeps the server of a DatabaseAdmin from being made.
pub(super) fn without_server(suspended: bool, knows_last: bool, blocker: &Blocker) -> Fallback {
    let is_of_secrets =
        matches!(blocker.reason.as_str(), reasons::SECRET_NOT_FOUND | reasons::SECRET_INVALID);
    match (suspended, knows_last) {
        (true, _) => Fallback::Nowhere,
        (false, false) if is_of_secrets => Fallback::Kept,
        (false, _) => Fallback::Last,
    }
}

/// Does this failure mean that no statement reaches the server? Where it refuses something, accesses may still be
/// ended.
pub(super) fn is_unreachable(error: &Error) -> bool {
    matches!(error.class, Class::Unreachable | Class::Invalid)
}

/// Did the address or the admin user change to another server while accounts are enabled on the one that is used?
pub(super) fn moved(
    admin: &DatabaseAdmin,
    endpoint: &Endpoint,
    preflight: &Preflight,
    live: bool,
) -> Option<Blocker> {
    let status = admin.status.as_ref()?;
    let (known, used) = (status.server_identity.as_ref()?, status.endpoint.as_ref()?);
    let same = preflight.identity == *known && used.admin_user == endpoint.admin_user;
    if same || !live || used == endpoint {
        return None;
    }
    Some(Blocker::stalled(
        reasons::LIVE_ACCOUNTS,
        format!(
            "accounts are enabled through {} as {}; end the sessions before uri or adminUser.name changes to {} as {}, or change it back",
            used.uri, used.admin_user, endpoint.uri, endpoint.admin_user
        ),
    ))
}

/// Why no session starts on this server, going by what is written, though those that are there can be ended.
pub(super) fn no_starts(admin: &DatabaseAdmin) -> Option<Blocker> {
    connect::no_starts(admin).map(|why| Blocker::stalled(reasons::UNSUPPORTED, why))
}

/// The finding that keeps every session from starting. The others concern single roles and databases.
pub(super) fn blocking(preflight: &Preflight) -> Option<Blocker> {
    let finding = preflight.findings.iter().find(|finding| {
        matches!(
            finding.reason,
            Reason::PoolerInBetween
                | Reason::MissingCreateRole
                | Reason::MissingSystemAccess
                | Reason::ReadOnlyEndpoint
                | Reason::Unsupported
                | Reason::ClientCaNotTrusted
        )
    })?;
    Some(Blocker::stalled(finding.reason.as_str(), finding.message.clone()))
}

/// Adds what object permissions lack, which is found when they are granted. What keeps whole sessions from starting
/// stays first.
pub(super) fn with_objects(mut preflight: Preflight, lacking: Vec<Finding>) -> Preflight {
    let first = [
        Reason::PoolerInBetween,
        Reason::MissingCreateRole,
        Reason::MissingSystemAccess,
        Reason::MissingAdminOption,
        Reason::MissingConnect,
        Reason::MissingMongoPrivileges,
    ];
    let at = preflight.findings.partition_point(|finding| first.contains(&finding.reason));
    preflight.findings.splice(at..at, lacking);
    preflight
}

/// May a session still need privileges on its server? Not one that is over or being deleted.
pub(super) fn needs_privileges(session: &rolecall_api::DatabaseSession) -> bool {
    let over = matches!(phase(session), SessionPhase::Ended | SessionPhase::Rejected);
    !over && session.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use rolecall_api::conditions;
    use rolecall_engine::History;
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn due(retry: bool) -> Due {
        Due { retry, resync: Duration::from_secs(60) }
    }

    fn endpoint(uri: &str) -> Endpoint {
        Endpoint { uri: uri.into(), admin_user: "rolecall".into() }
    }

    fn admin(used: &str, identity: &str) -> DatabaseAdmin {
        serde_json::from_value(json!({
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"protocol": "postgres", "uri": "new:5432", "auth": {}},
            "status": {
                "endpoint": {"uri": used, "adminUser": "rolecall"},
                "serverIdentity": identity,
            },
        }))
        .unwrap()
    }

    fn finding(reason: Reason) -> Finding {
        Finding::new(reason, "", reason.as_str())
    }

    fn preflight(identity: &str, findings: &[Reason]) -> Preflight {
        Preflight {
            identity: identity.into(),
            findings: findings.iter().copied().map(finding).collect(),
            version: "17".into(),
            history: History { branch: String::new(), run: String::new(), position: 0 },
            ..Preflight::default()
        }
    }

    #[test]
    fn a_server_that_is_well_is_due_after_the_resync_interval_and_one_that_fails_with_backoff() {
        let well = next(due(false), None, &[], at(100));
        assert_eq!((well.at, well.retry), (Some((at(160), Priority::Normal)), false));
        let failing = next(due(true), None, &[], at(100));
        assert_eq!((failing.at, failing.retry), (None, true));
    }

    #[test]
    fn what_is_awaited_is_reconciled_again_when_only_a_person_can_help() {
        let awaited = Blocker::awaited(reasons::SECRET_NOT_FOUND, "no Secret");
        let reconciling = progress::condition(&awaited, &[], None, at(100));
        let again = next(due(true), Some(&awaited), &[reconciling], at(150));
        assert_eq!(again.at, Some((at(220), Priority::Normal)), "two minutes after it was first missing");
        let stalled = Blocker::stalled(conditions::READY, "");
        assert_eq!(next(due(true), Some(&stalled), &[], at(150)).at, None);
    }

    #[test]
    fn accesses_are_ended_where_the_last_server_or_its_kept_credentials_are_known() {
        let missing = Blocker::awaited(reasons::SECRET_NOT_FOUND, "");
        let other = Blocker::stalled(reasons::UNSUPPORTED, "");
        assert_eq!(without_server(false, true, &missing), Fallback::Last);
        assert_eq!(without_server(false, false, &missing), Fallback::Kept);
        assert_eq!(
            without_server(false, false, &other),
            Fallback::Last,
            "there is none, and none is made up"
        );
        assert_eq!(without_server(true, false, &missing), Fallback::Nowhere, "nothing is touched");
    }

    #[test]
    fn another_server_is_not_used_while_accounts_are_enabled_on_the_one_before() {
        let is_moved = |admin: &DatabaseAdmin, to: &str, identity: &str, live| {
            moved(admin, &endpoint(to), &preflight(identity, &[]), live).is_some()
        };
        let admin = admin("old:5432", "one");
        assert!(is_moved(&admin, "new:5432", "two", true));
        assert!(!is_moved(&admin, "new:5432", "two", false), "nobody has access");
        assert!(!is_moved(&admin, "new:5432", "one", true), "it is the same server by another name");
        assert!(!is_moved(&admin, "old:5432", "two", true), "a failover is not a change of the spec");
        assert!(!is_moved(&DatabaseAdmin { status: None, ..admin }, "new:5432", "two", true));
    }

    #[test]
    fn only_what_every_session_needs_keeps_all_from_starting() {
        let of = |findings: &[Reason]| blocking(&preflight("one", findings)).map(|blocker| blocker.reason);
        assert_eq!(of(&[Reason::MissingConnect, Reason::PublicConnect]), None);
        let lacking = of(&[Reason::MissingConnect, Reason::ReadOnlyEndpoint]);
        assert_eq!(lacking.as_deref(), Some(Reason::ReadOnlyEndpoint.as_str()));
    }

    #[test]
    fn what_objects_lack_comes_after_what_sessions_lack() {
        let both =
            preflight("one", &[Reason::MissingCreateRole, Reason::MissingConnect, Reason::PublicConnect]);
        let both = with_objects(both, vec![finding(Reason::MissingObjectPrivileges)]);
        let reasons: Vec<Reason> = both.findings.iter().map(|finding| finding.reason).collect();
        assert_eq!(
            reasons,
            [
                Reason::MissingCreateRole,
                Reason::MissingConnect,
                Reason::MissingObjectPrivileges,
                Reason::PublicConnect
            ]
        );
    }
}
