//! The record of a set, as a privilege that gives nothing.
//!
//! The privilege is on a collection `system.rolecall {...}`, where the braces contain the record as JSON. No such
//! collection can exist: the server lets nobody create `system.` ones except itself, and no name may be as long. A
//! person sees the record in `db.getRole("rolecall:...", {showPrivileges: true})`. Whoever changes a role's privileges
//! by hand can change it, as with a comment on a PostgreSQL role.

use mongodb::bson::{Document, doc};

use rolecall_engine::sets::SetRecord;

/// What the name of the collection begins with.
const PREFIX: &str = "system.rolecall ";
/// The action: of no use even where the collection existed.
pub(crate) const ACTION: &str = "listIndexes";

/// The privilege that contains a record.
pub(crate) fn privilege(database: &str, record: &SetRecord) -> Document {
    // A struct of strings always has a JSON form.
    let json = serde_json::to_string(record).unwrap_or_default();
    // The one character that the name of a collection may not contain, in the way that JSON may write it. JSON itself
    // writes a NUL like this.
    let collection = format!("{PREFIX}{}", json.replace('$', "\\u0024"));
    doc! { "resource": { "db": database, "collection": collection }, "actions": [ACTION] }
}

/// Is this the name of a collection that contains a record?
pub(crate) fn is_marker(collection: &str) -> bool {
    collection.starts_with(PREFIX)
}

/// The record in the name of a collection, when it can be read.
pub(crate) fn record(collection: &str) -> Option<SetRecord> {
    serde_json::from_str(collection.strip_prefix(PREFIX)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_whatever_it_contains() {
        let record = SetRecord {
            uid: "u-1".to_owned(),
            admin: "shop/orders".to_owned(),
            cluster: "prod \"eu\"".to_owned(),
            database: "shop".to_owned(),
            permissions: "FIND where env: [$prod, a\\u0024b, \\$, nul\0, ä]".to_owned(),
        };
        let privilege = privilege("shop", &record);
        let resource = privilege.get_document("resource").unwrap();
        assert_eq!(resource.get_str("db").unwrap(), "shop");
        let collection = resource.get_str("collection").unwrap();
        assert!(is_marker(collection) && !collection.contains(['$', '\0']), "{collection}");
        assert_eq!(super::record(collection), Some(record));
    }

    #[test]
    fn other_collections_contain_no_record() {
        for collection in ["orders", "system.rolecall", "system.rolecall {", "system.rolecall {}"] {
            assert_eq!(record(collection), None, "{collection}");
        }
    }
}
