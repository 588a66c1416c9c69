//! What must be true when nothing is under way any more.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::names::{ACCOUNT_FINALIZER, PASSWORD_GENERATION_ANNOTATION};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DbObjectImportRule, SessionPhase};
use rolecall_policy::Privilege;

use super::approvals::waits_for_people;
use super::checks::account_of;
use super::cluster::Cluster;
use super::operation::{SESSIONS, USERS, is_late};
use super::oracle::{Allowed, may_live};
use super::server::Server;
use super::store::Store;
use crate::model::session::phase;
use crate::ports::Clock;

impl Cluster {
    /// The Secrets that somebody made in the place of the operator's go.
    pub(super) fn give_back_secrets(&self) {
        let now = self.clock.now();
        let mut store = self.store();
        for name in SESSIONS {
            let foreign =
                |secret: Secret| secret.labels().get("owner").is_some_and(|owner| owner == "somebody");
            if store.get::<Secret>(name).is_some_and(foreign) {
                store.delete::<Secret>(name, now);
            }
        }
    }
}

/// Who has more than policy gives.
pub(super) fn security(cluster: &Cluster) -> Vec<String> {
    let (store, now) = (cluster.store(), cluster.clock.now());
    let excused = cluster.evidence().excused.clone();
    let mut problems = Vec::new();
    for session in store.all::<DatabaseSession>() {
        let excused = account_of(&store, &session).is_some_and(|account| excused.contains(&account));
        let live = phase(&session) == SessionPhase::Active && may_live(&store, &session, now).is_none();
        if live && !excused && !is_suspended(&store, &session.spec.database) {
            problems.push(format!("{} is Active, and policy does not allow it", session.name_any()));
        }
    }
    for server in cluster.servers.values() {
        let admin = server.host.strip_suffix("-db").unwrap_or_default();
        if is_suspended(&store, admin) {
            continue;
        }
        for username in server.open() {
            let account = (server.host, username);
            let released = cluster.evidence().released.contains(&account) || excused.contains(&account);
            let live = lives(&store, &account, now);
            if live.is_empty() && !released {
                problems.push(format!("{account:?} can log in, and no session may live"));
            }
            if live.is_empty() || released {
                continue;
            }
            let (roles, select) = has(server, &account.1);
            let given: BTreeSet<String> =
                live.iter().flat_map(|(_, allowed)| &allowed.roles).map(|role| (*role).to_owned()).collect();
            if !roles.is_subset(&given) {
                problems.push(format!("{account:?} has {roles:?}, and policy gives {given:?}"));
            }
            if select && !live.iter().any(|(session, allowed)| may_select(&store, session, allowed)) {
                problems.push(format!("{account:?} can read the table, and policy does not allow it"));
            }
        }
    }
    problems
}

/// What is not what it should be in the end.
pub(super) fn unsettled(cluster: &Cluster) -> Vec<String> {
    let mut problems = security(cluster);
    let (store, now) = (cluster.store(), cluster.clock.now());
    for admin in store.all::<DatabaseAdmin>() {
        if admin.metadata.deletion_timestamp.is_some() {
            problems.push(format!("{} is being deleted", admin.name_any()));
        }
    }
    for session in store.all::<DatabaseSession>() {
        problems.extend(of_session(cluster, &store, &session, now).map(|what| {
            let why = session.status.as_ref().and_then(|status| status.conditions.first());
            let why = why.map(|why| format!("{}: {}", why.reason, why.message)).unwrap_or_default();
            format!("{} {what} ({why})", session.name_any())
        }));
    }
    for secret in store.all::<Secret>() {
        let owner = secret.owner_references().iter().find(|owner| owner.kind == "DatabaseSession");
        let Some(owner) = owner else { continue };
        let session = store.get::<DatabaseSession>(&owner.name);
        if session.is_none() && is_late(&secret) {
            // Kubernetes collects it with its owner.
            continue;
        }
        let live = session.filter(|session| session.metadata.uid.as_deref() == Some(&owner.uid));
        if !live.is_some_and(|session| phase(&session) == SessionPhase::Active) {
            problems.push(format!("the Secret {} is still there", secret.name_any()));
        }
    }
    problems
}

