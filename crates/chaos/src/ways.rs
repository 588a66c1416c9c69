//! The network between an operator and everything that it speaks to.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use rolecall_testbed::Postgres;

use crate::link::{Link, State};
use crate::server::Server;

/// From an operator to everything.
#[derive(Debug)]
pub struct Ways {
    /// To the API server.
    pub api: Link,
    /// To the PostgreSQL servers.
    pub servers: BTreeMap<Server, Link>,
}

impl Ways {
    /// To the API server of this port, and to these servers.
    ///
    /// # Errors
    /// When there is no port for one.
    pub async fn to(api: u16, postgres: &BTreeMap<Server, Arc<Postgres>>) -> Result<Self> {
        let mut servers = BTreeMap::new();
        for (server, pg) in postgres {
            servers.insert(*server, Link::to(pg.port()).await?);
        }
        Ok(Self { api: Link::to(api).await?, servers })
    }

    /// All of them are like this from now on.
    pub fn set(&self, state: State) {
        self.api.set(state);
        self.servers.values().for_each(|link| link.set(state));
    }
}
