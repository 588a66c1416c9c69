//! What a set is called, and what is recorded with it.

use std::fmt::Write as _;

use rolecall_policy::{CanonicalEntry, CanonicalPermissions, PrivilegeSet};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{OWN_ROLE_PREFIX, Owner};

/// Hexadecimal digits of the hash in a name: 160 bits, of which nobody makes two by intent or chance.
const DIGITS: usize = 40;
/// How much of the permissions is written out in a record.
const READABLE_BYTES: usize = 600;

/// The role of the set for these permissions in a logical database, for one DatabaseAdmin: `rolecall:` and
/// a hash, 49 bytes.
///
/// Equal permissions have equal names, in every process and version; so the canonical form must not change lightly.
pub fn set_role_name(admin_uid: &str, database: &str, permissions: &CanonicalPermissions) -> String {
    // A tuple of strings and lists always has a JSON form, and JSON keeps its parts apart.
    let key = serde_json::to_vec(&(1, admin_uid, database, permissions)).unwrap_or_default();
    let mut name = OWN_ROLE_PREFIX.to_owned();
    for byte in Sha256::digest(key).iter().take(DIGITS / 2) {
        // Appending to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The record of a set: whose it is, and a description of its permissions. (PostgreSQL: the role's comment,
/// which everybody can read; MongoDB: a privilege that gives nothing.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetRecord {
    /// `metadata.uid` of the DatabaseAdmin. This alone decides whether a set is ours.
    pub uid: String,
    /// `namespace/name` of the DatabaseAdmin, for people.
    #[serde(default)]
    pub admin: String,
    /// The cluster's name, for people; empty when the operator was given none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The logical database.
    #[serde(default)]
    pub database: String,
    /// A description of its permissions, truncated where it is long.
    #[serde(default)]
    pub permissions: String,
}

impl SetRecord {
    /// The record of a set.
    pub fn new(owner: &Owner, database: &str, permissions: &CanonicalPermissions) -> Self {
        Self {
            uid: owner.uid.clone(),
            admin: owner.admin.clone(),
            cluster: owner.cluster.clone(),
            database: database.to_owned(),
            permissions: readable(permissions),
        }
    }
}

/// `SELECT, UPDATE where env: [prod]; not DELETE where team: [hr]`
fn readable(permissions: &CanonicalPermissions) -> String {
    let allow = permissions.allow.iter().map(|entry| (entry, ""));
    let deny = permissions.deny.iter().map(|entry| (entry, "not "));
    let mut text = String::new();
    for (entry, not) in allow.chain(deny) {
        let separator = if text.is_empty() { "" } else { "; " };
        let entry = readable_entry(entry);
        let _ = write!(text, "{separator}{not}{entry}");
        if text.len() > READABLE_BYTES {
            let end = text.floor_char_boundary(READABLE_BYTES);
            text.truncate(end);
            text.push('…');
            break;
        }
    }
    text
}

fn readable_entry(entry: &CanonicalEntry) -> String {
    let labels: Vec<String> =
        entry.matching.iter().map(|(key, values)| format!("{key}: [{}]", values.join(", "))).collect();
    let privileges = match entry.privileges {
        PrivilegeSet::ALL => "*".to_owned(),
        some => some.to_string(),
    };
    format!("{privileges} where {}", labels.join(", "))
}

#[cfg(test)]
mod tests {
    use rolecall_policy::Privilege;

    use super::*;

    fn permissions(values: &[&str], deny: bool) -> CanonicalPermissions {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let entry = |privilege: Privilege| CanonicalEntry {
            matching: [("env".to_owned(), values)].into(),
            privileges: PrivilegeSet::from_iter([privilege]),
        };
        if deny {
            CanonicalPermissions { allow: vec![], deny: vec![entry(Privilege::Delete)] }
        } else {
            CanonicalPermissions { allow: vec![entry(Privilege::Select)], deny: vec![] }
        }
    }

    #[test]
    fn a_name_distinguishes_what_differs_and_never_changes() {
        let name = set_role_name("uid-1", "shop", &permissions(&["prod"], false));
        assert_eq!(name, "rolecall:941be85d85d257fdb645388405d9231662b0a20b");
        assert!(name.len() <= crate::name::MAX_NAME_BYTES);
        for other in [
            set_role_name("uid-2", "shop", &permissions(&["prod"], false)),
            set_role_name("uid-1", "shop2", &permissions(&["prod"], false)),
            set_role_name("uid-1", "shop", &permissions(&["dev"], false)),
            set_role_name("uid-1", "shop", &permissions(&["prod"], true)),
        ] {
            assert_ne!(name, other);
        }
    }

    #[test]
    fn a_record_is_readable_and_bounded() {
        let owner =
            Owner { uid: "u".into(), admin: "ns/a".into(), cluster: String::new(), ..Owner::default() };
        let record = SetRecord::new(&owner, "shop", &permissions(&["prod", "dev"], false));
        assert_eq!(record.permissions, "SELECT where env: [prod, dev]");
        let mut all = permissions(&["prod"], true);
        all.deny[0].privileges = PrivilegeSet::ALL;
        assert_eq!(SetRecord::new(&owner, "shop", &all).permissions, "not * where env: [prod]");
        let long = SetRecord::new(&owner, "shop", &permissions(&["ä".repeat(5000).as_str()], true));
        assert!(long.permissions.starts_with("not DELETE where env: [ä"), "{}", long.permissions);
        assert!(long.permissions.len() <= READABLE_BYTES + 3);
    }
}
