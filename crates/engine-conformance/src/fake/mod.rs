//! An engine in memory that keeps the contract, for tests.
//!
//! It passes the conformance suite. What a server would do by itself (somebody changes a user by hand, opens a
//! connection, takes the server down) a test does through [`Fake::world`] and [`Fake::set_down`].

mod apply;
mod objects;
mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

pub use objects::Object;
pub use world::{Database, PermissionSet, Role, User, World};

use rolecall_engine::server::CensusEntry;
use rolecall_engine::{
    AccountName, Applied, Catalog, CatalogQuery, Census, Class, Dialect, Engine, Error, Finding, Needs,
    Observed, Plan, Probe, Query, Reason, SetEntry, SetOutcome, SetWish,
};

/// A database server in memory.
#[derive(Debug, Default)]
pub struct Fake {
    world: Mutex<World>,
    down: AtomicBool,
}

impl Fake {
    /// A server with the logical databases `postgres` and `app`, no roles, and the admin user `admin`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The server itself, to look at and to change by hand. Do not hold it across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn reached(&self) -> Result<MutexGuard<'_, World>, Error> {
        if self.down.load(Ordering::SeqCst) { Err(Self::unreachable()) } else { Ok(self.world()) }
    }
}

#[async_trait]
impl Engine for Fake {
    fn dialect(&self) -> Dialect {
        Dialect::PostgreSql
    }

    async fn probe(&self, needs: &Needs) -> Result<Probe, Error> {
        let mut world = self.reached()?;
        world.marker = true;
        let mut findings = Vec::new();
        for (name, _) in
            world.roles.iter().filter(|(name, role)| needs.roles.contains(*name) && !role.grantable)
        {
            findings.push(Finding {
                reason: Reason::MissingAdminOption,
                object: name.clone(),
                message: format!("the admin user may not grant the role {name:?}: run GRANT \"{name}\" TO \"{}\" WITH ADMIN OPTION", world.admin_user),
            });
        }
        Ok(Probe {
            version: world.version.clone(),
            identity: world.identity.clone(),
            findings,
            ..Probe::default()
        })
    }

    async fn census(&self) -> Result<Census, Error> {
        let world = self.reached()?;
        let accounts = world.users.iter().filter(|(_, user)| user.managed).filter_map(|(name, user)| {
            Some(CensusEntry {
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
            })
        });
        Ok(Census { accounts: accounts.collect() })
    }

    async fn observe(&self, query: &Query) -> Result<Observed, Error> {
        Ok(self.reached()?.observed(query))
    }

    async fn apply(&self, plan: &Plan) -> Result<Applied, Error> {
        let mut world = self.reached()?;
        // All or nothing, but for what an end has achieved.
        match plan {
            Plan::Nothing => Ok(Applied::default()),
            Plan::Activate(plan) => world.undo_on_error(|world| world.activate(plan)),
            Plan::Adjust(plan) => world.undo_on_error(|world| world.adjust(plan)),
            Plan::End(plan) => world.end(plan),
        }
    }

    async fn read_objects(&self, query: &CatalogQuery) -> Result<Catalog, Error> {
        self.reached()?.catalog(query)
    }

    async fn converge(&self, wishes: &[SetWish], catalog: &Catalog) -> Result<Vec<SetOutcome>, Error> {
        let mut world = self.reached()?;
        Ok(wishes.iter().map(|wish| world.converge(wish, catalog)).collect())
    }

    async fn sets(&self) -> Result<Vec<SetEntry>, Error> {
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
