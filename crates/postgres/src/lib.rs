//! PostgreSQL 15 to 18.
//!
//! The admin user needs LOGIN and CREATEROLE, on 16 and later also ADMIN OPTION on the roles that it hands out. It
//! connects directly: behind a pooler the settings that protect its session would be lost, so nothing is started there.
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
pub use transport::announcement::parse as parse_announcement;
pub use transport::config::{Auth, Config, parse_address};
pub use transport::platform::{Platform, RDS_IAM};
pub use transport::sqlstate;
pub use transport::tls::request_tls;

use rolecall_engine::{
    Activity, Applied, Catalog, CatalogQuery, Changes, DesiredSet, Dialect, Engine, Error, Examination,
    Examine, Finding, HistoryWatch, Inventory, Needs, Observed, Plan, Preflight, Query, Running, SetEntry,
    SomeObjects, Stats, Stop, SyncedSet,
};
use rolecall_pki::tls::ClientCertificate;

use reads::objects::Only;

/// One PostgreSQL server, reached as its admin user.
#[derive(Debug)]
pub struct Postgres {
    server: transport::server::Server,
    batcher: reads::batcher::Batcher,
    draining: execution::drain::Draining,
    /// The branch of its history that the server was on last.
    branch: std::sync::Mutex<Option<String>>,
    confirmations: execution::confirmations::Confirmations,
    creators: execution::creators::CreatorState,
    reader_since: transport::failover::ReaderSince,
    identity: reads::preflight::KnownIdentity,
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
            server: transport::server::Server::new(config, reads::prepared)?,
            batcher: reads::batcher::Batcher::default(),
            draining: execution::drain::Draining::default(),
            branch: std::sync::Mutex::default(),
            confirmations: execution::confirmations::Confirmations::default(),
            creators: execution::creators::CreatorState::default(),
            reader_since: transport::failover::ReaderSince::default(),
            identity: reads::preflight::KnownIdentity::default(),
        })
    }
}

#[async_trait]
impl Engine for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::PostgreSql
    }

    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error> {
        self.check_server(needs).await
    }

    async fn watch_history(&self) -> Result<HistoryWatch, Error> {
        self.watch().await
    }

    async fn check_client_ca(&self, certificate: &ClientCertificate) -> Result<Option<Finding>, Error> {
        self.check_ca(certificate).await
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        self.list_accounts().await
    }

    async fn look(&self, needs: &Needs) -> Result<(Preflight, Result<Inventory, Error>), Error> {
        self.look_at_server(needs).await
    }

    async fn observe(&self, query: &Query) -> Result<Observed, Error> {
        self.observe_account(query).await
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
        self.catalog(query, &Only::Everything).await
    }

    async fn read_some_objects(&self, query: &CatalogQuery, some: &SomeObjects) -> Result<Catalog, Error> {
        self.catalog(query, &Only::Around(some)).await
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

    async fn tidy(&self, owner_uid: &str) -> Result<(), Error> {
        self.move_accounts(owner_uid).await
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
impl Activity for Postgres {
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
impl Examine for Postgres {
    async fn examine(&self, databases: &BTreeSet<String>) -> Result<Examination, Error> {
        self.examine_server(databases).await
    }
}
