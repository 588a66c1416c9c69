//! A few connections to one server, over all its databases.
//!
//! Two bounds of the same size keep the total: a *slot* is held while a connection is used, a *permit* for as long as
//! it is open. Whoever has a slot but finds no connection to its database closes an idle one of another database and
//! takes its permit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use rolecall_engine::Error;
use rolecall_engine::slots::{Slot, Slots};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::DEFAULT_DATABASE;
use super::connect::{Connection, Connector, NotOpened};

#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    slots: Slots,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Most recently used last.
    idle: Vec<Idle>,
    reaping: bool,
}

struct Idle {
    database: String,
    connection: Connection,
    since: Instant,
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
            permits: Arc::new(Semaphore::new(size)),
            state: Mutex::default(),
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
        if let Some(connection) = self.take_idle(database) {
            return Ok(lease(connection, true));
        }
        let permit = self.permit().await.map_err(here)?;
        let connection = self.connector.open(database, permit).await?;
        Ok(lease(connection, false))
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let mut permit = std::pin::pin!(Arc::clone(&self.permits).acquire_owned());
        // In the queue first, so that nobody else gets what is given up now.
        let taken = async {
            tokio::select! {
                biased;
                taken = &mut permit => taken.ok(),
                () = async { self.close_one() } => permit.await.ok(),
            }
        };
        self.slots.within(|| self.address(), taken).await
    }

    fn address(&self) -> String {
        self.connector.config().address()
    }

    /// Closes every idle connection: the server is not what it was, or nobody needs it any more.
    pub(crate) fn close_idle(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        drop(idle);
    }

    /// Closes the idle connections to one database.
    pub(crate) fn close_idle_in(&self, database: &str) {
        self.state().idle.retain(|idle| idle.database != database);
    }

    fn take_idle(&self, database: &str) -> Option<Connection> {
        let mut state = self.state();
        state.idle.retain(|idle| !idle.connection.client.is_closed());
        let at = state.idle.iter().rposition(|idle| idle.database == database)?;
        Some(state.idle.remove(at).connection)
    }

    /// Closes the connection that was idle for longest, of whatever database.
    fn close_one(&self) {
        let mut state = self.state();
        if !state.idle.is_empty() {
            state.idle.remove(0);
        }
    }

    fn give_back(self: &Arc<Self>, database: String, connection: Connection) {
        let mut state = self.state();
        state.idle.push(Idle { database, connection, since: Instant::now() });
        // Without a runtime nobody can use the connection either; it is closed with the pool.
        if !state.reaping
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            state.reaping = true;
            runtime.spawn(reap(Arc::downgrade(self)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what was idle for too long, until nothing is left to watch.
async fn reap(pool: Weak<Pool>) {
    loop {
        let Some(idle) = pool.upgrade().map(|pool| pool.connector.config().idle_timeout) else { return };
        tokio::time::sleep(idle / 4).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.state();
        state.idle.retain(|one| !one.connection.client.is_closed() && one.since.elapsed() < idle);
        if state.idle.is_empty() {
            state.reaping = false;
            return;
        }
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
            && !connection.client.is_closed()
        {
            self.pool.give_back(std::mem::take(&mut self.database), connection);
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("idle", &self.idle.len()).finish_non_exhaustive()
    }
}