fn of_session(cluster: &Cluster, store: &Store, session: &DatabaseSession, now: Timestamp) -> Option<String> {
    let marked = session.finalizers().iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER);
    let allowed = may_live(store, session, now);
    if session.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".to_owned());
    }
    match phase(session) {
        SessionPhase::Ending => Some("is Ending".to_owned()),
        SessionPhase::Ended | SessionPhase::Rejected if marked => {
            Some("is over and has its finalizer".to_owned())
        }
        SessionPhase::Ended | SessionPhase::Rejected => {
            let over = session.status.as_ref().and_then(|status| status.ended_at.as_ref()).map(|at| at.0)?;
            let keep = SignedDuration::try_from(session.spec.retain_after_end.get()).unwrap_or_default();
            (over + keep + SignedDuration::from_secs(10) < now)
                .then(|| "is over and was to be deleted".to_owned())
        }
        SessionPhase::Active => {
            let account = account_of(store, session)?;
            let server = &cluster.servers[account.0];
            if !server.open().contains(&account.1) {
                return Some("is Active, and cannot log in".to_owned());
            }
            if !marked {
                return Some("is Active and has no finalizer".to_owned());
            }
            let allowed = allowed?;
            let (roles, select) = has(server, &account.1);
            let given: BTreeSet<String> = allowed.roles.iter().map(|role| (*role).to_owned()).collect();
            if roles != given {
                return Some(format!("has {roles:?}, and policy gives {given:?}"));
            }
            if may_select(store, session, &allowed) && !select {
                return Some("cannot read the table".to_owned());
            }
            passwords(store, session, server, &account.1)
        }
        SessionPhase::Pending | SessionPhase::Unknown => {
            let in_vain = session.spec.database_name.as_deref() == Some("ghost")
                || USERS[3..].contains(&&*session.spec.user);
            let waits = in_vain || waits_for_people(store, session);
            (allowed.is_some() && !waits).then(|| "waits, and may have access".to_owned())
        }
    }
}

/// The Secret of a live session contains the password that the server has.
fn passwords(store: &Store, session: &DatabaseSession, server: &Server, username: &str) -> Option<String> {
    let admin: DatabaseAdmin = store.get(&session.spec.database)?;
    admin.spec.user_credentials.password.as_ref()?;
    let secret: Option<Secret> = store.get(&session.name_any());
    let generation =
        secret.as_ref().and_then(|secret| secret.annotations().get(PASSWORD_GENERATION_ANNOTATION));
    let state = server.fake.state();
    let recorded = state.users.get(username).and_then(|user| user.owner.as_ref())?.password_generation;
    (generation != Some(&recorded.to_string()))
        .then(|| format!("has the password {generation:?}, and the server has {recorded}"))
}

fn is_suspended(store: &Store, admin: &str) -> bool {
    store.get::<DatabaseAdmin>(admin).is_some_and(|admin| admin.spec.suspend)
}

/// The sessions of an account that may live.
fn lives(store: &Store, account: &(&'static str, String), now: Timestamp) -> Vec<(DatabaseSession, Allowed)> {
    let sessions = store.all::<DatabaseSession>().into_iter();
    sessions
        .filter(|session| account_of(store, session).as_ref() == Some(account))
        .filter_map(|session| may_live(store, &session, now).map(|allowed| (session, allowed)))
        .collect()
}

fn may_select(store: &Store, session: &DatabaseSession, allowed: &Allowed) -> bool {
    // A rule gives other labels than the roles ask for.
    let labelled = store.all::<DbObjectImportRule>().is_empty();
    allowed.select && labelled && session.spec.database_name.as_deref() == Some("app")
}

/// The database roles of an account, and whether it can read the table.
fn has(server: &Server, username: &str) -> (BTreeSet<String>, bool) {
    let state = server.fake.state();
    let Some(user) = state.users.get(username) else { return Default::default() };
    let (sets, roles): (BTreeSet<String>, BTreeSet<String>) =
        user.memberships.iter().map(|(role, _)| role.clone()).partition(|role| state.sets.contains_key(role));
    let select = state.databases["app"].objects.values().any(|object| {
        sets.iter()
            .any(|set| object.granted.get(set).is_some_and(|granted| granted.contains(Privilege::Select)))
    });
    (roles, select)
}
