//! From the conclusion of a reconcile to the result of each session and of the account. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rolecall_api::{AccountPhase, AccountStatus, Connection, EndReason, SessionPhase, reasons};
use rolecall_pki::credentials::only_certificates;

use super::conclusion::{Conclusion, Ends, Live, Starts};
use super::decide::{Access, AfterEnd, Decision, End, Setback};
use super::issued::Issued;
use super::permission_sets::{Permissions, permissions};
use super::proof::{NoAccount, WasActive};
use super::reports::AccountReport;
use super::result::{Active, Gone, SessionResult, Shown};
use super::session::{Session, api_mode, reassign_to};
use crate::events::Severity;
use crate::model::session::{phase, started_at};
use crate::model::{AccountKey, Blocker, plus, whole_second};

/// So much time that a second of it does not matter.
const MANY_SECONDS: Duration = Duration::from_secs(10);

/// What the status of a live session says of its server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint<'a> {
    /// The database user.
    pub(super) username: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// The CA that users check the server's certificate against.
    pub(super) server_ca: Option<&'a str>,
    /// What credentials are made from now.
    pub(super) made_from: u64,
    /// That the server takes no certificates of the CA for users.
    pub(super) distrust: Option<&'a Blocker>,
}

/// An event about a session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) severity: Severity,
    pub(super) reason: String,
    pub(super) action: &'static str,
    pub(super) note: String,
}

/// The result of a session; `None` where there is nothing to report. `endpoint`: its server, where it is known.
pub(super) fn result(
    session: &Session,
    conclusion: &Conclusion,
    endpoint: Option<Endpoint<'_>>,
) -> Option<SessionResult> {
    match session.decision() {
        Decision::Over | Decision::Untouched => None,
        Decision::Release => {
            NoAccount::of(&session.object).map(|gone| SessionResult::Released { gone: Gone::NoAccount(gone) })
        }
        Decision::Wait(blocker) => match session.setback() {
            Some(Setback::SetNotReady { report: false }) => None,
            _ => Some(SessionResult::Waiting(blocker.clone())),
        },
        Decision::Reject(blocker) => Some(SessionResult::Rejected(blocker.clone())),
        Decision::Start(access) => started(session, access, conclusion, endpoint),
        Decision::Live(access) => live(session, access, conclusion, endpoint),
        Decision::End(end) => ended(session, end, conclusion),
    }
}

fn started(
    session: &Session,
    access: &Access,
    conclusion: &Conclusion,
    endpoint: Option<Endpoint<'_>>,
) -> Option<SessionResult> {
    match &conclusion.starts {
        Starts::NotTried => None,
        Starts::Wait(_) if phase(&session.object) == SessionPhase::Active => None,
        Starts::Wait(blocker) => Some(SessionResult::Waiting(blocker.clone())),
        Starts::Started(_) if session.set_aside => None,
        Starts::Started(verified) => {
            let started = verified.at();
            let mut active = active(session, access, Shown::Verified(*verified), conclusion, endpoint?);
            active.started_at = Some(started);
            active.expires_at = access.ttl.and_then(|ttl| expiry(started, ttl));
            Some(SessionResult::Active(with_renewal(active, session)))
        }
    }
}

/// When a session ends that starts now: at the second that its status says, unless that is a good part of its time.
fn expiry(started: Timestamp, ttl: Duration) -> Option<Timestamp> {
    if ttl < MANY_SECONDS {
        return plus(started, ttl);
    }
    plus(whole_second(started), ttl).map(whole_second)
}

