//! MongoDB, self-hosted: a replica set or a single server, users by X.509 certificates.
//!
//! An account is the user `CN=<name>` in `$external`, with `teleport-auto-user: true` and our ownership record in its
//! customData. It is disabled when it has no roles and may log in from nowhere. The admin user proves itself by a
//! certificate as well, and needs the privileges that [`Engine::preflight`] checks.
//!
//! | module | contains |
//! |---|---|
//! | `transport` | how the server is reached; knows nothing of accounts |
//! | `statements` | what is sent, as text |
//! | `reads` | what is read |
//! | `execution` | what is sent when, and the proof that an access has ended |

mod execution;
mod reads;
mod statements;
mod transport;

use std::collections::BTreeSet;

use async_trait::async_trait;

pub use rolecall_engine::dialect::mongodb::{RoleName, account_name, user_name};
pub use statements::preview::{preview, preview_set};
pub use transport::address::Address;
pub use transport::config::Config;

pub use rolecall_engine::ClientCertificate;
use rolecall_engine::{
    Activity, Applied, Catalog, CatalogQuery, DesiredSet, Dialect, Engine, Error, Examination, Examine,
    Finding, HistoryWatch, Inventory, Needs, Observed, Plan, Preflight, Query, Running, SetEntry, Stats,
    Stop, SyncedSet,
};

/// One MongoDB server, reached as its admin user.
#[derive(Debug)]
pub struct Mongodb {
    server: transport::server::Server,
    away: reads::members::Away,
    locks: execution::locks::Locks,
    gone: execution::locks::Locks,
}

impl Mongodb {
    /// An engine for one server. Nothing is sent yet: the first call connects. (The system's root certificates are
    /// read from disk where the configuration names no CA.)
    ///
    /// # Errors
    ///
    /// `Invalid` when something in the configuration cannot be used; the message names it.
    pub fn new(config: Config) -> Result<Self, Error> {
        let server = transport::server::Server::new(config)?;
        Ok(Self {
            server,
            away: reads::members::Away::default(),
            locks: execution::locks::Locks::default(),
            gone: execution::locks::Locks::default(),
        })
    }
}

#[async_trait]
impl Engine for Mongodb {
    fn dialect(&self) -> Dialect {
        Dialect::MongoDb
    }

    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error> {
        match self.check_server(needs).await {
            Ok(preflight) => Ok(preflight),
            Err(error) => Err(self.explain(error).await),
        }
    }

    async fn check_client_ca(&self, certificate: &ClientCertificate) -> Result<Option<Finding>, Error> {
        self.check_ca(certificate).await
    }

    async fn watch_history(&self) -> Result<HistoryWatch, Error> {
        self.watch().await
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

    async fn close(&self) {
        self.server.close().await;
    }
}

#[async_trait]
impl Activity for Mongodb {
    async fn running(&self) -> Result<Vec<Running>, Error> {
        Ok(self.running_of_user().await?.into_iter().map(|own| own.running).collect())
    }

    async fn stop(&self, id: &str, how: Stop) -> Result<bool, Error> {
        self.stop_own(id, how).await
    }

    async fn leave(&self) {
        self.close().await;
    }
}

#[async_trait]
impl Examine for Mongodb {
    async fn examine(&self, _databases: &BTreeSet<String>) -> Result<Examination, Error> {
        let (_, answer) = self.server.hello_and_answer().await?;
        let clock = answer.get_datetime("localTime").ok().map(|at| at.timestamp_millis() * 1_000);
        Ok(Examination { clock, ..Examination::default() })
    }
}
