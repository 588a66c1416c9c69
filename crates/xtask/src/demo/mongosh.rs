//! Commands by the machine's own mongosh. Where there is none, by a small client that answers in its form.

use anyhow::Context;
use mongodb::Client;
use mongodb::bson::Document;
use mongodb::error::ErrorKind;

use super::shell::{Answer, Shell};

/// Who asks: the shell variable with the connection string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The superuser.
    Superuser,
    /// The user of the session, with the certificate in the demo's directory.
    Alice,
}

impl Who {
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::Superuser => "SUPERUSER",
            Self::Alice => "ALICE",
        }
    }
}

/// The line for mongosh.
pub(super) fn line(who: Who, database: &str, command: &Document) -> String {
    let variable = who.variable();
    let run = format!("db.getSiblingDB(\"{database}\").runCommand({command})");
    format!("mongosh \"${variable}\" --quiet --eval 'EJSON.stringify({run})'")
}

/// Asks with mongosh where it is installed, else with the built-in client.
pub(super) async fn ask(
    shell: &Shell,
    installed: bool,
    who: Who,
    database: &str,
    command: &Document,
) -> anyhow::Result<Answer> {
    if installed {
        return shell.run(&line(who, database, command)).await;
    }
    let answer = async {
        let client = Client::with_uri_str(shell.variable(who.variable())).await?;
        client.database(database).run_command(command.clone()).await
    };
    Ok(match answer.await {
        Ok(mut answer) => {
            // What concerns drivers alone.
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

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn a_command_is_shown_as_mongosh_takes_it() {
        let command = doc! { "find": "orders", "filter": { "n": { "$gt": 1 } }, "tags": ["a"] };
        assert_eq!(
            line(Who::Alice, "horizon", &command),
            "mongosh \"$ALICE\" --quiet --eval 'EJSON.stringify(db.getSiblingDB(\"horizon\").runCommand(\
             { \"find\": \"orders\", \"filter\": { \"n\": { \"$gt\": 1 } }, \"tags\": [\"a\"] }))'"
        );
    }
}
