//! SQL by the machine's own psql. Where there is none, by a small client that answers in psql's form.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use rolecall_testbed::{Certificate, Postgres};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::shell::{Answer, Shell};

/// The shell variable with the superuser's connection string.
pub(super) const SUPERUSER: &str = "SUPERUSER";
/// The shell variable with the connection string of alice.
pub(super) const ALICE: &str = "ALICE";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The database's superuser, in this logical database.
    Superuser(&'static str),
    /// The user of the session, with the certificate in the demo's directory.
    Alice,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sql<'a> {
    /// Statements.
    Text(&'a str),
    /// A file of statements, by its path from the workspace's root.
    File(&'a str),
}

/// The line for psql.
pub(super) fn line(who: Who, sql: Sql<'_>) -> String {
    let connection = match who {
        Who::Superuser(database) => format!("\"${SUPERUSER} dbname={database}\""),
        Who::Alice => format!("\"${ALICE}\""),
    };
    match sql {
        Sql::Text(text) => format!("psql {connection} -c \"{text}\""),
        Sql::File(path) => format!("psql {connection} -q -f {path}"),
    }
}

/// Asks with psql where it is installed, else with the built-in client.
pub(super) async fn ask(
    shell: &Shell,
    installed: bool,
    postgres: &Postgres,
    who: Who,
    sql: Sql<'_>,
) -> anyhow::Result<Answer> {
    if installed {
        return shell.run(&line(who, sql)).await;
    }
    let connected = match who {
        Who::Superuser(database) => postgres.superuser(database).await,
        Who::Alice => postgres.connect("horizon", &certificate(Path::new(shell.variable("DEMO")))?).await,
    };
    let client = match connected {
        Ok(client) => client,
        Err(error) => return Ok(Answer { ok: false, text: format!("psql: error: {error}\n") }),
    };
    let (text, quiet) = match sql {
        Sql::Text(text) => (text.to_owned(), false),
        Sql::File(path) => (std::fs::read_to_string(crate::root().join(path)).context("reading SQL")?, true),
    };
    Ok(query(&client, &text, quiet).await)
}

fn certificate(dir: &Path) -> anyhow::Result<Certificate> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    Ok(Certificate {
        common_name: super::postgres::USERNAME.to_owned(),
        cert_pem: read("tls.crt")?,
        key_pem: read("tls.key")?,
    })
}

async fn query(client: &Client, text: &str, quiet: bool) -> Answer {
    let messages = match client.simple_query(text).await {
        Ok(messages) => messages,
        Err(error) => {
            let text = error.as_db_error().map_or_else(
                || format!("{error}\n"),
                |refusal| format!("{}:  {}\n", refusal.severity(), refusal.message()),
            );
            return Answer { ok: false, text };
        }
    };
    let mut answer = String::new();
    let mut table: Option<Vec<Vec<String>>> = None;
    for message in &messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table = Some(vec![columns.iter().map(|column| column.name().to_owned()).collect()]);
            }
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned());
                table.get_or_insert_default().push(cells.collect());
            }
            SimpleQueryMessage::CommandComplete(_) => {
                if let Some(rows) = table.take().filter(|_| !quiet) {
                    answer.push_str(&render(&rows));
                }
            }
            _ => {}
        }
    }
    Answer { ok: true, text: answer }
}

/// A table as psql draws it; the first row holds the names of the columns.
fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(
                |(cell, &width)| {
                    if index == 0 { format!("{cell:^width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, " {}", cells.join(" | "));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            let _ = writeln!(text, "{}", rules.join("+"));
        }
    }
    let count = rows.len().saturating_sub(1);
    let _ = writeln!(text, "({count} row{})", if count == 1 { "" } else { "s" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_look_like_those_of_psql() {
        let rows = [vec!["name".to_owned(), "n".to_owned()], vec!["Harbour Cafe".to_owned(), "2".to_owned()]];
        assert_eq!(render(&rows), "     name     | n\n--------------+---\n Harbour Cafe | 2\n(1 row)\n");
    }
}
