//! Notices that the API server's database was restored from a backup.
//!
//! A watch that resumes from its resource version then reports nothing until the database has reached that version
//! again: whatever is deleted meanwhile would go on giving access. So the current resource version is read now and
//! then, and soon after a watch has failed, as each does when the API server goes. It only grows; where it is lower
//! than any that was read or that a watch has reported, everything is listed anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};
use rolecall_api::ProvisioningRole;
use tokio::sync::{Notify, watch};

use crate::api_client::{PATIENCE, bounded};
use crate::coverage::Scope;

/// How often it is read.
const EVERY: Duration = Duration::from_secs(60);
/// No more often than this, whatever fails.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// What the watches have heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// The highest resource version of any object.
    newest: AtomicU64,
    failed: Notify,
}

impl Heard {
    /// An object was reported with this resource version.
    pub fn object(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            self.newest.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// A watch failed.
    pub fn failure(&self) {
        self.failed.notify_one();
    }
}

/// Counts in `restored` how often that happened, for ever. Any right to list will do.
pub async fn follow(client: Client, scopes: Vec<Scope>, heard: &Heard, restored: watch::Sender<u64>) {
    let mut newest = 0;
    loop {
        tokio::time::sleep(AT_MOST_EVERY).await;
        let regular = EVERY.mul_f64(rand::random_range(0.9..1.1)) - AT_MOST_EVERY;
        tokio::select! {
            () = tokio::time::sleep(regular) => {}
            () = heard.failed.notified() => {}
        }
        // What is read is at least as new as what was reported before it was asked for.
        newest = newest.max(heard.newest.load(Ordering::Relaxed));
        let Some(version) = version(&client, &scopes).await else { continue };
        if version < newest {
            tracing::warn!(
                version,
                before = newest,
                "the API server's database was restored from a backup: everything is listed anew"
            );
            // Every watch begins anew from here.
            heard.newest.store(version, Ordering::Relaxed);
            restored.send_modify(|times| *times += 1);
        }
        newest = version;
    }
}

/// The current resource version; `None` where it cannot be read. The watches report what is wrong then.
async fn version(client: &Client, scopes: &[Scope]) -> Option<u64> {
    for scope in scopes {
        let api: Api<ProvisioningRole> = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        match bounded(PATIENCE, api.list_metadata(&ListParams::default().limit(1))).await {
            Ok(list) => return list.metadata.resource_version?.parse().ok(),
            Err(error) => tracing::debug!(%error, "the current resource version could not be read"),
        }
    }
    None
}
