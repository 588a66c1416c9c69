//! The kinds by name.

use anyhow::{Context, Result};
use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::{Api, Client, CustomResourceExt};
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionDecision, DatabaseUser, DbObjectImportRule,
    ProvisioningRole,
};

/// Objects of a kind in a namespace, as untyped values.
pub(crate) fn api(client: &Client, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
    let kinds: [ApiResource; 6] = [
        DatabaseAdmin::api_resource(),
        DatabaseSession::api_resource(),
        DatabaseSessionDecision::api_resource(),
        DatabaseUser::api_resource(),
        DbObjectImportRule::api_resource(),
        ProvisioningRole::api_resource(),
    ];
    let kind = kinds.into_iter().find(|resource| resource.kind == kind).context("an unknown kind")?;
    Ok(Api::namespaced_with(client.clone(), namespace, &kind))
}
