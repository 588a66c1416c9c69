//! Stopping what the user who is logged in runs, which everybody may do with their own.

use rolecall_engine::{Error, Stop};

use crate::Postgres;
use crate::transport::message::Message;

impl Postgres {
    /// False: this user has no such connection.
    pub(crate) async fn stop_own(&self, id: &str, how: Stop) -> Result<bool, Error> {
        // What is no number is nobody's.
        let Ok(pid) = id.parse::<i32>() else { return Ok(false) };
        let reply = self.server.run(&self.server.place(None), &message(pid, how)).await?;
        Ok(reply.value() == Some("t"))
    }
}

fn message(pid: i32, how: Stop) -> Message {
    let (what, function) = match how {
        Stop::Cancel => ("cancelling what runs in", "pg_cancel_backend"),
        Stop::Terminate => ("ending", "pg_terminate_backend"),
    };
    Message::one(
        format!("{what} the process {pid}"),
        // A number that has passed to somebody else's process meanwhile stops nothing.
        format!(
            "SELECT pg_catalog.{function}(a.pid) FROM pg_catalog.pg_stat_activity a
WHERE a.pid = {pid} AND a.usename = SESSION_USER AND a.pid <> pg_catalog.pg_backend_pid()"
        ),
    )
}
