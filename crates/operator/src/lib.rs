//! The Rolecall operator.
//!
//! Start reading at [`run`]. The map:
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | flags and environment |
//! | [`model`] | keys, actions, blockers: plain data that the other modules share |
//! | [`watch`], [`history`] | the watches that keep the cache up to date |
//! | [`cache`] | the API server's objects with indexes, and which keys a change triggers |
//! | [`coverage`] | the namespaces that are worked in |
//! | [`controller`] | the work queue, the workers, and what is reported when a reconcile fails |
//! | [`account`] | one account with its sessions: the main reconciler |
//! | [`database_admin`] | DatabaseAdmins: their servers, their teardown |
//! | [`sets`] | object permissions: the permission sets of each logical database |
//! | [`database_user`], [`provisioning_role`], [`db_object_import_rule`] | the status of the other kinds |
//! | [`progress`] | whether an object counts as waiting or as failed |
//! | [`servers`] | one engine per DatabaseAdmin |
//! | [`cluster`] | which cluster this is, for the records of accounts |
//! | [`service_binding`] | what a session's Secret says about the server |
//! | [`api_writer`], [`events`] | every write to the API server |
//! | [`api_client`] | connections to the API server, and how long an answer may take |
//! | [`clock_skew`] | how far the API server's clock is off |
//! | [`audit`] | who has, had, or did not get access to what |
//! | [`leader`], [`http`], [`metrics`], [`log`] | the process around it |

pub mod account;
pub mod api_client;
pub mod api_writer;
pub mod args;
pub mod audit;
pub mod cache;
pub mod clock_skew;
pub mod cluster;
pub mod controller;
pub mod coverage;
pub mod database_admin;
pub mod database_user;
pub mod db_object_import_rule;
pub mod events;
pub mod history;
pub mod http;
pub mod leader;
pub mod log;
pub mod metrics;
pub mod model;
pub mod progress;
pub mod provisioning_role;
pub mod servers;
pub mod service_binding;
pub mod sets;
pub mod watch;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use kube::Config;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use account::memory::Memory;
use api_writer::ApiWriter;
use args::Args;
use audit::Audit;
use cache::{Cache, Cached, ClockReading, Source};
use clock_skew::ClockSkew;
use controller::workqueue::Workqueue;
use coverage::Coverage;
use database_admin::FailoverWatch;
use metrics::Metrics;
use model::{ObjectKey, Priority, ReconcileKey, Triggers};
use prometheus_client::metrics::counter::Counter;
use servers::Servers;
use sets::{Listeners, SetRegistry};

/// How long after a change a server's accounts are counted again: many changes, one count.
const RECOUNT: Duration = Duration::from_secs(3);

/// How long a stop waits for what is under way. A Pod is killed after 30 s by default.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

const LOST: &str = "the Lease is lost: another operator leads, or may lead soon";

/// What all reconcilers share.
#[derive(Debug)]
pub struct Shared {
    cache: RwLock<Cache>,
    /// Which namespaces are worked in.
    pub coverage: Arc<Coverage>,
    /// What has to be looked at.
    pub queue: Arc<Workqueue<ReconcileKey>>,
    /// The servers.
    pub servers: Servers,
    /// The API server, for writing.
    pub api: ApiWriter,
    /// What is kept of accounts between two looks.
    pub memory: Memory,
    /// What is told of accesses, for good.
    pub audit: Audit,
    /// The permission sets that accounts want.
    pub sets: SetRegistry,
    /// The logical databases that announce changes of their objects.
    pub listeners: Listeners,
    /// The servers that are attended to.
    pub failover_watch: FailoverWatch,
    /// What is counted.
    pub metrics: Metrics,
    /// The API server's clock beside this machine's.
    pub clock_skew: Arc<ClockSkew>,
    /// What was set at the start.
    pub settings: Settings,
}

