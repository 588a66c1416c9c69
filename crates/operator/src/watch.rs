//! The watches: one per kind (and namespace), each feeding the cache.
//!
//! An object that cannot be decoded is skipped and logged, so that one bad object does not stop a kind. What is cached
//! of it goes too: policy that cannot be read allows nothing. A DatabaseAdmin stays as it was.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionDecision, DatabaseUser, DbObjectImportRule,
    ProvisioningRole,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::cache::{Cached, Source};
use crate::coverage::Scope;
use crate::history::{self, Heard};
use crate::model::{ObjectKey, WALK};

/// The running watches. Each ends when this is dropped.
#[derive(Debug)]
pub struct Watches {
    tasks: JoinSet<()>,
}

/// Starts watching all six kinds, in these namespaces or (when empty) in all.
pub fn start(
    client: &Client,
    namespaces: &BTreeSet<String>,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> Watches {
    let mut watches = Watches { tasks: JoinSet::new() };
    let scopes: Vec<Scope> = match namespaces.is_empty() {
        true => vec![None],
        false => namespaces.iter().map(|namespace| Some(namespace.as_str().into())).collect(),
    };
    // All of what has to be listed is known before any of it is.
    scopes.iter().for_each(|scope| need_all(shared, scope));
    let (restored, epoch) = tokio::sync::watch::channel(0);
    let heard = Arc::new(Heard::default());
    for scope in &scopes {
        watches.add::<ProvisioningRole>(client, scope, shared, (&heard, &epoch), stop);
        watches.add::<DbObjectImportRule>(client, scope, shared, (&heard, &epoch), stop);
        watches.add::<DatabaseUser>(client, scope, shared, (&heard, &epoch), stop);
        watches.add::<DatabaseAdmin>(client, scope, shared, (&heard, &epoch), stop);
        watches.add::<DatabaseSessionDecision>(client, scope, shared, (&heard, &epoch), stop);
        watches.add::<DatabaseSession>(client, scope, shared, (&heard, &epoch), stop);
    }
    let (client, stop) = (client.clone(), stop.clone());
    watches.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = history::follow(client, scopes, &heard, restored) => {}
        }
    });
    watches
}

impl Watches {
    /// Waits until a watch ends, which none does by itself.
    pub async fn failed(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            tracing::error!(%error, "a watch died");
        }
    }

    fn add<K>(
        &mut self,
        client: &Client,
        scope: &Scope,
        shared: &Arc<Shared>,
        (heard, restored): (&Arc<Heard>, &tokio::sync::watch::Receiver<u64>),
        stop: &CancellationToken,
    ) where
        K: Cached,
    {
        let api: Api<DeserializeGuard<K>> = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let (shared, stop, scope) = (Arc::clone(shared), stop.clone(), scope.clone());
        let (heard, restored) = (Arc::clone(heard), restored.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow::<K>(api, scope, &shared, &heard, restored) => {}
            }
        });
    }
}

/// All kinds have to be listed there.
pub(crate) fn need_all(shared: &Shared, scope: &Scope) {
    needs::<ProvisioningRole>(shared, scope);
    needs::<DbObjectImportRule>(shared, scope);
    needs::<DatabaseUser>(shared, scope);
    needs::<DatabaseAdmin>(shared, scope);
    needs::<DatabaseSessionDecision>(shared, scope);
    needs::<DatabaseSession>(shared, scope);
}

fn needs<K: Cached>(shared: &Shared, scope: &Scope) {
    shared.coverage.needs(scope, &K::kind(&()));
}

async fn follow<K>(
    api: Api<DeserializeGuard<K>>,
    scope: Scope,
    shared: &Shared,
    heard: &Heard,
    mut restored: tokio::sync::watch::Receiver<u64>,
) where
    K: Cached,
{
    loop {
        let mut events = pin!(watcher(api.clone(), watcher::Config::default()).default_backoff());
        let mut listing = Listing::new();
        loop {
            let event = tokio::select! {
                biased;
                // Its sender is dropped with the watches.
                Ok(()) = restored.changed() => break,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            match &event {
                Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                    heard.object(object.resource_version().as_deref());
                }
                Ok(Event::Init | Event::InitDone) => {}
                Err(_) => heard.failure(),
            }
            listing.observe::<K>(shared, &scope, event);
        }
    }
}

