//! The clock and the database servers of a running operator.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_engine::{Engine, Error};
use rolecall_mongodb::Mongodb;
use rolecall_postgres::Postgres;
use rolecall_redshift::Redshift;

use super::{Clock, Engines};

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Database servers as they are reached over the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct DatabaseServers;

impl Engines for DatabaseServers {
    fn postgres(&self, config: rolecall_postgres::Config) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Postgres::new(config)?))
    }

    fn mongodb(&self, config: rolecall_mongodb::Config) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Mongodb::new(config)?))
    }

    fn redshift(&self, config: rolecall_redshift::Config) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Redshift::new(config)?))
    }
}
