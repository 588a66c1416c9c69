//! Every write to the API server, and the few reads that no watch covers.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Config, Resource, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use rolecall_api::names::FIELD_MANAGER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api_client::{ManyRequests, post_params};
use crate::cache::Cached;
use crate::clock_skew::ClockSkew;
use crate::events::Events;

pub use crate::events::Severity;

/// Who takes in what the API server answered to a write.
pub trait WriteObserver: Sync {
    /// The object as the API server has it after the write.
    fn observe_written<K: Cached>(&self, object: K);
}

/// The API server, for writing.
#[derive(Clone)]
pub struct ApiWriter {
    api_server: ManyRequests,
    /// What is told about objects.
    pub events: Events,
}

impl ApiWriter {
    /// Connects to nothing yet. `events_dropped` counts events that were left out.
    ///
    /// # Errors
    ///
    /// When what `config` names cannot be used.
    pub fn new(config: Config, skew: &Arc<ClockSkew>, events_dropped: Counter) -> kube::Result<Self> {
        let events = Events::start(&config, skew, events_dropped)?;
        Ok(Self { api_server: ManyRequests::new(config, skew)?, events })
    }

    /// Applies a whole status, and takes the object that comes back into the cache, so that nobody decides on the
    /// one before. Nothing is written when the object is gone or has been replaced by another one of its name.
    ///
    /// # Errors
    ///
    /// What the API server answered.
    pub async fn apply_status<K>(
        &self,
        observer: &impl WriteObserver,
        object: &K,
        status: &impl Serialize,
    ) -> kube::Result<()>
    where
        K: Cached + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        // With the uid the API server refuses to write to another object of this name.
        let metadata = json!({"name": object.name_any(), "uid": object.uid()});
        self.write_status(observer, object, metadata, status).await
    }

    /// As [`ApiWriter::apply_status`], where nobody has written the object since it was read.
    ///
    /// # Errors
    ///
    /// What the API server answered; a conflict when somebody has.
    pub async fn apply_status_unless_changed<K>(
        &self,
        observer: &impl WriteObserver,
        object: &K,
        status: &impl Serialize,
    ) -> kube::Result<()>
    where
        K: Cached + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let version = object.resource_version();
        let metadata = json!({"name": object.name_any(), "uid": object.uid(), "resourceVersion": version});
        self.write_status(observer, object, metadata, status).await
    }

    /// Adds a finalizer and annotations in one write.
    ///
    /// # Errors
    ///
    /// What the API server answered; a conflict when somebody changed the object meanwhile.
    pub async fn add_finalizer<K>(
        &self,
        observer: &impl WriteObserver,
        object: &K,
        finalizer: &str,
        annotations: Value,
    ) -> kube::Result<Option<K>>
    where
        K: Cached + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let mut finalizers: Vec<&str> = object.finalizers().iter().map(String::as_str).collect();
        if !finalizers.contains(&finalizer) {
            finalizers.push(finalizer);
        }
        self.patch_metadata(observer, object, json!({"finalizers": finalizers, "annotations": annotations}))
            .await
    }

    /// Takes a finalizer off, so that the object can go, and annotations (where they are null) with it.
    ///
    /// # Errors
    ///
    /// What the API server answered; an object that is gone is no error.
    pub async fn remove_finalizer<K>(
        &self,
        observer: &impl WriteObserver,
        object: &K,
        finalizer: &str,
        annotations: Value,
    ) -> kube::Result<()>
    where
        K: Cached + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let finalizers: Vec<&String> = object.finalizers().iter().filter(|f| *f != finalizer).collect();
        self.patch_metadata(observer, object, json!({"finalizers": finalizers, "annotations": annotations}))
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
        K: Cached + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: object.uid(), ..Preconditions::default() }),
            ..DeleteParams::default()
        };
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let delete = async |client| api::<K>(client, &namespace).delete(&name, &params).await;
        gone_is_fine(self.api_server.ask(delete).await.map(drop))
    }

    /// Reads a Secret.
    ///
    /// # Errors
    ///
    /// What the API server answered; one that does not exist is `None`.
    pub async fn secret(&self, namespace: &str, name: &str) -> kube::Result<Option<Secret>> {
        self.api_server.ask(async |client| api::<Secret>(client, namespace).get_opt(name).await).await
    }

    /// Creates a Secret.
    ///
    /// # Errors
    ///
    /// What the API server answered; 409 when one of that name exists.
    pub async fn create_secret(&self, namespace: &str, secret: &Secret) -> kube::Result<Secret> {
        let params = post_params();
        self.api_server.ask(async |client| api(client, namespace).create(&params, secret).await).await
    }

    /// Replaces a Secret; its resource version must be the one that was read.
    ///
    /// # Errors
    ///
    /// What the API server answered.
    pub async fn replace_secret(&self, namespace: &str, secret: &Secret) -> kube::Result<Secret> {
        let (name, params) = (secret.name_any(), post_params());
        self.api_server.ask(async |client| api(client, namespace).replace(&name, &params, secret).await).await
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
        let delete = async |client| api::<Secret>(client, namespace).delete(name, &params).await;
        gone_is_fine(self.api_server.ask(delete).await.map(drop))
    }

    /// Tells an event about an object. Nothing waits for it.
    pub fn event(
        &self,
        about: &impl Resource<DynamicType = ()>,
        severity: Severity,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        self.events.tell(about, severity, reason, action, note);
    }

    async fn write_status<K>(
        &self,
        observer: &impl WriteObserver,
        object: &K,
        metadata: Value,
        status: &impl Serialize,
    ) -> kube::Result<()>
    where
        K: Cached + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": metadata,
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let patch = Patch::Apply(body);
        let write = async |client| api::<K>(client, &namespace).patch_status(&name, &params, &patch).await;
        let written = self.api_server.ask(write).await;
        self.take_answer(observer, written).map(drop)
    }

    async fn patch_metadata<K>(
        &self,
        observer: &impl WriteObserver,
        object: &K,
        mut metadata: Value,
    ) -> kube::Result<Option<K>>
    where
        K: Cached + DeserializeOwned + Debug + Resource<Scope = kube::core::NamespaceResourceScope>,
    {
        // A list in a merge patch replaces the whole list: only on the very object that was read.
        metadata["resourceVersion"] = json!(object.resource_version());
        metadata["uid"] = json!(object.uid());
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let write = async |client| api::<K>(client, &namespace).patch(&name, &params, &patch).await;
        let written = self.api_server.ask(write).await;
        self.take_answer(observer, written)
    }

    fn take_answer<K: Cached + Resource>(
        &self,
        observer: &impl WriteObserver,
        written: kube::Result<K>,
    ) -> kube::Result<Option<K>> {
        match written {
            Ok(object) => {
                // So that nobody decides on the one before, or does an end over again. The watch may have told already
                // that it is gone: then it does not come back.
                observer.observe_written(object.clone());
                Ok(Some(object))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn api<K>(client: Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    Api::namespaced(client, namespace)
}

impl Debug for ApiWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiWriter")
    }
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

#[cfg(test)]
mod tests {
    use rolecall_api::{ProvisioningRole, ProvisioningRoleSpec};

    use crate::Shared;
    use crate::cache::Source;
    use crate::model::ObjectKey;

    #[tokio::test]
    async fn a_role_that_was_deleted_while_its_status_was_written_stays_gone() {
        let shared = Shared::alone();
        let mut role = ProvisioningRole::new("reader", ProvisioningRoleSpec::default());
        let meta = &mut role.metadata;
        (meta.namespace, meta.uid) = (Some("shop".into()), Some("one".into()));
        meta.resource_version = Some("1".into());
        let key = ObjectKey::of(&role);
        shared.observe_event(role.clone(), Source::Watched);
        // The write has arrived, then the role is deleted, the watch tells so, and last comes the answer to the write.
        shared.forget::<ProvisioningRole>(&key);
        role.metadata.resource_version = Some("2".into());
        assert!(shared.api.take_answer(&*shared, Ok(role)).unwrap().is_some());
        assert!(shared.cache().role(&key).is_none(), "it would go on granting");
    }
}
