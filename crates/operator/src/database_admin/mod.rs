//! The DatabaseAdmin: its server is made, looked at, and in the end left.
//!
//! A look reads as: read the Secrets and make a server of them (`connect`), preflight it, take an inventory of its accounts,
//! tell what was seen (`status`). Deleting one tears every account down first (`teardown`).

mod failover;
mod failover_watch;
mod orphans;
mod status;
mod teardown;
mod trust;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::names::TEARDOWN_FINALIZER;
use rolecall_api::{DatabaseAdmin, Deletion, MissingDbRoles, ObjectCounts, Orphans, conditions, reasons};
use rolecall_engine::{AccountName, Class, Finding, Inventory, Needs, Owner, Preflight, Reason};
use tokio_util::sync::CancellationToken;

pub use failover_watch::FailoverWatch;

use crate::account::{self, returned::Response};
use crate::cache::Cache;
use crate::model::{
    AccountKey, Action, Blocker, ObjectKey, Priority, ReconcileError, ReconcileKey,
    session::{is_touched, may_have_access, phase},
};
use crate::servers::{Server, ServerState, connect, teardown_secret};
use crate::{Settings, Shared, progress, sets};
use orphans::{Judge, Orphan};
use status::Seen;

/// How long a look may take before it is told what accounts have found.
const UNTOLD: Duration = Duration::from_secs(1);

/// Looks at one DatabaseAdmin.
///
/// # Errors
///
/// What the API server refused. What the server refuses is reported on the object and looked at again.
pub async fn reconcile(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let Some(admin) = shared.cache().admin(key) else {
        return Ok(teardown::without_admin(shared, key, shared.now()).await);
    };
    let deleted = admin.metadata.deletion_timestamp.is_some();
    let now = shared.now();
    let seen = telling(shared, key, &admin, look(shared, key, &admin, now)).await;
    // Something may have been told meanwhile.
    let known = shared.cache().admin(key).filter(|known| known.metadata.uid == admin.metadata.uid);
    let admin = known.unwrap_or(admin);
    // Before accounts are looked at: what a set holds decides what leaving it means.
    let leftovers = match seen.state.server.as_ref().filter(|_| seen.reachable == Some(true)) {
        Some(server) => sets::find_leftovers(shared, key, server).await,
        None => Some(BTreeSet::new()),
    };
    // Before anything is written: ending accesses needs the server, not the status.
    let changed = shared.servers.put(key, seen.state.clone());
    if changed {
        shared.trigger(shared.cache().database_triggers(key));
        for account in shared.cache().accounts_of_admin(key) {
            shared.queue.add(ReconcileKey::Account(account), Priority::Normal);
        }
    }
    match &seen.state.server {
        Some(server) if !admin.spec.suspend => {
            shared.failover_watch.keep(key, server, &shared.queue, &shared.clock)
        }
        _ => shared.failover_watch.stop(key),
    }
    for objects in leftovers.iter().flatten() {
        shared.queue.add(ReconcileKey::PermissionSets(objects.clone()), Priority::Normal);
    }
    // Before it is told that they can be used.
    let named = seen.named.iter().flatten().filter(|orphan| orphan.ours);
    let returned: BTreeSet<AccountKey> = named
        .filter(|orphan| account::returned::was_over(shared, &orphan.key))
        .map(|orphan| orphan.key.clone())
        .collect();
    trigger_accounts(shared, &seen, Priority::Normal);
    let after = status::status(&admin, &seen, now);
    if admin.status.as_ref() != Some(&after) {
        shared.api.apply_status(shared, &*admin, &after).await?;
        status::tell(shared, &admin, &after);
    }
    if let Some(named) = &seen.named {
        report_orphans(shared, &admin, key, named, &returned).await;
    }
    if deleted {
        return teardown::tear_down(shared, key, &admin, &seen, now).await;
    }
    if let Some(server) = seen.state.server.as_ref().filter(|_| !admin.spec.suspend) {
        account::find_missing(shared, key, server).await;
    }
    let mut done = Action { retry: seen.is_failing() || leftovers.is_none(), ..Action::await_change() };
    if !done.retry {
        let jitter = shared.clock.spread(shared.settings.resync_interval, 0.9..1.1);
        done.at_earliest(crate::model::plus(now, jitter).map(|at| (at, Priority::Normal)));
    }
    if let Some(blocker) = &seen.state.blocker {
        let stalled_at = progress::stalled_at(blocker, &after.conditions, now);
        done.at_earliest(stalled_at.map(|at| (at, Priority::Normal)));
    }
    Ok(done)
}

