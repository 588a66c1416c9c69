//! The objects of Teleport's Kubernetes operator: the same resources, under names of Kubernetes.

use serde_json::Value;

use super::resource::Kind;
use crate::input::Document;

/// Their API group.
const GROUP: &str = "resources.teleport.dev";

/// What a custom resource is to Teleport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Custom {
    /// Teleport's kind.
    pub(super) kind: &'static str,
    /// Teleport's version of it.
    pub(super) version: String,
}

/// Whether this `apiVersion` is of their group.
pub(super) fn is_group(api_version: &str) -> bool {
    api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
}

/// The resource that an object of this `apiVersion` and `kind` represents; `None`: it is not an object of theirs, or is
/// of a kind without an equal.
pub(super) fn read(api_version: Option<&str>, kind: Option<&str>) -> Option<Custom> {
    let (group, version) = api_version?.split_once('/')?;
    let name = kind?.strip_prefix("Teleport")?;
    if group != GROUP {
        return None;
    }
    // The version follows the name (TeleportRoleV7, v1), or replaces the group's (TeleportRole, v6).
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (name, version) = match name.split_at(digits) {
        (name, number) if !number.is_empty() && name.ends_with('V') => {
            (&name[..name.len() - 1], format!("v{number}"))
        }
        _ => (name, version.to_owned()),
    };
    let kind = match name {
        "Role" => Kind::Role,
        "Database" => Kind::Database,
        "User" => Kind::User,
        _ => return None,
    };
    Some(Custom { kind: kind.name(), version })
}

/// Documents with the items of lists in their lists' place: `kind: List` as kubectl prints it, and lists of one kind.
pub(super) fn unfold(documents: &[Document]) -> Vec<Document> {
    let mut all = Vec::new();
    documents.iter().for_each(|document| push(document, &mut all));
    all
}

fn push(document: &Document, all: &mut Vec<Document>) {
    let text = |key: &str| document.value.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let is_list = kind == "List" || (is_group(api_version) && kind.ends_with("List"));
    match document.value.get("items") {
        Some(Value::Array(items)) if is_list => {
            for item in items {
                let mut value = item.clone();
                // Items of a list of one kind need not say it again.
                if let (Value::Object(fields), Some(kind)) =
                    (&mut value, kind.strip_suffix("List").filter(|kind| !kind.is_empty()))
                {
                    fields.entry("apiVersion").or_insert_with(|| api_version.into());
                    fields.entry("kind").or_insert_with(|| kind.into());
                }
                push(&Document { place: document.place.clone(), value }, all);
            }
        }
        // A list without items is empty.
        None | Some(Value::Null) if is_list => {}
        _ => all.push(document.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_versions_are_those_of_teleport() {
        for (api_version, kind, expected) in [
            ("resources.teleport.dev/v1", "TeleportRoleV7", Some(("role", "v7"))),
            ("resources.teleport.dev/v1", "TeleportRoleV9", Some(("role", "v9"))),
            ("resources.teleport.dev/v5", "TeleportRole", Some(("role", "v5"))),
            ("resources.teleport.dev/v1", "TeleportDatabaseV3", Some(("db", "v3"))),
            ("resources.teleport.dev/v2", "TeleportUser", Some(("user", "v2"))),
            ("resources.teleport.dev/v1", "TeleportBotV1", None),
            ("resources.teleport.dev/v1", "TeleportScopedRoleV1", None),
            ("example.com/v1", "TeleportRoleV7", None),
        ] {
            let read = read(Some(api_version), Some(kind));
            let read = read.as_ref().map(|custom| (custom.kind, custom.version.as_str()));
            assert_eq!(read, expected, "{api_version} {kind}");
        }
        assert_eq!(read(None, Some("TeleportRoleV7")), None);
    }
}
