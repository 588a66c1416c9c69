//! One message on one connection: sent, waited for, and what a missing answer means.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use rolecall_engine::{Class, Error, Reason, kill_point};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::Severity;

use crate::transport::connect::Connection;
use crate::transport::message::{Message, Reply};
use crate::transport::pool::Pool;
use crate::transport::sqlstate;

/// Where a connection that worked has been silent for so long, and the server answers nobody else either, it is
/// considered gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(8);
/// The part of that time in which the server is asked.
pub(crate) const ANSWER: Duration = Duration::from_secs(3);

/// The answer to a message.
pub(crate) struct Answer {
    /// The number of the statement that failed.
    pub(crate) statement: usize,
    pub(crate) result: Result<Reply, tokio_postgres::Error>,
    /// The server was asked to cancel it.
    pub(crate) cancelled: bool,
}

impl Answer {
    /// Sends a message and waits for its answer; `None` where there will be none.
    pub(crate) async fn answer(
        pool: &Arc<Pool>,
        connection: &Connection,
        message: &Message,
        standby_timeout: Duration,
        deadline: Duration,
    ) -> Option<Self> {
        let begun = Instant::now();
        let mut exchange = pin!(exchange(connection, message));
        let mut cancelled = false;
        let mut ask_at = SILENCE - ANSWER;
        loop {
            let may_wait = message.is_replicated() && !cancelled;
            let wake = if may_wait { ask_at.min(standby_timeout) } else { ask_at }.min(deadline);
            tokio::select! {
                biased;
                (statement, result) = &mut exchange => return Some(Self { statement, result, cancelled }),
                () = tokio::time::sleep_until((begun + wake).into()) => {}
            }
            if begun.elapsed() >= deadline {
                return None;
            }
            if may_wait && begun.elapsed() >= standby_timeout {
                cancelled = true;
                tracing::debug!(attempted = message.attempted(0), "it may wait for a standby: cancelling");
                pool.cancel(connection.client.cancel_token());
                continue;
            }
            // The connection worked once. Does the server still answer others?
            tokio::select! {
                biased;
                (statement, result) = &mut exchange => return Some(Self { statement, result, cancelled }),
                answered = tokio::time::timeout(ANSWER, pool.is_answered()) => {
                    if answered != Ok(true) {
                        return None;
                    }
                }
            }
            ask_at = begun.elapsed() + SILENCE - ANSWER;
        }
    }
}

/// Sends a message and reads its answer; with an error, the number of the statement that failed.
pub(crate) async fn exchange(
    connection: &Connection,
    message: &Message,
) -> (usize, Result<Reply, tokio_postgres::Error>) {
    let mut reply = Reply::default();
    let mut rows = Vec::new();
    let (before, text) = connection.text(message);
    let mut done = 0_usize;
    kill_point::reached("postgres.sends", message.attempted(0));
    let stream = match connection.client.simple_query_raw(&text).await {
        Ok(stream) => stream,
        Err(error) => return (0, Err(error)),
    };
    kill_point::reached("postgres.sent", message.attempted(0));
    let mut stream = pin!(stream);
    while let Some(item) = stream.next().await {
        match item {
            Ok(SimpleQueryMessage::Row(row)) => rows.push(row),
            Ok(SimpleQueryMessage::CommandComplete(_)) => {
                let answer = std::mem::take(&mut rows);
                if done >= before && message.asks(done - before) {
                    reply.answers.push(answer);
                }
                done += 1;
            }
            Ok(_) => {}
            Err(error) => return (done.saturating_sub(before), Err(error)),
        }
    }
    kill_point::reached("postgres.answered", message.attempted(0));
    (done.saturating_sub(before), Ok(reply))
}

/// What the server, or the connection, said about a statement.
pub(crate) fn said(attempted: &str, error: &tokio_postgres::Error) -> Error {
    let attempted = attempted.to_owned();
    match error.as_db_error() {
        Some(db) => {
            let code = db.code().code().to_owned();
            // A pooler in between may log in for a statement, and end the connection where it is refused.
            let (class, reason) = match db.parsed_severity() {
                Some(Severity::Fatal | Severity::Panic) => sqlstate::meaning_of_login(&code),
                _ => sqlstate::meaning(&code),
            };
            let detail = match db.detail() {
                Some(detail) => format!("{} ({})", db.message(), detail.replace('\n', ", ")),
                None => db.message().to_owned(),
            };
            Error { class, reason, attempted, code, detail, remedy: String::new() }
        }
        None => {
            let detail = match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            let (class, reason) = (Class::Unreachable, Reason::DatabaseUnreachable);
            Error { class, reason, attempted, code: String::new(), detail, remedy: String::new() }
        }
    }
}