/// Looks at the accounts of a server and at nothing else: a connection to it broke, so that it may be another one, which
/// has not heard of the last changes.
///
/// # Errors
///
/// None so far: a server that does not answer is tried again.
pub async fn reconcile_inventory(shared: &Shared, key: &ObjectKey) -> Result<Action, ReconcileError> {
    let admin = shared.cache().admin(key).filter(|admin| {
        let retained = admin.metadata.deletion_timestamp.is_some() && admin.spec.deletion == Deletion::Retain;
        !admin.spec.suspend && !retained
    });
    let Some((admin, state)) = admin.zip(shared.servers.get(key)) else { return Ok(Action::await_change()) };
    let Some(server) = state.server else { return Ok(Action::await_change()) };
    let change = failover::notice(shared, key, &admin, &server, None);
    let inventory = match server.engine.inventory().await {
        Ok(inventory) => inventory,
        Err(error) => {
            tracing::debug!(admin = %key, %error, "the accounts could not be listed");
            return Ok(Action { retry: true, ..Action::await_change() });
        }
    };
    shared.servers.mark_reached(key);
    let mut seen = Seen::default();
    judge(shared, key, &admin, &server, &inventory, &mut seen);
    trigger_accounts(shared, &seen, Priority::Urgent);
    if change.is_some() || state.unreachable {
        // What else there is to be told, and rights that may have been lost.
        shared.queue.add(ReconcileKey::Admin(key.clone()), Priority::Normal);
    }
    Ok(Action::await_change())
}

/// Has the accounts looked at that are not as they should be.
fn trigger_accounts(shared: &Shared, seen: &Seen, drifted: Priority) {
    for account in &seen.orphans {
        shared.orphans.suspect(account);
        shared.queue.add(ReconcileKey::Account(account.clone()), Priority::Urgent);
    }
    for (account, report) in &seen.reports {
        if shared.reports.set(account, report.clone()) {
            shared.queue.add(ReconcileKey::User(report.user.clone()), Priority::Normal);
        }
    }
    for account in &seen.drifted {
        shared.queue.add(ReconcileKey::Account(account.clone()), drifted);
    }
}

/// Waits for a look, and tells meanwhile what accounts have found: that the server does not answer.
async fn telling(
    shared: &Shared,
    key: &ObjectKey,
    admin: &Arc<DatabaseAdmin>,
    look: impl Future<Output = Seen>,
) -> Seen {
    let done = CancellationToken::new();
    let tell = async {
        while tokio::time::timeout(UNTOLD, done.cancelled()).await.is_err() {
            let mark =
                shared.servers.get(key).filter(|state| state.unreachable).and_then(|state| state.blocker);
            let known = shared.cache().admin(key).filter(|known| known.metadata.uid == admin.metadata.uid);
            let (Some(blocker), Some(known)) = (mark, known) else { continue };
            let ready =
                known.status.as_ref().and_then(|s| conditions::find(&s.conditions, conditions::READY));
            if ready.is_some_and(|ready| ready.status == conditions::FALSE) {
                continue;
            }
            let status = status::silent(&known, &blocker, shared.now());
            match shared.api.apply_status(shared, &*known, &status).await {
                Ok(()) => status::tell(shared, &known, &status),
                Err(error) => tracing::debug!(admin = %key, %error, "that it is silent is not written yet"),
            }
        }
    };
    let look = async {
        let seen = look.await;
        done.cancel();
        seen
    };
    tokio::join!(look, tell).0
}

