//! What the operator hears of the API server: one ordered sequence of events for each kind, each at its own pace, late,
//! interrupted, some of it twice.

use std::sync::Arc;
use std::time::Duration;

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionDecision, DatabaseUser, DbObjectImportRule,
    ProvisioningRole,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cluster::Cluster;
use super::invariants::Break;
use super::store::{self, collection};
use crate::Shared;
use crate::cache::Cached;
use crate::ports::{Address, Clock};
use crate::watch::{Listing, need_all};

/// How long events are on their way.
const LATENCIES: [u64; 7] = [0, 0, 1, 2, 10, 120, 700];

/// Starts the watches in the runtime that this is called in.
pub(super) fn start(cluster: &Arc<Cluster>, shared: &Arc<Shared>) {
    need_all(shared, &None);
    tokio::spawn(follow::<ProvisioningRole>(Arc::clone(cluster), Arc::clone(shared)));
    tokio::spawn(follow::<DbObjectImportRule>(Arc::clone(cluster), Arc::clone(shared)));
    tokio::spawn(follow::<DatabaseUser>(Arc::clone(cluster), Arc::clone(shared)));
    tokio::spawn(follow::<DatabaseAdmin>(Arc::clone(cluster), Arc::clone(shared)));
    tokio::spawn(follow::<DatabaseSessionDecision>(Arc::clone(cluster), Arc::clone(shared)));
    tokio::spawn(follow::<DatabaseSession>(Arc::clone(cluster), Arc::clone(shared)));
}

/// The collections of all kinds that are watched.
pub(super) fn collections() -> [String; 6] {
    [
        collection::<ProvisioningRole>(),
        collection::<DbObjectImportRule>(),
        collection::<DatabaseUser>(),
        collection::<DatabaseAdmin>(),
        collection::<DatabaseSessionDecision>(),
        collection::<DatabaseSession>(),
    ]
}

async fn follow<K>(cluster: Arc<Cluster>, shared: Arc<Shared>)
where
    K: Cached,
{
    let collection = collection::<K>();
    let mut listing = Listing::new();
    loop {
        cluster.faults().relist.remove(&collection);
        listing.observe::<K>(&shared, &None, Ok(Event::Init));
        cluster.wait(&LATENCIES).await;
        let (objects, mut heard) = cluster.store().list(&collection);
        cluster.wait(&LATENCIES).await;
        for object in objects {
            let object = read::<K>(&cluster, &collection, object);
            listing.observe(&shared, &None, Ok(Event::InitApply(object)));
        }
        listing.observe::<K>(&shared, &None, Ok(Event::InitDone));
        loop {
            let stored = cluster.stored.notified();
            tokio::pin!(stored);
            stored.as_mut().enable();
            if cluster.faults().relist.contains(&collection) {
                break;
            }
            let Some(change) = cluster.store().change_after(&collection, heard) else {
                stored.await;
                continue;
            };
            cluster.wait(&LATENCIES).await;
            while is_stalled(&cluster, &collection) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            if cluster.faults().relist.contains(&collection) {
                break;
            }
            heard = change.version;
            if cluster.breaks(Break::PolicyIsNotHeard)
                && collection == store::collection::<ProvisioningRole>()
            {
                continue;
            }
            let times = if cluster.faults().twice.remove(&collection) { 2 } else { 1 };
            for _ in 0..times {
                let object = read::<K>(&cluster, &collection, change.object.clone());
                let event = if change.deleted { Event::Delete(object) } else { Event::Apply(object) };
                cluster.log(|| {
                    let what = if change.deleted { "is gone" } else { "is heard of" };
                    format!("  {} {} {what} ({})", K::kind(&()), change.object["metadata"]["name"], heard)
                });
                listing.observe(&shared, &None, Ok(event));
            }
        }
    }
}

fn is_stalled(cluster: &Cluster, collection: &str) -> bool {
    cluster.faults().stalled.get(collection).is_some_and(|until| *until > cluster.clock.now())
}

fn read<K: DeserializeOwned>(cluster: &Cluster, collection: &str, object: Value) -> DeserializeGuard<K> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let object = cluster.hiding_who_decided(cluster.forgetting_ends(object));
    let at = Address { collection: collection.to_owned(), name };
    cluster.store().learnt(&at, store::version(&object));
    DeserializeGuard(Ok(serde_json::from_value(object).unwrap()))
}
