//! Every write to the API server, and the few reads that no watch covers.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cache::Cached;
use crate::events::Events;
use crate::ports::{Address, ApiServer, Write};

pub use crate::events::Severity;

/// Receives what the API server answered to a write.
pub trait WriteObserver: Sync {
    /// The object as the API server has it after the write.
    fn observe_written<K: Cached>(&self, object: K);
}

/// The API server, for writing.
#[derive(Clone)]
pub struct ApiWriter {
    api_server: Arc<dyn ApiServer>,
    /// Events about objects.
    pub events: Events,
}

impl ApiWriter {
    /// Writes to that one. `events_dropped` counts events that were not sent.
    pub fn new(api_server: Arc<dyn ApiServer>, events_dropped: Counter) -> Self {
        let events = Events::start(Arc::clone(&api_server), events_dropped);
        Self { api_server, events }
    }

    /// Applies a whole status, and puts the object that comes back into the cache, so that nothing is decided on the
    /// previous one. Nothing is written when the object is gone or has been replaced by another one of its name.
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
        K: Cached,
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
        K: Cached,
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
        K: Cached,
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
        K: Cached,
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
        K: Cached,
    {
        self.delete_at(&address(object), object.uid()).await
    }

    /// Reads a Secret.
    ///
    /// # Errors
    ///
    /// What the API server answered; one that does not exist is `None`.
    pub async fn secret(&self, namespace: &str, name: &str) -> kube::Result<Option<Secret>> {
        match self.api_server.get(&Address::of::<Secret>(namespace, name)).await {
            Ok(text) => read(&text).map(Some),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a Secret.
    ///
    /// # Errors
    ///
    /// What the API server answered; 409 when one of that name exists.
    pub async fn create_secret(&self, namespace: &str, secret: &Secret) -> kube::Result<Secret> {
        let at = Address::of::<Secret>(namespace, secret.name_any());
        read(&self.api_server.write(&at, Write::Create(json(secret)?)).await?)
    }

    /// Replaces a Secret; its resource version must be the one that was read.
    ///
    /// # Errors
    ///
    /// What the API server answered.
    pub async fn replace_secret(&self, namespace: &str, secret: &Secret) -> kube::Result<Secret> {
        let at = Address::of::<Secret>(namespace, secret.name_any());
        read(&self.api_server.write(&at, Write::Replace(json(secret)?)).await?)
    }

    /// Deletes a Secret of that uid.
    ///
    /// # Errors
    ///
    /// What the API server answered; a Secret that is gone, or is another one by now, is no error.
    pub async fn delete_secret(&self, namespace: &str, name: &str, uid: Option<String>) -> kube::Result<()> {
        let at = Address::of::<Secret>(namespace, name);
        self.delete_at(&at, uid).await
    }

    /// Sends an event about an object. Nothing waits for it.
    pub fn event(
        &self,
        about: &impl Resource<DynamicType = ()>,
        severity: Severity,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        self.events.send(about, severity, reason, action, note);
    }

    async fn delete_at(&self, at: &Address, uid: Option<String>) -> kube::Result<()> {
        let deleted = self.api_server.write(at, Write::Delete { uid: uid.clone() }).await;
        let refused = match deleted {
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) if is_conflict(&error) => error,
            other => return other.map(drop),
        };
        // Most often it is another one by now, so that the one meant is gone; but a conflict may be about something else.
        match self.api_server.get(at).await {
            Ok(text) if uid.is_none() || read::<PartialObjectMeta>(&text)?.metadata.uid == uid => {
                Err(refused)
            }
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write_status<K>(
        &self,
        observer: &impl WriteObserver,
        object: &K,
        metadata: Value,
        status: &impl Serialize,
    ) -> kube::Result<()>
    where
        K: Cached,
    {
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": metadata,
            "status": status,
        });
        let written = self.api_server.write(&address(object), Write::ApplyStatus(body)).await;
        self.take_answer::<K>(observer, written).map(drop)
    }

    async fn patch_metadata<K>(
        &self,
        observer: &impl WriteObserver,
        object: &K,
        mut metadata: Value,
    ) -> kube::Result<Option<K>>
    where
        K: Cached,
    {
        // A list in a merge patch replaces the whole list: only on the very object that was read.
        metadata["resourceVersion"] = json!(object.resource_version());
        metadata["uid"] = json!(object.uid());
        let patch = Write::Merge(json!({"metadata": metadata}));
        let written = self.api_server.write(&address(object), patch).await;
        self.take_answer(observer, written)
    }

    fn take_answer<K: Cached>(
        &self,
        observer: &impl WriteObserver,
        written: kube::Result<String>,
    ) -> kube::Result<Option<K>> {
        match written.and_then(|text| read::<K>(&text)) {
            Ok(mut object) => {
                // As in what the watches report.
                object.meta_mut().managed_fields = None;
                // So that nothing is decided on the previous one, and no end is repeated. The watch may have reported
                // already that it is gone: then it does not come back.
                observer.observe_written(object.clone());
                Ok(Some(object))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn address<K: Resource<DynamicType = ()>>(object: &K) -> Address {
    Address::of::<K>(object.meta().namespace.as_deref().unwrap_or_default(), object.name_any())
}

fn read<K: DeserializeOwned>(text: &str) -> kube::Result<K> {
    serde_json::from_str(text).map_err(kube::Error::SerdeError)
}

fn json(object: &impl Serialize) -> kube::Result<Value> {
    serde_json::to_value(object).map_err(kube::Error::SerdeError)
}

impl Debug for ApiWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiWriter")
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Did the API server answer that the object exists already, or was changed meanwhile?
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use kube::core::Status;
    use rolecall_api::{ProvisioningRole, ProvisioningRoleSpec};

    use super::*;
    use crate::Shared;
    use crate::cache::Source;
    use crate::model::ObjectKey;
    use crate::ports::Published;

    #[tokio::test]
    async fn a_role_that_was_deleted_while_its_status_was_written_stays_gone() {
        let shared = Shared::alone();
        let mut role = ProvisioningRole::new("reader", ProvisioningRoleSpec::default());
        let meta = &mut role.metadata;
        (meta.namespace, meta.uid) = (Some("shop".into()), Some("one".into()));
        meta.resource_version = Some("1".into());
        let key = ObjectKey::of(&role);
        shared.observe_event(role.clone(), Source::Watched);
        // The write has arrived, then the role is deleted, the watch reports that, and then the answer to the write
        // arrives.
        shared.forget::<ProvisioningRole>(&key);
        role.metadata.resource_version = Some("2".into());
        let answer = serde_json::to_string(&role).unwrap();
        assert!(shared.api.take_answer::<ProvisioningRole>(&*shared, Ok(answer)).unwrap().is_some());
        assert!(shared.cache().role(&key).is_none(), "it would go on granting");
    }

    #[tokio::test]
    async fn who_manages_which_fields_is_not_kept_in_memory_whoever_reports_the_object() {
        let shared = Shared::alone();
        let mut role = ProvisioningRole::new("reader", ProvisioningRoleSpec::default());
        let meta = &mut role.metadata;
        (meta.namespace, meta.uid) = (Some("shop".into()), Some("one".into()));
        meta.resource_version = Some("1".into());
        let key = ObjectKey::of(&role);
        shared.observe_event(role.clone(), Source::Watched);
        let manager = json!({"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}});
        let mut answer = serde_json::to_value(&role).unwrap();
        answer["metadata"]["managedFields"] = json!([manager]);
        answer["metadata"]["resourceVersion"] = json!("2");
        shared.api.take_answer::<ProvisioningRole>(&*shared, Ok(answer.to_string())).unwrap();
        let cached = Arc::clone(&shared.cache().role(&key).unwrap().object);
        assert_eq!(
            (cached.resource_version().as_deref(), &cached.metadata.managed_fields),
            (Some("2"), &None)
        );
    }

    /// It refuses every write with a conflict, and has an object of this uid.
    #[derive(Debug)]
    struct Refusing(&'static str);

    impl ApiServer for Refusing {
        fn get<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, kube::Result<String>> {
            std::future::ready(Ok(json!({"metadata": {"name": "reader", "uid": self.0}}).to_string())).boxed()
        }

        fn write<'a>(&'a self, _: &'a Address, _: Write) -> BoxFuture<'a, kube::Result<String>> {
            let status = Status { code: 409, ..Status::failure("a webhook says no", "Conflict") };
            std::future::ready(Err(kube::Error::Api(Box::new(status)))).boxed()
        }

        fn publish<'a>(&'a self, _: &'a Published) -> BoxFuture<'a, kube::Result<()>> {
            std::future::ready(Ok(())).boxed()
        }
    }

    #[tokio::test]
    async fn a_deletion_that_is_refused_is_not_taken_for_one() {
        let mut role = ProvisioningRole::new("reader", ProvisioningRoleSpec::default());
        (role.metadata.namespace, role.metadata.uid) = (Some("shop".into()), Some("one".into()));
        let api = |uid| ApiWriter::new(Arc::new(Refusing(uid)), Counter::default());
        let refused = api("one").delete(&role).await;
        assert!(refused.is_err_and(|error| is_conflict(&error)), "it is still there");
        assert!(api("two").delete(&role).await.is_ok(), "it is another one");
    }
}
