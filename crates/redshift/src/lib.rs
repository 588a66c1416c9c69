//! Amazon Redshift, provisioned clusters.
//!
//! An account is a user that has the role `teleport-auto-user`, and a role that names its owner. It is disabled by
//! `CONNECTION LIMIT 0`. The admin user needs `sys:superuser`, and must see other users and their sessions: without that
//! no end of an access can be proven, and [`Engine::preflight`] says what is missing.
//!
//! Redshift has roots in PostgreSQL 8 and little else in common with the PostgreSQL of today: see `statements` for its
//! SQL and `reads` for its catalogues.
//!
//! | module | contains |
//! |---|---|
//! | `transport` | how the server is reached; knows nothing of accounts |
//! | `statements` | what is sent, as text |
//! | `reads` | what is read |
//! | `execution` | what is sent when, and the proof that an access has ended |
//! | `quote` | names and texts as SQL, nowhere else |

mod execution;
mod quote;
mod reads;
mod statements;
mod transport;

use std::collections::BTreeSet;

use async_trait::async_trait;

pub use statements::preview::preview;
pub use statements::preview_set::preview_set;
pub use transport::config::{Auth, Config, DEFAULT_DATABASE, DEFAULT_PORT, parse_address};
pub use transport::sqlstate;

use rolecall_engine::{
    Activity, Applied, Catalog, CatalogQuery, DesiredSet, Dialect, Engine, Error, Examination, Examine,
    Inventory, Needs, Observed, Owner, Plan, Preflight, Query, Running, SetEntry, Stats, Stop, SyncedSet,
};

/// One Redshift cluster, reached as its admin user.
#[derive(Debug)]
pub struct Redshift {
    server: transport::server::Server,
    /// The owner whose record is known to exist.
    recorded: std::sync::Mutex<Option<Owner>>,
    /// Held while a record is made: so one makes it, and all others wait.
    recording: tokio::sync::Mutex<()>,
    /// Held by what changes roles and memberships: all accounts have the same roles for marker and record, so that two
    /// such transactions get in each other's way. What closes an account does not wait for it.
    changing: tokio::sync::Mutex<()>,
}

impl Redshift {
    /// An engine for one cluster. Nothing is sent yet: the first call connects. (The system's root certificates are
    /// read from disk where the configuration names no CA.)
    ///
    /// # Errors
    ///
    /// `Invalid` when something in the configuration cannot be used; the message names it.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check_admin_user()?;
        Ok(Self {
            server: transport::server::Server::new(config)?,
            recorded: std::sync::Mutex::default(),
            recording: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        })
    }
}

#[async_trait]
impl Engine for Redshift {
    fn dialect(&self) -> Dialect {
        Dialect::Redshift
    }

    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error> {
        self.check_server(needs).await
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        self.list_accounts().await
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

    fn release_database(&self, database: &str) {
        self.server.release_database(database);
    }

    async fn close(&self) {
        self.server.close_idle();
    }
}

#[async_trait]
impl Activity for Redshift {
    async fn running(&self) -> Result<Vec<Running>, Error> {
        self.running_of_user().await
    }

    async fn stop(&self, id: &str, how: Stop) -> Result<bool, Error> {
        self.stop_own(id, how).await
    }

    async fn leave(&self) {
        self.close().await;
    }
}

#[async_trait]
impl Examine for Redshift {
    async fn examine(&self, _databases: &BTreeSet<String>) -> Result<Examination, Error> {
        let clock = self.read_clock().await?;
        Ok(Examination { clock, ..Examination::default() })
    }
}
