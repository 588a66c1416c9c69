//! What the user who is logged in runs, on every member.

use futures::future::join_all;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ServerAddress;
use rolecall_engine::{Class, Error, Running};

use crate::Mongodb;
use crate::transport::request::Request;

/// Parts of a command that drivers add.
const ADDED: [&str; 7] =
    ["lsid", "$clusterTime", "$db", "$readPreference", "txnNumber", "apiVersion", "$audit"];

/// An operation, with what stopping it takes.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// The member that runs it; `None`: the only one.
    pub(crate) member: Option<ServerAddress>,
    /// Its number there.
    pub(crate) opid: Bson,
    /// The id of the session that it belongs to.
    pub(crate) session: Option<Bson>,
    /// As it is shown.
    pub(crate) running: Running,
}

impl Mongodb {
    pub(crate) async fn running_of_user(&self) -> Result<Vec<Own>, Error> {
        let request = request();
        let Some(members) = self.server.hello().await?.members else {
            let entries = self.server.list(&request, None).await?;
            return Ok(sorted(entries.iter().filter_map(|entry| own(entry, None)).collect()));
        };
        let several = members.len() > 1;
        let answers =
            members.iter().map(async |member| (member, self.server.list(&request, Some(member)).await));
        let (mut found, mut answered, mut refused) = (Vec::new(), false, None);
        for (member, answer) in join_all(answers).await {
            match answer {
                Ok(entries) => {
                    answered = true;
                    let member = several.then_some(member);
                    found.extend(entries.iter().filter_map(|entry| own(entry, member)));
                }
                // A member that is down runs nothing.
                Err(error) if error.class == Class::Unreachable => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) if !answered => Err(error),
            _ => Ok(sorted(found)),
        }
    }
}

/// Everybody may see their own.
fn request() -> Request {
    let pipeline = vec![
        doc! { "$currentOp": { "allUsers": false, "idleConnections": false, "idleSessions": false } },
        doc! { "$match": { "active": true } },
    ];
    let cursor = doc! { "batchSize": 1_000_000 };
    let command = doc! { "aggregate": 1, "pipeline": pipeline, "cursor": cursor };
    Request::new("reading what the user runs", "admin", command)
}

fn own(entry: &Document, member: Option<&ServerAddress>) -> Option<Own> {
    let command = entry.get_document("command").ok();
    if command.is_some_and(asks_what_runs) {
        return None;
    }
    let opid = entry.get("opid").filter(|opid| **opid != Bson::Null)?.clone();
    let text = |key: &str| entry.get_str(key).unwrap_or_default().to_owned();
    let number = match &opid {
        Bson::String(text) => text.clone(),
        other => other.to_string(),
    };
    let id = member.map_or_else(|| number.clone(), |member| format!("{number}@{member}"));
    let application = Some(text("appName")).filter(|name| !name.is_empty());
    let running = Running {
        id,
        since: since(entry),
        active: true,
        state: Some(text("op")).filter(|op| !op.is_empty()).unwrap_or_else(|| "active".to_owned()),
        waits_for: match entry.get_bool("waitingForLock") {
            Ok(true) => "lock".to_owned(),
            _ => String::new(),
        },
        database: text("ns"),
        application: application.unwrap_or_default(),
        query: command.map(shown).unwrap_or_default(),
    };
    let session = entry.get_document("lsid").ok().and_then(|lsid| lsid.get("id")).cloned();
    Some(Own { member: member.cloned(), opid, session, running })
}

/// Is it the question itself?
fn asks_what_runs(command: &Document) -> bool {
    let stages = command.get_array("pipeline").ok();
    let first = stages.and_then(|stages| stages.first()).and_then(Bson::as_document);
    first.is_some_and(|stage| stage.contains_key("$currentOp"))
}

/// The server says what time it is there, and how long it has run.
fn since(entry: &Document) -> Option<String> {
    let now: jiff::Timestamp = entry.get_str("currentOpTime").ok()?.parse().ok()?;
    let microseconds = match entry.get("microsecs_running")? {
        Bson::Int32(number) => i64::from(*number),
        Bson::Int64(number) => *number,
        _ => return None,
    };
    let begun = now.checked_sub(jiff::SignedDuration::from_micros(microseconds)).ok()?;
    Some(format!("{begun:.3}"))
}

/// The command as its author wrote it, more or less.
fn shown(command: &Document) -> String {
    let kept: Document = command
        .iter()
        .filter(|(key, _)| !ADDED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    kept.to_string()
}

fn sorted(mut found: Vec<Own>) -> Vec<Own> {
    found.sort_by(|a, b| a.running.since.cmp(&b.running.since));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_shown_as_its_author_wrote_it() {
        let entry = doc! {
            "opid": 7, "op": "query", "ns": "shop.orders", "appName": "mongosh", "active": true,
            "currentOpTime": "2024-05-01T10:00:05.000+00:00", "microsecs_running": 4_500_000_i64,
            "lsid": { "id": "session", "uid": "user" },
            "command": { "find": "orders", "filter": { "total": { "$gt": 5_i64 } }, "lsid": { "id": 1 }, "$db": "shop" },
        };
        let Own { running, session, member, .. } = own(&entry, None).unwrap();
        assert_eq!(running.id, "7");
        assert_eq!(running.since.as_deref(), Some("2024-05-01T10:00:00.500Z"));
        assert_eq!(running.query, r#"{ "find": "orders", "filter": { "total": { "$gt": 5 } } }"#);
        assert_eq!((session, member), (Some(Bson::String("session".to_owned())), None));
        let member = ServerAddress::parse("m1:27018").unwrap();
        assert_eq!(own(&entry, Some(&member)).unwrap().running.id, "7@m1:27018");
        assert!(own(&doc! { "active": true }, None).is_none());
        let question = doc! { "aggregate": 1, "pipeline": [{ "$currentOp": { "allUsers": false } }] };
        assert!(own(&doc! { "opid": 8, "command": question }, None).is_none());
    }
}