/// Everything that can be found out about the server, as far as it goes.
async fn look(shared: &Shared, key: &ObjectKey, admin: &Arc<DatabaseAdmin>, now: Timestamp) -> Seen {
    let mut before = shared.servers.get(key).unwrap_or_default();
    let live = shared.cache().sessions_of_admin(key).any(|session| is_touched(session));
    let used = match before.server.is_none() && live {
        true => connect::read_used(shared.connector(), admin, now).await,
        false => Ok(None),
    };
    if let Ok(Some(used)) = &used {
        before.server = Some(Arc::clone(used));
    }
    let (databases, found) = shared.sets.imported(key);
    let objects = (databases > 0).then_some(ObjectCounts { databases, imported: found.objects });
    let mut seen = Seen {
        objects,
        crowded: found.crowded,
        state: ServerState {
            server: before.server.clone(),
            verified: before.verified,
            retain: admin.spec.suspend || admin.spec.deletion == Deletion::Retain,
            ..ServerState::default()
        },
        ..Seen::default()
    };
    let read = match used {
        // Without that server, accesses on it cannot be ended: nothing is changed until it is known.
        Err(blocker) => Err(blocker),
        Ok(_) => connect::read(shared.connector(), admin, before.server.as_ref(), now).await,
    };
    let server = match read {
        Ok(server) => server,
        Err(blocker) => {
            let is_of_secrets =
                matches!(blocker.reason.as_str(), reasons::SECRET_NOT_FOUND | reasons::SECRET_INVALID);
            seen.state.blocker = Some(blocker);
            if !admin.spec.suspend {
                if before.server.is_none() && is_of_secrets {
                    before.server = connect::read_kept(shared.connector(), admin, now).await;
                    seen.state.server = before.server.clone();
                }
                seen.fall_back(before.server.as_deref()).await;
            }
            return seen;
        }
    };
    if admin.spec.suspend {
        let server = before.server.clone().unwrap_or(server);
        seen.state.server = Some(server);
        return seen;
    }
    let needs = needs(&shared.cache(), key, admin);
    // Nobody works on a server before the finalizer is there that sees its accounts off.
    let wants_finalizer = !admin.metadata.finalizers.iter().flatten().any(|f| f == TEARDOWN_FINALIZER)
        && admin.metadata.deletion_timestamp.is_none();
    if wants_finalizer
        && let Err(error) =
            shared.api.add_finalizer(shared, &**admin, TEARDOWN_FINALIZER, serde_json::json!({})).await
    {
        seen.state.blocker =
            Some(Blocker::passing(reasons::PENDING, format!("the API server refused: {error}")));
        return seen;
    }
    if let Some(old) = before.server.as_ref().filter(|old| old.endpoint != server.endpoint)
        && let Err(blocker) = starts_nothing_more(shared, key, &before).await
    {
        seen.state.blocker = Some(blocker);
        seen.fall_back(Some(old)).await;
        return seen;
    }
    match server.engine.preflight(&needs).await {
        Ok(mut preflight) => {
            let live = shared.cache().sessions_of_admin(key).any(|session| is_touched(session));
            if let Some(blocker) = moved(admin, &server, &preflight, live) {
                seen.state.blocker = Some(blocker);
                seen.preflight = None;
                seen.reachable = Some(true);
                seen.fall_back(before.server.as_deref()).await;
                return seen;
            }
            trust::add(&mut preflight, trust::finding(&server, &before, now).await);
            seen.reachable = Some(true);
            seen.state.verified = Some(now);
            seen.state.blocker = blocking(&preflight);
            seen.endpoint = Some(server.endpoint.clone());
            failover::notice(shared, key, admin, &server, Some(&preflight.history));
            seen.preflight = Some(with_objects(preflight, shared.sets.lacking(key)));
            keep_proof(shared, key, admin, &server).await;
            if let Some(old) = before.server.filter(|old| old.fingerprint != server.fingerprint) {
                old.engine.close().await;
            }
        }
        Err(error) => {
            seen.reachable = Some(false);
            seen.state.unreachable = matches!(error.class, Class::Unreachable | Class::Invalid);
            seen.state.blocker = Some(Blocker::from(&error));
            match before.server.filter(|old| old.fingerprint != server.fingerprint) {
                Some(old) => seen.fall_back(Some(&*old)).await,
                None => match connect::kept_that_works(shared.connector(), admin, &error, now).await {
                    Some(kept) => (seen.state.server, seen.state.unreachable) = (Some(kept), false),
                    None => seen.state.server = Some(server),
                },
            }
            return seen;
        }
    }
    seen.state.server = Some(Arc::clone(&server));
    match server.engine.inventory().await {
        Ok(inventory) => {
            judge(shared, key, admin, &server, &inventory, &mut seen);
        }
        Err(error) => tracing::warn!(admin = %key, %error, "the accounts could not be counted"),
    }
    seen
}