fn live(
    session: &Session,
    access: &Access,
    conclusion: &Conclusion,
    endpoint: Option<Endpoint<'_>>,
) -> Option<SessionResult> {
    let Live::Kept { verified, trouble } = &conclusion.live else { return None };
    let shown = match verified {
        Some(verified) => Shown::Verified(*verified),
        None => Shown::WasActive(WasActive::of(&session.object)?),
    };
    let endpoint = endpoint?;
    let mut active = active(session, access, shown, conclusion, endpoint);
    active.started_at = Some(started_at(&session.object).unwrap_or(session.times.seen));
    active.expires_at = access.expires_at;
    let cannot_log_in = || {
        let has_one =
            session.issued.as_ref().is_some_and(|issued| issued.made_from == Some(endpoint.made_from));
        endpoint.distrust.filter(|_| has_one).cloned()
    };
    active.trouble = trouble.clone().or_else(|| session.renewal_failed.clone()).or_else(cannot_log_in);
    Some(SessionResult::Active(with_renewal(active, session)))
}

/// A session that has access, but for its times.
fn active(
    session: &Session,
    access: &Access,
    shown: Shown,
    conclusion: &Conclusion,
    endpoint: Endpoint<'_>,
) -> Active {
    let status = session.object.status.clone().unwrap_or_default();
    // What is not known here was issued by a previous operator process.
    let issued = session.issued.clone().unwrap_or_else(|| Issued {
        secret: status.credentials_secret_ref.map(|secret| secret.name),
        certificate: status.certificate.and_then(|pem| only_certificates(&String::from_utf8_lossy(&pem.0))),
        ..Issued::default()
    });
    let Permissions { counts, complete, incomplete } = permissions(session);
    Active {
        shown,
        username: endpoint.username.to_owned(),
        roles: access.grant.roles.clone(),
        db_roles: conclusion.roles.clone(),
        mode: api_mode(&access.grant),
        reassign_to: access.grant.reassign_to.clone(),
        started_at: None,
        expires_at: None,
        renew_at: None,
        secret: issued.secret,
        certificate: issued.certificate,
        connection: Some(Connection {
            host: endpoint.host.to_owned(),
            port: endpoint.port,
            database: session.object.spec.database_name.clone(),
            ca_bundle: endpoint.server_ca.map(|ca| ByteString(ca.as_bytes().to_vec())),
        }),
        permissions: counts,
        complete,
        trouble: None,
        incomplete,
    }
}

fn with_renewal(active: Active, session: &Session) -> Active {
    let issued = session.issued.as_ref();
    Active { renew_at: issued.and_then(|issued| issued.renew_at(active.expires_at)), ..active }
}

fn ended(session: &Session, end: &End, conclusion: &Conclusion) -> Option<SessionResult> {
    let gone = match &conclusion.ends {
        Ends::Unknown => return None,
        Ends::Blocked(blocker) => return Some(not_ended(end, blocker)),
        Ends::Gone { proof, .. } => Gone::Proven(*proof),
        Ends::Abandoned { proof, .. } => Gone::Abandoned(*proof),
        Ends::Retained(proof) => Gone::Retained(*proof),
    };
    Some(match &session.revocation_failed {
        Some(blocker) => not_ended(end, blocker),
        None => after_end(end, gone),
    })
}

/// What follows for a session whose access is gone, or left behind.
fn after_end(end: &End, gone: Gone) -> SessionResult {
    match &end.then {
        AfterEnd::Release => SessionResult::Released { gone },
        AfterEnd::Ended => {
            let reason = match gone {
                Gone::Abandoned(_) => EndReason::Abandoned,
                _ => end.reason.unwrap_or(EndReason::AccessRevoked),
            };
            SessionResult::Ended { reason, gone }
        }
        AfterEnd::Pending(blocker) => SessionResult::Withdrawn { blocker: blocker.clone(), gone },
        AfterEnd::Retry(blocker) => SessionResult::Waiting(blocker.clone()),
        AfterEnd::Rejected(blocker) => SessionResult::Rejected(blocker.clone()),
    }
}

