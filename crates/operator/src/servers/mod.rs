//! The servers that work goes to: one engine per DatabaseAdmin, made from its spec and its Secrets.
//!
//! The reconciler of a DatabaseAdmin stores a server here and updates its state; accounts only look it up. A server
//! that does not answer is marked, so that its accounts wait instead of each running into the timeout, and other
//! servers are not affected.
//!
//! | module | contents |
//! |---|---|
//! | [`connect`] | makes a server from a DatabaseAdmin and its Secrets |
//! | [`teardown_secret`], `proof` | what a teardown needs, kept until it is done |
//! | `end` | ending an account that has no session |

pub mod connect;
mod end;
mod proof;
pub mod teardown_secret;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::Endpoint;
use rolecall_engine::{Engine, Owner};
use rolecall_pki::credentials::Ca;

pub use end::{NeededEnd, PlannedEnd, plan_end};
pub use proof::Proof;

use crate::model::{Blocker, ObjectKey};
use crate::service_binding::Binding;

/// A server that can be worked on.
#[derive(Debug)]
pub struct Server {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The record that accounts get.
    pub owner: Owner,
    /// What the engine was made for.
    pub endpoint: Endpoint,
    /// How users reach it.
    pub binding: Binding,
    /// How users prove themselves.
    pub issuer: Issuer,
    /// What the admin user proves itself with: kept until its accounts are torn down.
    pub proof: Proof,
    /// Roles that the platform adds to every account (RDS, where users log in by IAM: `rds_iam`).
    pub platform_roles: &'static [&'static str],
    /// What the engine and the issuer were made from: a change makes a new server.
    pub fingerprint: u64,
}

impl Server {
    /// A fingerprint of what credentials are made from: where it changes, those that were issued before are outdated.
    pub fn credentials(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.binding.hash(&mut hasher);
        match &self.issuer {
            Issuer::None => 0,
            Issuer::Password => 1,
            Issuer::X509 { ca, .. } => ca.fingerprint(),
            Issuer::Missing(_) => 2,
            Issuer::AwsIam => 3,
        }
        .hash(&mut hasher);
        hasher.finish()
    }
}

/// How the users of a server get their credentials.
#[derive(Debug)]
pub enum Issuer {
    /// They bring their own.
    None,
    /// A client certificate per session.
    X509 {
        /// Who signs.
        ca: Box<Ca>,
        /// How long a certificate lives at most.
        ttl: Duration,
    },
    /// A password per account.
    Password,
    /// They sign IAM tokens with AWS credentials of their own.
    AwsIam,
    /// It cannot be read who signs: what users have stays, and nothing is renewed.
    Missing(Blocker),
}

/// What is known of the server of one DatabaseAdmin.
#[derive(Clone, Debug, Default)]
pub struct ServerState {
    /// The server; the last one that worked while its Secrets are missing, so that accesses can still be ended.
    pub server: Option<Arc<Server>>,
    /// Why no session can start on it.
    pub blocker: Option<Blocker>,
    /// It does not answer: nothing can be ended on it either.
    pub unreachable: bool,
    /// When its admin user's rights were last verified.
    pub verified: Option<Timestamp>,
    /// Its DatabaseAdmin said that accounts stay as they are when it goes, or that nothing is touched (`suspend`).
    pub retain: bool,
    /// It was suspended, and its accounts have not been checked since. A blue/green deployment may have brought back accesses
    /// that had ended.
    pub unchecked: bool,
    /// Since when its DatabaseAdmin is gone though accounts were not torn down.
    pub gone_since: Option<Timestamp>,
}

/// All servers, by DatabaseAdmin.
#[derive(Debug, Default)]
pub struct Servers(RwLock<HashMap<ObjectKey, Known>>);

#[derive(Debug)]
struct Known {
    /// As the DatabaseAdmin's reconciler saw it.
    state: ServerState,
    /// Since then an account found that it does not answer.
    mark: Option<Blocker>,
}

impl Known {
    fn state(&self) -> ServerState {
        match &self.mark {
            None => self.state.clone(),
            Some(mark) => {
                ServerState { blocker: Some(mark.clone()), unreachable: true, ..self.state.clone() }
            }
        }
    }
}

impl Servers {
    /// What is known of a server; `None` before its DatabaseAdmin was reconciled.
    pub fn get(&self, key: &ObjectKey) -> Option<ServerState> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).map(Known::state)
    }

    /// Stores a server's state, and returns whether accounts have to be reconciled.
    ///
    /// That a mark was cleared is no reason: an account that ran into it is retried by itself, with backoff. Otherwise
    /// an account that fails on a server that answers its DatabaseAdmin would be reconciled in a hot loop.
    pub fn set(&self, key: &ObjectKey, state: ServerState) -> bool {
        let mut servers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = servers.insert(key.clone(), Known { state: state.clone(), mark: None });
        before.is_none_or(|Known { state: before, .. }| {
            before.blocker != state.blocker
                || before.unreachable != state.unreachable
                || before.unchecked != state.unchecked
                || before.server.map(|s| s.fingerprint) != state.server.map(|s| s.fingerprint)
        })
    }

    /// Marks a server that stopped answering while an account was worked on.
    pub fn mark_unreachable(&self, key: &ObjectKey, blocker: Blocker) {
        if let Some(known) = self.0.write().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            known.mark = Some(blocker);
        }
    }

    /// A server that was marked, or did not answer its DatabaseAdmin, has answered: accesses can be ended on it. Whether
    /// they can start is for the next reconcile to say.
    pub fn mark_reached(&self, key: &ObjectKey) {
        if let Some(known) = self.0.write().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            known.mark = None;
            known.state.unreachable = false;
        }
    }

    /// Forgets the server of a DatabaseAdmin that is gone.
    pub fn remove(&self, key: &ObjectKey) -> Option<ServerState> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key).map(|known| known.state)
    }

    /// What is known of every server, for metrics.
    pub fn states(&self) -> Vec<(ObjectKey, ServerState)> {
        let servers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        servers.iter().map(|(key, known)| (key.clone(), known.state())).collect()
    }

    /// All servers, for closing.
    pub fn all(&self) -> Vec<Arc<Server>> {
        let servers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        servers.values().filter_map(|known| known.state.server.clone()).collect()
    }
}
