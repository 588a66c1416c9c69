//! A few connections to one server, over all its databases.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rolecall_engine::idle::{Connection as _, IdleConnections};
use rolecall_engine::slots::{Slot, Slots};
use rolecall_engine::{ChangedObjects, Class, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_postgres::CancelToken;

use crate::transport::backends::Backends;
use crate::transport::connect::{Connection, Connector, NotOpened};

/// How long a database that could not be connected to is skipped where another one will do.
const AVOIDED_FOR: Duration = Duration::from_secs(30);
/// With fewer connections than this, all of them are for work.
const FEWEST_WITH_SENTINEL: usize = 3;
/// Where the admin user connects when the database it should use does not let it in; every server has these.
const FALL_BACK: [&str; 2] = ["postgres", "template1"];
/// How many databases are tried.
const MOST_TRIED: usize = 6;
/// In how many of them a login may time out: it takes all the time that there is for one.
const MOST_WAITED_FOR: usize = 2;

#[derive(Debug)]
pub(crate) struct Pool {
    connector: Connector,
    slots: Slots,
    idle: Arc<IdleConnections<Connection>>,
    /// For connections that are kept for one purpose.
    dedicated: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    avoided: HashMap<String, Instant>,
    /// Databases that took a connection: where another one does as well, they are tried.
    known: BTreeSet<String>,
}

/// A connection for one message at a time. It goes back to the pool when this is dropped between two messages, and is
/// closed when this is dropped within one.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    pub(crate) database: String,
    connection: Option<Connection>,
    /// It was used before: that it is broken may be old news.
    pub(crate) reused: bool,
    /// No message is under way and no transaction open.
    pub(crate) clean: bool,
    /// The server was asked to cancel what is under way.
    pub(crate) cancelled: bool,
    _slot: Slot,
}

/// A connection that is kept for one purpose. It closes when this is dropped.
pub(crate) struct Dedicated {
    pub(crate) connection: Connection,
    _counted: (Slot, Option<OwnedSemaphorePermit>),
}

impl Dedicated {
    /// Waits until somebody else announces that objects have changed; `None` when the connection has ended.
    pub(crate) async fn announced(&mut self) -> Option<ChangedObjects> {
        self.connection.announced.next().await
    }
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Arc<Self> {
        let config = connector.config();
        let size = config.max_connections.max(1);
        let kept = size / 2 + usize::from(size >= FEWEST_WITH_SENTINEL);
        let slots = Slots::new(size, kept, config.acquire_timeout);
        Arc::new(Self {
            idle: IdleConnections::new(size, config.idle_timeout),
            slots,
            dedicated: Arc::new(Semaphore::new(size / 2)),
            state: Mutex::default(),
            connector,
        })
    }

    /// A connection to this database, or to another where this one does not let the admin user in.
    ///
    /// # Errors
    ///
    /// That of the first database, when none does or the server cannot be reached.
    pub(crate) async fn any(self: &Arc<Self>, database: &str) -> Result<Lease, Error> {
        let (mut refused, mut unanswered): (Vec<(String, Error)>, usize) = (Vec::new(), 0);
        for candidate in self.candidates(database) {
            match self.open_in(&candidate).await {
                Ok(lease) => {
                    for (other, error) in refused {
                        tracing::info!(database = other, %error, "passing over a logical database");
                        self.avoid(&other);
                    }
                    return Ok(lease);
                }
                Err(NotOpened { error, elsewhere }) => {
                    unanswered += usize::from(error.code.is_empty());
                    refused.push((candidate, error));
                    if !elsewhere || unanswered == MOST_WAITED_FOR {
                        break;
                    }
                }
            }
        }
        // There is always a candidate.
        Err(refused.into_iter().next().map_or_else(closed, |(_, error)| error))
    }

    /// A connection to this very database.
    pub(crate) async fn exactly(self: &Arc<Self>, database: &str) -> Result<Lease, Error> {
        match self.open_in(database).await {
            Ok(lease) => Ok(lease),
            Err(refused) => Err(self.judged(database, refused).await),
        }
    }

    /// A server is not unreachable where one of its databases is: what needs another one must not wait.
    async fn judged(self: &Arc<Self>, database: &str, refused: NotOpened) -> Error {
        let NotOpened { error, elsewhere } = refused;
        if !elsewhere || error.class != Class::Unreachable {
            return error;
        }
        for other in self.candidates(database).into_iter().filter(|other| other != database) {
            match self.open_in(&other).await {
                Ok(_) => return Error { class: Class::Transient, ..error },
                Err(NotOpened { elsewhere: true, error: other }) if !other.code.is_empty() => {}
                Err(_) => break,
            }
        }
        error
    }

    async fn open_in(self: &Arc<Self>, database: &str) -> Result<Lease, NotOpened> {
        let slot = self.slots.take(|| self.address()).await.map_err(here)?;
        let lease = |connection, reused| Lease {
            pool: Arc::clone(self),
            database: database.to_owned(),
            connection: Some(connection),
            reused,
            clean: true,
            cancelled: false,
            _slot: slot,
        };
        if let Some(connection) = self.idle.take(database) {
            return Ok(lease(connection, true));
        }
        let permit = self.permit().await.map_err(here)?;
        let connection = self.connector.open(database, permit).await?;
        self.state().known.insert(database.to_owned());
        Ok(lease(connection, false))
    }

