//! Leader election by Lease: of several replicas one works.
//!
//! A Lease is no fence: a leader that lost it may still have a statement under way. What keeps two of them from
//! harming each other are the checks that the engines make under the account's lock.

use anyhow::Context;
use kube::Client;
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
    let manager = LeaseManagerBuilder::new(client.clone(), LEASE)
        .with_namespace(&namespace)
        .with_identity(&identity)
        .with_duration(DURATION_SECONDS)
        .with_grace(GRACE_SECONDS)
        .build()
        .await
        .with_context(|| format!("preparing the Lease {namespace}/{LEASE}"))?;
    let (mut state, task) = manager.watch().await;
    tracing::info!(%namespace, lease = LEASE, %identity, "waiting for the lead");
    let lead = tokio::select! {
        () = stop.cancelled() => false,
        lead = state.wait_for(|leads| *leads) => lead.is_ok(),
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
        if tokio::time::timeout(std::time::Duration::from_secs(3), task).await.is_err() {
            tracing::warn!("the Lease was not given up in time; it runs out by itself");
        }
    }
}

/// Tells replicas apart: the Pod's name, and something random for restarts in place.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "rolecall".to_owned());
    format!("{host}-{:08x}", rand::random::<u32>())
}
