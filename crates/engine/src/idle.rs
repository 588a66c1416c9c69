//! Connections that wait for their next use: of one server, over all its databases.
//!
//! Two bounds of the same size keep the total: a *slot* ([`crate::slots`]) is held while a connection is used, a *permit*
//! for as long as it is open. Whoever has a slot but finds no connection to its database closes an idle one of another
//! database and takes its permit. Since those in use never exceed the slots, there is always one to close.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection as the list of idle ones needs it. It closes when it is dropped, and then its permit is free again.
pub trait Connection: Send + 'static {
    /// Is it of no use any more?
    fn is_closed(&self) -> bool;
}

/// See the module.
pub struct IdleConnections<C> {
    permits: Arc<Semaphore>,
    timeout: Duration,
    state: Mutex<State<C>>,
}

struct State<C> {
    /// Most recently used last.
    idle: Vec<Idle<C>>,
    /// So many stay, however long they are idle.
    kept: usize,
    reaping: bool,
}

struct Idle<C> {
    database: String,
    connection: C,
    since: Instant,
}

impl<C: Connection> IdleConnections<C> {
    /// `size`: how many may be open. `timeout`: how long one may be idle.
    pub fn new(size: usize, timeout: Duration) -> Arc<Self> {
        let state = Mutex::new(State { idle: Vec::new(), kept: 0, reaping: false });
        Arc::new(Self { permits: Arc::new(Semaphore::new(size)), timeout, state })
    }

    /// Waits for the right to open a connection, and closes the one that was idle for longest where there is none.
    /// To be used by whoever has a slot. `None` never happens: the semaphore is not closed.
    pub async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let mut permit = std::pin::pin!(Arc::clone(&self.permits).acquire_owned());
        // In the queue first, so that nobody else gets what is given up now.
        tokio::select! {
            biased;
            taken = &mut permit => taken.ok(),
            () = async { self.close_one() } => permit.await.ok(),
        }
    }

    /// An open connection to this database.
    pub fn take(&self, database: &str) -> Option<C> {
        let mut state = self.state();
        state.idle.retain(|idle| !idle.connection.is_closed());
        let at = state.idle.iter().rposition(|idle| idle.database == database)?;
        Some(state.idle.remove(at).connection)
    }

    /// A connection to this database waits for its next use.
    pub fn give_back(self: &Arc<Self>, database: String, connection: C) {
        let mut state = self.state();
        state.idle.push(Idle { database, connection, since: Instant::now() });
        // Without a runtime nobody can use the connection either; it is closed with the list.
        if !state.reaping
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            state.reaping = true;
            runtime.spawn(reap(Arc::downgrade(self)));
        }
    }

    /// From now on one stays, however long it is idle.
    pub fn keep_one(&self) {
        self.state().kept = 1;
    }

    /// Closes all: the server is not what it was, or nobody needs it any more.
    pub fn close(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        drop(idle);
    }

    /// Closes those to one database.
    pub fn close_in(&self, database: &str) {
        self.state().idle.retain(|idle| idle.database != database);
    }

    /// Closes the one that was idle for longest, of whatever database.
    fn close_one(&self) {
        let mut state = self.state();
        if !state.idle.is_empty() {
            state.idle.remove(0);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what was idle for too long, until nothing is left to watch.
async fn reap<C: Connection>(list: Weak<IdleConnections<C>>) {
    loop {
        let Some(timeout) = list.upgrade().map(|list| list.timeout) else { return };
        tokio::time::sleep(timeout / 4).await;
        let Some(list) = list.upgrade() else { return };
        let mut state = list.state();
        state.idle.retain(|one| !one.connection.is_closed());
        while state.idle.len() > state.kept && state.idle[0].since.elapsed() >= timeout {
            state.idle.remove(0);
        }
        if state.idle.is_empty() {
            state.reaping = false;
            return;
        }
    }
}

impl<C> fmt::Debug for IdleConnections<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleConnections").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Open {
        number: u32,
        _permit: OwnedSemaphorePermit,
    }

    impl Connection for Open {
        fn is_closed(&self) -> bool {
            self.number == 0
        }
    }

    async fn open(list: &IdleConnections<Open>, number: u32) -> Open {
        Open { number, _permit: list.permit().await.unwrap() }
    }

    #[tokio::test]
    async fn the_one_used_last_is_taken_and_a_broken_one_never() {
        let list = IdleConnections::new(4, Duration::from_secs(60));
        for number in [1, 2, 0] {
            let connection = open(&list, number).await;
            list.give_back("app".to_owned(), connection);
        }
        assert!(list.take("other").is_none());
        assert_eq!(list.take("app").map(|one| one.number), Some(2));
        assert_eq!(list.take("app").map(|one| one.number), Some(1));
        assert!(list.take("app").is_none());
    }

    #[tokio::test]
    async fn where_all_are_open_the_one_idle_for_longest_makes_room() {
        let list = IdleConnections::new(2, Duration::from_secs(60));
        for (number, database) in [(1, "a"), (2, "b")] {
            let connection = open(&list, number).await;
            list.give_back(database.to_owned(), connection);
        }
        let _third = open(&list, 3).await;
        assert!(list.take("a").is_none() && list.take("b").is_some());
    }

    #[tokio::test]
    async fn those_of_one_database_or_all_can_be_closed() {
        let list = IdleConnections::new(2, Duration::from_secs(60));
        for (number, database) in [(1, "a"), (2, "b")] {
            let connection = open(&list, number).await;
            list.give_back(database.to_owned(), connection);
        }
        list.close_in("a");
        assert!(list.take("a").is_none());
        list.close();
        assert!(list.take("b").is_none());
        assert_eq!(list.permits.available_permits(), 2);
    }

    #[tokio::test]
    async fn what_is_idle_for_too_long_is_closed_but_for_the_one_that_is_kept() {
        let list = IdleConnections::new(2, Duration::ZERO);
        list.keep_one();
        for number in [1, 2] {
            let connection = open(&list, number).await;
            list.give_back("app".to_owned(), connection);
        }
        while list.permits.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(list.take("app").map(|one| one.number), Some(2));
    }
}
