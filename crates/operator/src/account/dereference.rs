//! From names to a snapshot: what is cached about an account, and what policy gives each of its sessions. No I/O: the
//! watches have brought everything here already.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, reasons};
use rolecall_engine::AccountName;
use rolecall_policy::{Roles, SessionQuota};
use rolecall_resolve::{Asks, Blocked, Grant, roles_taking_part, session_request};

use super::approval::{self, Approval};
use super::decide::AdminState;
use super::given::Given;
use super::quota::Quotas;
use super::session::Session;
use crate::cache::Cache;
use crate::drain::Mode;
use crate::model::Blocker;
use crate::model::session::{Times, is_over, may_have_access};
use crate::model::{AccountKey, ObjectKey, WALK};
use crate::servers::ServerState;

const UNINSTALLED: &str = "an uninstall of the operator is being prepared: every access ends, and no session starts before it is installed again";

/// Everything that one reconcile of an account is based on.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The account's name; `None` where no server could have such a user.
    pub(super) account: Option<AccountName>,
    /// The DatabaseAdmin.
    pub(super) admin: Option<Arc<DatabaseAdmin>>,
    /// Since when it is being deleted, by this machine's clock.
    pub(super) admin_deleted_at: Option<Timestamp>,
    /// What is known of its server; `None` before its first reconcile.
    pub(super) server: Option<ServerState>,
    /// The sessions, each with what should happen to it.
    pub(super) sessions: Vec<Session>,
    /// When it was made.
    pub(super) now: Timestamp,
}

/// Reads an account and its sessions from the cache.
pub(super) fn dereference(
    cache: &Cache,
    server: Option<ServerState>,
    given: Given<'_>,
    key: &AccountKey,
    mode: Mode,
    now: Timestamp,
) -> Snapshot {
    tracing::trace!(target: WALK, %key, "dereferenced");
    let admin = cache.admin(&key.admin);
    let state = match &admin {
        None => AdminState::Missing,
        Some(admin) if admin.metadata.deletion_timestamp.is_some() => AdminState::Deleting,
        Some(_) => AdminState::Present,
    };
    let account = AccountName::new(&*key.username);
    let mut quotas = UserQuotas::default();
    let sessions = cache
        .sessions_of_account(key)
        .into_iter()
        .map(|session| {
            let grant = match &account {
                _ if is_drained(mode, &session) => Err(Blocked::new(reasons::UNINSTALLED, UNINSTALLED)),
                Err(refusal) => Err(Blocked::permanent(reasons::INVALID_USERNAME, refusal.message.clone())),
                Ok(_) => grant(cache, key, admin.as_deref(), &session),
            };
            let grant = grant.and_then(|grant| {
                let room = quotas.check(cache, &key.admin.namespace, &session, &grant);
                room.map(|()| grant)
            });
            let terms = match (grant, admin.as_deref()) {
                (Ok(grant), Some(admin)) if !grant.approvals.is_empty() && !is_over(&session) => {
                    on_approval(cache, key, admin, &session, grant, given.admission_enforced, now)
                }
                (grant, _) => (grant, Approval::NotAsked),
            };
            let times = Times { now, seen: cache.first_seen_at(&*session) };
            let issued = session.metadata.uid.as_deref().and_then(|uid| given.issued.get(uid));
            Session::with_approval(session, state, terms, times, issued)
        })
        .collect();
    let admin_deleted_at = admin.as_ref().and_then(|admin| cache.deleted_at(&**admin));
    Snapshot { account: account.ok(), admin, admin_deleted_at, server, sessions, now }
}

/// May this session not have access, because the operator is to go?
fn is_drained(mode: Mode, session: &DatabaseSession) -> bool {
    match mode {
        Mode::Normal => false,
        Mode::NoStarts => !may_have_access(session),
        Mode::Draining => true,
    }
}

impl Snapshot {
    /// That nothing on the server may be touched.
    pub(super) fn suspended(&self) -> Option<Blocker> {
        let admin = self.admin.as_ref().filter(|admin| admin.spec.suspend)?;
        Some(Blocker::stalled(
            reasons::DATABASE_SUSPENDED,
            format!(
                "the DatabaseAdmin {:?} is suspended: nothing on its server is touched",
                admin.metadata.name.as_deref().unwrap_or_default()
            ),
        ))
    }

    /// That the server takes no certificates of the CA for users.
    pub(super) fn distrust(&self) -> Option<&Blocker> {
        let blocker = self.server.as_ref().and_then(|state| state.blocker.as_ref());
        blocker.filter(|blocker| blocker.reason == reasons::CLIENT_CA_NOT_TRUSTED)
    }

    /// Is it known that one of the sessions that end had access through this account?
    pub(super) fn was_enabled(&self) -> bool {
        let ending = self.sessions.iter().filter(|session| session.is_ending());
        ending.into_iter().any(|session| {
            use rolecall_api::SessionPhase::{Active, Ending};
            matches!(crate::model::session::phase(&session.object), Active | Ending)
        })
    }
}

/// What a session gets where a role asks for approval: one that is live no more than was approved, others nothing before.
fn on_approval(
    cache: &Cache,
    key: &AccountKey,
    admin: &DatabaseAdmin,
    session: &DatabaseSession,
    grant: Grant,
    admission_enforced: bool,
    now: Timestamp,
) -> (Result<Grant, Blocked>, Approval) {
    let import_rules = match grant.has_permissions() {
        true => cache.requested_rules(&key.admin.namespace, admin),
        false => Vec::new(),
    };
    let asks = Asks { session, username: &key.username, admin, grant: &grant, import_rules: &import_rules };
    let request = session_request(asks);
    if approval::is_live(session) {
        return (approval::within_approved(grant, &request, session), Approval::NotAsked);
    }
    if let Err(blocked) = approval::unreliable(session, admission_enforced) {
        return (Err(blocked), Approval::NotAsked);
    }
    let decisions = cache.decisions_about(session);
    let decisions: Vec<_> = decisions.iter().map(|(decision, seen)| (&**decision, *seen)).collect();
    let facts =
        approval::Facts { session, needs: &grant.approvals, request: &request, decisions: &decisions, now };
    let asked = approval::decide(facts);
    (Ok(grant), Approval::Asked(Box::new(asked)))
}

