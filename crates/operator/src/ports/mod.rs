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

use jiff::Timestamp;
use kube::Config;
use rolecall_aws::Aws;
use rolecall_engine::{Engine, Error};

use crate::clock_skew::ClockSkew;

pub use api_server::{Address, ApiServer, Published, Write};
pub use kube_api::KubeApi;
pub use system::{DatabaseServers, LogAudit, SystemClock};

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
    pub fn of_process(config: Config, skew: &Arc<ClockSkew>, aws: Aws) -> kube::Result<Self> {
        Ok(Self {
            api_server: Arc::new(KubeApi::new(config, skew)?),
            clock: Arc::new(SystemClock),
            audit_log: Arc::new(LogAudit),
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

/// Where audit lines go. A line that was written must survive a crash of this process.
pub trait AuditLog: Debug + Send + Sync {
    /// Writes one line.
    fn write(&self, line: &AuditLine<'_>);
}

/// One line of the audit log. Its fields are in `docs/audit.md`.
#[derive(Clone, Debug)]
pub enum AuditLine<'a> {
    /// What becomes of an access.
    Access(Access<'a>),
    /// An access came back though it was over.
    Returned {
        /// The DatabaseAdmin.
        database_admin: &'a str,
        /// Its namespace.
        namespace: &'a str,
        /// The database user.
        username: &'a str,
        /// What was done about it.
        action: &'a str,
        /// Why it came back, where that is known.
        cause: &'a str,
    },
    /// A server may have lost changes.
    Failover {
        /// The DatabaseAdmin.
        database_admin: &'a str,
        /// Its namespace.
        namespace: &'a str,
        /// What happened.
        change: String,
    },
}

/// An access, as the audit log has it. What does not apply is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access<'a> {
    /// The session.
    pub session: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// The DatabaseUser.
    pub user: &'a str,
    /// The DatabaseAdmin.
    pub database: &'a str,
    /// The logical database.
    pub database_name: &'a str,
    /// The database user.
    pub username: &'a str,
    /// What becomes of it: `active`, `ending`, `ended` and the like.
    pub access: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Its database roles, with commas between them.
    pub db_roles: String,
    /// When it ends by itself.
    pub expires_at: String,
    /// The reason that was given for it.
    pub why: &'a str,
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
