//! Flags and help of `doctor`.

use clap::Args;

/// `doctor`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// The DatabaseAdmin, by name.
    pub database: String,

    /// Print one script that mends what the admin user lacks, for a DBA to read and to run: SQL for psql, on MongoDB
    /// commands for mongosh. Nothing is run here.
    #[arg(long, conflicts_with = "output")]
    pub fix_sql: bool,

    /// Connect to this address instead of the server's own, for example that of a port-forward. The server's
    /// certificate must still carry the server's own name. Not with MongoDB.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  # What is wrong with orders?
  kubectl rolecall doctor orders

  # What its admin user lacks, as a script for a DBA
  kubectl rolecall doctor orders --fix-sql > orders.sql

  # In a pipeline: only what is wrong
  kubectl rolecall doctor orders -o json |
    jq -r '.checks[] | select(.status == \"failed\") | .message'

It shows what the operator says, and what is seen from here: the address, TLS with each certificate, and, as the admin \
user, the login, its rights, poolers, the clock, event triggers and pg_hba.conf. For what takes a login you must be \
allowed to read the Secrets that the DatabaseAdmin names in spec.auth and spec.tls; without that the rest is shown, and \
what could not be looked at. Nothing is changed, neither in the cluster nor on the server.

Exit status: 0 everything was looked at, and nothing is wrong (there may be warnings); 1 doctor itself failed, for \
example as there is no such DatabaseAdmin; 2 something is wrong; 3 nothing is wrong as far as it could look. -o json \
prints an object of apiVersion cli.rolecall.dev/v1 and kind Diagnosis, which docs/doctor.md describes.";
