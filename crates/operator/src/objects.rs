//! Every write to the API server, and the few reads that no watch covers.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Config, Resource, ResourceExt};
use rolecall_api::names::FIELD_MANAGER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Shared;
use crate::world::{Held, ObjectKey};

/// The longest note that the events API takes.
const MAX_NOTE: usize = 1024;
/// How long the API server has for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so much silence a connection counts as dead. A watch hears a bookmark every minute or so.
const SILENCE: Duration = Duration::from_secs(120);

/// A client as the operator needs it. It tries nothing again by itself: whoever asked does, later each time, and knows
/// meanwhile what else there is to do.
///
/// # Errors
///
/// When what `config` names cannot be used.
pub fn client(mut config: Config) -> kube::Result<Client> {
    config.default_retry = false;
    config.read_timeout = Some(SILENCE);
    // A connection that waited in the pool is not silent.
    config.reset_reader_on_write = true;
    Client::try_from(config)
}

/// A request that is given up when no answer comes for so long.
///
/// # Errors
///
/// What the API server answered, or that it did not.
pub async fn bounded<T>(
    patience: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    let given_up = |_| kube::Error::Service(format!("no answer for {} s", patience.as_secs()).into());
    tokio::time::timeout(patience, request).await.map_err(given_up)?
}

/// The API server, for writing.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    recorder: Recorder,
}

/// How serious an event is.
pub use kube::runtime::events::EventType as Severity;

impl Objects {
    /// Writes through `client`.
    pub fn new(client: Client) -> Self {
        let recorder = Recorder::new(client.clone(), Reporter::from(FIELD_MANAGER));
        Self { client, recorder }
    }