/// A list that is under way, or was.
pub(crate) struct Listing {
    listed: HashSet<ObjectKey>,
    begun: Instant,
}

impl Listing {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { listed: HashSet::new(), begun: Instant::now() }
    }

    /// Handles an event of a watch.
    pub(crate) fn observe<K>(
        &mut self,
        shared: &Shared,
        scope: &Scope,
        event: watcher::Result<Event<DeserializeGuard<K>>>,
    ) where
        K: Cached,
    {
        let kind = K::kind(&());
        if matches!(event, Ok(Event::Apply(_) | Event::Delete(_) | Event::InitApply(_) | Event::InitDone)) {
            shared.coverage.reported(scope, &kind);
        }
        match event {
            // The list is requested after this.
            Ok(Event::Init) => *self = Self::new(),
            Ok(Event::InitApply(object)) => {
                self.listed.extend(observe_event(shared, object, Source::Listed(self.begun)));
            }
            Ok(Event::Apply(object)) => {
                observe_event(shared, object, Source::Watched);
            }
            Ok(Event::Delete(DeserializeGuard(object))) => {
                let key = match &object {
                    Ok(object) => ObjectKey::of(object),
                    Err(invalid) => key_of_meta(&invalid.metadata),
                };
                shared.forget::<K>(&key);
            }
            Ok(Event::InitDone) => {
                let gone: Vec<ObjectKey> = K::keys(&shared.cache())
                    .into_iter()
                    .filter(|key| scope.as_ref().is_none_or(|namespace| key.namespace == *namespace))
                    .filter(|key| !self.listed.contains(key))
                    .collect();
                for key in gone {
                    shared.forget::<K>(&key);
                }
                self.listed = HashSet::new();
                shared.enqueue(shared.coverage.listed(scope, &kind));
            }
            Err(error) => {
                shared.metrics.watch_failed(&kind);
                if is_not_served(&error) {
                    shared.coverage.missing(scope, &kind);
                    tracing::warn!(%kind, "{NOT_INSTALLED}");
                } else {
                    tracing::warn!(%kind, %error, "the watch is started again");
                }
                if is_refused(&error) && shared.coverage.refused(scope, &kind) {
                    let namespace = scope.as_deref().unwrap_or("(all)");
                    tracing::error!(%kind, namespace, "no right to list and watch: changes in this namespace are not seen; bind the ClusterRole rolecall-operator there (deploy/namespaced)");
                }
            }
        }
    }
}

const NOT_INSTALLED: &str = "the CustomResourceDefinitions are not installed: kubectl apply --server-side -k deploy, or \
    rolecall-operator crds | kubectl apply --server-side -f -";

/// Does the API server not know the kind? A list of a kind that it serves never gets a 404.
fn is_not_served(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Did the API server answer that there is no right to it?
fn is_refused(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error)
    | watcher::Error::WatchStartFailed(error)
    | watcher::Error::WatchFailed(error)) = error
    else {
        return matches!(error, watcher::Error::WatchError(status) if status.code == 403);
    };
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

fn observe_event<K: Cached>(
    shared: &Shared,
    DeserializeGuard(object): DeserializeGuard<K>,
    source: Source,
) -> Option<ObjectKey> {
    match object {
        Ok(mut object) => {
            // Three quarters of an object's memory, and nothing here reads it.
            object.meta_mut().managed_fields = None;
            // A copy has no room to spare in its lists and texts, which would be another quarter.
            let object = object.clone();
            let key = ObjectKey::of(&object);
            tracing::trace!(target: WALK, %key, "a watch reports an object");
            shared.observe_event(object, source);
            Some(key)
        }
        Err(invalid) => {
            let key = key_of_meta(&invalid.metadata);
            tracing::error!(kind = %K::kind(&()), %key, error = invalid.error, "an object cannot be decoded");
            shared.trigger(shared.change(|cache| K::unreadable(cache, &key)));
            Some(key)
        }
    }
}

