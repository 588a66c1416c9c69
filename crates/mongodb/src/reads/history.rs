//! Where a replica set is in its history, and notice of when that may have changed.

use mongodb::bson::{Bson, Document};
use rolecall_engine::{Error, History, HistoryWatch};

use crate::Mongodb;
use crate::transport::server::hello;

impl Mongodb {
    pub(crate) async fn watch(&self) -> Result<HistoryWatch, Error> {
        let mut primaries = self.server.primaries();
        // Only a primary, or a server that is alone, takes this.
        let answer = self.server.run(&hello()).await?;
        self.server.speaks(&answer);
        primaries.mark_unchanged();
        let lost = Box::pin(async move {
            // The driver is gone: so is whoever watches.
            let _ = primaries.changed().await;
        });
        Ok(HistoryWatch { history: history(&answer), primary: true, lost })
    }
}

/// What a `hello` of the primary says of it.
pub(crate) fn history(hello: &Document) -> History {
    let term = hello.get_object_id("electionId").ok().map(|id| {
        // Its last eight bytes; those before say that it is a term.
        let bytes = id.bytes();
        bytes[4..].iter().fold(0_u64, |term, byte| term << 8 | u64::from(*byte))
    });
    let run = hello.get_document("topologyVersion").and_then(|version| version.get_object_id("processId"));
    let optime = hello
        .get_document("lastWrite")
        .and_then(|write| write.get_document("opTime"))
        .ok()
        .and_then(|optime| optime.get("ts"))
        .and_then(Bson::as_timestamp);
    History {
        branch: term.map_or_else(String::new, |term| format!("term {term}")),
        run: run.map_or_else(|_| String::new(), |id| id.to_hex()),
        position: optime.map_or(0, |ts| u64::from(ts.time) << 32 | u64::from(ts.increment)),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{Timestamp, doc};

    use super::*;

    #[test]
    fn an_election_is_another_branch_and_a_restart_another_run() {
        let election = |hex: &str| ObjectId::parse_str(hex).unwrap();
        let process = ObjectId::new();
        let found = history(&doc! {
            "electionId": election("7fffffff0000000000000102"),
            "topologyVersion": { "processId": process, "counter": 6_i64 },
            "lastWrite": { "opTime": { "ts": Timestamp { time: 2, increment: 3 }, "t": 258_i64 } },
        });
        let expected =
            History { branch: "term 258".to_owned(), run: process.to_hex(), position: (2 << 32) + 3 };
        assert_eq!(found, expected);
        assert_eq!(history(&doc! { "isWritablePrimary": true }), History::default());
    }
}