/// Before any access starts: what worked is kept, so that it can be ended whatever becomes of the Secrets. That it could
/// not be kept keeps no access from starting, and is tried again at the next look.
async fn keep_proof(shared: &Shared, key: &ObjectKey, admin: &DatabaseAdmin, server: &Server) {
    let kept = (server.fingerprint, admin.spec.deletion);
    if shared.teardown_secrets.has(key, kept) || admin.metadata.deletion_timestamp.is_some() {
        return;
    }
    match teardown_secret::keep(&shared.api, admin, server).await {
        Ok(true) => shared.teardown_secrets.set(key, Some(kept)),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(admin = %key, %error, "what its teardown needs could not be kept");
        }
    }
}

/// Sees to it that no access starts on the server that is used now, which may be left: whoever looks from now on waits,
/// and who looked before has come to an end.
async fn starts_nothing_more(shared: &Shared, key: &ObjectKey, before: &ServerState) -> Result<(), Blocker> {
    let message = "uri or adminUser.name changed: the server that they name now is looked at first";
    let blocker = Blocker::passing(reasons::PENDING, message);
    if before.blocker.is_none() {
        shared.servers.put(key, ServerState { blocker: Some(blocker.clone()), ..before.clone() });
    }
    teardown::looks_at_accounts_end(shared, key).await.then_some(()).ok_or(blocker)
}

/// Did the address or the admin user change to another server while accounts are enabled on this one?
fn moved(admin: &DatabaseAdmin, server: &Server, preflight: &Preflight, live: bool) -> Option<Blocker> {
    let status = admin.status.as_ref()?;
    let (known, used) = (status.server_identity.as_ref()?, status.endpoint.as_ref()?);
    let same = preflight.identity == *known && used.admin_user == server.endpoint.admin_user;
    if same || !live || *used == server.endpoint {
        return None;
    }
    Some(Blocker::stalled(
        reasons::LIVE_ACCOUNTS,
        format!(
            "accounts are enabled through {} as {}; end the sessions before uri or adminUser.name changes to {} as {}, or change it back",
            used.uri, used.admin_user, server.endpoint.uri, server.endpoint.admin_user
        ),
    ))
}

/// Findings that keep every session from starting. The others concern single roles and databases.
fn blocking(preflight: &Preflight) -> Option<Blocker> {
    let finding = preflight.findings.iter().find(|finding| {
        matches!(
            finding.reason,
            Reason::PoolerInBetween
                | Reason::MissingCreateRole
                | Reason::ReadOnlyEndpoint
                | Reason::Unsupported
                | Reason::ClientCaNotTrusted
        )
    })?;
    Some(Blocker::stalled(finding.reason.as_str(), finding.message.clone()))
}

/// What object permissions lack is found when they are granted, not by a preflight.
fn with_objects(mut preflight: Preflight, lacking: Vec<Finding>) -> Preflight {
    // What keeps whole sessions from starting is told first, as in any preflight.
    let first = [
        Reason::PoolerInBetween,
        Reason::MissingCreateRole,
        Reason::MissingAdminOption,
        Reason::MissingConnect,
        Reason::MissingMongoPrivileges,
    ];
    let at = preflight.findings.partition_point(|finding| first.contains(&finding.reason));
    preflight.findings.splice(at..at, lacking);
    preflight
}

fn needs(cache: &Cache, key: &ObjectKey, admin: &DatabaseAdmin) -> Needs {
    let mut needs = Needs {
        create_missing_roles: admin.spec.missing_db_roles == MissingDbRoles::Create,
        ..Needs::default()
    };
    for session in cache.sessions_of_admin(key) {
        let over = matches!(
            phase(session),
            rolecall_api::SessionPhase::Ended | rolecall_api::SessionPhase::Rejected
        );
        if over || session.metadata.deletion_timestamp.is_some() {
            continue;
        }
        needs.databases.extend(session.spec.database_name.clone());
        needs.roles.extend(crate::account::wanted_roles(cache, key, admin, session));
    }
    needs
}

