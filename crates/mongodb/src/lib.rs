//! MongoDB, self-hosted: a replica set or a single server, users by X.509 certificates.
//!
//! An account is the user `CN=<name>` in `$external`, with `teleport-auto-user: true` and our ownership record in its
//! customData. It is disabled when it has no roles and may log in from nowhere. The admin user proves itself by a
//! certificate as well, and needs the privileges that [`Engine::preflight`] looks for.
//!
//! | module | holds |
//! |---|---|
//! | `address`, `config`, `identity`, `files`, `trust` | how the server is reached |
//! | `server`, `failure`, `code` | commands, answers, failures |
//! | `name`, `role`, `user`, `operation` | users, roles and operations as the server has them |
//! | `members` | the members of a replica set, and what runs on each |
//! | `privileges` | what the admin user may do |
//! | `powers` | what makes a database role powerful |
//! | `observe`, `inventory`, `preflight`, `history` | what is read |
//! | `change`, `apply`, `drain`, `locks` | what is changed, and when |
//! | `objects`, `sets` | collections, and the permission sets that hold them |
//! | `remedy` | commands for people to paste |

mod address;
mod apply;
mod change;
mod code;
mod config;
mod drain;
mod failure;
mod files;
mod history;
mod identity;
mod inventory;
mod locks;
mod members;
mod objects;
mod observe;
mod operation;
mod powers;
mod preflight;
mod privileges;
mod role;
mod server;
mod sets;
mod trust;
mod user;

use async_trait::async_trait;

pub use address::Address;
pub use config::Config;
pub use rolecall_engine::dialect::mongodb::{RoleName, account_name, user_name};

pub use rolecall_engine::ClientCertificate;
use rolecall_engine::{
    Applied, Catalog, CatalogQuery, DesiredSet, Dialect, Engine, Error, Finding, HistoryWatch, Inventory,
    Needs, Observed, Plan, Preflight, Query, SetEntry, Stats, SyncedSet,
};

/// One MongoDB server, reached as its admin user.
#[derive(Debug)]
pub struct Mongodb {
    server: server::Server,
    away: members::Away,
    locks: locks::Locks,
    gone: locks::Locks,
}

impl Mongodb {
    /// An engine for one server. Nothing is sent yet: the first call connects. (The system's root certificates are
    /// read from disk where the configuration names no CA.)
    ///
    /// # Errors
    ///
    /// `Invalid` when something in the configuration cannot be used; the message names it.
    pub fn new(config: Config) -> Result<Self, Error> {
        let server = server::Server::new(config)?;
        Ok(Self {
            server,
            away: members::Away::default(),
            locks: locks::Locks::default(),
            gone: locks::Locks::default(),
        })
    }
}

#[async_trait]
impl Engine for Mongodb {
    fn dialect(&self) -> Dialect {
        Dialect::MongoDb
    }

    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error> {
        match self.look_around(needs).await {
            Ok(preflight) => Ok(preflight),
            Err(error) => Err(self.explain(error).await),
        }
    }

    async fn check_client_ca(&self, certificate: &ClientCertificate) -> Result<Option<Finding>, Error> {
        self.show(certificate).await
    }

    async fn watch_history(&self) -> Result<HistoryWatch, Error> {
        self.watch().await
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        self.count_accounts().await
    }

    async fn observe(&self, query: &Query) -> Result<Observed, Error> {
        self.read_account(query).await
    }

    async fn apply(&self, plan: &Plan) -> Result<Applied, Error> {
        match plan {
            Plan::Nothing => Ok(Applied::default()),
            Plan::Activate(plan) => self.activate(plan).await,
            Plan::Adjust(plan) => self.adjust(plan).await,
            Plan::End(plan) => self.end(plan).await,
        }
    }

    async fn read_objects(&self, query: &CatalogQuery) -> Result<Catalog, Error> {
        self.catalog(query).await
    }

    async fn sync_sets(&self, desired: &[DesiredSet], catalog: &Catalog) -> Result<Vec<SyncedSet>, Error> {
        self.sync_all(desired, catalog).await
    }

    async fn list_sets(&self) -> Result<Vec<SetEntry>, Error> {
        self.all_sets().await
    }

    async fn drop_set(&self, role: &str, owner_uid: &str) -> Result<Applied, Error> {
        self.retire_set(role, owner_uid).await
    }

    fn stats(&self) -> Stats {
        self.server.stats()
    }

    async fn close(&self) {
        self.server.close().await;
    }
}
