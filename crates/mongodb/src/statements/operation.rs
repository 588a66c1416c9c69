//! What accounts run, and who is connected, on one member.

use std::collections::BTreeMap;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use rolecall_engine::AccountName;
use rolecall_engine::dialect::mongodb::{EXTERNAL, account_name, user_name};

use crate::statements::user::documents;
use crate::transport::request::Request;

/// One operation of an account, or a connection that does nothing now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    /// Its number on the member.
    pub(crate) opid: Bson,
    /// It runs at this moment.
    pub(crate) active: bool,
    /// The name of its command. The rest of the command is private to the user.
    pub(crate) command: String,
    /// The collection that it is about.
    pub(crate) namespace: String,
    /// For how long it has run.
    pub(crate) time: Duration,
}

/// Lists the operations and connections of accounts: of this one, or of all.
///
/// Sessions without connection are left out: what they keep open, a transaction or cursor, nobody can use any more.
pub(crate) fn operations(what: impl Into<String>, account: Option<&AccountName>) -> Request {
    let mut filter = doc! { "db": EXTERNAL };
    if let Some(account) = account {
        filter.insert("user", user_name(account));
    }
    let first_key = doc! { "$arrayElemAt": [{ "$objectToArray": "$command" }, 0] };
    let pipeline = vec![
        doc! { "$currentOp": { "allUsers": true, "idleConnections": true, "idleSessions": false } },
        doc! { "$match": { "effectiveUsers": { "$elemMatch": filter } } },
        doc! { "$project": {
            "effectiveUsers": 1, "opid": 1, "active": 1, "ns": 1, "op": 1, "microsecs_running": 1, "first": first_key,
        } },
    ];
    let cursor = doc! { "batchSize": 1_000_000 };
    Request::new(what, "admin", doc! { "aggregate": 1, "pipeline": pipeline, "cursor": cursor })
}

/// The operations of a list, by account.
pub(crate) fn read(entries: &[Document]) -> BTreeMap<AccountName, Vec<Operation>> {
    let mut found: BTreeMap<AccountName, Vec<Operation>> = BTreeMap::new();
    for entry in entries {
        for user in documents(entry, "effectiveUsers") {
            let name =
                user.get_str("user").ok().filter(|_| user.get_str("db").is_ok_and(|is| is == EXTERNAL));
            if let Some(account) = name.and_then(account_name) {
                found.entry(account).or_default().push(Operation::read(entry));
            }
        }
    }
    found
}

impl Operation {
    fn read(entry: &Document) -> Self {
        let text = |key: &str| entry.get_str(key).unwrap_or_default().to_owned();
        let first = entry.get_document("first").ok().and_then(|first| first.get_str("k").ok());
        // A command that is too long to be shown begins with a key of the server's.
        let command = first.filter(|name| !name.starts_with('$')).map_or_else(|| text("op"), str::to_owned);
        let microseconds = match entry.get("microsecs_running") {
            Some(Bson::Int32(number)) => u64::try_from(*number).unwrap_or_default(),
            Some(Bson::Int64(number)) => u64::try_from(*number).unwrap_or_default(),
            _ => 0,
        };
        Self {
            opid: entry.get("opid").cloned().unwrap_or(Bson::Null),
            active: entry.get_bool("active").unwrap_or(true),
            command,
            namespace: text("ns"),
            time: Duration::from_micros(microseconds),
        }
    }

    /// The command that ends it.
    pub(crate) fn kill(&self) -> Document {
        doc! { "killOp": 1, "op": self.opid.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_described_without_their_contents() {
        let users = vec![doc! { "user": r"CN=a\,b", "db": EXTERNAL }, doc! { "user": "bob", "db": "admin" }];
        let entries = [
            doc! {
                "effectiveUsers": users.clone(), "opid": 7, "active": true, "ns": "shop.orders", "op": "query",
                "microsecs_running": 3_000_001_i64, "first": { "k": "find", "v": "orders" },
            },
            doc! { "effectiveUsers": users.clone(), "active": false },
            doc! { "effectiveUsers": users, "opid": 8, "active": true, "op": "command", "first": { "k": "$truncated" } },
        ];
        let found = read(&entries);
        assert_eq!(found.keys().map(AccountName::as_str).collect::<Vec<_>>(), ["a,b"]);
        let described: Vec<_> = found
            .into_values()
            .flatten()
            .map(|operation| {
                (operation.active, operation.command, operation.namespace, operation.time.as_secs())
            })
            .collect();
        assert_eq!(
            described,
            [
                (true, "find".to_owned(), "shop.orders".to_owned(), 3),
                (false, String::new(), String::new(), 0),
                (true, "command".to_owned(), String::new(), 0),
            ]
        );
    }
}
