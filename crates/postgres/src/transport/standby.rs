//! Commits that wait for a synchronous standby.
//!
//! With a synchronous standby lost a commit waits forever: no time-out of the server ends that, its locks stay, and
//! nobody sees the change meanwhile. A wait that is cancelled still succeeds: the change is made on this
//! server, and a failover to a standby that lacks it takes it back.
//!
//! So a login is closed without waiting (`synchronous_commit = local`: it survives a crash of this server). That an
//! access has ended is reported only once a later change has been confirmed: standbys confirm in the order of the log,
//! so that one proves everything before it.

use std::collections::BTreeSet;
use std::time::Duration;

use rolecall_engine::{Class, Error, Reason};

use crate::transport::message::{Message, Reply};

/// How long a commit waits for a synchronous standby: no time-out of the server ends that. It stays committed here.
pub(crate) const STANDBY_TIMEOUT: Duration = Duration::from_secs(2);

/// An expression that lets the commit of the message wait for no standby.
pub(crate) const WAIT_FOR_NONE: &str = "pg_catalog.set_config('synchronous_commit', 'local', true)";

/// An expression: do commits wait for standbys?
pub(crate) const IS_WAITED_FOR: &str = "pg_catalog.current_setting('synchronous_standby_names') <> ''";

/// Did the commit end its wait for the standby early, or may it have?
pub(crate) fn is_doubtful(reply: &Reply) -> bool {
    reply.unconfirmed || reply.warned
}

/// Cancels the waits of our own changes that last for longer than a change of ours waits: whoever made them is gone.
pub(crate) fn cancel_waits() -> Message {
    let mut message = Message::new();
    message.lock_timeout(200);
    message.ask(
        "cancelling changes that wait for a standby",
        format!(
            "SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity a
WHERE a.usename = CURRENT_USER AND a.application_name = 'rolecall' AND a.wait_event = 'SyncRep'
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.query_start < pg_catalog.clock_timestamp() - '{} ms'::pg_catalog.interval",
            STANDBY_TIMEOUT.as_millis()
        ),
    );
    message
}

/// Ends backends of ours that were given up within a statement; returns those that are still there.
pub(crate) fn terminate(abandoned: &BTreeSet<i32>) -> Message {
    let list: Vec<String> = abandoned.iter().map(i32::to_string).collect();
    Message::one(
        "ending what was abandoned",
        format!(
            "SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
WHERE a.usename = CURRENT_USER AND a.application_name = 'rolecall' AND a.pid = ANY (ARRAY[{}]::pg_catalog.int4[])",
            list.join(", ")
        ),
    )
}

/// They do not end.
pub(crate) fn still_there(backends: usize) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: "ending what was abandoned".to_owned(),
        code: String::new(),
        detail: format!("{backends} backends of the admin user may still carry out what they had begun"),
        remedy: "wait, or end them with pg_terminate_backend".to_owned(),
    }
}
