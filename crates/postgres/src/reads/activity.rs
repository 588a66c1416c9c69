//! What the user who is logged in runs, over all its connections.

use rolecall_engine::{Error, Running};
use serde::Deserialize;

use crate::Postgres;
use crate::reads::observe::parse;
use crate::transport::message::Message;

#[derive(Deserialize)]
struct Row {
    pid: i32,
    since: Option<String>,
    state: Option<String>,
    waits_for: Option<String>,
    database: Option<String>,
    application: Option<String>,
    query: Option<String>,
}

impl Postgres {
    pub(crate) async fn running_of_user(&self) -> Result<Vec<Running>, Error> {
        let message = message();
        let reply = self.server.run(&self.server.place(None), &message).await?;
        let rows: Vec<Row> = parse(&reply, || message.attempted(0).to_owned())?;
        Ok(rows.into_iter().map(Running::from).collect())
    }
}

impl From<Row> for Running {
    fn from(row: Row) -> Self {
        let state = row.state.unwrap_or_default();
        let active = matches!(state.as_str(), "active" | "fastpath function call");
        Self {
            id: row.pid.to_string(),
            since: row.since,
            active,
            state,
            // An idle connection waits for its client, which says nothing.
            waits_for: row.waits_for.filter(|_| active).unwrap_or_default(),
            database: row.database.unwrap_or_default(),
            application: row.application.unwrap_or_default(),
            query: row.query.unwrap_or_default(),
        }
    }
}

/// Those of the user itself are shown in full to everybody.
fn message() -> Message {
    Message::one(
        "reading what the user runs",
        "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object('pid', a.pid,
'since', pg_catalog.to_char(COALESCE(CASE WHEN a.state = 'active' THEN a.query_start ELSE a.state_change END, a.backend_start)
  AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
'state', a.state,
'waits_for', a.wait_event_type || ': ' || a.wait_event,
'database', a.datname,
'application', a.application_name,
'query', a.query) ORDER BY a.state IS DISTINCT FROM 'active', a.query_start, a.pid), '[]')
FROM pg_catalog.pg_stat_activity a
WHERE a.usename = SESSION_USER AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_type = 'client backend'",
    )
}
