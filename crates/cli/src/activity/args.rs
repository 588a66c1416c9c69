//! Flags and help of `queries`, `cancel` and `terminate`.

use std::time::Duration;

use clap::Args;
use rolecall_api::duration::parse as duration;

/// How a session's user is reached.
#[derive(Clone, Debug, Args)]
pub struct Way {
    /// Connect to this address instead of the server's own, for example that of a port-forward. The server's
    /// certificate must still carry the server's own name. Not with MongoDB.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,

    /// How long to wait for the login, as a duration such as 90s.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub timeout: Duration,
}

/// `queries`.
#[derive(Clone, Debug, Args)]
#[command(after_help = QUERIES_EXAMPLES)]
pub struct QueriesArgs {
    /// The DatabaseSession, by name.
    pub session: String,

    /// How its user is reached.
    #[command(flatten)]
    pub way: Way,
}

const QUERIES_EXAMPLES: &str = "\
Examples:
  # What does the user of this session run now?
  kubectl rolecall queries alice-orders

  # Which queries have run since before ten o'clock?
  kubectl rolecall queries alice-orders -o json |
    jq '.items[] | select(.active and .since < \"2026-05-01T10:00:00Z\")'

The server is asked as the user itself, who sees all of its connections and nobody else's. For that a session of a few \
minutes is started beside the named one, with the same roles, and ended again; it takes the right to create and delete \
DatabaseSessions. -o json prints an object of apiVersion cli.rolecall.dev/v1 and kind QueryList, which docs/queries.md \
describes.";

/// `cancel` and `terminate`.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// The DatabaseSession, by name.
    pub session: String,

    /// The numbers in the column PID of `queries`. Left out: the only query that runs.
    #[arg(value_name = "PID", conflicts_with = "all")]
    pub pids: Vec<String>,

    /// Everything that the user has there, whatever its number.
    #[arg(long)]
    pub all: bool,

    /// How long to wait until it has stopped, as a duration such as 30s; longer is an error.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub wait: Duration,

    /// How its user is reached.
    #[command(flatten)]
    pub way: Way,
}

/// What follows the flags of `cancel`.
pub const CANCEL_EXAMPLES: &str = "\
Examples:
  # Cancel the one query that runs; the connection stays
  kubectl rolecall cancel alice-orders

  # Cancel one of several
  kubectl rolecall cancel alice-orders 4711

Back when the query is over. Where it does not end by itself in time: kubectl rolecall terminate.";

/// What follows the flags of `terminate`.
pub const TERMINATE_EXAMPLES: &str = "\
Examples:
  # End the connection of a query that does not let itself be cancelled
  kubectl rolecall terminate alice-orders 4711

  # End every connection of the user, and leave the session as it is
  kubectl rolecall terminate alice-orders --all

The client loses its connection, and the open transaction is rolled back. On MongoDB, where no user may close \
connections, the operation ends, and with it the session of the driver with its transaction and cursors. To take the \
access away as well: kubectl rolecall end.";