/// What the accounts of a server come to: counted, ended where they should be, named where not, looked at again where
/// somebody changed them.
fn judge(
    shared: &Shared,
    key: &ObjectKey,
    admin: &DatabaseAdmin,
    server: &Server,
    inventory: &Inventory,
    seen: &mut Seen,
) {
    // Asked for after the server: what was enabled then had its session marked before.
    let explained = explained(shared, key);
    seen.drifted = shared.applied.drifted(key, inventory, &server.owner.uid);
    let identity = seen.preflight.as_ref().map(|preflight| preflight.identity.clone()).unwrap_or_default();
    let cache = shared.cache();
    let judge = Judge {
        admin: key,
        owner: &server.owner,
        dialect: server.engine.dialect(),
        explained: &explained,
        is_nobodys: &|record, account| {
            is_nobodys(&cache, &shared.settings, server, &identity, record, account)
        },
    };
    if let (Some(preflight), Some(finding)) =
        (&mut seen.preflight, judge.unmanageable(inventory, &server.endpoint.admin_user))
    {
        let at = preflight.findings.partition_point(|found| found.reason == Reason::MissingCreateRole);
        preflight.findings.insert(at, finding);
    }
    seen.counts = Some(judge.count(inventory));
    let told = |account: &AccountKey| {
        shared.reports.get(account).map(|report| report.account).or_else(|| {
            let user = cache.user_named(&key.namespace, &account.username)?;
            account::reports::in_status(&user, account)
        })
    };
    let (to_end, mut named): (Vec<Orphan>, Vec<Orphan>) = judge
        .orphans(inventory)
        .into_iter()
        .partition(|orphan| orphan.ours && admin.spec.orphans == Orphans::Disable);
    seen.orphans = to_end.iter().map(|orphan| orphan.key.clone()).collect();
    if admin.spec.orphans == Orphans::Disable {
        seen.orphans.extend(judge.undropped(inventory, told));
    }
    // One that cannot be ended is told as well.
    named.extend(to_end.into_iter().filter_map(|mut orphan| {
        let why = shared.orphans.stuck(&orphan.key)?;
        orphan.message.push_str(&format!(" ({why})"));
        Some(orphan)
    }));
    seen.reports = judge.reports(&cache, inventory, &named, told);
    seen.named = Some(named);
}

/// Does the record of an account name a DatabaseAdmin of this cluster that is no more, or that works on another server, so
/// that this one is a copy? What is in namespaces that are not watched is not known.
fn is_nobodys(
    cache: &Cache,
    settings: &Settings,
    server: &Server,
    identity: &str,
    record: &Owner,
    account: &AccountName,
) -> bool {
    let Some((namespace, name)) = record.admin.split_once('/') else { return false };
    if !server.owner.is_of_same_cluster(record) || !settings.watches(namespace) {
        return false;
    }
    let key = ObjectKey { namespace: namespace.into(), name: name.into() };
    if cache.is_unreadable(&key) {
        return false;
    }
    let Some(admin) = cache.admin(&key).filter(|admin| admin.metadata.uid.as_ref() == Some(&record.uid))
    else {
        return true;
    };
    let status = admin.status.clone().unwrap_or_default();
    if status.server_identity.is_some_and(|known| !identity.is_empty() && known != identity) {
        return true;
    }
    // The same server, by another name perhaps, or an exact copy of it: then no session there accounts for the account.
    let elsewhere = status.endpoint.is_some_and(|used| used.uri != server.endpoint.uri);
    elsewhere && !explained_by(cache, &key).any(|username| username == account.as_str())
}

/// One event for each account that is named as an orphan for the first time.
async fn report_orphans(
    shared: &Shared,
    admin: &Arc<DatabaseAdmin>,
    key: &ObjectKey,
    named: &[Orphan],
    returned: &BTreeSet<AccountKey>,
) {
    let keys = named.iter().map(|orphan| orphan.key.clone()).collect();
    let new = shared.orphans.report(key, &keys);
    for orphan in named.iter().filter(|orphan| new.contains(&orphan.key)) {
        tracing::warn!(account = %orphan.key, "it can be used and no session accounts for it");
        let severity = crate::api_writer::Severity::Warning;
        shared.api.event(&**admin, severity, reasons::ORPHANED, "Report", &orphan.message);
        if returned.contains(&orphan.key) {
            account::returned::report(shared, &orphan.key, Response::Reported(&orphan.message)).await;
        }
    }
}

/// The accounts that some session accounts for.
fn explained(shared: &Shared, key: &ObjectKey) -> BTreeSet<String> {
    explained_by(&shared.cache(), key).map(str::to_owned).collect()
}

fn explained_by<'a>(cache: &'a Cache, key: &ObjectKey) -> impl Iterator<Item = &'a str> {
    let live = cache.sessions_of_admin(key).filter(|session| may_have_access(session));
    live.filter_map(|session| crate::model::session::recorded_username(session))
}
