//! Who is inside.

use jiff::Timestamp;

use super::{Reader, Row, Value};
use crate::redshift::catalog::{DEFAULT_DATABASE, RDSDB, RDSDB_ID};

/// A session of the server itself, which is always there.
const OWN_PROCESS: i64 = 1_073_741_001;

/// A time as the server writes it.
pub(super) fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// One's own sessions; all with ACCESS SYSTEM TABLE or SYSLOG ACCESS UNRESTRICTED.
pub(super) fn stv_sessions(reader: &Reader<'_>) -> Vec<Row> {
    let all = reader.sees_system_tables() || reader.sees_syslog();
    let row = |at: Timestamp, process: i64, login: &str, database: &str| {
        vec![
            Value::Text(shown(at)),
            Value::Int(process),
            Value::text(login),
            Value::text(database),
            Value::Int(0),
        ]
    };
    let own = all.then(|| row(Timestamp::UNIX_EPOCH, OWN_PROCESS, RDSDB, DEFAULT_DATABASE));
    let sessions = reader.state.sessions.values().filter(|session| all || session.user == reader.user());
    let others = sessions
        .map(|session| row(session.started, i64::from(session.process), &session.login, &session.database));
    own.into_iter().chain(others).collect()
}

/// What runs now in one's own sessions; in all with SYSLOG ACCESS UNRESTRICTED. What is over is left out.
pub(super) fn stv_recents(reader: &Reader<'_>) -> Vec<Row> {
    let now = reader.state.now();
    let sessions = reader.state.sessions.values();
    let seen = sessions.filter(|session| reader.sees_syslog() || session.user == reader.user());
    seen.filter_map(|session| {
        let (text, since) = session.query.as_ref()?;
        let microseconds = i64::try_from(now.duration_since(*since).as_micros()).unwrap_or(i64::MAX);
        Some(vec![
            Value::id(session.user),
            Value::text("Running"),
            Value::Text(shown(*since)),
            Value::Int(microseconds),
            Value::Text(reader.catalog.user_name(session.user)),
            Value::text(session.database.as_str()),
            Value::text(text.as_str()),
            Value::Int(i64::from(session.process)),
        ])
    })
    .collect()
}

/// What was going on 300 ms ago.
pub(super) fn pg_stat_activity(reader: &Reader<'_>) -> Vec<Row> {
    let row = |database: &str, process: i64, user: u32, at: Timestamp| {
        vec![
            Value::Int(100_000),
            Value::text(database),
            Value::Int(process),
            Value::id(user),
            Value::Text(reader.catalog.user_name(user)),
            Value::text("<IDLE>"),
            Value::Text(shown(at)),
        ]
    };
    let own = row(DEFAULT_DATABASE, OWN_PROCESS, RDSDB_ID, Timestamp::UNIX_EPOCH);
    let activity = reader.state.activity();
    let others = activity
        .iter()
        .map(|session| row(&session.database, i64::from(session.process), session.user, session.started));
    std::iter::once(own).chain(others).collect()
}
