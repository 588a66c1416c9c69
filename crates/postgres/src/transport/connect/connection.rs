//! A connection that is open.

use std::sync::atomic::Ordering::Relaxed;

use tokio_postgres::SimpleQueryRow;

use super::Connection;
use crate::transport::message::Message;
use crate::transport::session;

impl Connection {
    /// It is given up within a statement.
    pub(crate) fn abandon(&self) {
        if let Some(backend) = &self.backend {
            backend.abandon();
        }
    }

    /// How often the server has warned so far.
    pub(crate) fn warnings(&self) -> u64 {
        self.warnings.load(Relaxed)
    }

    /// The text of a message, and how many statements come before its own.
    pub(crate) fn text(&self, message: &Message) -> (usize, String) {
        let sql = message.sql();
        if self.shared.get().is_none() {
            return (0, sql);
        }
        let before = session::self_contained(&self.config, self.version.dialect, self.prepared, &sql);
        (before.len(), format!("{};\n{sql}", before.join(";\n")))
    }

    /// From now on each message brings along what it needs. False where that is so already.
    pub(crate) fn mark_shared(&self) -> bool {
        self.shared.set(()).is_ok()
    }

    /// The question of what session this is.
    pub(crate) fn question(&self) -> Message {
        Message::one("checking whose session it is", session::identity(&self.config, self.version.dialect))
    }

    /// What has changed in that answer since the session began.
    pub(crate) fn differs(&self, answer: &SimpleQueryRow) -> Option<String> {
        let now = columns(answer);
        if now.first() != self.identity.first() {
            return Some("two messages reached two different sessions".to_owned());
        }
        (now != self.identity).then(|| "settings of the session have changed".to_owned())
    }
}

pub(super) fn columns(row: &SimpleQueryRow) -> Vec<Option<String>> {
    (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()
}