/// The quotas of the users of an account, made where one is asked for.
#[derive(Debug, Default)]
struct UserQuotas(BTreeMap<String, Quotas>);

impl UserQuotas {
    /// Is there room for a session that is about to start?
    fn check(
        &mut self,
        cache: &Cache,
        namespace: &Arc<str>,
        session: &DatabaseSession,
        grant: &Grant,
    ) -> Result<(), Blocked> {
        if grant.session_quotas.is_empty() || is_over(session) || may_have_access(session) {
            return Ok(());
        }
        let quotas = self.0.entry(session.spec.user.clone()).or_insert_with(|| {
            let user =
                ObjectKey { namespace: Arc::clone(namespace), name: session.spec.user.as_str().into() };
            quotas_of(cache, &user)
        });
        quotas.check(session, &grant.session_quotas)
    }
}

fn quotas_of(cache: &Cache, key: &ObjectKey) -> Quotas {
    let Some(user) = cache.user(key) else { return Quotas::default() };
    let (username, roles) = (cache.username_of(&user), roles_of(cache, &key.namespace, &user));
    let mut by_admin: BTreeMap<String, Vec<SessionQuota>> = BTreeMap::new();
    let sessions = cache.sessions_of_user(key);
    Quotas::of(sessions.iter().map(|session| &**session), |session| {
        let admin = &session.spec.database;
        let quotas = by_admin.entry(admin.clone()).or_insert_with(|| {
            let Some(admin) = cache.admin(&key.sibling(admin)) else { return Vec::new() };
            let taking_part = roles_taking_part(&user, &username, &admin, &roles).into_iter();
            let limit = |role: &str| roles.get(role)?.as_ref().ok()?.max_sessions();
            taking_part.filter_map(|role| Some(SessionQuota { sessions: limit(&role)?, role })).collect()
        });
        quotas.clone()
    })
}

/// What a session has or would get; `None` where that is nothing.
pub fn wanted_grant(
    cache: &Cache,
    admin_key: &ObjectKey,
    admin: &DatabaseAdmin,
    session: &DatabaseSession,
) -> Option<Grant> {
    let name = session.metadata.name.as_deref().unwrap_or_default();
    let key = cache.account_of_session(&admin_key.sibling(name))?;
    grant(cache, key, Some(admin), session).ok()
}

/// What policy gives a session, based on everything in the namespace.
fn grant(
    cache: &Cache,
    key: &AccountKey,
    admin: Option<&DatabaseAdmin>,
    session: &DatabaseSession,
) -> Result<Grant, Blocked> {
    let Some(admin) = admin else {
        // The decision goes by the state of the DatabaseAdmin; policy has nothing to add.
        return Err(Blocked::new(reasons::DATABASE_NOT_FOUND, "there is no DatabaseAdmin of that name"));
    };
    unsupported(admin, session)?;
    if let Some(fault) = rolecall_resolve::username_fault(&key.username, admin) {
        return Err(fault);
    }
    let namespace = &key.admin.namespace;
    let user_key = ObjectKey { namespace: Arc::clone(namespace), name: session.spec.user.as_str().into() };
    let not_found = |message: String| Blocked::new(reasons::USER_NOT_FOUND, message);
    let user =
        cache.user(&user_key).filter(|user| user.metadata.deletion_timestamp.is_none()).ok_or_else(|| {
            not_found(format!("there is no DatabaseUser {:?} in this namespace", session.spec.user))
        })?;
    let username = cache.username_of(&user);
    if username != *key.username {
        return Err(not_found(format!(
            "the DatabaseUser {:?} was replaced by one with the database user name {username:?}",
            session.spec.user
        )));
    }
    if let Some(holder) = cache.username_taken_by(&user) {
        let holder = holder.metadata.name.as_deref().unwrap_or_default();
        return Err(rolecall_resolve::username_taken(&username, holder));
    }
    rolecall_resolve::decide(
        &user,
        &username,
        admin,
        &roles_of(cache, namespace, &user),
        session.spec.database_name.as_deref(),
        &session.spec.db_roles,
    )
}

fn roles_of(cache: &Cache, namespace: &Arc<str>, user: &DatabaseUser) -> Roles {
    let mut roles = Roles::new();
    for name in &user.spec.roles {
        let key = ObjectKey { namespace: Arc::clone(namespace), name: name.as_str().into() };
        // A role that is going away counts as gone.
        if let Some(entry) = cache.role(&key).filter(|role| role.object.metadata.deletion_timestamp.is_none())
        {
            roles.insert_compiled(name, (*entry.state).clone());
        }
    }
    roles
}

/// Why no session on this DatabaseAdmin can ever start.
fn unsupported(admin: &DatabaseAdmin, session: &DatabaseSession) -> Result<(), Blocked> {
    match crate::servers::connect::unsupported(admin) {
        None => Ok(()),
        Some(why) => Err(Blocked::permanent(
            reasons::UNSUPPORTED,
            format!("sessions on the DatabaseAdmin {:?} cannot start: {why}", session.spec.database),
        )),
    }
}
