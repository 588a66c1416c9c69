//! Commands by the machine's own mongosh. Where there is none, by a small client that answers in its form.

use std::fmt;

use anyhow::Context;
use mongodb::Client;
use mongodb::bson::Document;
use mongodb::error::ErrorKind;
use rolecall_testbed::Mongo;

use super::shell::{Answer, Shell};
use super::stage::{ALICE, Database, SUPERUSER};

/// A command, the logical database that it is for, and who sends it.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// The shell variable with the sender's connection string.
    variable: &'static str,
    database: &'static str,
    command: Document,
}

/// A command of the superuser.
pub(super) fn superuser(database: &'static str, command: Document) -> Query {
    Query { variable: SUPERUSER, database, command }
}

/// A command of the session's user, with the certificate in the demo's directory.
pub(super) fn alice(database: &'static str, command: Document) -> Query {
    Query { variable: ALICE, database, command }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, database, command } = self;
        let run = format!("db.getSiblingDB(\"{database}\").runCommand({command})");
        write!(f, "mongosh \"${variable}\" --quiet --eval 'EJSON.stringify({run})'")
    }
}

impl Database for Mongo {
    const CLIENT: &'static str = "mongosh";
    type Query = Query;

    async fn ask(&self, shell: &Shell, query: &Query) -> anyhow::Result<Answer> {
        let answer = async {
            let client = Client::with_uri_str(shell.variable(query.variable)).await?;
            client.database(query.database).run_command(query.command.clone()).await
        };
        Ok(match answer.await {
            Ok(mut answer) => {
                // Only drivers need these.
                answer.remove("$clusterTime");
                answer.remove("operationTime");
                let text = serde_json::to_string(&answer).context("reading the answer")?;
                Answer { ok: true, text: format!("{text}\n") }
            }
            Err(error) => {
                let text = match &*error.kind {
                    ErrorKind::Command(refused) => refused.message.clone(),
                    ErrorKind::Authentication { message, .. } => message.clone(),
                    kind => kind.to_string(),
                };
                Answer { ok: false, text: format!("MongoServerError: {text}\n") }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn a_command_is_shown_as_mongosh_takes_it() {
        let command = doc! { "find": "orders", "filter": { "n": { "$gt": 1 } }, "tags": ["a"] };
        assert_eq!(
            alice("horizon", command).to_string(),
            "mongosh \"$ALICE\" --quiet --eval 'EJSON.stringify(db.getSiblingDB(\"horizon\").runCommand(\
             { \"find\": \"orders\", \"filter\": { \"n\": { \"$gt\": 1 } }, \"tags\": [\"a\"] }))'"
        );
    }
}
