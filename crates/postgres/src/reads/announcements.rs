//! Changes of objects, as the server announces them: event triggers that the platform engineer installs notify a
//! channel.
//!
//! Only a superuser can create event triggers, so the admin user does not: `deploy/postgresql/announce_objects.sql`
//! does. Everybody can notify the channel. So a message is only a hint that something may have changed, and what it
//! names is only where to look: `transport::announcement` reads it.

use futures::StreamExt;
use rolecall_engine::{Changes, Error};

use crate::Postgres;
use crate::quote::literal;
use crate::transport::message::Message;

/// What the triggers notify.
const CHANNEL: &str = "rolecall_objects";
/// The triggers.
const TRIGGERS: [&str; 2] = ["rolecall_objects_changed", "rolecall_objects_dropped"];

impl Postgres {
    /// Listens on a connection of its own, which counts like any other; at most half of them may do so.
    pub(crate) async fn listen(&self, database: &str) -> Result<Option<Changes>, Error> {
        let Some(connection) = self.server.dedicated(database).await? else { return Ok(None) };
        let mut message = Message::new();
        message.push("listening for changes of objects", format!("LISTEN {CHANNEL}"));
        self.server.send_on(&connection, &message).await?;
        let changes = futures::stream::unfold(connection, |mut connection| async move {
            connection.announced().await.map(|changed| (changed, connection))
        });
        Ok(Some(changes.boxed()))
    }
}

/// An expression: are the triggers there, and do they fire?
pub(crate) fn are_installed() -> String {
    let names = TRIGGERS.map(literal).join(", ");
    format!(
        "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_event_trigger e WHERE e.evtname IN ({names})
    AND e.evtenabled IN ('O', 'A')) = {}",
        TRIGGERS.len()
    )
}
