//! What is set at the start.

use std::collections::BTreeSet;
use std::time::Duration;

/// See the module.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This cluster's name.
    pub cluster_name: String,
    /// What the records of accounts call this cluster: see [`crate::cluster`].
    pub recorded_cluster: String,
    /// The namespaces that are watched; none: all.
    pub namespaces: BTreeSet<String>,
    /// How long the teardown of a DatabaseAdmin is attempted.
    pub teardown_deadline: Duration,
    /// How often each reachable server is checked even if nothing changed.
    pub resync_interval: Duration,
    /// How long one reconcile may take.
    pub reconcile_timeout: Duration,
    /// How long a permission set that nobody uses is kept.
    pub keep_unused_sets: Duration,
    /// The admission policies are in force, so that decisions are by whom they say.
    pub admission_enforced: bool,
    /// Connections to one server at any time.
    pub max_connections_per_server: usize,
}

impl Settings {
    /// Is a namespace watched?
    pub fn watches(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}
