//! How queries are shown.

use rolecall_api::DatabaseSessionSpec;
use rolecall_engine::{Running, Stop};
use serde::Serialize;

use crate::explain::API_VERSION;
use crate::table::{Cell, Style, Table};

/// The most characters of a query in a table.
const SHOWN: usize = 100;

/// What `queries` answers, and what `cancel` and `terminate` stopped. Its JSON is stable like that of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryList {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `QueryList`.
    pub kind: &'static str,
    /// Name of the DatabaseSession.
    pub session: String,
    /// Name of the DatabaseUser.
    pub user: String,
    /// Its name in the database.
    pub username: String,
    /// Name of the DatabaseAdmin.
    pub database: String,
    /// The connections of the user with what they do; on MongoDB its operations.
    pub items: Vec<QueryView>,
}

/// A connection of a user, and what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryView {
    /// What `cancel` and `terminate` take.
    pub pid: String,
    /// Since when it has been in this state, as RFC 3339.
    pub since: Option<String>,
    /// It runs a query at this moment.
    pub active: bool,
    /// The state in the server's words.
    pub state: String,
    /// What it waits for, in the server's words.
    pub waits_for: Option<String>,
    /// The logical database; on MongoDB the collection.
    pub database_name: String,
    /// The client program, as it called itself.
    pub application: Option<String>,
    /// The query; of an idle connection of PostgreSQL its last one.
    pub query: String,
}

impl QueryList {
    pub(super) fn new(
        session: &str,
        spec: &DatabaseSessionSpec,
        username: String,
        running: Vec<Running>,
    ) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "QueryList",
            session: session.to_owned(),
            user: spec.user.clone(),
            username,
            database: spec.database.clone(),
            items: running.into_iter().map(QueryView::from).collect(),
        }
    }
}

impl From<Running> for QueryView {
    fn from(running: Running) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            pid: running.id,
            since: running.since,
            active: running.active,
            state: running.state,
            waits_for: some(running.waits_for),
            database_name: running.database,
            application: some(running.application),
            query: running.query,
        }
    }
}

/// The answer for a terminal.
pub fn table(list: &QueryList, colour: bool) -> String {
    if list.items.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["PID", "SINCE", "STATE", "DATABASE", "WAITS FOR", "QUERY"]);
    for item in &list.items {
        let style = if item.active { Style::Good } else { Style::Dim };
        table.row(vec![
            (&item.pid).into(),
            item.since.as_deref().unwrap_or("-").into(),
            Cell::new(&item.state, style),
            (&item.database_name).into(),
            item.waits_for.as_deref().unwrap_or("-").into(),
            one_line(&item.query).into(),
        ]);
    }
    table.render(colour)
}

/// A connection in a message.
pub(super) fn line(running: &Running) -> String {
    let since = running.since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
    let query = one_line(&running.query);
    let query = if query.is_empty() { String::new() } else { format!(": {query}") };
    // Both come from the database, and must not be able to drive the reader's terminal.
    crate::table::visible(&format!("  {} {}{since}{query}", running.id, running.state))
}

/// What was done to a connection.
pub(super) fn stopped(item: &QueryView, how: Stop) -> String {
    let what = match how {
        Stop::Cancel => "cancelled",
        Stop::Terminate => "terminated",
    };
    format!("{}\n", crate::table::visible(&format!("{what} {}: {}", item.pid, one_line(&item.query))))
}

fn one_line(query: &str) -> String {
    let words = query.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &words[..at]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_one_line() {
        let running = |id: &str, active: bool, query: &str| Running {
            id: id.to_owned(),
            since: Some("2024-05-01T10:00:00.123Z".to_owned()),
            active,
            state: if active { "active" } else { "idle" }.to_owned(),
            waits_for: if active { "Lock: relation".to_owned() } else { String::new() },
            database: "horizon".to_owned(),
            application: String::new(),
            query: query.to_owned(),
        };
        let long = format!("select\n  {}", "x".repeat(200));
        let spec: DatabaseSessionSpec =
            serde_json::from_value(serde_json::json!({"user": "alice", "database": "orders"})).expect("one");
        let running = vec![running("4711", true, &long), running("4712", false, "select '\u{1b}[2J'")];
        let list = QueryList::new("alice-orders", &spec, "alice@example.com".to_owned(), running);
        insta::assert_snapshot!(table(&list, false));
        insta::assert_snapshot!("json", serde_json::to_string_pretty(&list).expect("JSON"));
    }
}
