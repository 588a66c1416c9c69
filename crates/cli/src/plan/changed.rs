//! Which objects differ, and in which fields.

use std::collections::{BTreeMap, BTreeSet};

use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::view::{Change, ObjectChange};
use crate::input::Namespace;

/// The objects that differ, by kind and name.
pub(super) fn objects(before: &Namespace, after: &Namespace) -> Vec<ObjectChange> {
    let mut changes = compare(&before.admins, &after.admins, |admin| {
        // Its labels select.
        json!({"metadata": {"labels": admin.metadata.labels}, "spec": admin.spec})
    });
    changes.extend(compare(&before.roles, &after.roles, |role| spec(&role.spec)));
    changes.extend(compare(&before.users, &after.users, |user| spec(&user.spec)));
    changes.extend(compare(&before.rules, &after.rules, |rule| spec(&rule.spec)));
    changes
}

/// The names of the objects of a kind that differ.
pub(super) fn names<'a>(changes: &'a [ObjectChange], kind: &str) -> BTreeSet<&'a str> {
    changes.iter().filter(|change| change.kind == kind).map(|change| change.name.as_str()).collect()
}

fn spec(spec: &impl Serialize) -> Value {
    json!({"spec": spec})
}

fn compare<K: Resource<DynamicType = ()>>(
    before: &[K],
    after: &[K],
    content: impl Fn(&K) -> Value,
) -> Vec<ObjectChange> {
    let by_name = |objects: &[K]| -> BTreeMap<String, Value> {
        objects.iter().map(|object| (object.name_any(), content(object))).collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| {
        let (change, fields) = match (before.get(name), after.get(name)) {
            (None, _) => (Change::Created, Vec::new()),
            (_, None) => (Change::Deleted, Vec::new()),
            (Some(before), Some(after)) if before == after => return None,
            (Some(before), Some(after)) => {
                let mut fields = Vec::new();
                differing(before, after, String::new(), &mut fields);
                (Change::Changed, fields)
            }
        };
        Some(ObjectChange { kind: K::kind(&()).into_owned(), name: name.clone(), change, fields })
    };
    names.into_iter().filter_map(change).collect()
}

/// Collects the paths of what differs: as far down as both sides have the same shape.
fn differing(before: &Value, after: &Value, path: String, fields: &mut Vec<String>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or_default();
                differing(&of(before), &of(after), path, fields);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                differing(before, after, format!("{path}[{index}]"), fields);
            }
        }
        _ => fields.push(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_field_that_differs_is_named() {
        let fields = |before: Value, after: Value| {
            let mut fields = Vec::new();
            differing(&before, &after, String::new(), &mut fields);
            fields
        };
        let before = json!({"spec": {"allow": {"dbRoles": ["a", "b"], "dbNames": ["x"]}, "deny": {}}});
        let after =
            json!({"spec": {"allow": {"dbRoles": ["a", "c"], "dbNames": []}, "deny": {"dbRoles": ["d"]}}});
        assert_eq!(
            fields(before, after),
            ["spec.allow.dbNames", "spec.allow.dbRoles[1]", "spec.deny.dbRoles"]
        );
        assert_eq!(fields(json!({"a": 1}), json!({"a": 1})), Vec::<String>::new());
    }
}
