//! What the API server stores, and the rules that it keeps: versions, conflicts, uids, generations, finalizers,
//! owner references.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::ports::{Address, Write};

/// The namespace of everything.
pub(super) const NAMESPACE: &str = "shop";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    uids: u64,
    objects: BTreeMap<Address, Value>,
    /// The events of the watches, by collection.
    changes: BTreeMap<String, Vec<Change>>,
    /// The versions that this operator has received in events or answers.
    known: BTreeMap<Address, u64>,
}

/// Does something go wrong before a call has its effect, or after?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

/// An event of a watch.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) deleted: bool,
    pub(super) object: Value,
}

/// An answer that is none: code and message.
pub(super) type Refused = (u16, &'static str);

/// The result of a write.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// What it was before.
    pub(super) before: Option<Value>,
    /// What it is now; of what is gone, what it was at the end.
    pub(super) after: Value,
    /// It is not there any more.
    pub(super) gone: bool,
}

impl Written {
    pub(super) fn changes(&self) -> bool {
        self.gone || self.before.as_ref() != Some(&self.after)
    }
}

pub(super) fn address<K: Resource<DynamicType = ()>>(name: &str) -> Address {
    Address::of::<K>(NAMESPACE, name)
}

pub(super) fn collection<K: Resource<DynamicType = ()>>() -> String {
    K::url_path(&(), Some(NAMESPACE))
}

impl Store {
    /// Nothing is known to an operator that begins.
    pub(super) fn begin_life(&mut self) {
        self.known.clear();
    }

    /// The operator has learnt of this version.
    pub(super) fn learnt(&mut self, at: &Address, version: u64) {
        let known = self.known.entry(at.clone()).or_default();
        *known = version.max(*known);
    }

    /// The version that the operator knows of.
    pub(super) fn known(&self, at: &Address) -> Option<u64> {
        self.known.get(at).copied()
    }

    pub(super) fn raw(&self, at: &Address) -> Option<&Value> {
        self.objects.get(at)
    }

    pub(super) fn get<K: Resource<DynamicType = ()> + DeserializeOwned>(&self, name: &str) -> Option<K> {
        self.objects.get(&address::<K>(name)).map(|value| serde_json::from_value(value.clone()).unwrap())
    }

    pub(super) fn all<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> Vec<K> {
        self.in_collection(&collection::<K>())
            .map(|(_, value)| serde_json::from_value(value.clone()).unwrap())
            .collect()
    }

    /// A list, and the version that it is of.
    pub(super) fn list(&self, collection: &str) -> (Vec<Value>, u64) {
        (self.in_collection(collection).map(|(_, value)| value.clone()).collect(), self.version)
    }

