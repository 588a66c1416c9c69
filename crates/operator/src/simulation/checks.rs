//! What is checked at every single write, on the API server and on the servers.

use std::future::ready;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_engine::Plan;
use rolecall_ledger::{Entry, Event};
use serde_json::Value;

use super::cluster::{Cluster, HOSTS};
use super::evidence::Login;
use super::invariants::Break;
use super::moves;
use super::server::Server;
use super::store::{Store, Written, collection, has_finalizer};
use crate::model::session::phase;
use crate::ports::{Address, AuditLog, Need, Unwritten};

/// The host of a DatabaseAdmin.
pub(super) fn host_of(admin: &str) -> Option<&'static str> {
    HOSTS.into_iter().find(|host| host.strip_suffix("-db") == Some(admin))
}

/// Does the status of a session say so already?
fn is_active(store: &Store, session: &str) -> bool {
    store.get::<DatabaseSession>(session).is_some_and(|session| phase(&session) == SessionPhase::Active)
}

/// The account that a session was started with, as whoever comes after the operator can find out.
pub(super) fn account_of(store: &Store, session: &DatabaseSession) -> Option<Login> {
    let named = named_itself(session).or_else(|| named_by_secret(store, session))?;
    Some((host_of(&session.spec.database)?, named))
}

/// The name that the object itself says.
pub(super) fn named_itself(session: &DatabaseSession) -> Option<String> {
    let status = session.status.as_ref().and_then(|status| status.username.clone());
    status.or_else(|| session.annotations().get(USERNAME_ANNOTATION).cloned())
}

fn named_by_secret(store: &Store, session: &DatabaseSession) -> Option<String> {
    let secret: Secret = store.get(session.metadata.name.as_deref()?)?;
    let is_its =
        secret.owner_references().iter().any(|owner| Some(&owner.uid) == session.metadata.uid.as_ref());
    secret.annotations().get(USERNAME_ANNOTATION).filter(|_| is_its).cloned()
}

/// Is there a session, another one than this, that accounts for a login?
pub(super) fn explains(store: &Store, account: &Login, but: Option<&str>) -> bool {
    store.all::<DatabaseSession>().iter().any(|session| {
        session.metadata.uid.as_deref() != but
            && session.finalizers().iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER)
            && account_of(store, session).as_ref() == Some(account)
    })
}

impl Cluster {
    pub(super) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.log(|| format!("VIOLATED: {what}"));
        self.evidence().violations.push(what);
    }

    /// The API server has carried out a write of the operator, who knew the object as it was, or not.
    pub(super) fn check_write(&self, at: &Address, kind: &str, written: &Written, known: bool) {
        if written.changes() {
            self.evidence().writes += 1;
        } else if known {
            self.violated(format!("{kind} of {at} changes nothing, as the operator knew"));
        }
        if at.collection == collection::<Secret>() {
            self.check_secret(at, written);
        }
        if at.collection == collection::<DatabaseSession>() {
            self.check_session(written);
        }
    }

    fn check_secret(&self, at: &Address, written: &Written) {
        let Some(before) = &written.before else { return };
        if before["metadata"]["labels"]["owner"] == "somebody" {
            self.violated(format!("the Secret {} belongs to somebody else and was written", at.name));
        }
    }

    /// What a session says was written to the audit log before.
    fn check_session(&self, written: &Written) {
        let read = |value: &Value| serde_json::from_value::<DatabaseSession>(value.clone()).unwrap();
        let Some(before) = &written.before else { return };
        let (was, is) = (read(before), read(&written.after));
        self.check_move(&was, &is);
        if phase(&is) == SessionPhase::Active && phase(&was) != SessionPhase::Active {
            self.check_approved(&is);
        }
        let uid = is.uid().unwrap_or_default();
        let said = self.evidence().said.get(&uid).cloned().unwrap_or_default();
        let wanted: &[&str] = match phase(&is) {
            phase_now if phase_now == phase(&was) => &[],
            SessionPhase::Active => &["active"],
            SessionPhase::Ended => &["ended", "abandoned", "retained"],
            SessionPhase::Rejected => &["rejected", "denied", "approvalExpired"],
            _ => &[],
        };
        if !wanted.is_empty() && !wanted.contains(&said.as_str()) {
            self.violated(format!("{} is {:?}, and the audit log says {said:?}", is.name_any(), phase(&is)));
        }
        let released = has_finalizer(before, ACCOUNT_FINALIZER)
            && (written.gone || !has_finalizer(&written.after, ACCOUNT_FINALIZER));
        let over = ["ended", "abandoned", "retained", "rejected", "denied", "approvalExpired", "withdrawn"];
        if released && !over.contains(&said.as_str()) {
            self.violated(format!("{} was released, and the audit log says {said:?}", is.name_any()));
        }
        let Some(account) = account_of(&self.store(), &was).filter(|_| released) else { return };
        let open = self.servers[account.0].open().contains(&account.1);
        let excused = self.evidence().is_excused(&account);
        if open && !excused && !explains(&self.store(), &account, Some(&uid)) {
            self.violated(format!("{} was released, and {account:?} can log in", is.name_any()));
        }
    }

    /// A session goes from phase to phase as the documentation says.
    fn check_move(&self, was: &DatabaseSession, is: &DatabaseSession) {
        let moved = (format!("{:?}", phase(was)), format!("{:?}", phase(is)));
        if moved.0 == moved.1 {
            return;
        }
        if !moves::DOCUMENTED.contains(&moved) {
            let (from, to) = &moved;
            self.violated(format!(
                "{} goes from {from} to {to}, which docs/lifecycle.md lacks",
                is.name_any()
            ));
        }
        self.evidence().moves.insert(moved);
    }

    /// A server has carried out a plan.
    pub(super) fn check_plan(&self, server: &Server, plan: &Plan) {
        let (account, gives) = match plan {
            Plan::Activate(plan) => (&plan.account, true),
            Plan::Adjust(plan) => (&plan.account, plan.enable),
            Plan::End(plan) => (&plan.account, false),
            Plan::Nothing => return,
        };
        let account = (server.host, account.to_string());
        let open = server.fake.state().users.get(&account.1).is_some_and(|user| user.login);
        let explained = self.evidence().is_excused(&account) || explains(&self.store(), &account, None);
        let more =
            matches!(plan, Plan::Adjust(plan) if !(plan.grant.is_empty() && plan.grant_sets.is_empty()));
        let unlogged = more && self.faults().audit_log_full;
        let mut evidence = self.evidence();
        evidence.writes += 1;
        if unlogged {
            // It may have been announced right before.
            *evidence.lines.entry("more while the log was full".to_owned()).or_default() += 1;
        }
        evidence.shown.remove(&account);
        let excused = evidence.is_excused(&account);
        let announced = evidence.granting.values().any(|granting| *granting == account);
        drop(evidence);
        if gives && open && !explained {
            self.violated(format!("{account:?} was enabled, and no session accounts for it"));
        }
        if matches!(plan, Plan::Activate(_)) && open && !announced && !excused {
            self.violated(format!("{account:?} was enabled, and the audit log does not say so"));
        }
    }

    /// Nobody can log in for whom no session accounts, and nothing of others has changed.
    pub(super) fn check_servers(&self) {
        for server in self.servers.values() {
            if server.of_others() != server.of_others_at_first {
                self.violated(format!(
                    "{}: what belongs to others has changed: {}",
                    server.host,
                    server.of_others()
                ));
            }
            let open: Vec<Login> = server.open().into_iter().map(|name| (server.host, name)).collect();
            for account in open {
                let excused = self.evidence().is_excused(&account);
                if !excused && !explains(&self.store(), &account, None) {
                    self.violated(format!("{account:?} can log in, and no session accounts for it"));
                }
            }
        }
    }
}

