//! What the core needs from outside, as traits: the API server for writing, the clock, the audit log, and the database
//! servers.
//!
//! Everything that decides or orders work reaches the outside through these, so that the whole lifecycle also runs in
//! memory, in virtual time, with every conceivable fault. Watching stays outside: the core receives events one by one,
//! and does not depend on where they are read from.
//!
//! The monotonic clock is tokio's, which tests can pause; so it needs no trait.

mod api_server;
mod kube_api;
mod system;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::Config;
use rolecall_aws::Aws;
use rolecall_engine::{Engine, Error};
use rolecall_ledger::{Entry, Head};

use crate::clock_skew::ClockSkew;
use crate::metrics::AuditCounters;

pub use crate::model::Unwritten;
pub use api_server::{Address, ApiServer, Published, Write};
pub use kube_api::KubeApi;
pub use system::{DatabaseServers, SystemClock};

/// Everything that the core needs from outside.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The API server, for writing.
    pub api_server: Arc<dyn ApiServer>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The audit log.
    pub audit_log: Arc<dyn AuditLog>,
    /// The database servers.
    pub engines: Arc<dyn Engines>,
    /// The AWS credentials.
    pub aws: Arc<Aws>,
}

impl Ports {
    /// Those of a running operator; the API server is the one that `config` names.
    ///
    /// # Errors
    ///
    /// When `config` is not usable.
    pub fn of_process(
        config: Config,
        skew: &Arc<ClockSkew>,
        aws: Aws,
        audit_log: Arc<dyn AuditLog>,
    ) -> kube::Result<Self> {
        Ok(Self {
            api_server: Arc::new(KubeApi::new(config, skew)?),
            clock: Arc::new(SystemClock),
            audit_log,
            engines: Arc::new(DatabaseServers),
            aws: Arc::new(aws),
        })
    }
}

/// The wall clock of this machine.
pub trait Clock: Debug + Send + Sync {
    /// What it shows.
    fn now(&self) -> Timestamp;

    /// A part of a duration, chosen at random between these two, so that what began together does not end together.
    fn spread(&self, duration: Duration, parts: Range<f64>) -> Duration {
        duration.mul_f64(rand::random_range(parts))
    }
}

/// Where audit lines go. A line that was written survives a crash of this process.
pub trait AuditLog: Debug + Send + Sync {
    /// Writes one line.
    ///
    /// # Errors
    ///
    /// That it is not written. With [`Need::Kept`] it is kept, and written when that is possible.
    fn write(&self, entry: Entry, need: Need) -> BoxFuture<'_, Result<(), Unwritten>>;

    /// This operator works from now on. `published`: the line that the one before it published last.
    fn begin(&self, _published: Option<String>) {}

    /// The last line that was written.
    fn head(&self) -> Option<Head> {
        None
    }

    /// What is counted.
    fn counters(&self) -> AuditCounters {
        AuditCounters::default()
    }

    /// Nothing is written any more: waits a moment for what is under way.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What depends on a line of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// What it is about must not happen, or not be told, before it is written.
    Before,
    /// What it is about happens in any case.
    Kept,
}

/// How the server of a DatabaseAdmin is reached.
pub trait Engines: Debug + Send + Sync {
    /// A PostgreSQL server. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When `config` is not usable.
    fn postgres(&self, config: rolecall_postgres::Config) -> Result<Arc<dyn Engine>, Error>;

    /// A MongoDB server. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When `config` is not usable.
    fn mongodb(&self, config: rolecall_mongodb::Config) -> Result<Arc<dyn Engine>, Error>;

    /// A Redshift cluster. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When `config` is not usable.
    fn redshift(&self, config: rolecall_redshift::Config) -> Result<Arc<dyn Engine>, Error>;
}
