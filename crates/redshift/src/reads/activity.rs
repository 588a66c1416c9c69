//! What the user who is logged in runs, over all its sessions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rolecall_engine::{Error, Running};

use super::sessions::Session;
use crate::Redshift;
use crate::statements::query;
use crate::transport::rows::{Row, number, text};

impl Redshift {
    pub(crate) async fn running_of_user(&self) -> Result<Vec<Running>, Error> {
        let user = &self.server.config().admin_user;
        let run_in = self.server.target_database(None);
        let statements = [query::own_process(), query::own_sessions(), query::recent_queries()];
        let answers = self.server.read(&run_in, &statements).await?;
        let [own, sessions, queries] = answers.as_slice() else { return Ok(Vec::new()) };
        let own = own.first().map(|row| number(row, 0));
        Ok(running(user, own, sessions, queries))
    }
}

impl Redshift {
    /// The cluster's clock, in microseconds since 1970, to the second.
    pub(crate) async fn read_clock(&self) -> Result<Option<i64>, Error> {
        let rows = self.server.run(&self.server.target_database(None), &query::clock()).await?;
        let at = rows.first().and_then(|row| timestamp(text(row, 0)));
        Ok(at.map(|at| at.as_microsecond()))
    }
}

/// Sessions and the queries in them, without the session that asks.
fn running(user: &str, own: Option<i64>, sessions: &[Row], queries: &[Row]) -> Vec<Running> {
    let is_of = |process: i64, login: &str| {
        own != Some(process) && Session { process, login: login.to_owned() }.is_of(user)
    };
    let queries: BTreeMap<i64, &Row> = queries
        .iter()
        .filter(|row| is_of(number(row, 0), text(row, 2)))
        .map(|row| (number(row, 0), row))
        .collect();
    let mut found: Vec<Running> = sessions
        .iter()
        .filter(|row| is_of(number(row, 0), text(row, 2)))
        .map(|row| {
            let process = number(row, 0);
            let query = queries.get(&process);
            Running {
                id: process.to_string(),
                since: instant(text(query.unwrap_or(&row), 1)),
                active: query.is_some(),
                state: if query.is_some() { "running" } else { "idle" }.to_owned(),
                waits_for: String::new(),
                database: text(row, 3).to_owned(),
                application: String::new(),
                query: query.map(|query| text(query, 3).trim().to_owned()).unwrap_or_default(),
            }
        })
        .collect();
    found.sort_by(|a, b| (!a.active, &a.since).cmp(&(!b.active, &b.since)));
    found
}

/// A time of the cluster, as RFC 3339.
fn instant(text: &str) -> Option<String> {
    timestamp(text).map(|at| format!("{at:.3}"))
}

/// A time of the cluster, which has UTC.
fn timestamp(text: &str) -> Option<Timestamp> {
    let at: DateTime = text.trim().parse().ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rows::tests::row;

    #[test]
    fn a_query_belongs_to_its_session_and_others_are_left_out() {
        let at = "2024-05-01 10:00:00.123456";
        let sessions = [
            row(["1", at, "IAM:alice  ", "app"]),
            row(["2", at, "alice", "dev"]),
            row(["3", at, "bob", "app"]),
            row(["9", at, "alice", "app"]),
        ];
        let queries = [row(["2", at, "alice", "select 1   "]), row(["3", at, "bob", "select secret"])];
        let found = running("alice", Some(9), &sessions, &queries);
        let shown: Vec<_> =
            found.iter().map(|one| (one.id.as_str(), one.state.as_str(), one.query.as_str())).collect();
        assert_eq!(shown, [("2", "running", "select 1"), ("1", "idle", "")]);
        assert_eq!(found[0].since.as_deref(), Some("2024-05-01T10:00:00.123Z"));
    }
}
