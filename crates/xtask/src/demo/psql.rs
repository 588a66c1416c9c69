//! SQL by the machine's own psql. Where there is none, by a small client that answers in psql's form.

use std::fmt::{self, Write};
use std::path::Path;

use anyhow::Context;
use rolecall_testbed::{Certificate, Postgres};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::shell::{Answer, Shell};
use super::stage::{ALICE, Database, SUPERUSER, USERNAME};

/// Statements, and who sends them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    who: Who,
    sql: Sql,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    /// The superuser, in this logical database.
    Superuser(&'static str),
    /// The user of the session, with the certificate in the demo's directory.
    Alice,
}

#[derive(Clone, Copy, Debug)]
enum Sql {
    Text(&'static str),
    /// A file, by its path from the workspace's root.
    File(&'static str),
}

/// A statement of the superuser in a logical database.
pub(super) fn superuser(database: &'static str, text: &'static str) -> Query {
    Query { who: Who::Superuser(database), sql: Sql::Text(text) }
}

/// A file of statements, by its path from the workspace's root, by the superuser in a logical database.
pub(super) fn superuser_file(database: &'static str, path: &'static str) -> Query {
    Query { who: Who::Superuser(database), sql: Sql::File(path) }
}

/// A statement of the session's user.
pub(super) fn alice(text: &'static str) -> Query {
    Query { who: Who::Alice, sql: Sql::Text(text) }
}

impl Query {
    /// Whether the session's user sends it.
    pub(super) fn is_of_alice(&self) -> bool {
        matches!(self.who, Who::Alice)
    }

    /// Its statements.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(super) fn text(&self) -> anyhow::Result<String> {
        match self.sql {
            Sql::Text(text) => Ok(text.to_owned()),
            Sql::File(path) => {
                let text = std::fs::read_to_string(crate::root().join(path));
                text.with_context(|| format!("reading {path}"))
            }
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who {
            Who::Superuser(database) => write!(f, "psql \"${SUPERUSER} dbname={database}\"")?,
            Who::Alice => write!(f, "psql \"${ALICE}\"")?,
        }
        match self.sql {
            Sql::Text(text) => write!(f, " -c \"{text}\""),
            Sql::File(path) => write!(f, " -q -f {path}"),
        }
    }
}

impl Database for Postgres {
    const CLIENT: &'static str = "psql";
    type Query = Query;

    async fn ask(&self, shell: &Shell, query: &Query) -> anyhow::Result<Answer> {
        let connected = match query.who {
            Who::Superuser(database) => self.superuser(database).await,
            Who::Alice => self.connect("horizon", &certificate(Path::new(shell.variable("DEMO")))?).await,
        };
        let client = match connected {
            Ok(client) => client,
            Err(error) => return Ok(Answer { ok: false, text: format!("psql: error: {error}\n") }),
        };
        Ok(send(&client, &query.text()?, matches!(query.sql, Sql::File(_))).await)
    }
}

fn certificate(dir: &Path) -> anyhow::Result<Certificate> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    Ok(Certificate {
        common_name: USERNAME.to_owned(),
        cert_pem: read("tls.crt")?,
        key_pem: read("tls.key")?,
    })
}

pub(super) async fn send(client: &Client, text: &str, quiet: bool) -> Answer {
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
    fn tables_are_drawn_as_psql_draws_them() {
        let rows = [vec!["name".to_owned(), "n".to_owned()], vec!["Harbour Cafe".to_owned(), "2".to_owned()]];
        assert_eq!(render(&rows), "     name     | n\n--------------+---\n Harbour Cafe | 2\n(1 row)\n");
    }
}
