//! Flags and environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use rolecall_api::duration::parse as duration;

use crate::ledger::Target;

/// The operator: it provisions database users for the DatabaseSessions of a cluster.
///
/// It finds the API server by KUBECONFIG, or in-cluster. Every flag can be set in the environment as well.
#[derive(Clone, Debug, Parser)]
#[command(name = "rolecall-operator", version)]
pub struct Args {
    /// A command other than running the operator.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Watch only this namespace; may be repeated. Default: all namespaces.
    #[arg(long, env = "ROLECALL_WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,

    /// Address that serves /livez, /readyz and /metrics. `[::]` is every address of the machine, including IPv4.
    #[arg(long, env = "ROLECALL_LISTEN", default_value = "[::]:8080")]
    pub listen: SocketAddr,

    /// Format of log lines.
    #[arg(long, env = "ROLECALL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Log filter, as in RUST_LOG: `info`, `rolecall_operator=debug`, ... It says nothing about the audit log.
    #[arg(long, env = "ROLECALL_LOG", default_value = "info")]
    pub log: String,

    /// Where the audit log goes: `stderr`, or the absolute path of a file. While it cannot be written no access is given.
    #[arg(long, env = "ROLECALL_AUDIT_LOG", value_name = "TARGET", default_value = "stderr")]
    pub audit_log: Target,

    /// File with a key of at least 16 bytes that lines of the audit log are sealed with (HMAC-SHA-256), so that nobody
    /// without it can make lines that fit. Default: they are hashed (SHA-256).
    #[arg(long, env = "ROLECALL_AUDIT_KEY_FILE", value_name = "FILE")]
    pub audit_key_file: Option<PathBuf>,

    /// Name of this cluster. DatabaseUsers of another originCluster become remote-<username>-<originCluster>. Accounts are
    /// recorded under this name, so that a rebuilt cluster finds its own again.
    #[arg(long, env = "ROLECALL_CLUSTER_NAME", default_value = "")]
    pub cluster_name: String,

    /// Work only while holding the Lease `rolecall-operator`; needed to run several replicas.
    #[arg(long, env = "ROLECALL_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: bool,

    /// Namespace of the Lease. Default: the operator's own, or `default`.
    #[arg(long, env = "ROLECALL_LEADER_ELECTION_NAMESPACE")]
    pub leader_election_namespace: Option<String>,

    /// How long to try to tear down the accounts of a deleted DatabaseAdmin before its sessions end as Abandoned.
    #[arg(long, env = "ROLECALL_TEARDOWN_DEADLINE", default_value = "5m", value_parser = duration)]
    pub teardown_deadline: Duration,

    /// How often each reachable server is checked even if nothing changed: the privileges of its admin user, and whether
    /// its accounts were changed by somebody else.
    #[arg(long, env = "ROLECALL_RESYNC_INTERVAL", default_value = "1m", value_parser = duration)]
    pub resync_interval: Duration,

    /// How long one reconcile may take before it is cancelled, reported on the object and retried. Should be longer than
    /// the timeouts of a server that does not answer.
    #[arg(long, env = "ROLECALL_RECONCILE_TIMEOUT", default_value = "2m", value_parser = duration)]
    pub reconcile_timeout: Duration,

    /// How long an unused permission set is kept up to date, so that the next session does not have to wait for it.
    #[arg(long, env = "ROLECALL_KEEP_UNUSED_SETS", default_value = "10m", value_parser = duration)]
    pub keep_unused_sets: Duration,

    /// The admission policies of Rolecall are in force in every watched namespace (the chart sets it). Without it nobody can tell
    /// who made a decision, and sessions that need approval do not start.
    #[arg(long, env = "ROLECALL_ADMISSION_ENFORCED", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub admission_enforced: bool,

    /// Maximum number of connections to one database server.
    #[arg(long, env = "ROLECALL_MAX_CONNECTIONS_PER_SERVER", default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub max_connections_per_server: usize,
}

/// A command other than running the operator.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Prints the CustomResourceDefinitions as YAML, for kubectl apply -f -.
    Crds,
    /// Asks a running operator for /readyz, /livez or /metrics, and fails when it does not answer 200.
    Probe {
        /// What to ask for, for example `http://rolecall-operator:8080/readyz`.
        url: http::Uri,
        /// How long to try.
        #[arg(long, default_value = "1m", value_parser = duration)]
        timeout: Duration,
    },
    /// Lets the running operator end every access in the watched namespaces, and start none, so that it can be removed.
    /// Fails where an access could not be ended.
    PrepareUninstall {
        /// How long accesses may take to end.
        #[arg(long, default_value = "4m", value_parser = duration)]
        timeout: Duration,
        /// The kinds are to be deleted too: fail also while objects have finalizers that only an operator takes off.
        #[arg(long)]
        kinds_too: bool,
        /// The Helm release that is to be deleted: fail also while objects in it have such finalizers.
        #[arg(long, value_name = "NAMESPACE/NAME")]
        release: Option<String>,
        /// The MutatingAdmissionPolicyBinding that puts the operator's finalizer on sessions: it is deleted first, so that none
        /// gets it that nobody would take off.
        #[arg(long, value_name = "NAME")]
        finalizer_binding: Option<String>,
        /// Succeed when the time is over, and leave open what could not be ended.
        #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
        force: bool,
    },
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches};

    #[test]
    fn every_flag_is_sound_and_has_help() {
        Args::command().debug_assert();
        for argument in Args::command().get_arguments() {
            assert!(argument.get_help().is_some(), "{}", argument.get_id());
        }
    }

    #[test]
    fn leader_election_can_be_turned_off() {
        let parse = |args: &[&str]| {
            // Whatever the caller's environment says.
            let command = Args::command().mut_args(|argument| argument.env("ROLECALL_UNSET"));
            let matches = command.try_get_matches_from([&["rolecall-operator"], args].concat()).unwrap();
            Args::from_arg_matches(&matches).unwrap()
        };
        assert!(parse(&[]).leader_elect);
        assert!(!parse(&["--leader-elect=false"]).leader_elect);
    }
}
