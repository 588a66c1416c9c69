//! The Rolecall operator.
//!
//! Start reading at [`run`]. The map:
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | flags and environment |
//! | [`world`] | what the API server holds, with indexes; who is woken by what |
//! | [`watch`] | the watches that keep the world up to date |
//! | [`queue`] | keys to be looked at: two lanes, timers |
//! | [`runtime`] | the workers: concurrency, time-outs, backoff |
//! | [`account`] | one account with its sessions: the main reconciler |
//! | [`admin`] | DatabaseAdmins: their servers, their teardown |
//! | [`permissions`] | object permissions: the permission sets of each logical database |
//! | [`user`], [`role`], [`rule`] | the status of the other kinds |
//! | [`progress`] | whether an object counts as waiting or as failed |
//! | [`servers`] | one engine per DatabaseAdmin |
//! | [`cluster`] | which cluster this is, for the records of accounts |
//! | [`binding`] | what users are told about a server, in the Secrets of their sessions |
//! | [`objects`], [`events`] | every write to the API server |
//! | [`api`] | how long answers are waited for, and on which connections |
//! | [`leader`], [`http`], [`metrics`] | the process around it |

pub mod account;
pub mod admin;
pub mod api;
pub mod args;
pub mod binding;
pub mod cluster;
pub mod events;
pub mod http;
pub mod leader;
pub mod metrics;
pub mod objects;
pub mod permissions;
pub mod progress;
pub mod queue;
pub mod role;
pub mod rule;
pub mod runtime;
pub mod servers;
pub mod user;
pub mod watch;
pub mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use anyhow::Context;
use kube::Config;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use account::memory::Memory;
use admin::Attending;
use args::Args;
use metrics::Metrics;
use objects::Objects;
use permissions::{Sets, Watches};
use queue::{Lane, Queue};
use servers::Servers;
use world::{Held, ObjectKey, Wakes, Work, World};

/// How long after a change a server's accounts are counted again: many changes, one count.
const RECOUNT: Duration = Duration::from_secs(3);

/// How long a stop waits for what is under way. A Pod is killed after 30 s by default.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

const LOST: &str = "the Lease is lost: another operator leads, or may lead soon";

/// What all reconcilers share.
#[derive(Debug)]
pub struct Shared {
    world: RwLock<World>,
    /// What has to be looked at.
    pub queue: Arc<Queue<Work>>,
    /// The servers.
    pub servers: Servers,
    /// The API server, for writing.
    pub objects: Objects,
    /// What is kept of accounts between two looks.
    pub memory: Memory,
    /// The permission sets that accounts want.
    pub sets: Sets,
    /// The logical databases that announce changes of their objects.
    pub watches: Watches,
    /// The servers that are attended to.
    pub attending: Attending,
    /// What is counted.
    pub metrics: Metrics,
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
    pub look_interval: Duration,
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
        let metrics = Metrics::new();
        Ok(Arc::new(Self {
            world: RwLock::new(World::new(settings.cluster_name.clone())),
            queue: Queue::new(),
            servers: Servers::default(),
            objects: Objects::new(config, metrics.events_dropped.clone())?,
            memory: Memory::default(),
            sets: Sets::default(),
            watches: Watches::default(),
            attending: Attending::default(),
            metrics,
            settings,
        }))
    }

    /// The world, for reading. Never held across an await.
    pub fn world(&self) -> RwLockReadGuard<'_, World> {
        // A poisoned lock means that a reader panicked (which changes nothing) or that an index was not finished;
        // the next event of the object concerned mends it, and the process goes on ending accesses.
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an object into the world and wakes whoever it concerns.
    pub fn take_in<K: Held>(&self, object: K) {
        self.wake(self.change(|world| K::apply(world, object)));
    }

    /// As [`Self::take_in`], but only while the world holds an object of that name.
    pub fn take_in_if_held<K: Held>(&self, object: K) {
        let key = ObjectKey::of(&object);
        let wakes =
            self.change(|world| if K::is_held(world, &key) { K::apply(world, object) } else { Wakes::new() });
        self.wake(wakes);
    }

    /// Counts the accounts of a server again, soon.
    pub fn recount(&self, admin: &ObjectKey) {
        self.queue.add_at(Work::Admin(admin.clone()), Lane::Normal, Instant::now() + RECOUNT);
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake(&self, wakes: Wakes) {
        for (work, lane) in wakes {
            self.queue.add(work, lane);
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
        look_interval: args.look_interval,
        keep_unused_sets: args.keep_unused_sets,
        max_connections_per_server: args.max_connections_per_server,
    };
    const PREPARING: &str = "preparing the connection to the API server";
    let shared = Shared::new(config.clone(), settings).context(PREPARING)?;
    let health = http::Health::new();
    let server = http::serve(args.listen, Arc::clone(&shared), health.clone()).await?;
    let namespaces: BTreeSet<String> = args.watch_namespace.iter().cloned().collect();

    // With a client of its own: a request that is silent is tried again on another connection.
    let lease = leader::wait(&api::client(&config).context(PREPARING)?, &args, &stop).await?;
    let Some(lease) = lease else {
        server.abort();
        return Ok(());
    };
    let lost = lease.lost();
    health.set_leading();
    let client = api::client(&config).context(PREPARING)?;
    let mut watches = watch::start(&client, &namespaces, &shared, &health, &stop);
    // A stop ends the watches too: it is asked for first, so that an orderly end is told from a failure.
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        () = lost.cancelled() => Err(anyhow::anyhow!(LOST)),
        synced = watches.synced() => match synced {
            true => {
                health.set_ready();
                // What was kept for one that was removed by force meanwhile is given up.
                for admin in shared.world().missing_admins() {
                    shared.queue.add(Work::Admin(admin), Lane::Normal);
                }
                tracing::info!("ready");
                let workers = CancellationToken::new();
                let running = tokio::spawn(runtime::run(Arc::clone(&shared), workers.clone(), lost.clone()));
                let result = tokio::select! {
                    biased;
                    () = stop.cancelled() => Ok(()),
                    () = lost.cancelled() => Err(anyhow::anyhow!(LOST)),
                    () = watches.failed() => Err(anyhow::anyhow!("a watch ended")),
                };
                health.set_stopping();
                workers.cancel();
                // What is under way comes to its end, unless a server keeps it or the lead is lost; the next start
                // finds what is left.
                let _ = tokio::time::timeout(STOP_PATIENCE, running).await;
                result
            }
            false => Err(anyhow::anyhow!("a watch ended before everything was listed")),
        },
    };
    shared.watches.stop_all();
    shared.attending.stop_all();
    for server in shared.servers.all() {
        server.engine.close().await;
    }
    if !lost.is_cancelled() {
        shared.objects.events.flush().await;
    }
    lease.release().await;
    server.abort();
    result
}

#[cfg(test)]
impl Shared {
    /// With an API server that is not there.
    pub(crate) fn alone() -> Arc<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let settings = Settings {
            cluster_name: String::new(),
            recorded_cluster: String::new(),
            namespaces: BTreeSet::new(),
            teardown_deadline: Duration::from_secs(300),
            look_interval: Duration::from_secs(60),
            keep_unused_sets: Duration::from_secs(600),
            max_connections_per_server: 5,
        };
        Self::new(Config::new("http://127.0.0.1:1".parse().unwrap()), settings).unwrap()
    }
}
