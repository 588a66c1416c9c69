//! The watches: one per kind (and namespace), each feeding the world.
//!
//! An object that cannot be decoded is skipped with a word in the log, so that one bad object does not stop a kind.
//! What is held of it goes too: policy that cannot be read allows nothing. A DatabaseAdmin stays what it was.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::http::Health;
use crate::world::{Held, ObjectKey};

/// The running watches.
#[derive(Debug)]
pub struct Watches {
    tasks: JoinSet<()>,
    synced: mpsc::Receiver<()>,
    expected: usize,
}

impl Watches {
    /// Waits until everything that exists has been listed once. False: a watch ended before.
    pub async fn synced(&mut self) -> bool {
        for _ in 0..self.expected {
            let listed = tokio::select! {
                listed = self.synced.recv() => listed.is_some(),
                () = ended(&mut self.tasks) => false,
            };
            if !listed {
                return false;
            }
        }
        true
    }

    /// Waits until a watch ends, which none does by itself.
    pub async fn failed(&mut self) {
        ended(&mut self.tasks).await;
    }
}

async fn ended(tasks: &mut JoinSet<()>) {
    if let Some(Err(error)) = tasks.join_next().await {
        tracing::error!(%error, "a watch died");
    }
}

/// Who is told when something has been listed for the first time.
#[derive(Clone)]
struct Listing {
    health: Health,
    tell: mpsc::Sender<()>,
}

/// Starts watching all five kinds, in these namespaces or (when empty) in all.
pub fn start(
    client: &Client,
    namespaces: &BTreeSet<String>,
    shared: &Arc<Shared>,
    health: &Health,
    stop: &CancellationToken,
) -> Watches {
    let (tell, synced) = mpsc::channel(64);
    let listing = Listing { health: health.clone(), tell };
    let mut watches = Watches { tasks: JoinSet::new(), synced, expected: 0 };
    let scopes: Vec<Option<&str>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(|n| Some(n.as_str())).collect()
    };
    for scope in scopes {
        watches.add::<ProvisioningRole>(client, scope, shared, &listing, stop);
        watches.add::<DbObjectImportRule>(client, scope, shared, &listing, stop);
        watches.add::<DatabaseUser>(client, scope, shared, &listing, stop);
        watches.add::<DatabaseAdmin>(client, scope, shared, &listing, stop);
        watches.add::<DatabaseSession>(client, scope, shared, &listing, stop);
    }
    watches
}

impl Watches {
    fn add<K>(
        &mut self,
        client: &Client,
        namespace: Option<&str>,
        shared: &Arc<Shared>,
        listing: &Listing,
        stop: &CancellationToken,
    ) where
        K: Held
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static
            + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let api: Api<DeserializeGuard<K>> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        self.expected += 1;
        let (shared, stop, listing) = (Arc::clone(shared), stop.clone(), listing.clone());
        let namespace = namespace.map(str::to_owned);
        listing.health.needs(&what::<K>(namespace.as_deref()));
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow::<K>(api, namespace, &shared, &listing) => {}
            }
        });
    }
}

async fn follow<K>(
    api: Api<DeserializeGuard<K>>,
    namespace: Option<String>,
    shared: &Shared,
    listing: &Listing,
) where
    K: Held
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static
        + Resource<Scope = kube::core::NamespaceResourceScope>,
{
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut listed: HashSet<ObjectKey> = HashSet::new();
    let mut first = true;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.extend(take_in(shared, object));
            }
            Ok(Event::Apply(object)) => {
                take_in(shared, object);
            }
            Ok(Event::Delete(DeserializeGuard(object))) => {
                let key = match &object {
                    Ok(object) => ObjectKey::of(object),
                    Err(invalid) => key_of_meta(&invalid.metadata),
                };
                forget::<K>(shared, &key);
            }
            Ok(Event::InitDone) => {
                let gone: Vec<ObjectKey> = K::keys(&shared.world())
                    .into_iter()
                    .filter(|key| namespace.as_deref().is_none_or(|namespace| &*key.namespace == namespace))
                    .filter(|key| !listed.contains(key))
                    .collect();
                for key in gone {
                    forget::<K>(shared, &key);
                }
                listed = HashSet::new();
                if std::mem::take(&mut first) {
                    listing.health.has(&what::<K>(namespace.as_deref()));
                    // The receiver is dropped only when the operator stops.
                    let _ = listing.tell.send(()).await;
                }
            }
            Err(error) => {
                shared.metrics.watch_failed(&K::kind(&()));
                if is_not_served(&error) {
                    listing.health.lacks(&what::<K>(namespace.as_deref()), "not installed");
                    tracing::warn!(kind = %K::kind(&()), "{NOT_INSTALLED}");
                } else {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch is started again");
                }
            }
        }
    }
}

const NOT_INSTALLED: &str = "the CustomResourceDefinitions are not installed: kubectl apply --server-side -k deploy, or \
    rolecall-operator crds | kubectl apply --server-side -f -";

/// Does the API server not know the kind? To a list of what it serves it has no other 404.
fn is_not_served(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// What is listed, for people.
fn what<K: Held>(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{} in {namespace}", K::kind(&())),
        None => K::kind(&()).into_owned(),
    }
}

fn take_in<K: Held>(shared: &Shared, DeserializeGuard(object): DeserializeGuard<K>) -> Option<ObjectKey> {
    match object {
        Ok(mut object) => {
            // Three quarters of an object's memory, and nothing here reads it.
            object.managed_fields_mut().clear();
            let key = ObjectKey::of(&object);
            shared.take_in(object);
            Some(key)
        }
        Err(invalid) => {
            let key = key_of_meta(&invalid.metadata);
            tracing::error!(kind = %K::kind(&()), %key, error = invalid.error, "an object cannot be decoded");
            shared.wake(shared.change(|world| K::unreadable(world, &key)));
            Some(key)
        }
    }
}

fn forget<K: Held>(shared: &Shared, key: &ObjectKey) {
    shared.wake(shared.change(|world| K::forget(world, key)));
}

fn key_of_meta(metadata: &kube::core::ObjectMeta) -> ObjectKey {
    ObjectKey {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_that_dies_before_its_first_list_is_noticed() {
        let (tell, synced) = mpsc::channel(64);
        let mut watches = Watches { tasks: JoinSet::new(), synced, expected: 2 };
        watches.tasks.spawn(std::future::pending());
        watches.tasks.spawn(async { panic!("on purpose") });
        let first = tell.send(()).await;
        assert!(first.is_ok() && !watches.synced().await);
    }
}
