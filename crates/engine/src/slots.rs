//! How many connections to one server are used at once, and how long one is waited for.
//!
//! Where more than one is left for work, one of them is for urgent work only: what ends accesses does not wait behind starts and
//! readings on a server that has become slow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::urgency::is_urgent;
use crate::{Class, Error, Reason};

/// See the module.
#[derive(Debug)]
pub struct Slots {
    size: usize,
    timeout: Duration,
    all: Arc<Semaphore>,
    /// What is not urgent takes one of these first.
    ordinary: Arc<Semaphore>,
}

/// The right to use a connection. It is given back when this is dropped.
#[derive(Debug)]
pub struct Slot {
    _all: OwnedSemaphorePermit,
    _ordinary: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// `kept`: how many may be kept for one purpose at most.
    pub fn new(size: usize, kept: usize, timeout: Duration) -> Self {
        let size = size.max(1);
        // Where one is all that is left for work, it serves all.
        let reserved = usize::from(size.saturating_sub(kept) >= 2);
        let ordinary = size - reserved;
        Self {
            size,
            timeout,
            all: Arc::new(Semaphore::new(size)),
            ordinary: Arc::new(Semaphore::new(ordinary)),
        }
    }

    /// Would nobody have to wait for one?
    pub fn has_free(&self) -> bool {
        self.all.available_permits() > 0 && (is_urgent() || self.ordinary.available_permits() > 0)
    }

    /// Waits for a slot. `address`: of the server, for people.
    ///
    /// # Errors
    ///
    /// `ConnectionsBusy` where none comes free in time.
    pub async fn take(&self, address: impl FnOnce() -> String) -> Result<Slot, Error> {
        self.within(address, self.taken(!is_urgent())).await
    }

    /// As [`Self::take`], for a connection that is kept for one purpose.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn keep(&self, address: impl FnOnce() -> String) -> Result<Slot, Error> {
        self.within(address, self.taken(true)).await
    }

    /// Waits for something that somebody who has a slot needs beside it.
    ///
    /// # Errors
    ///
    /// As [`Self::take`].
    pub async fn within<T>(
        &self,
        address: impl FnOnce() -> String,
        wait: impl Future<Output = Option<T>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, wait).await {
            Ok(Some(taken)) => Ok(taken),
            // The semaphores are never closed.
            Ok(None) | Err(_) => Err(self.busy(&address())),
        }
    }

    async fn taken(&self, ordinary: bool) -> Option<Slot> {
        let ordinary = match ordinary {
            true => Some(Arc::clone(&self.ordinary).acquire_owned().await.ok()?),
            false => None,
        };
        Some(Slot { _all: Arc::clone(&self.all).acquire_owned().await.ok()?, _ordinary: ordinary })
    }

    fn busy(&self, address: &str) -> Error {
        Error {
            class: Class::Transient,
            reason: Reason::ConnectionsBusy,
            attempted: format!("taking one of the connections to {address} (at most {})", self.size),
            code: String::new(),
            detail: format!("none came free within {} s", self.timeout.as_secs_f32()),
            remedy: "find out on the server what the admin user's connections wait for, or raise --max-connections-per-server".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::urgency::urgent;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn address() -> String {
        "db:5432".to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_too_long_is_an_error() {
        let slots = Slots::new(1, 0, TIMEOUT);
        let _used = slots.take(address).await.unwrap();
        let error = slots.take(address).await.unwrap_err();
        assert_eq!((error.class, error.reason), (Class::Transient, Reason::ConnectionsBusy), "{error}");
        assert!(error.to_string().contains("db:5432"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_kept_for_what_is_urgent() {
        let slots = Slots::new(3, 1, TIMEOUT);
        let kept = slots.keep(address).await.unwrap();
        let _used = slots.take(address).await.unwrap();
        assert!(slots.take(address).await.is_err());
        let first = urgent(slots.take(address)).await.unwrap();
        assert!(urgent(slots.take(address)).await.is_err(), "there are no more than three");
        drop((first, kept));
        let _ends = (urgent(slots.take(address)).await.unwrap(), urgent(slots.take(address)).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_one_serves_all() {
        for (size, kept) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
            let slots = Slots::new(size, kept, TIMEOUT);
            let mut guards = Vec::new();
            for _ in 0..kept {
                guards.push(slots.keep(address).await.unwrap());
            }
            assert!(slots.has_free(), "{size}");
            drop(urgent(slots.take(address)).await.unwrap());
            let last = slots.take(address).await.unwrap();
            assert!(!slots.has_free(), "{size}");
            drop(last);
        }
    }
}
