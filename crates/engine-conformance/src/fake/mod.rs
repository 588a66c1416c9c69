//! An engine in memory that keeps the contract, for tests.
//!
//! It passes the conformance suite. What a server would do by itself (somebody changes a user by hand, opens a
//! connection, takes the server down) a test does through [`Fake::state`] and [`Fake::set_down`].

mod apply;
mod objects;
mod state;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

pub use state::{Database, Object, PermissionSet, Role, ServerState, User};

use rolecall_engine::server::InventoryEntry;
use rolecall_engine::{
    AccountName, Applied, Catalog, CatalogQuery, Class, DesiredSet, Dialect, Engine, Error, Finding,
    Inventory, Needs, Observed, Plan, Preflight, Query, Reason, SetEntry, SomeObjects, SyncedSet,
};

/// A database server in memory.
#[derive(Debug, Default)]
pub struct Fake {
    state: Mutex<ServerState>,
    down: AtomicBool,
}

impl Fake {
    /// A server with the logical databases `postgres` and `app`, no roles, and the admin user `admin`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The server itself, to inspect and to change by hand. Do not hold it across an await.
    pub fn state(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the server down: nothing answers. Or up again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// An error as a server that is down gives it.
    pub fn unreachable() -> Error {
        Error {
            class: Class::Unreachable,
            reason: Reason::DatabaseUnreachable,
            attempted: "connecting to fake:5432 as \"admin\"".to_owned(),
            code: String::new(),
            detail: "connection refused".to_owned(),
            remedy: "check the address, the server and the network between".to_owned(),
        }
    }

    /// The server, as far as it answers.
    fn reached(&self) -> Result<MutexGuard<'_, ServerState>, Error> {
        if self.down.load(Ordering::SeqCst) { Err(Self::unreachable()) } else { Ok(self.state()) }
    }
}

#[async_trait]
impl Engine for Fake {
    fn dialect(&self) -> Dialect {
        Dialect::PostgreSql
    }

    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error> {
        let mut server = self.reached()?;
        server.marker = true;
        let mut findings = Vec::new();
        for (name, _) in
            server.roles.iter().filter(|(name, role)| needs.roles.contains(*name) && !role.grantable)
        {
            findings.push(Finding::fixed_by(
                Reason::MissingAdminOption,
                name,
                &format!("the admin user may not grant the role {name:?}"),
                vec![format!("GRANT \"{name}\" TO \"{}\" WITH ADMIN OPTION", server.admin_user)],
            ));
        }
        Ok(Preflight {
            version: server.version.clone(),
            identity: server.identity.clone(),
            findings,
            ..Preflight::default()
        })
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        let server = self.reached()?;
        let accounts = server.users.iter().filter(|(_, user)| user.managed).filter_map(|(name, user)| {
            Some(InventoryEntry {
                account: AccountName::new(name.clone()).ok()?,
                owner: user.owner.clone(),
                enabled: user.login,
                backends: user.backends,
                manageable: true,
                memberships: user
                    .memberships
                    .iter()
                    .filter(|_| user.login)
                    .map(|(role, _)| role.clone())
                    .collect(),
                strays: user.login && (user.limits || !user.settings.is_empty() || !user.rights.is_empty()),
            })
        });
        Ok(Inventory { accounts: accounts.collect() })
    }

    async fn observe(&self, query: &Query) -> Result<Observed, Error> {
        Ok(self.reached()?.observed(query))
    }

    async fn apply(&self, plan: &Plan) -> Result<Applied, Error> {
        let mut server = self.reached()?;
        // All or nothing, but for what an end has achieved.
        match plan {
            Plan::Nothing => Ok(Applied::default()),
            Plan::Activate(plan) => server.undo_on_error(|server| server.activate(plan)),
            Plan::Adjust(plan) => server.undo_on_error(|server| server.adjust(plan)),
            Plan::End(plan) => server.end(plan),
        }
    }

    async fn read_objects(&self, query: &CatalogQuery) -> Result<Catalog, Error> {
        self.reached()?.catalog(query, None)
    }

    async fn read_some_objects(&self, query: &CatalogQuery, some: &SomeObjects) -> Result<Catalog, Error> {
        self.reached()?.catalog(query, Some(some))
    }

    async fn sync_sets(&self, desired: &[DesiredSet], catalog: &Catalog) -> Result<Vec<SyncedSet>, Error> {
        let mut server = self.reached()?;
        Ok(desired.iter().map(|desired| server.sync(desired, catalog)).collect())
    }

    async fn list_sets(&self) -> Result<Vec<SetEntry>, Error> {
        Ok(self.reached()?.set_entries())
    }

    async fn drop_set(&self, role: &str, owner_uid: &str) -> Result<Applied, Error> {
        Ok(self.reached()?.drop_set(role, owner_uid))
    }

    async fn close(&self) {}
}

/// An error with a SQLSTATE, as the server gives it.
fn refused(class: Class, reason: Reason, attempted: impl Into<String>, code: &str, detail: &str) -> Error {
    Error {
        class,
        reason,
        attempted: attempted.into(),
        code: code.to_owned(),
        detail: detail.to_owned(),
        remedy: String::new(),
    }
}