/// What was set at the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This cluster's name.
    pub cluster_name: String,
    /// What the records of accounts call this cluster: see [`cluster`].
    pub recorded_cluster: String,
    /// The namespaces that are watched; none: all.
    pub namespaces: BTreeSet<String>,
    /// How long the teardown of a DatabaseAdmin is tried.
    pub teardown_deadline: Duration,
    /// How often a server that answers is looked at by itself.
    pub resync_interval: Duration,
    /// How long one look may take.
    pub reconcile_timeout: Duration,
    /// How long a permission set that nobody uses is kept.
    pub keep_unused_sets: Duration,
    /// Connections to one server at any time.
    pub max_connections_per_server: usize,
}

impl Settings {
    /// Is a namespace watched?
    pub fn watches(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}

impl Shared {
    /// Nothing looked at yet.
    ///
    /// # Errors
    ///
    /// When what `config` names cannot be used.
    pub fn new(config: Config, settings: Settings) -> kube::Result<Arc<Self>> {
        let clock_skew = Arc::new(ClockSkew::default());
        let events_dropped = Counter::default();
        let api = ApiWriter::new(config, &clock_skew, events_dropped.clone())?;
        Ok(Arc::new_cyclic(|shared| Self {
            cache: RwLock::new(Cache::new(settings.cluster_name.clone())),
            coverage: Arc::default(),
            queue: Workqueue::new(controller::workers::PER_SERVER),
            servers: Servers::default(),
            api,
            memory: Memory::default(),
            audit: Audit::default(),
            sets: SetRegistry::default(),
            listeners: Listeners::default(),
            failover_watch: FailoverWatch::default(),
            metrics: Metrics::new(shared.clone(), events_dropped),
            clock_skew,
            settings,
        }))
    }

    /// The cache, for reading. Never held across an await.
    pub fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        // A poisoned lock means that a reader panicked (which changes nothing) or that an index was not finished;
        // the next event of the object concerned mends it, and the process goes on ending accesses.
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object from a watch or a list into the cache, and triggers what depends on it.
    pub fn observe_event<K: Cached>(&self, object: K, source: Source) {
        let clock = self.clock();
        self.trigger(self.change(|cache| cache.observe_event(object, source, clock)));
    }

    /// As [`Self::observe_event`], with the answer to a write. It changes only what the cache holds.
    pub fn observe_written<K: Cached>(&self, object: K) {
        self.trigger(self.change(|cache| cache.observe_written(object)));
    }

    /// What this machine's clock shows, and by how much it differs from that of the API server.
    pub fn clock(&self) -> ClockReading {
        ClockReading { now: Timestamp::now(), ahead: self.clock_skew.ahead() }
    }

    /// Counts the accounts of a server again, soon.
    pub fn recount(&self, admin: &ObjectKey) {
        self.queue.add_at(ReconcileKey::Admin(admin.clone()), Priority::Normal, Instant::now() + RECOUNT);
    }

