//! Where a server is in its history, and notice of when that may have changed.

use std::sync::PoisonError;

use rolecall_engine::{Class, Error, History, HistoryWatch};
use serde::Deserialize;

use crate::Postgres;
use crate::reads::observe::parse_value;
use crate::transport::message::{Message, Reply};
use crate::transport::server::Place;

/// What a server says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct HistoryRow {
    /// The timeline as the names of WAL files begin; none while the server is in recovery, or does not say.
    timeline: Option<String>,
    run: Option<String>,
    position: Option<String>,
    recovery: bool,
}

/// What was read of it.
pub(crate) struct Here {
    pub(crate) history: History,
    pub(crate) primary: bool,
}

/// The timeline in use. That of the last checkpoint (`pg_control_checkpoint`) is the old one for a while after a
/// promotion.
pub(super) fn whole() -> Message {
    Message::one(
        "reading the timeline",
        "SELECT pg_catalog.json_build_object('recovery', r.recovery,
  'timeline', CASE WHEN r.recovery THEN NULL ELSE
    pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END,
  'position', CASE WHEN r.recovery THEN NULL ELSE
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::pg_catalog.text END,
  'run', pg_catalog.pg_postmaster_start_time()::pg_catalog.text)
FROM (SELECT pg_catalog.pg_is_in_recovery() AS recovery) r",
    )
}

/// For a server that hides its WAL.
fn without_wal() -> Message {
    Message::one(
        "reading since when the server runs",
        "SELECT pg_catalog.json_build_object('recovery', pg_catalog.pg_is_in_recovery(),
  'run', pg_catalog.pg_postmaster_start_time()::pg_catalog.text)",
    )
}

impl Postgres {
    pub(crate) async fn history(&self, place: &Place) -> Result<Here, Error> {
        let message = whole();
        match self.server.run(place, &message).await {
            Ok(reply) => here(&reply, &message),
            Err(error) if error.class == Class::Unreachable => Err(error),
            Err(_) => {
                let message = without_wal();
                here(&self.server.run(place, &message).await?, &message)
            }
        }
    }

    /// Keeps a connection where there is one to spare. It is to a database that somebody named, or to the server's own:
    /// one that is kept open keeps its database from being dropped, and `template1` from being copied.
    pub(crate) async fn watch(&self) -> Result<HistoryWatch, Error> {
        let mut broken = self.server.broken();
        let database = self.server.config().default_database.as_deref().unwrap_or("postgres");
        let kept = match self.server.sentinel(database).await {
            Ok(kept) => kept,
            Err(error) if error.class == Class::Unreachable => return Err(error),
            // It is not there, or does not let the admin user in.
            Err(_) => None,
        };
        let mut kept = kept;
        let Here { history, primary } = match &kept {
            Some(connection) => {
                // It is idle all the time, as intended.
                let mut idle = Message::new();
                idle.push("letting a connection be idle", "SET idle_session_timeout = 0");
                self.server.send_on(connection, &idle).await?;
                let message = whole();
                match self.server.send_on(connection, &message).await {
                    Ok(reply) => here(&reply, &message)?,
                    Err(error) if error.class == Class::Unreachable => return Err(error),
                    Err(_) => {
                        let message = without_wal();
                        here(&self.server.send_on(connection, &message).await?, &message)?
                    }
                }
            }
            None => self.history(&self.server.place(None)).await?,
        };
        if primary
            && let Some(before) =
                self.branch.lock().unwrap_or_else(PoisonError::into_inner).replace(history.branch.clone())
            && before != history.branch
        {
            // Connections that are open still may lead to the one before.
            self.server.close_idle();
        }
        // Those that broke until here led to what was there before.
        broken.mark_unchanged();
        let lost = Box::pin(async move {
            let own = async {
                match &mut kept {
                    // It is used for nothing but to notice its end.
                    Some(connection) => while connection.announced().await.is_some() {},
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = broken.changed() => {}
                () = own => {}
            }
        });
        Ok(HistoryWatch { history, primary, lost })
    }
}

fn here(reply: &Reply, message: &Message) -> Result<Here, Error> {
    here_by(reply.value(), message)
}

/// What the answer to this message says.
pub(super) fn here_by(value: Option<&str>, message: &Message) -> Result<Here, Error> {
    let row: HistoryRow = parse_value(value, || message.attempted(0).to_owned())?;
    let timeline = row.timeline.and_then(|hex| u32::from_str_radix(&hex, 16).ok());
    Ok(Here {
        history: History {
            branch: timeline.map_or_else(String::new, |timeline| format!("timeline {timeline}")),
            run: row.run.unwrap_or_default(),
            position: row.position.and_then(|position| position.parse().ok()).unwrap_or(0),
        },
        primary: !row.recovery,
    })
}