/// What follows for a session whose access should end and is not gone yet.
pub(super) fn not_ended(end: &End, blocker: &Blocker) -> SessionResult {
    match &end.then {
        // It never became Active: it keeps waiting, and what may be there is ended later.
        AfterEnd::Pending(waits_for) | AfterEnd::Retry(waits_for) if end.reason.is_none() => {
            SessionResult::Waiting(waits_for.clone())
        }
        _ => SessionResult::Ending { reason: end.reason, blocker: blocker.clone() },
    }
}

/// What is reported about a session besides its result.
pub(super) fn announcements(key: &AccountKey, session: &Session, conclusion: &Conclusion) -> Vec<Event> {
    let warning = |reason: &str, action, note| Event {
        severity: Severity::Warning,
        reason: reason.to_owned(),
        action,
        note,
    };
    let mut events = Vec::new();
    if let Some(done) = conclusion.lost_password.filter(|_| session.is_live()) {
        let note = format!(
            "the server did not have the password of {} any more, or may not have had it (a failover or a restore that lost changes, or somebody changed the account): {done}",
            key.username
        );
        events.push(warning(reasons::PASSWORD_RESTORED, "Keep", note));
    }
    if let Some(what) = conclusion.changed.as_ref().filter(|_| session.is_live()) {
        let note = format!("somebody changed {} on {}: {what}", key.username, key.admin);
        events.push(warning(reasons::ACCOUNT_CHANGED, "Keep", note));
    }
    if !session.is_ending() {
        return events;
    }
    match &conclusion.ends {
        Ends::Gone { kept_because, reassigned, .. } => {
            events.extend(reassigned.as_ref().map(|reassigned| Event {
                severity: Severity::Normal,
                reason: reasons::OBJECTS_REASSIGNED.to_owned(),
                action: "Drop",
                note: format!("{} on {}: {reassigned}", key.username, key.admin),
            }));
            events.extend(kept_because.as_ref().map(|why| {
                let note = format!("{} on {} is disabled, not dropped: {why}", key.username, key.admin);
                warning(reasons::ACCOUNT_KEPT, "Drop", note)
            }));
        }
        Ends::Abandoned { blocker, .. } => {
            let note = format!(
                "the access of {} on {} could not be taken away: {}. Disable the account on the server by hand",
                key.username, key.admin, blocker.message
            );
            events.push(warning(reasons::ABANDONED, "End", note));
        }
        Ends::Retained(_) => {
            let note = format!(
                "{} on {} stays as it is: the DatabaseAdmin is being deleted with deletion: Retain",
                key.username, key.admin
            );
            events.push(warning(reasons::DATABASE_REMOVED, "End", note));
        }
        Ends::Unknown | Ends::Blocked(_) => {}
    }
    events
}

/// What the status of the DatabaseUser will say of the account; `None` where that stays as it is.
pub(super) fn account_report(
    key: &AccountKey,
    sessions: &[Session],
    conclusion: &Conclusion,
) -> Option<AccountReport> {
    let state = conclusion.account.clone()?;
    let first = sessions.first()?;
    let enabled = state.phase == AccountPhase::Enabled;
    let having = sessions.iter().filter(|session| enabled && (session.is_live() || session.is_starting()));
    Some(AccountReport {
        user: key.admin.sibling(&first.object.spec.user),
        account: AccountStatus {
            database: key.admin.name.to_string(),
            username: key.username.to_string(),
            phase: state.phase,
            sessions: u32::try_from(having.count()).unwrap_or(u32::MAX),
            db_roles: state.roles,
            mode: sessions.iter().filter_map(Session::mode).max(),
            reassign_to: reassign_to(sessions),
            message: state.message,
        },
    })
}

/// Should the account be reconciled again soon?
pub(super) fn wants_retry(sessions: &[Session], conclusion: &Conclusion) -> bool {
    let blocked = matches!(conclusion.ends, Ends::Blocked(_)) && sessions.iter().any(Session::is_ending);
    conclusion.retry || blocked || sessions.iter().any(Session::wants_retry)
}

#[cfg(test)]
mod tests;
