//! The Rolecall operator.
//!
//! Start reading at [`run`]. The map:
//!
//! | module | contents |
//! |---|---|
//! | [`args`] | flags and environment |
//! | [`settings`], [`shared`] | what is set at the start; what all reconcilers share |
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
//! | [`retry`] | how long to wait before a retry |
//! | [`servers`] | one engine per DatabaseAdmin |
//! | [`cluster`] | which cluster this is, for the records of accounts |
//! | [`service_binding`] | what a session's Secret says about the server |
//! | [`api_writer`], [`events`] | every write to the API server |
//! | [`ports`] | what all this needs from outside, as traits |
//! | [`api_client`] | connections to the API server, and how long an answer may take |
//! | [`clock_skew`] | how far the API server's clock is off |
//! | [`clock_steps`] | by how much the wall clock was put forward |
//! | [`audit`], [`ledger`] | who has, had, or did not get access to what; writing it so that nothing is lost unnoticed |
//! | [`drain`], [`uninstall`] | before the operator goes: no session starts, all end |
//! | [`leader`], [`host`], [`http`], [`metrics`], [`observe`], [`log`] | the process around it |
//! | [`probe`] | what else the program does: asking another one |

pub mod account;
pub mod api_client;
pub mod api_writer;
pub mod args;
pub mod audit;
pub mod cache;
pub mod clock_skew;
pub mod clock_steps;
pub mod cluster;
pub mod controller;
pub mod coverage;
pub mod database_admin;
pub mod database_user;
pub mod db_object_import_rule;
pub mod drain;
pub mod events;
pub mod history;
pub mod host;
pub mod http;
pub mod leader;
pub mod ledger;
pub mod log;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod ports;
pub mod probe;
pub mod progress;
pub mod provisioning_role;
pub mod retry;
pub mod servers;
pub mod service_binding;
pub mod sets;
pub mod settings;
pub mod shared;
#[cfg(test)]
mod simulation;
#[cfg(feature = "otlp")]
pub mod traces;
pub mod uninstall;
pub mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Config;
use rolecall_aws::Aws;
use tokio_util::sync::CancellationToken;

use args::Args;
use clock_skew::ClockSkew;
use ledger::Ledger;
use ports::Ports;

pub use settings::Settings;
pub use shared::Shared;

/// How long a stop waits for what is under way. A Pod is killed after 30 s by default.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

const LOST: &str = "the Lease is lost: another operator leads, or may lead soon";

/// Runs the operator until `stop`, or until it loses something that it cannot run without.
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
        admission_enforced: args.admission_enforced,
        max_connections_per_server: args.max_connections_per_server,
    };
    const PREPARING: &str = "preparing the connection to the API server";
    let skew = Arc::new(ClockSkew::default());
    let ledger = Arc::new(Ledger::start(&args.audit_log, args.audit_key_file.as_ref())?);
    let ports = Ports::of_process(config.clone(), &skew, Aws::of_process(), ledger).context(PREPARING)?;
    let shared = Shared::new(ports, skew, settings);
    let health = http::Health::new(Arc::clone(&shared.coverage));
    let server = http::serve(args.listen, Arc::clone(&shared), health.clone()).await?;
    let namespaces: BTreeSet<String> = args.watch_namespace.iter().cloned().collect();

    // With its own client: a request that is silent is tried again on another connection.
    let client = api_client::client(&config, &shared.clock_skew).context(PREPARING)?;
    let lease = leader::wait(&client, &args, &shared.drain, &shared.audit, &stop).await?;
    let Some(lease) = lease else {
        server.abort();
        return Ok(());
    };
    let lost = lease.lost();
    health.set_leading();
    shared.metrics.leads();
    shared.audit.begin(lease.published());
    let client = api_client::client(&config, &shared.clock_skew).context(PREPARING)?;
    let drain_changes = shared.drain.changes();
    let mut watches = watch::start(&client, &namespaces, &shared, &stop);
    // What is triggered before its namespace has been listed waits until then.
    let (workers, abort) = (CancellationToken::new(), lost.child_token());
    let mut running =
        tokio::spawn(controller::workers::run(Arc::clone(&shared), workers.clone(), abort.clone()));
    // A stop ends the watches too: it is checked first, so that an orderly end is not taken for a failure.
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        () = lost.cancelled() => Err(anyhow::anyhow!(LOST)),
        () = watches.failed() => Err(anyhow::anyhow!("a watch ended")),
        () = shared.follow_drain(drain_changes) => Ok(()),
        () = async {
            shared.coverage.settled().await;
            health.set_ready();
            shared.trigger_missing_admins();
            tracing::info!("ready");
            std::future::pending::<()>().await;
        } => Ok(()),
    };
    health.set_stopping();
    workers.cancel();
    // What is under way is finished, unless a server does not answer or the lead is lost; the next start finds what is
    // left. No work goes on when the lead is given up.
    if tokio::time::timeout(STOP_PATIENCE, &mut running).await.is_err() {
        tracing::warn!("reconciles that are still running are cancelled");
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
    shared.audit.close().await;
    lease.release().await;
    server.abort();
    result
}
