//! An engine in memory that keeps the contract, for tests.
//!
//! It passes the conformance suite. What a server would do by itself (somebody changes a user by hand, opens a
//! connection, takes the server down) a test does through [`Fake::world`] and [`Fake::set_down`]; what goes wrong on
//! the way, through [`Fake::fail_next`] and [`Fake::delay`].

mod apply;
mod objects;
mod world;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

pub use objects::Object;
pub use world::{Database, PermissionSet, Role, User, World};

use crate::server::CensusEntry;
use crate::{
    AccountName, Applied, Catalog, CatalogQuery, Census, Class, Dialect, Engine, Error, Finding, Needs,
    Observed, Plan, Probe, Query, Reason, SetEntry, SetOutcome, SetWish,
};

/// A call of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Engine::probe`].
    Probe,
    /// [`Engine::census`].
    Census,
    /// [`Engine::observe`].
    Observe,
    /// [`Engine::apply`].
    Apply,
    /// [`Engine::read_objects`].
    ReadObjects,
    /// [`Engine::converge`].
    Converge,
    /// [`Engine::sets`].
    Sets,
    /// [`Engine::drop_set`].
    DropSet,
}

/// A database server in memory.
#[derive(Debug, Default)]
pub struct Fake {
    world: Mutex<World>,
    script: Mutex<Script>,
}

/// What goes wrong, and what was asked.
#[derive(Debug, Default)]
struct Script {
    down: bool,
    faults: VecDeque<(Call, Error)>,
    delays: HashMap<Call, Duration>,
    plans: Vec<String>,
    calls: HashMap<Call, u64>,
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
        self.script().down = down;
    }

    /// Makes the next call of this kind fail, without effect. Calls add up.
    pub fn fail_next(&self, call: Call, error: Error) {
        self.script().faults.push_back((call, error));
    }

    /// Makes all calls of this kind take this long.
    pub fn delay(&self, call: Call, delay: Duration) {
        self.script().delays.insert(call, delay);
    }

    /// The plans that were carried out, as text, oldest first.
    pub fn plans(&self) -> Vec<String> {
        self.script().plans.clone()
    }

    /// How often this was called.
    pub fn calls(&self, call: Call) -> u64 {
        self.script().calls.get(&call).copied().unwrap_or(0)
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

    async fn called(&self, call: Call) -> Result<(), Error> {
        let delay = {
            let mut script = self.script();
            *script.calls.entry(call).or_default() += 1;
            script.delays.get(&call).copied()
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let mut script = self.script();
        if script.down {
            return Err(Self::unreachable());
        }
        match script.faults.iter().position(|(kind, _)| *kind == call) {
            Some(at) => script.faults.remove(at).map_or(Ok(()), |(_, error)| Err(error)),
            None => Ok(()),
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Engine for Fake {
    fn dialect(&self) -> Dialect {
        Dialect::PostgreSql
    }

    async fn probe(&self, needs: &Needs) -> Result<Probe, Error> {
        self.called(Call::Probe).await?;
        let mut world = self.world();
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
        Ok(Probe { version: world.version.clone(), identity: world.identity.clone(), findings })
    }

    async fn census(&self) -> Result<Census, Error> {
        self.called(Call::Census).await?;
        let world = self.world();
        let accounts = world.users.iter().filter(|(_, user)| user.managed).filter_map(|(name, user)| {
            Some(CensusEntry {
                account: AccountName::new(name.clone()).ok()?,
                owner: user.owner.clone(),
                enabled: user.login,
                backends: user.backends,
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
        self.called(Call::Observe).await?;
        Ok(self.world().observed(query))
    }

    async fn apply(&self, plan: &Plan) -> Result<Applied, Error> {
        self.called(Call::Apply).await?;
        let applied = {
            let mut world = self.world();
            // All or nothing, but for what an end has achieved.
            match plan {
                Plan::Nothing => Ok(Applied::default()),
                Plan::Activate(plan) => world.undo_on_error(|world| world.activate(plan)),
                Plan::Adjust(plan) => world.undo_on_error(|world| world.adjust(plan)),
                Plan::End(plan) => world.end(plan),
            }
        };
        if applied.is_ok() && !plan.is_nothing() {
            self.script().plans.push(plan.to_string());
        }
        applied
    }

    async fn read_objects(&self, query: &CatalogQuery) -> Result<Catalog, Error> {
        self.called(Call::ReadObjects).await?;
        self.world().catalog(query)
    }

    async fn converge(&self, wishes: &[SetWish], catalog: &Catalog) -> Result<Vec<SetOutcome>, Error> {
        self.called(Call::Converge).await?;
        let mut world = self.world();
        Ok(wishes.iter().map(|wish| world.converge(wish, catalog)).collect())
    }

    async fn sets(&self) -> Result<Vec<SetEntry>, Error> {
        self.called(Call::Sets).await?;
        Ok(self.world().set_entries())
    }

    async fn drop_set(&self, role: &str, owner_uid: &str) -> Result<Applied, Error> {
        self.called(Call::DropSet).await?;
        Ok(self.world().drop_set(role, owner_uid))
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
