//! PostgreSQL 15 to 18.
//!
//! The admin user needs LOGIN and CREATEROLE, on 16 and later also ADMIN OPTION on the roles that it hands out. It
//! connects directly: behind a pooler the settings that protect its session would be lost, so nothing is started there.
//!
//! | module | holds |
//! |---|---|
//! | `config`, `platform`, `tls`, `connect`, `progress`, `pool`, `version` | how the server is reached |
//! | `session`, `pooler` | the admin user's own session, and what may stand before it |
//! | `server`, `exchange`, `message`, `sqlstate`, `backends` | messages, answers, failures, retries |
//! | `quote` | names and texts as SQL, nowhere else |
//! | `observe`, `reader`, `inventory`, `preflight`, `history` | what is read |
//! | `activate`, `adjust`, `end`, `guard`, `logins`, `rights` | what is sent, as text |
//! | `apply`, `drain`, `standby` | what is sent when, and what proves that an access has ended |
//! | `rules` | what extensions refuse that check roles and passwords |
//! | `objects`, `announcements` | the objects of a logical database, and that they have changed |
//! | `sets` | permission sets: synced, listed, dropped |

mod activate;
mod adjust;
mod announcements;
mod apply;
mod backends;
mod config;
mod connect;
mod drain;
mod end;
mod exchange;
mod guard;
mod history;
mod inventory;
mod logins;
mod message;
mod objects;
mod observe;
mod platform;
mod pool;
mod pooler;
mod preflight;
mod progress;
mod quote;
mod reader;
#[cfg(test)]
mod rendered;
mod rights;
mod rules;
mod server;
mod session;
mod sets;
pub mod sqlstate;
mod standby;
mod tls;
mod trust;
mod version;

use async_trait::async_trait;

pub use config::{Auth, Config, parse_address};
pub use platform::{Platform, RDS_IAM};

use rolecall_engine::{
    Applied, Catalog, CatalogQuery, Changes, DesiredSet, Dialect, Engine, Error, Finding, HistoryWatch,
    Inventory, Needs, Observed, Plan, Preflight, Query, SetEntry, Stats, SyncedSet,
};
use rolecall_pki::tls::ClientCertificate;

/// One PostgreSQL server, reached as its admin user.
#[derive(Debug)]
pub struct Postgres {
    server: server::Server,
    reader: reader::Reader,
    draining: drain::Draining,
    /// The branch of its history that the server was on last.
    branch: std::sync::Mutex<Option<String>>,
    standby: standby::Standby,
}

impl Postgres {
    /// An engine for one server. Nothing is sent yet: the first call connects. (The system's root certificates are
    /// read from disk where the configuration names no CA.)
    ///
    /// # Errors
    ///
    /// `Invalid` when something in the configuration cannot be used; the message names it.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            server: server::Server::new(config)?,
            reader: reader::Reader::default(),
            draining: drain::Draining::default(),
            branch: std::sync::Mutex::default(),
            standby: standby::Standby::default(),
        })
    }
}

#[async_trait]
impl Engine for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::PostgreSql
    }

    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error> {
        self.look(needs).await
    }

    async fn watch_history(&self) -> Result<HistoryWatch, Error> {
        self.watch().await
    }

    async fn check_client_ca(&self, certificate: &ClientCertificate) -> Result<Option<Finding>, Error> {
        self.show(certificate).await
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        self.count_accounts().await
    }

    async fn observe(&self, query: &Query) -> Result<Observed, Error> {
        self.look_at(query).await
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

    async fn watch_objects(&self, database: &str) -> Result<Option<Changes>, Error> {
        self.listen(database).await
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
