//! PostgreSQL 15 to 18.

mod config;
mod platform;

use async_trait::async_trait;

pub use config::{Auth, Config, Tls, TlsMode, parse_address};
pub use platform::{Platform, RDS_IAM};

use crate::{Applied, Census, Class, Engine, Error, Needs, Observed, Plan, Probe, Query, Reason};

/// One PostgreSQL server, reached as its admin user.
#[derive(Debug)]
pub struct Postgres {
    config: Config,
}

/// What an engine did since it was made. Numbers only grow, but `connections_open`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// SQL statements sent.
    pub statements: u64,
    /// Messages sent to the server and answered: round trips.
    pub round_trips: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Transactions run again after a conflict with another.
    pub retries: u64,
}

impl Postgres {
    /// An engine for one server. Nothing is sent yet: the first call connects. (The system's root certificates are
    /// read from disk where the configuration names no CA.)
    ///
    /// # Errors
    ///
    /// `Invalid` when something in the configuration cannot be used; the message names the field.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { config })
    }

    /// What the engine did so far, for metrics.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    fn todo(&self) -> Error {
        Error {
            class: Class::Refused,
            reason: Reason::Unsupported,
            attempted: format!("reaching {}", self.config.address()),
            code: String::new(),
            detail: "not built yet".to_owned(),
            remedy: String::new(),
        }
    }
}

#[async_trait]
impl Engine for Postgres {
    async fn probe(&self, _: &Needs) -> Result<Probe, Error> {
        Err(self.todo())
    }

    async fn census(&self) -> Result<Census, Error> {
        Err(self.todo())
    }

    async fn observe(&self, _: &Query) -> Result<Observed, Error> {
        Err(self.todo())
    }

    async fn apply(&self, _: &Plan) -> Result<Applied, Error> {
        Err(self.todo())
    }

    async fn close(&self) {}
}