    fn in_collection<'a>(&'a self, collection: &'a str) -> impl Iterator<Item = (&'a Address, &'a Value)> {
        self.objects.iter().filter(move |(at, _)| at.collection == collection)
    }

    /// The first change of a collection after that version.
    pub(super) fn change_after(&self, collection: &str, version: u64) -> Option<Change> {
        let changes = self.changes.get(collection)?;
        changes.get(changes.partition_point(|change| change.version <= version)).cloned()
    }

    /// Creates an object for somebody.
    pub(super) fn create<K: Resource<DynamicType = ()> + Serialize>(&mut self, object: &K, now: Timestamp) {
        let at = address::<K>(object.meta().name.as_deref().unwrap());
        let _ = self.write(&at, Write::Create(serde_json::to_value(object).unwrap()), now);
    }

    /// Changes an object for somebody.
    pub(super) fn edit<K: Resource<DynamicType = ()>>(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        let at = address::<K>(name);
        if let Some(mut object) = self.objects.get(&at).cloned() {
            edit(&mut object);
            self.put(&at, object);
        }
    }

    /// Deletes an object for somebody.
    pub(super) fn delete<K: Resource<DynamicType = ()>>(&mut self, name: &str, now: Timestamp) {
        let _ = self.write(&address::<K>(name), Write::Delete { uid: None }, now);
    }

    /// Carries out a write.
    pub(super) fn write(&mut self, at: &Address, write: Write, now: Timestamp) -> Result<Written, Refused> {
        let before = self.objects.get(at).cloned();
        if let Write::Create(mut object) = write {
            if before.is_some() {
                return Err((409, "AlreadyExists"));
            }
            self.uids += 1;
            let metadata = &mut object["metadata"];
            metadata["uid"] = json!(format!("uid-{}", self.uids));
            metadata["generation"] = json!(1);
            metadata["creationTimestamp"] = json!(seconds(now));
            return Ok(Written { before: None, after: self.put(at, object), gone: false });
        }
        let Some(stored) = before.clone() else { return Err((404, "NotFound")) };
        let (mut object, asked) = (
            stored.clone(),
            match &write {
                Write::Replace(asked) | Write::ApplyStatus(asked) | Write::Merge(asked) => {
                    asked["metadata"].clone()
                }
                Write::Create(_) => Value::Null,
                Write::Delete { uid } => json!({"uid": uid}),
            },
        );
        for field in ["uid", "resourceVersion"] {
            if !asked[field].is_null() && asked[field] != stored["metadata"][field] {
                return Err((409, "Conflict"));
            }
        }
        match write {
            Write::Create(_) => {}
            Write::Replace(asked) => {
                if asked["metadata"]["resourceVersion"].is_null() {
                    return Err((422, "metadata.resourceVersion: must be specified for an update"));
                }
                let metadata = object["metadata"].clone();
                object = asked;
                for field in
                    ["uid", "generation", "creationTimestamp", "deletionTimestamp", "resourceVersion"]
                {
                    object["metadata"][field] = metadata[field].clone();
                }
            }
            Write::ApplyStatus(asked) => object["status"] = asked["status"].clone(),
            Write::Merge(patch) => merge(&mut object, &patch),
            Write::Delete { .. } => {
                if !has_finalizers(&object) {
                    return Ok(self.remove(at, stored));
                }
                if object["metadata"]["deletionTimestamp"].is_null() {
                    object["metadata"]["deletionTimestamp"] = json!(seconds(now));
                    let generation = object["metadata"]["generation"].as_u64().unwrap_or_default();
                    object["metadata"]["generation"] = json!(generation + 1);
                }
            }
        }
        let is_new = |finalizer: &Value| {
            !stored["metadata"]["finalizers"].as_array().is_some_and(|before| before.contains(finalizer))
        };
        let finalizers = object["metadata"]["finalizers"].as_array();
        if !stored["metadata"]["deletionTimestamp"].is_null()
            && finalizers.is_some_and(|f| f.iter().any(is_new))
        {
            return Err((422, "no new finalizers can be added if the object is being deleted"));
        }
        drop_nulls(&mut object);
        if !object["metadata"]["deletionTimestamp"].is_null() && !has_finalizers(&object) {
            return Ok(Written { before, ..self.remove(at, object) });
        }
        let after = self.put(at, object);
        Ok(Written { before, after, gone: false })
    }

    /// What an owner that is gone leaves behind goes too.
    pub(super) fn collect_garbage(&mut self, now: Timestamp) {
        let uids: Vec<Value> =
            self.objects.values().map(|object| object["metadata"]["uid"].clone()).collect();
        let is_orphan = |object: &Value| {
            object["metadata"]["ownerReferences"]
                .as_array()
                .is_some_and(|owners| owners.iter().all(|owner| !uids.contains(&owner["uid"])))
        };
        let orphans = self.objects.iter().filter(|(_, object)| is_orphan(object));
        let orphans: Vec<Address> = orphans.map(|(at, _)| at.clone()).collect();
        for at in orphans {
            let _ = self.write(&at, Write::Delete { uid: None }, now);
        }
    }

    fn put(&mut self, at: &Address, mut object: Value) -> Value {
        drop_nulls(&mut object);
        let before = self.objects.get(at);
        if before == Some(&object) {
            return object;
        }
        if before.is_some_and(|before| before["spec"] != object["spec"]) {
            let generation = object["metadata"]["generation"].as_u64().unwrap_or_default();
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["name"] = json!(at.name);
        object["metadata"]["namespace"] = json!(NAMESPACE);
        self.objects.insert(at.clone(), object.clone());
        self.notify(at, object.clone(), false);
        object
    }

    fn remove(&mut self, at: &Address, mut object: Value) -> Written {
        let before = self.objects.remove(at);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.notify(at, object.clone(), true);
        Written { before, after: object, gone: true }
    }

    fn notify(&mut self, at: &Address, object: Value, deleted: bool) {
        let change = Change { version: self.version, deleted, object };
        self.changes.entry(at.collection.clone()).or_default().push(change);
    }
}

pub(super) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

pub(super) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|list| list.iter().any(|one| one == finalizer))
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// Times in metadata have no fractions.
fn seconds(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).unwrap().to_string()
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            if let Some(object) = object.as_object_mut() {
                object.remove(name);
            }
        } else {
            merge(&mut object[name], value);
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
