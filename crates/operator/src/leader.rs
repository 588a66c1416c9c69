//! Leader election by Lease: of several replicas one works.
//!
//! A Lease is no fence: a leader that lost it may still have a statement under way. What keeps two of them from
//! harming each other are the checks that the engines make under the account's lock.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::coordination::v1 as coordination;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::Args;

const LEASE: &str = "rolecall-operator";
/// How long a Lease holds without being renewed.
const DURATION_SECONDS: u64 = 15;
/// How long before that it is renewed.
const GRACE_SECONDS: u64 = 5;
/// How often one that waits looks whether the Lease was given up.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The lead. Without leader election it is always there.
#[derive(Debug)]
pub struct Lease {
    lost: CancellationToken,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    state: watch::Receiver<bool>,
    task: JoinHandle<kube_lease_manager::Result<LeaseManager>>,
    watcher: JoinHandle<()>,
}

/// Waits for the lead. `None`: `stop` came first.
///
/// # Errors
///
/// When the Lease cannot be created or read.
pub async fn wait(client: &Client, args: &Args, stop: &CancellationToken) -> anyhow::Result<Option<Lease>> {
    let lost = CancellationToken::new();
    if !args.leader_elect {
        return Ok(Some(Lease { lost, held: None }));
    }
    let namespace =
        args.leader_election_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let identity = identity();
    let (mut state, mut task) = compete(client, &namespace, &identity).await?;
    tracing::info!(%namespace, lease = LEASE, %identity, "waiting for the lead");
    let leases = Api::namespaced(client.clone(), &namespace);
    let lead = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break false,
            lead = state.wait_for(|leads| *leads) => break lead.is_ok(),
            () = released(&leases) => {}
        }
        // The manager sleeps until the Lease that it saw would have run out. A new one looks at once.
        task.abort();
        (state, task) = compete(client, &namespace, &identity).await?;
    };
    if !lead {
        drop(state);
        anyhow::ensure!(stop.is_cancelled(), "the Lease {namespace}/{LEASE} cannot be kept");
        let _ = task.await;
        return Ok(None);
    }
    tracing::info!("leading");
    let (mut follow, lost_then) = (state.clone(), lost.clone());
    let watcher = tokio::spawn(async move {
        // Not leading any more, or the task that renews has died: both mean lost.
        let _ = follow.wait_for(|leads| !*leads).await;
        lost_then.cancel();
    });
    Ok(Some(Lease { lost, held: Some(Held { state, task, watcher }) }))
}

/// Starts to compete for the Lease.
async fn compete(
    client: &Client,
    namespace: &str,
    identity: &str,
) -> anyhow::Result<(watch::Receiver<bool>, JoinHandle<kube_lease_manager::Result<LeaseManager>>)> {
    let manager = LeaseManagerBuilder::new(client.clone(), LEASE)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(DURATION_SECONDS)
        .with_grace(GRACE_SECONDS)
        .build()
        .await
        .with_context(|| format!("preparing the Lease {namespace}/{LEASE}"))?;
    Ok(manager.watch().await)
}

/// Waits until nobody holds the Lease, because its holder gave it up in order.
async fn released(leases: &Api<coordination::Lease>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        // An API server that does not answer is the manager's business.
        let lease = leases.get_opt(LEASE).await.ok().flatten();
        if lease.and_then(|lease| lease.spec).is_some_and(|spec| spec.holder_identity.is_none()) {
            return;
        }
    }
}

impl Lease {
    /// Cancelled when the lead is lost.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Gives the lead up, so that another replica need not wait until it runs out.
    pub async fn release(self) {
        let Some(Held { state, task, watcher }) = self.held else { return };
        watcher.abort();
        let _ = watcher.await;
        // The task releases the Lease when nobody listens any more.
        drop(state);
        if tokio::time::timeout(Duration::from_secs(3), task).await.is_err() {
            tracing::warn!("the Lease was not given up in time; it runs out by itself");
        }
    }
}

/// Tells replicas apart: the Pod's name, and something random for restarts in place.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "rolecall".to_owned());
    format!("{host}-{:08x}", rand::random::<u32>())
}