fn key_of_meta(metadata: &kube::core::ObjectMeta) -> ObjectKey {
    ObjectKey {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn a_watch_that_dies_is_noticed() {
        let mut watches = Watches { tasks: JoinSet::new() };
        watches.tasks.spawn(std::future::pending());
        watches.tasks.spawn(async { panic!("on purpose") });
        watches.failed().await;
    }

    /// An API server that answers lists. A watch says nothing; or it reports these events, and the next ones fail.
    fn api_server(list: Arc<Mutex<Value>>, events: Option<String>) -> Client {
        let events = Arc::new(Mutex::new(events.map(|events| (events, true))));
        let answer = tower::service_fn(move |request: Request<Body>| {
            let list = list.lock().unwrap().to_string();
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let is_of_roles = request.uri().path().ends_with("provisioningroles");
            let mut events = events.lock().unwrap();
            let event = events
                .as_mut()
                .filter(|_| is_watch && is_of_roles)
                .map(|(text, first)| std::mem::take(first).then(|| text.clone()));
            async move {
                let body = match event {
                    Some(Some(events)) => events,
                    Some(None) => return Err(tower::BoxError::from("the API server is gone")),
                    None if is_watch => std::future::pending().await,
                    None => list,
                };
                Ok(Response::builder().body(Body::from(body.into_bytes()))?)
            }
        });
        Client::new(answer, "shop")
    }

    fn roles(version: u64, roles: &[(&str, u64)]) -> Value {
        let role = |(name, version): &(&str, u64)| {
            json!({
                "apiVersion": "rolecall.dev/v1alpha1",
                "kind": "ProvisioningRole",
                "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": version.to_string(), "generation": 1},
                "spec": {},
            })
        };
        json!({
            "apiVersion": "rolecall.dev/v1alpha1",
            "kind": "ProvisioningRoleList",
            "metadata": {"resourceVersion": version.to_string()},
            "items": roles.iter().map(role).collect::<Vec<_>>(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_restore_everything_is_listed_anew_though_the_watches_are_silent() {
        let shared = Shared::alone();
        let stored = Arc::new(Mutex::new(roles(1_000, &[("reader", 900), ("writer", 1_000)])));
        let stop = CancellationToken::new();
        let _watches =
            start(&api_server(Arc::clone(&stored), None), &BTreeSet::from(["shop".into()]), &shared, &stop);
        let cached = || -> Vec<(String, Option<String>)> {
            let cache = shared.cache();
            let keys = ProvisioningRole::keys(&cache).into_iter();
            keys.map(|key| (key.name.to_string(), cache.role(&key).unwrap().object.resource_version()))
                .collect()
        };
        let version = |version: &str| Some(version.to_owned());
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(cached(), [("reader".into(), version("900")), ("writer".into(), version("1000"))]);
        // No watch reports this.
        *stored.lock().unwrap() = roles(500, &[("reader", 400)]);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(cached(), [("reader".into(), version("400"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restore_is_noticed_when_a_watch_fails_even_to_a_backup_that_is_newer_than_the_last_look() {
        let shared = Shared::alone();
        let stored = Arc::new(Mutex::new(roles(500, &[("reader", 400)])));
        let mut event = roles(1_000, &[("reader", 1_000)])["items"][0].take();
        event["kind"] = json!("ProvisioningRole");
        let event = json!({"type": "MODIFIED", "object": event}).to_string() + "\n";
        let stop = CancellationToken::new();
        let client = api_server(Arc::clone(&stored), Some(event));
        let _watches = start(&client, &BTreeSet::from(["shop".into()]), &shared, &stop);
        let version = || {
            let key = ObjectKey { namespace: "shop".into(), name: "reader".into() };
            shared.cache().role(&key).and_then(|role| role.object.resource_version())
        };
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(version().as_deref(), Some("1000"));
        *stored.lock().unwrap() = roles(800, &[]);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(version(), None);
    }
}
