//! What a namespace is after manifests were applied to it.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use rolecall_api::Time;
use serde_json::Value;

use crate::input::Namespace;

/// What kubectl writes on what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The namespace `before` with `manifests` applied. `prune`: what they lack is deleted.
pub(super) fn applied(before: &Namespace, manifests: &Namespace, prune: bool) -> Namespace {
    Namespace {
        name: before.name.clone().or_else(|| manifests.name.clone()),
        cluster_name: before.cluster_name.clone(),
        admins: overlay(&before.admins, &manifests.admins, prune),
        roles: overlay(&before.roles, &manifests.roles, prune),
        users: overlay(&before.users, &manifests.users, prune),
        rules: overlay(&before.rules, &manifests.rules, prune),
    }
}

fn overlay<K: Resource<DynamicType = ()> + Clone>(before: &[K], manifests: &[K], prune: bool) -> Vec<K> {
    let mut rest: BTreeMap<String, &K> = before.iter().map(|object| (object.name_any(), object)).collect();
    let mut after: Vec<K> = Vec::new();
    for manifest in manifests {
        let mut object = manifest.clone();
        match rest.remove(&manifest.name_any()) {
            Some(stored) => keep(stored, &mut object),
            None => {
                // Younger than anything that is there.
                object.meta_mut().uid = Some(String::new());
                object.meta_mut().creation_timestamp = Some(Time(jiff::Timestamp::MAX));
            }
        }
        after.push(object);
    }
    if !prune {
        after.extend(rest.into_values().cloned());
    }
    after
}

/// What applying does not change: who the object is, and labels that others gave it.
fn keep<K: Resource<DynamicType = ()>>(stored: &K, object: &mut K) {
    let applied = stored.annotations().get(LAST_APPLIED);
    let applied: Value = applied.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for (key, value) in stored.labels() {
        // A label that was applied, and is in the manifest no more, is taken away.
        if applied["metadata"]["labels"].get(key).is_none() {
            object.labels_mut().entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let meta = object.meta_mut();
    meta.uid.clone_from(&stored.meta().uid);
    meta.creation_timestamp.clone_from(&stored.meta().creation_timestamp);
    meta.namespace.clone_from(&stored.meta().namespace);
}

#[cfg(test)]
mod tests {
    use rolecall_api::DatabaseAdmin;

    use super::*;

    fn admin(name: &str, labels: Value, more: Value) -> DatabaseAdmin {
        let mut metadata = serde_json::json!({"name": name, "labels": labels});
        if let (Some(metadata), Some(more)) = (metadata.as_object_mut(), more.as_object()) {
            metadata.extend(more.clone());
        }
        serde_json::from_value(serde_json::json!({"metadata": metadata, "spec": {
            "protocol": "postgres", "uri": "a:1", "adminUser": {"name": "adm"}, "auth": {},
        }}))
        .expect("it is one")
    }

    #[test]
    fn what_others_wrote_stays_and_what_was_applied_before_goes() {
        let last = serde_json::json!({"metadata": {"labels": {"env": "prod", "old": "1"}}}).to_string();
        let stored = admin(
            "orders",
            serde_json::json!({"env": "prod", "old": "1", "theirs": "x"}),
            serde_json::json!({"uid": "u", "annotations": {LAST_APPLIED: last}}),
        );
        let other = admin("people", serde_json::json!({}), serde_json::json!({}));
        let before = Namespace { admins: vec![stored, other], ..Namespace::default() };
        let manifest = admin("orders", serde_json::json!({"env": "dev"}), serde_json::json!({}));
        let manifests = Namespace { admins: vec![manifest], ..Namespace::default() };
        let after = applied(&before, &manifests, false);
        assert_eq!(after.admins.len(), 2);
        let orders = after.admin("orders").expect("it is there");
        let labels: Vec<_> = orders.labels().iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["env=dev", "theirs=x"]);
        assert_eq!(orders.uid().as_deref(), Some("u"));
        assert_eq!(applied(&before, &manifests, true).admins.len(), 1);
    }
}