/// The audit log, checked against the servers.
#[derive(Debug)]
pub(super) struct Auditor(pub(super) Arc<Cluster>);

impl AuditLog for Auditor {
    fn write(&self, line: Entry, need: Need) -> BoxFuture<'_, Result<(), Unwritten>> {
        if need == Need::Before && self.0.faults().audit_log_full {
            return Box::pin(ready(Err(Unwritten::new("no space left on device"))));
        }
        self.check(&line);
        Box::pin(ready(Ok(())))
    }
}

impl Auditor {
    fn check(&self, line: &Entry) {
        if matches!(line.event, Event::Returned | Event::Failover) {
            return;
        }
        let cluster = &*self.0;
        let lost = match line.event {
            Event::Active => cluster.breaks(Break::AuditLinesAreLost),
            Event::Granting => cluster.breaks(Break::GrantsAreNotLogged),
            _ => false,
        };
        if lost {
            return;
        }
        let access = line.event.as_str();
        cluster.log(|| format!("  audit: {} {access} {}", line.session, line.reason));
        let Some(host) = host_of(&line.database) else { return };
        let account = (host, line.username.clone());
        *cluster.evidence().lines.entry(access.to_owned()).or_default() += 1;
        // What is asked for says nothing of an access, and may follow its end at once.
        if line.event != Event::Requested {
            cluster.evidence().said.insert(line.uid.clone(), access.to_owned());
        }
        match line.event {
            Event::Granting => {
                cluster.evidence().granting.insert(line.uid.clone(), account.clone());
            }
            Event::Active if !cluster.breaks(Break::ApproversAreNotLogged) => {
                cluster.evidence().approvers.insert(line.uid.clone(), line.approved_by.clone());
            }
            Event::Ended | Event::Withdrawn | Event::Rejected | Event::Denied | Event::ApprovalExpired => {
                cluster.evidence().granting.remove(&line.uid);
            }
            _ => {}
        }
        let shown = cluster.evidence().shown.get(&account).copied();
        match access {
            "active" if shown != Some(true) && !is_active(&cluster.store(), &line.session) => {
                cluster.violated(format!("{} is active, and the server has not shown it", line.session));
            }
            "ended" | "withdrawn" | "rejected" | "denied" | "approvalExpired"
                if !line.username.is_empty() =>
            {
                let others =
                    explains(&cluster.store(), &account, Some(&*line.uid).filter(|uid| !uid.is_empty()));
                let excused = cluster.evidence().is_excused(&account);
                let open = cluster.servers[host].open().contains(&account.1);
                if !others && !excused && open {
                    cluster.violated(format!("{} is {access}, and {account:?} can log in", line.session));
                }
                // A session that never had access needs no line.
                if access == "ended" && !others && shown != Some(false) {
                    let whose = if line.uid.is_empty() { &line.username } else { &line.session };
                    cluster.violated(format!("{whose} is ended, and the server has not shown it"));
                }
            }
            "abandoned" | "retained" => {
                let mut evidence = cluster.evidence();
                evidence.excuse(host, &line.username);
                evidence.released.insert(account);
            }
            _ => {}
        }
    }
}