    /// Forgets an object that is gone, and what is kept of it alone.
    pub fn forget<K: Cached>(&self, key: &ObjectKey) {
        let (uid, triggers) = self.change(|cache| {
            let uid = K::cached(cache, key).and_then(|cached| cached.uid.clone());
            (uid, cache.forget::<K>(key))
        });
        if let Some(uid) = uid {
            self.memory.set_handed(&uid, None);
            self.audit.forget(&uid);
        }
        self.trigger(triggers);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Cache) -> T) -> T {
        change(&mut self.cache.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn trigger(&self, triggers: Triggers) {
        self.enqueue(self.coverage.admit(triggers));
    }

    fn enqueue(&self, triggers: Triggers) {
        for (work, priority) in triggers {
            self.queue.add(work, priority);
        }
    }
}

/// Runs the operator until `stop`, or until something that it cannot do without is lost.
///
/// # Errors
///
/// When the API server cannot be found, the port is taken, a watch cannot be kept, or the lease is lost: the process
/// should end and be started again.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let config = Config::infer().await.context("finding the API server (KUBECONFIG, or in-cluster)")?;
    run_with(config, args, stop).await
}

/// As [`run`], against the API server that `config` names.
///
/// # Errors
///
/// As [`run`].
pub async fn run_with(config: Config, args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let settings = Settings {
        cluster_name: args.cluster_name.clone(),
        recorded_cluster: cluster::recorded(&args.cluster_name, &config),
        namespaces: args.watch_namespace.iter().cloned().collect(),
        teardown_deadline: args.teardown_deadline,
        resync_interval: args.resync_interval,
        reconcile_timeout: args.reconcile_timeout,
        keep_unused_sets: args.keep_unused_sets,
        max_connections_per_server: args.max_connections_per_server,
    };
    const PREPARING: &str = "preparing the connection to the API server";
    let shared = Shared::new(config.clone(), settings).context(PREPARING)?;
    let health = http::Health::new(Arc::clone(&shared.coverage));
    let server = http::serve(args.listen, Arc::clone(&shared), health.clone()).await?;
    let namespaces: BTreeSet<String> = args.watch_namespace.iter().cloned().collect();

    // With a client of its own: a request that is silent is tried again on another connection.
    let lease =
        leader::wait(&api_client::client(&config, &shared.clock_skew).context(PREPARING)?, &args, &stop)
            .await?;
    let Some(lease) = lease else {
        server.abort();
        return Ok(());
    };
    let lost = lease.lost();
    health.set_leading();
    shared.metrics.leads();
    let client = api_client::client(&config, &shared.clock_skew).context(PREPARING)?;
    let mut watches = watch::start(&client, &namespaces, &shared, &stop);
    // What is triggered before its namespace has been listed waits until then.
    let (workers, abort) = (CancellationToken::new(), lost.child_token());
    let mut running =
        tokio::spawn(controller::workers::run(Arc::clone(&shared), workers.clone(), abort.clone()));
    // A stop ends the watches too: it is asked for first, so that an orderly end is told from a failure.
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        () = lost.cancelled() => Err(anyhow::anyhow!(LOST)),
        () = watches.failed() => Err(anyhow::anyhow!("a watch ended")),
        () = async {
            shared.coverage.settled().await;
            health.set_ready();
            // What was kept for one that was removed by force meanwhile is given up.
            let missing = shared.cache().missing_admins();
            shared.trigger(missing.into_iter().map(|admin| (ReconcileKey::Admin(admin), Priority::Normal)).collect());
            tracing::info!("ready");
            std::future::pending::<()>().await;
        } => Ok(()),
    };
    health.set_stopping();
    workers.cancel();
    // What is under way comes to its end, unless a server keeps it or the lead is lost; the next start finds what is
    // left. Nobody goes on working when the lead is given up.
    if tokio::time::timeout(STOP_PATIENCE, &mut running).await.is_err() {
        tracing::warn!("what is under way is given up");
        abort.cancel();
        let _ = running.await;
    }
    shared.listeners.stop_all();
    shared.failover_watch.stop_all();
    for server in shared.servers.all() {
        server.engine.close().await;
    }
    if !lost.is_cancelled() {
        shared.api.events.flush().await;
    }
    lease.release().await;
    server.abort();
    result
}

#[cfg(test)]
impl Shared {
    /// With an API server that is not there.
    pub(crate) fn alone() -> Arc<Self> {
        Self::with_api_server("http://127.0.0.1:1")
    }

    /// With an API server at that address.
    pub(crate) fn with_api_server(url: &str) -> Arc<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let settings = Settings {
            cluster_name: String::new(),
            recorded_cluster: String::new(),
            namespaces: BTreeSet::new(),
            teardown_deadline: Duration::from_secs(300),
            resync_interval: Duration::from_secs(60),
            reconcile_timeout: Duration::from_secs(120),
            keep_unused_sets: Duration::from_secs(600),
            max_connections_per_server: 5,
        };
        Self::new(Config::new(url.parse().unwrap()), settings).unwrap()
    }
}
