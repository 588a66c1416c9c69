//! Objects of the API server as JSON: this crate knows none of their types.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// One request; an API server that is frozen answers none, and a loaded machine answers late.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kind, as manifests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A DatabaseSession.
    Session,
    /// A DatabaseAdmin.
    Admin,
    /// A Secret.
    Secret,
    /// A Namespace.
    Namespace,
}

impl Kind {
    fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Session => ("rolecall.dev", "v1alpha1", "DatabaseSession", "databasesessions"),
            Self::Admin => ("rolecall.dev", "v1alpha1", "DatabaseAdmin", "databaseadmins"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

/// The objects of one namespace, with every right.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    namespace: String,
}

impl Objects {
    /// Those of this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// Those of another namespace.
    pub fn of(&self, namespace: &str) -> Self {
        Self::new(self.client.clone(), namespace)
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        match kind {
            Kind::Namespace => Api::all_with(self.client.clone(), &kind.resource()),
            _ => Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource()),
        }
    }

    /// All of a kind.
    ///
    /// # Errors
    /// What the API server answered, or that it did not.
    pub async fn list(&self, kind: Kind) -> Result<Vec<Value>> {
        let (api, all) = (self.api(kind), ListParams::default());
        let listed = bounded(api.list(&all)).await.with_context(|| format!("listing every {kind:?}"))?;
        Ok(listed.items.iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
    }

    /// One object; `None` where there is none.
    ///
    /// # Errors
    /// What the API server answered, or that it did not.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        let found = bounded(self.api(kind).get_opt(name)).await.with_context(|| format!("reading {name}"))?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// Applies a manifest, as `kubectl apply --server-side` does.
    ///
    /// # Errors
    /// What the API server answered, or that it did not.
    pub async fn apply(&self, manifest: Value) -> Result<()> {
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
        let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let name = text(&manifest["metadata"]["name"]);
        let api: Api<DynamicObject> = match kind.as_str() {
            "Namespace" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
        };
        let params = PatchParams::apply("chaos").force();
        let applied = bounded(api.patch(&name, &params, &Patch::Apply(manifest))).await;
        applied.map(drop).with_context(|| format!("applying {kind} {name}"))
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// What the API server answered, or that it did not.
    pub async fn patch(&self, kind: Kind, name: &str, change: Value) -> Result<()> {
        let (api, params) = (self.api(kind), PatchParams::default());
        let patched = bounded(api.patch(name, &params, &Patch::Merge(change))).await;
        patched.map(drop).with_context(|| format!("patching {name}"))
    }

    /// Deletes an object, and does not wait until it is gone.
    ///
    /// # Errors
    /// What the API server answered, or that it did not.
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        let (api, params) = (self.api(kind), DeleteParams::default());
        let deleted = bounded(api.delete(name, &params)).await;
        deleted.map(drop).with_context(|| format!("deleting {name}"))
    }

    /// Takes an object away by force: without its finalizers, as somebody does who is in a hurry.
    ///
    /// # Errors
    /// What the API server answered, or that it did not.
    pub async fn force_delete(&self, kind: Kind, name: &str) -> Result<()> {
        self.delete(kind, name).await?;
        match self.patch(kind, name, json!({"metadata": {"finalizers": null}})).await {
            // It may have gone by itself.
            Err(error) if self.get(kind, name).await?.is_some() => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When it stays, with what it says.
    pub async fn gone(&self, kind: Kind, name: &str, patience: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + patience;
        while let Some(object) = self.get(kind, name).await? {
            if tokio::time::Instant::now() > deadline {
                bail!("{name} stays: {object}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Makes a TLS Secret.
    ///
    /// # Errors
    /// What the API server answered, or that it did not.
    pub async fn tls_secret(&self, name: &str, certificate: &str, key: &str) -> Result<()> {
        self.apply(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name},
            "stringData": {"tls.crt": certificate, "tls.key": key},
        }))
        .await
    }
}

async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T> {
    Ok(tokio::time::timeout(PATIENCE, request).await.context("the API server does not answer")??)
}

/// The name of an object.
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The contents of a Secret.
pub fn secret_data(secret: &Value) -> std::collections::BTreeMap<String, String> {
    use k8s_openapi::ByteString;
    let data = secret["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, value)| {
        let ByteString(bytes) = serde_json::from_value(value.clone()).ok()?;
        // One key is DER, which is not text.
        Some((key.clone(), String::from_utf8_lossy(&bytes).into_owned()))
    })
    .collect()
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The names of the objects of a kind that pass.
///
/// # Errors
/// What the API server answered, or that it did not.
pub async fn names(objects: &Objects, kind: Kind, passes: impl Fn(&Value) -> bool) -> Result<Vec<String>> {
    let listed = objects.list(kind).await?;
    Ok(listed.iter().filter(|object| passes(object)).map(|object| name_of(object).to_owned()).collect())
}

/// Whether a session says that it gives access.
pub fn is_active(session: &Value) -> bool {
    session["status"]["phase"] == "Active" && session["metadata"]["deletionTimestamp"].is_null()
}