    /// A connection that does not come back to the pool. `None` where half of all are kept so: the others are for work.
    pub(crate) async fn dedicated(self: &Arc<Self>, database: &str) -> Result<Option<Dedicated>, Error> {
        let Ok(dedicated) = Arc::clone(&self.dedicated).try_acquire_owned() else { return Ok(None) };
        let slot = self.slots.keep(|| self.address()).await?;
        let permit = self.permit().await?;
        let connection = match self.connector.open(database, permit).await {
            Ok(connection) => connection,
            Err(refused) => {
                drop(slot);
                return Err(self.judged(database, refused).await);
            }
        };
        Ok(Some(Dedicated { connection, _counted: (slot, Some(dedicated)) }))
    }

    /// A connection that is kept so that its end is noticed. `None` where there are too few for that.
    pub(crate) async fn sentinel(self: &Arc<Self>, database: &str) -> Result<Option<Dedicated>, Error> {
        if self.connector.config().max_connections < FEWEST_WITH_SENTINEL {
            return Ok(None);
        }
        let slot = self.slots.keep(|| self.address()).await?;
        let permit = self.permit().await?;
        match self.connector.open(database, permit).await {
            Ok(connection) => {
                // Users can take every connection that the server allows: with the last one of ours they are still put
                // out.
                self.idle.keep_one();
                Ok(Some(Dedicated { connection, _counted: (slot, None) }))
            }
            // This database does not let the admin user in; others may.
            Err(NotOpened { elsewhere: true, .. }) => Ok(None),
            Err(NotOpened { error, .. }) => Err(error),
        }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.slots.within(|| self.address(), self.idle.permit()).await
    }

    fn address(&self) -> String {
        self.connector.config().address()
    }

    /// Changes whenever a connection breaks.
    pub(crate) fn broken(&self) -> watch::Receiver<u64> {
        self.connector.broken()
    }

    /// A connection is of no use any more, though it has not come to an end.
    pub(crate) fn note_broken(&self) {
        self.connector.note_broken();
    }

    /// A connection that nobody has to wait for, to a database that takes some; `None` where all are in use.
    pub(crate) async fn spare(self: &Arc<Self>, database: &str) -> Option<Lease> {
        if !self.slots.has_free() {
            return None;
        }
        self.any(database).await.ok()
    }

    /// Asks the server to cancel what it does for a connection. Nobody waits for that.
    pub(crate) fn cancel(self: &Arc<Self>, token: CancelToken) {
        // Without a runtime the connection does not live either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let pool = Arc::clone(self);
            runtime.spawn(async move { pool.connector.cancel(token).await });
        }
    }

    /// The backends of its connections.
    pub(crate) fn backends(&self) -> &Backends {
        self.connector.backends()
    }

    /// Does the server answer at all? No connection is used for that.
    pub(crate) async fn is_answered(&self) -> bool {
        self.connector.answers().await
    }

    /// Closes every idle connection: the server is not what it was, or nobody needs it any more.
    pub(crate) fn close_idle(&self) {
        self.idle.close();
    }

    /// Closes the idle connections to one database, and avoids it where another one will do.
    pub(crate) fn close_idle_in(&self, database: &str) {
        self.idle.close_in(database);
        self.state().known.remove(database);
    }

    /// The databases to try: this one first, those that failed recently last.
    fn candidates(&self, database: &str) -> Vec<String> {
        let mut state = self.state();
        state.avoided.retain(|_, since| since.elapsed() < AVOIDED_FOR);
        let known = state.known.iter().map(String::as_str).filter(|known| !FALL_BACK.contains(known));
        let others = FALL_BACK.into_iter().chain(known).filter(|&other| other != database);
        let mut all: Vec<&str> = std::iter::once(database).chain(others).collect();
        all.sort_by_key(|one| state.avoided.contains_key(*one));
        all.into_iter().take(MOST_TRIED).map(str::to_owned).collect()
    }

    /// Skips a database for a while, where another one will do.
    pub(crate) fn avoid(&self, database: &str) {
        self.state().avoided.insert(database.to_owned(), Instant::now());
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// Asks the server to cancel what this connection does, which is not used again.
    fn cancel(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| !self.cancelled) else { return };
        self.cancelled = true;
        if !connection.is_closed() {
            self.pool.cancel(connection.client.cancel_token());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.clean && !self.cancelled {
            if let Some(connection) = &self.connection {
                connection.abandon();
            }
            // Nobody waits for it any more, and its locks are in the way: of a commit that waits for a
            // standby the server notices neither that nor any time-out.
            self.cancel();
        }
        if let Some(connection) = self.connection.take()
            && self.clean
            && !self.cancelled
            && !connection.is_closed()
        {
            self.pool.idle.give_back(std::mem::take(&mut self.database), connection);
        }
    }
}

/// A failure that every other database would share.
fn here(error: Error) -> NotOpened {
    NotOpened { error, elsewhere: false }
}

fn closed() -> Error {
    Error {
        class: Class::Transient,
        reason: rolecall_engine::Reason::DatabaseUnreachable,
        attempted: "taking a connection".to_owned(),
        code: String::new(),
        detail: "the pool is closed".to_owned(),
        remedy: String::new(),
    }
}