    /// Applies a whole status, and takes the object that comes back into the world, so that nobody decides on the
    /// one before. Nothing is written when the object is gone or has been replaced by another one of its name.
    ///
    /// # Errors
    ///
    /// What the API server answered.
    pub async fn apply_status<K>(
        &self,
        shared: &Shared,
        object: &K,
        status: &impl Serialize,
    ) -> kube::Result<()>
    where
        K: Held + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        // With the uid the API server refuses to write to another object of this name.
        let metadata = json!({"name": object.name_any(), "uid": object.uid()});
        self.write_status(shared, object, metadata, status).await
    }

    /// As [`Objects::apply_status`], where nobody has written the object since it was read.
    ///
    /// # Errors
    ///
    /// What the API server answered; a conflict when somebody has.
    pub async fn apply_status_unless_changed<K>(
        &self,
        shared: &Shared,
        object: &K,
        status: &impl Serialize,
    ) -> kube::Result<()>
    where
        K: Held + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let version = object.resource_version();
        let metadata = json!({"name": object.name_any(), "uid": object.uid(), "resourceVersion": version});
        self.write_status(shared, object, metadata, status).await
    }

    /// Adds a finalizer and annotations in one write.
    ///
    /// # Errors
    ///
    /// What the API server answered; a conflict when somebody changed the object meanwhile.
    pub async fn add_finalizer<K>(
        &self,
        shared: &Shared,
        object: &K,
        finalizer: &str,
        annotations: Value,
    ) -> kube::Result<Option<K>>
    where
        K: Held + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let mut finalizers: Vec<&str> = object.finalizers().iter().map(String::as_str).collect();
        if !finalizers.contains(&finalizer) {
            finalizers.push(finalizer);
        }
        self.patch_metadata(shared, object, json!({"finalizers": finalizers, "annotations": annotations}))
            .await
    }

    /// Takes a finalizer off, so that the object can go, and annotations (where they are null) with it.
    ///
    /// # Errors
    ///
    /// What the API server answered; an object that is gone is no error.
    pub async fn remove_finalizer<K>(
        &self,
        shared: &Shared,
        object: &K,
        finalizer: &str,
        annotations: Value,
    ) -> kube::Result<()>
    where
        K: Held + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let finalizers: Vec<&String> = object.finalizers().iter().filter(|f| *f != finalizer).collect();
        self.patch_metadata(shared, object, json!({"finalizers": finalizers, "annotations": annotations}))
            .await
            .map(drop)
    }

    /// Deletes an object, unless it was replaced by another one of its name.
    ///
    /// # Errors
    ///
    /// What the API server answered; an object that is gone is no error.
    pub async fn delete<K>(&self, object: &K) -> kube::Result<()>
    where
        K: Held + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: object.uid(), ..Preconditions::default() }),
            ..DeleteParams::default()
        };
        let api = self.api::<K>(object);
        let name = object.name_any();
        gone_is_fine(bounded(PATIENCE, api.delete(&name, &params)).await.map(drop))
    }

    /// Reads a Secret.
    ///
    /// # Errors
    ///
    /// What the API server answered; one that does not exist is `None`.
    pub async fn secret(&self, namespace: &str, name: &str) -> kube::Result<Option<Secret>> {
        bounded(PATIENCE, self.secrets(namespace).get_opt(name)).await
    }

    /// Creates a Secret.
    ///
    /// # Errors
    ///
    /// What the API server answered; 409 when one of that name exists.
    pub async fn create_secret(&self, namespace: &str, secret: &Secret) -> kube::Result<Secret> {
        bounded(PATIENCE, self.secrets(namespace).create(&PostParams::default(), secret)).await
    }

    /// Replaces a Secret; its resource version must be the one that was read.
    ///
    /// # Errors
    ///
    /// What the API server answered.
    pub async fn replace_secret(&self, namespace: &str, secret: &Secret) -> kube::Result<Secret> {
        let name = secret.name_any();
        bounded(PATIENCE, self.secrets(namespace).replace(&name, &PostParams::default(), secret)).await
    }

    /// Deletes a Secret of that uid.
    ///
    /// # Errors
    ///
    /// What the API server answered; a Secret that is gone, or is another one by now, is no error.
    pub async fn delete_secret(&self, namespace: &str, name: &str, uid: Option<String>) -> kube::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
            ..DeleteParams::default()
        };
        gone_is_fine(bounded(PATIENCE, self.secrets(namespace).delete(name, &params)).await.map(drop))
    }

    /// Publishes an event about an object. One that cannot be published (its namespace is going away, say) is only
    /// logged: no work depends on it.
    pub async fn event(
        &self,
        about: &impl Resource<DynamicType = ()>,
        severity: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let reference: ObjectReference = about.object_ref(&());
        let event = Event {
            type_: severity,
            reason: reason.to_owned(),
            note: Some(note[..note.floor_char_boundary(MAX_NOTE)].to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        let published = bounded(PATIENCE, self.recorder.publish(&event, &reference)).await;
        if let Err(error) = published {
            tracing::debug!(%error, reason, "an event could not be published");
        }
    }

    async fn write_status<K>(
        &self,
        shared: &Shared,
        object: &K,
        metadata: Value,
        status: &impl Serialize,
    ) -> kube::Result<()>
    where
        K: Held + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": metadata,
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let (api, name, patch) = (self.api::<K>(object), object.name_any(), Patch::Apply(body));
        let written = bounded(PATIENCE, api.patch_status(&name, &params, &patch)).await;
        self.take_in(shared, written).map(drop)
    }

    async fn patch_metadata<K>(
        &self,
        shared: &Shared,
        object: &K,
        mut metadata: Value,
    ) -> kube::Result<Option<K>>
    where
        K: Held + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        // A list in a merge patch replaces the whole list: only on the very object that was read.
        metadata["resourceVersion"] = json!(object.resource_version());
        metadata["uid"] = json!(object.uid());
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let (api, name) = (self.api::<K>(object), object.name_any());
        let written = bounded(PATIENCE, api.patch(&name, &PatchParams::default(), &patch)).await;
        self.take_in(shared, written)
    }

    fn take_in<K: Held + Resource>(
        &self,
        shared: &Shared,
        written: kube::Result<K>,
    ) -> kube::Result<Option<K>> {
        match written {
            Ok(object) => {
                // Without its last finalizer a deleted object is gone. The watch may have told that already: then it
                // must not come back. Until it does, nobody may do the end over again.
                let gone = object.meta().deletion_timestamp.is_some() && object.finalizers().is_empty();
                if gone {
                    shared.take_in_if_held(object.clone());
                } else {
                    shared.take_in(object.clone());
                }
                Ok(Some(object))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn api<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

impl Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Objects")
    }
}

/// Where to find an object in logs.
pub fn key_of(object: &impl ResourceExt) -> ObjectKey {
    ObjectKey::of(object)
}

/// Is this the API server's word that the object exists already, or was changed meanwhile?
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn gone_is_fine(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        // 409: the uid is another one by now, so the object meant is gone.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        other => other,
    }
}

/// Shared ownership, because every worker writes.
pub type ObjectsHandle = Arc<Objects>;
