//! What is known of Teleport's accounts on the same PostgreSQL servers. Rolecall has no part in them, so each has to be as
//! Teleport left it: see [`crate::teleport_churn`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

use crate::server::Server;

/// What the names of these accounts end with.
pub const SUFFIX: &str = "@teleport.example.com";

/// See the module.
#[derive(Debug, Default)]
pub struct Teleport {
    /// What is known of its accounts; those with whose last step something was wrong are not there.
    accounts: Mutex<BTreeMap<(Server, String), Left>>,
    given: AtomicUsize,
}

/// How an account was left.
#[derive(Debug, Default)]
pub struct Left {
    /// It can log in.
    pub login: bool,
    /// Its roles, beside the marker.
    pub roles: BTreeSet<String>,
    /// Somebody is connected.
    pub connection: Option<Client>,
}

/// Is this one of its accounts?
pub fn is_of_teleport(account: &str) -> bool {
    account.ends_with(SUFFIX)
}

impl Teleport {
    /// How it left its accounts. It does nothing until what is returned is dropped; what is taken out of it is not known
    /// any more.
    pub async fn left(&self) -> MutexGuard<'_, BTreeMap<(Server, String), Left>> {
        self.accounts.lock().await
    }

    /// It gave access, or took it.
    pub fn count(&self, gave: bool) {
        self.given.fetch_add(usize::from(gave), Ordering::Relaxed);
    }

    /// How often it gave access.
    pub fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}
