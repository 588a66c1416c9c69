//! Notices that the API server's database was restored from a backup.
//!
//! A watch that resumes from its resource version then reports nothing until the database has reached that version
//! again: whatever is deleted meanwhile would go on giving access. So the current resource version is read now and
//! then. It only grows; where it is lower than before, everything is listed anew.

use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};
use rolecall_api::ProvisioningRole;
use tokio::sync::watch;

use crate::api_client::{PATIENCE, bounded};
use crate::coverage::Scope;

/// How often it is read.
const EVERY: Duration = Duration::from_secs(60);

/// Counts in `restored` how often that happened, for ever. Any right to list will do.
pub async fn follow(client: Client, scopes: Vec<Scope>, restored: watch::Sender<u64>) {
    let mut newest = 0;
    loop {
        tokio::time::sleep(EVERY.mul_f64(rand::random_range(0.9..1.1))).await;
        let Some(version) = version(&client, &scopes).await else { continue };
        if version < newest {
            tracing::warn!(
                version,
                before = newest,
                "the API server's database was restored from a backup: everything is listed anew"
            );
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
