//! Making, changing and reading objects, and waiting for them.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind, NamespaceResourceScope};
use kube::runtime::wait::await_condition;
use kube::{Api, Resource, ResourceExt};
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, ProvisioningRole, SessionPhase, conditions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::TIMEOUT;
use crate::base_env::BaseEnv;

/// A kind that a test reads.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

impl BaseEnv {
    /// Objects of a kind in this environment's namespace.
    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies one manifest in this environment's namespace, as `kubectl apply --server-side` does.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn apply(&self, manifest: Value) -> Result<DynamicObject> {
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
        let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let name = text(&manifest["metadata"]["name"]);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let applied = api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(manifest)).await;
        applied.with_context(|| format!("applying {kind} {name}"))
    }

    /// Applies manifests in YAML, in their order.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn apply_yaml(&self, manifests: &str) -> Result<()> {
        for manifest in serde_saphyr::from_multiple::<Value>(manifests)? {
            self.apply(manifest).await?;
        }
        Ok(())
    }

    /// Applies the DatabaseAdmin `orders`, changed by a merge patch.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn admin(&self, change: Value) -> Result<()> {
        self.apply(merged(&self.admin_manifest(), &change)).await.map(drop)
    }

    /// Applies a ProvisioningRole. By default it gives the role to read on everything and keeps the account.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn role(&self, name: &str, spec: Value) -> Result<()> {
        let default = json!({
            "options": {"createDbUserMode": "Keep"},
            "allow": {"dbLabels": {"*": ["*"]}, "dbNames": ["*"], "dbRoles": [self.manifests.db_role]},
        });
        self.apply_kind("ProvisioningRole", name, merged(&default, &spec)).await
    }

    /// Applies a DatabaseUser. By default it has the role `reader`.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn user(&self, name: &str, spec: Value) -> Result<()> {
        self.apply_kind("DatabaseUser", name, merged(&json!({"roles": ["reader"]}), &spec)).await
    }

    /// Applies a DatabaseSession. By default it has no ttl and is of `alice` on the first logical database of `orders`.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn session(&self, name: &str, spec: Value) -> Result<()> {
        let database = &self.manifests.database;
        let default = json!({"user": "alice", "database": "orders", "databaseName": database});
        self.apply_kind("DatabaseSession", name, merged(&default, &spec)).await
    }

    async fn apply_kind(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let manifest = json!({
            "apiVersion": "rolecall.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        });
        self.apply(manifest).await.map(drop)
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn patch<K: Kind>(&self, name: &str, change: Value) -> Result<K> {
        let patched = self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(change)).await;
        patched.with_context(|| format!("patching {} {name}", K::kind(&())))
    }

    /// Reads an object.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn get<K: Kind>(&self, name: &str) -> Result<K> {
        self.api::<K>().get(name).await.with_context(|| format!("reading {} {name}", K::kind(&())))
    }

    /// Reads an object that may be missing.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn find<K: Kind>(&self, name: &str) -> Result<Option<K>> {
        Ok(self.api::<K>().get_opt(name).await?)
    }

    /// Reads all objects of a kind.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn list<K: Kind>(&self) -> Result<Vec<K>> {
        Ok(self.api::<K>().list(&ListParams::default()).await?.items)
    }

    /// Deletes an object and does not wait until it is gone.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn delete<K: Kind>(&self, name: &str) -> Result<()> {
        self.api::<K>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Deletes an object and waits until it is gone.
    ///
    /// # Errors
    /// What the API server answered, or that it stays.
    pub async fn delete_and_wait<K: Kind>(&self, name: &str) -> Result<()> {
        self.delete::<K>(name).await?;
        self.gone::<K>(name).await
    }

    /// Waits until an object is as `wanted` says; `what` completes "it did not become ...".
    ///
    /// # Errors
    /// When it does not within [`TIMEOUT`]: with the object and the operators' logs.
    pub async fn until<K: Kind>(&self, name: &str, what: &str, wanted: impl Fn(&K) -> bool) -> Result<K> {
        self.until_within(TIMEOUT, name, what, wanted).await
    }

    /// As [`BaseEnv::until`], with another deadline.
    ///
    /// # Errors
    /// As [`BaseEnv::until`].
    pub async fn until_within<K: Kind>(
        &self,
        timeout: Duration,
        name: &str,
        what: &str,
        wanted: impl Fn(&K) -> bool,
    ) -> Result<K> {
        let condition =
            |object: Option<&K>| object.inspect(|object| assert_one_direction(*object)).is_some_and(&wanted);
        match tokio::time::timeout(timeout, await_condition(self.api::<K>(), name, condition)).await {
            Ok(found) => found?.context("the object is there"),
            Err(_) => Err(self.timed_out::<K>(name, &format!("become {what}")).await),
        }
    }

    /// Asks again and again until the answer is yes: for what cannot be watched, as catalogues, rights and metrics.
    ///
    /// # Errors
    /// When it still is not after [`TIMEOUT`]; what asking fails with.
    pub async fn eventually(&self, what: &str, mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        while !is_so().await? {
            ensure!(
                tokio::time::Instant::now() < deadline,
                "this did not happen: {what}\n-- log --\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until an object does not exist.
    ///
    /// # Errors
    /// When it still does after [`TIMEOUT`].
    pub async fn gone<K: Kind>(&self, name: &str) -> Result<()> {
        let condition = |object: Option<&K>| object.is_none();
        match tokio::time::timeout(TIMEOUT, await_condition(self.api::<K>(), name, condition)).await {
            Ok(found) => Ok(found.map(drop)?),
            Err(_) => Err(self.timed_out::<K>(name, "go").await),
        }
    }

    async fn timed_out<K: Kind>(&self, name: &str, what: &str) -> anyhow::Error {
        let mut object = self.find::<K>(name).await.ok().flatten();
        if let Some(object) = &mut object {
            object.managed_fields_mut().clear();
        }
        let object = object.map_or_else(
            || "it does not exist".to_owned(),
            |object| serde_json::to_string_pretty(&object).unwrap_or_default(),
        );
        anyhow!("{} {name} did not {what} in time:\n{object}\n-- log --\n{}", K::kind(&()), self.log())
    }

    /// Waits until a session is Active and Ready.
    ///
    /// # Errors
    /// When it does not within [`TIMEOUT`].
    pub async fn active(&self, name: &str) -> Result<DatabaseSession> {
        self.until(name, "Active", |session| phase(session) == SessionPhase::Active && is_ready(session))
            .await
    }

    /// Waits until a session is in this phase with this reason of Ready.
    ///
    /// # Errors
    /// When it does not within [`TIMEOUT`].
    pub async fn phase(&self, name: &str, wanted: SessionPhase, reason: &str) -> Result<DatabaseSession> {
        let what = format!("{wanted:?} with the reason {reason}");
        self.until(name, &what, |session| phase(session) == wanted && reason_of(session) == reason).await
    }

    /// Waits until a session is Pending with this reason.
    ///
    /// # Errors
    /// When it does not within [`TIMEOUT`].
    pub async fn pending(&self, name: &str, reason: &str) -> Result<DatabaseSession> {
        self.phase(name, SessionPhase::Pending, reason).await
    }

    /// Waits until a session is Rejected with this reason.
    ///
    /// # Errors
    /// When it does not within [`TIMEOUT`].
    pub async fn rejected(&self, name: &str, reason: &str) -> Result<DatabaseSession> {
        self.phase(name, SessionPhase::Rejected, reason).await
    }

    /// Waits until a session is Ended with this reason.
    ///
    /// # Errors
    /// When it does not within [`TIMEOUT`].
    pub async fn ended(&self, name: &str, reason: EndReason) -> Result<DatabaseSession> {
        let what = format!("Ended as {reason:?}");
        let wanted = |session: &DatabaseSession| {
            phase(session) == SessionPhase::Ended
                && session.status.as_ref().and_then(|status| status.end_reason) == Some(reason)
        };
        self.until(name, &what, wanted).await
    }

    /// The Secret of a session, as text.
    ///
    /// # Errors
    /// When there is none.
    pub async fn secret(&self, name: &str) -> Result<std::collections::BTreeMap<String, String>> {
        let secret: Secret = self.get(name).await?;
        let data = secret.data.unwrap_or_default();
        // One key is DER, which is not text.
        Ok(data
            .into_iter()
            .map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
            .collect())
    }

    /// Waits for an event with this reason about an object, and gives its note.
    ///
    /// # Errors
    /// When none comes.
    pub async fn event(&self, about: &str, reason: &str) -> Result<String> {
        use k8s_openapi::api::events::v1::Event;
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        loop {
            let events: Vec<Event> = self.list().await?;
            let found = events.into_iter().find(|event| {
                event.reason.as_deref() == Some(reason)
                    && event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(about)
            });
            if let Some(event) = found {
                return Ok(event.note.unwrap_or_default());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("there is no event {reason} about {about}\n-- log --\n{}", self.log());
            }
            // Events are written after the fact, so nothing else shows when one is there.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Tools go by the one of the two that stands first: they are never both True.
fn assert_one_direction(object: &impl Kind) {
    let object = serde_json::to_value(object).unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_true = |kind| conditions.iter().any(|found| found["type"] == kind && found["status"] == "True");
    let both = is_true(conditions::RECONCILING) && is_true(conditions::STALLED);
    assert!(!both, "Reconciling and Stalled at once: {object}");
}

/// The phase of a session.
pub fn phase(session: &DatabaseSession) -> SessionPhase {
    session.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

/// The conditions of a kind of ours.
pub trait Conditions {
    /// The list of them.
    fn conditions(&self) -> &[Condition];
}

macro_rules! with_conditions {
    ($($kind:ty),*) => {
        $(impl Conditions for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
            }
        })*
    };
}

with_conditions!(
    DatabaseAdmin,
    DatabaseSession,
    DatabaseUser,
    ProvisioningRole,
    rolecall_api::DbObjectImportRule
);

/// Is the condition Ready True?
pub fn is_ready(object: &impl Conditions) -> bool {
    conditions::is_true(object.conditions(), conditions::READY)
}

/// The reason of the condition Ready.
pub fn reason_of(object: &impl Conditions) -> &str {
    conditions::find(object.conditions(), conditions::READY).map_or("", |ready| ready.reason.as_str())
}

/// The message of the condition Ready.
pub fn message_of(object: &impl Conditions) -> &str {
    conditions::find(object.conditions(), conditions::READY).map_or("", |ready| ready.message.as_str())
}

/// JSON merge patch (RFC 7396).
pub fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut result = target.as_object().cloned().unwrap_or_default();
    for (key, change) in changes {
        if change.is_null() {
            result.remove(key);
        } else {
            let old = result.get(key).unwrap_or(&Value::Null);
            result.insert(key.clone(), merged(old, change));
        }
    }
    Value::Object(result)
}
