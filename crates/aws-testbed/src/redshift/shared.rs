//! What all connections of one simulator share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::settings::{Authentication, Unknowns};
use super::state::State;

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// A transaction is over.
    pub(crate) changed: Notify,
    /// The server answers nobody.
    pub(crate) frozen: watch::Sender<bool>,
    pub(crate) authentication: Authentication,
    /// Cuts all connections that are open now.
    cut: Mutex<CancellationToken>,
}

impl Shared {
    pub(crate) fn new(authentication: Authentication, unknowns: Unknowns) -> Self {
        Self {
            state: Mutex::new(State::new(unknowns)),
            changed: Notify::new(),
            frozen: watch::Sender::new(false),
            authentication,
            cut: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn until_cut(&self) -> CancellationToken {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn cut(&self) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }

    /// Waits while the server is frozen.
    pub(crate) async fn thawed(&self) {
        // The sender lives as long as `self`.
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }
}
