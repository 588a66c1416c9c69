//! What a teardown needs is kept until it is done.
//!
//! A namespace that is deleted takes the Secrets of its DatabaseAdmins with it, and so may whoever deletes them first.
//! An operator that has read them goes on; one that starts only then would have nothing to end accesses with. So what
//! the admin user last proved itself with is kept in a Secret of the operator, which has a finalizer until the accounts
//! are torn down. The Secrets that the DatabaseAdmin names are left alone: they can be deleted and made anew at any
//! time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use rolecall_api::names::TEARDOWN_FINALIZER;
use rolecall_api::{DatabaseAdmin, Deletion, Endpoint};

use super::Server;
use super::proof::Proof;
use crate::api_writer::ApiWriter;
use crate::model::ObjectKey;

/// The type of such a Secret. Nobody else makes one, and it cannot change.
pub const SECRET_TYPE: &str = "rolecall.dev/teardown";
/// The key of the endpoint that the rest was used for.
const ENDPOINT: &str = "endpoint";
/// The longest name of a Secret.
const MAX_NAME: usize = 253;

/// Of which server what its teardown needs is kept, by the fingerprint of the server, and what its DatabaseAdmin said then.
#[derive(Debug, Default)]
pub struct TeardownSecrets(Mutex<HashMap<ObjectKey, (u64, Deletion)>>);

impl TeardownSecrets {
    /// Is it known to be kept?
    pub fn has(&self, admin: &ObjectKey, kept: (u64, Deletion)) -> bool {
        self.locked().get(admin) == Some(&kept)
    }

    /// Records that it is kept, or no longer is.
    pub fn set(&self, admin: &ObjectKey, kept: Option<(u64, Deletion)>) {
        match kept {
            Some(kept) => self.locked().insert(admin.clone(), kept),
            None => self.locked().remove(admin),
        };
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, HashMap<ObjectKey, (u64, Deletion)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under which key the value of another Secret is kept. No name contains two dots in a row.
pub(super) fn data_key(secret: &str, key: &str) -> String {
    format!("{secret}..{key}")
}

/// The name of the Secret of a DatabaseAdmin.
pub fn secret_name(admin: &str) -> String {
    format!("rolecall-teardown-{admin}")
}

/// Keeps what worked, or gives up what was kept where the DatabaseAdmin says `deletion: Retain`. True when that is
/// done; false when it has to be retried.
///
/// # Errors
///
/// What the API server answered.
pub async fn keep(api: &ApiWriter, admin: &DatabaseAdmin, server: &Server) -> kube::Result<bool> {
    let key = ObjectKey::of(admin);
    if admin.spec.deletion == Deletion::Retain {
        // Nothing will be torn down.
        release(api, &key).await?;
        return Ok(true);
    }
    let mut wanted = secret(admin, server);
    let (namespace, name) = (&*key.namespace, secret_name(&key.name));
    if name.len() > MAX_NAME {
        tracing::warn!(admin = %key, "its name is too long to keep what its teardown needs");
        return Ok(true);
    }
    let Some(found) = api.secret(namespace, &name).await? else {
        api.create_secret(namespace, &wanted).await?;
        return Ok(true);
    };
    if !is_ours(&found) {
        tracing::warn!(admin = %key, secret = name, "a Secret of that name is not the operator's: what its teardown needs is not kept");
        return Ok(true);
    }
    let is_of_this_one = controller(&found) == admin.metadata.uid.as_deref();
    if !is_of_this_one && found.metadata.deletion_timestamp.is_some() {
        // It belonged to a previous DatabaseAdmin and is being deleted.
        release(api, &key).await?;
        return Ok(false);
    }
    if is_of_this_one && found.data == wanted.data && !found.finalizers().is_empty() {
        return Ok(true);
    }
    wanted.metadata.resource_version = found.resource_version();
    if found.metadata.deletion_timestamp.is_some() {
        // No finalizer can be added to an object that is being deleted.
        wanted.metadata.finalizers = found.metadata.finalizers;
    }
    api.replace_secret(namespace, &wanted).await?;
    Ok(true)
}

/// Deletes what was kept for a DatabaseAdmin of that name.
///
/// # Errors
///
/// What the API server answered; that nothing is kept is no error.
pub async fn release(api: &ApiWriter, key: &ObjectKey) -> kube::Result<()> {
    let (namespace, name) = (&*key.namespace, secret_name(&key.name));
    let Some(mut found) = api.secret(namespace, &name).await?.filter(is_ours) else {
        return Ok(());
    };
    let uid = found.uid();
    if !found.finalizers().is_empty() {
        found.metadata.finalizers = None;
        match api.replace_secret(namespace, &found).await {
            // It was the last finalizer.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            result => drop(result?),
        }
    }
    api.delete_secret(namespace, &name, uid).await
}

/// What is kept for this DatabaseAdmin, where it is for this address and admin user.
///
/// # Errors
///
/// What the API server answered.
pub(super) async fn find(
    api: &ApiWriter,
    admin: &DatabaseAdmin,
    endpoint: &Endpoint,
) -> kube::Result<Option<Proof>> {
    let name = secret_name(&admin.name_any());
    let found = api.secret(&admin.namespace().unwrap_or_default(), &name).await?;
    Ok(found.filter(|found| is_ours(found) && controller(found) == admin.metadata.uid.as_deref()).and_then(
        |found| {
            let mut data = found.data.unwrap_or_default();
            let known = data.remove(ENDPOINT)?;
            let known: Endpoint = serde_json::from_slice(&known.0).ok()?;
            let proof = data.into_iter().map(|(key, value)| (key, value.0)).collect();
            (known == *endpoint).then_some(Proof(proof))
        },
    ))
}

fn secret(admin: &DatabaseAdmin, server: &Server) -> Secret {
    let mut data: BTreeMap<String, ByteString> =
        server.proof.0.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect();
    // A struct of strings always has a JSON form.
    let endpoint = serde_json::to_vec(&server.endpoint).unwrap_or_default();
    data.insert(ENDPOINT.to_owned(), ByteString(endpoint));
    Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(&admin.name_any())),
            namespace: admin.namespace(),
            owner_references: admin.controller_owner_ref(&()).map(|owner| vec![owner]),
            finalizers: Some(vec![TEARDOWN_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

fn is_ours(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(SECRET_TYPE)
}

fn controller(secret: &Secret) -> Option<&str> {
    let owners = secret.metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_not_shown() {
        let proof = Proof([(data_key("orders-admin", "password"), b"canary".to_vec())].into());
        assert!(!format!("{proof:?}").contains("canary"));
    }

    #[test]
    fn values_of_different_secrets_are_kept_apart() {
        // Names may contain single dots, as keys may.
        assert_ne!(data_key("a", "b.c"), data_key("a.b", "c"));
    }
}
