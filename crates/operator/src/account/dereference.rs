//! From names to a snapshot: what is cached about an account, and what policy gives each of its sessions. No I/O: the
//! watches have brought everything here already.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, reasons};
use rolecall_engine::AccountName;
use rolecall_policy::Roles;
use rolecall_resolve::{Blocked, Grant};

use super::decide::AdminState;
use super::issued::IssuedStore;
use super::session::Session;
use crate::cache::Cache;
use crate::drain::Mode;
use crate::model::Blocker;
use crate::model::session::{Times, may_have_access};
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
    issued: &IssuedStore,
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
    let sessions = cache
        .sessions_of_account(key)
        .into_iter()
        .map(|session| {
            let grant = match &account {
                _ if is_drained(mode, &session) => Err(Blocked::new(reasons::UNINSTALLED, UNINSTALLED)),
                Err(refusal) => Err(Blocked::permanent(reasons::INVALID_USERNAME, refusal.message.clone())),
                Ok(_) => grant(cache, key, admin.as_deref(), &session),
            };
            let times = Times { now, seen: cache.first_seen_at(&*session) };
            let issued = session.metadata.uid.as_deref().and_then(|uid| issued.get(uid));
            Session::new(session, state, grant, times, issued)
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
