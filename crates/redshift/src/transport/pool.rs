//! A few connections to one server, over all its databases.

use std::sync::Arc;

use rolecall_engine::Error;
use rolecall_engine::idle::{Connection as _, IdleConnections};
use rolecall_engine::slots::{Slot, Slots};
use tokio::sync::OwnedSemaphorePermit;

use super::config::DEFAULT_DATABASE;
use super::connect::{Connection, Connector, NotOpened};

#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    slots: Slots,
    idle: Arc<IdleConnections<Connection>>,
}

/// A connection for one thing at a time. It goes back to the pool when this is dropped while clean, else it is closed.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    pub(crate) database: String,
    connection: Option<Connection>,
    /// It was used before: that it is broken may be old news.
    pub(crate) reused: bool,
    /// No statement is under way, no transaction open, and none has met a conflict.
    pub(crate) clean: bool,
    _slot: Slot,
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Arc<Self> {
        let config = connector.config();
        let size = config.max_connections.max(1);
        Arc::new(Self {
            slots: Slots::new(size, 0, config.acquire_timeout),
            idle: IdleConnections::new(size, config.idle_timeout),
            connector,
        })
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// A connection to this database, or to the one that every cluster has where this one does not let the admin user
    /// in.
    pub(crate) async fn any(self: &Arc<Self>, database: &str) -> Result<Lease, Error> {
        match self.open_in(database).await {
            Ok(lease) => Ok(lease),
            Err(NotOpened { error, elsewhere: true }) if database != DEFAULT_DATABASE => {
                tracing::info!(database, %error, "passing over a logical database");
                // Why the first one does not let it in is what people need to hear.
                self.open_in(DEFAULT_DATABASE).await.map_err(|_| error)
            }
            Err(NotOpened { error, .. }) => Err(error),
        }
    }

    /// A connection to this very database.
    pub(crate) async fn exactly(self: &Arc<Self>, database: &str) -> Result<Lease, Error> {
        self.open_in(database).await.map_err(|refused| refused.error)
    }

    async fn open_in(self: &Arc<Self>, database: &str) -> Result<Lease, NotOpened> {
        let here = |error| NotOpened { error, elsewhere: false };
        let slot = self.slots.take(|| self.address()).await.map_err(here)?;
        let lease = |connection, reused| Lease {
            pool: Arc::clone(self),
            database: database.to_owned(),
            connection: Some(connection),
            reused,
            clean: true,
            _slot: slot,
        };
        if let Some(connection) = self.idle.take(database) {
            return Ok(lease(connection, true));
        }
        let permit = self.permit().await.map_err(here)?;
        let connection = self.connector.open(database, permit).await?;
        Ok(lease(connection, false))
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.slots.within(|| self.address(), self.idle.permit()).await
    }

    fn address(&self) -> String {
        self.connector.config().address()
    }

    /// Closes every idle connection: the server is not what it was, or nobody needs it any more.
    pub(crate) fn close_idle(&self) {
        self.idle.close();
    }

    /// Closes the idle connections to one database.
    pub(crate) fn close_idle_in(&self, database: &str) {
        self.idle.close_in(database);
    }
}

impl Lease {
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.clean
            && !connection.is_closed()
        {
            self.pool.idle.give_back(std::mem::take(&mut self.database), connection);
        }
    }
}
