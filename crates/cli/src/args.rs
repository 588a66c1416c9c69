//! Flags and help.

mod audit;
mod completion;
mod get;
mod plan;
mod requests;
mod who_can;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rolecall_api::duration::parse as duration;

use crate::activity::{CANCEL_EXAMPLES, QueriesArgs, StopArgs, TERMINATE_EXAMPLES};
use crate::doctor::DoctorArgs;
use crate::output::{Form, Output};

pub use audit::{AuditArgs, AuditCommand, ReportArgs, VerifyArgs};
pub use completion::{CompletionArgs, ManArgs, Shell};
pub use get::{GetArgs, Kind};
pub use plan::PlanArgs;
pub use requests::{ApproveArgs, DenyArgs, Read, RequestsArgs};
pub use who_can::WhoCanArgs;

/// Who may do what on which database, and why.
///
/// Reads DatabaseAdmins, ProvisioningRoles, DatabaseUsers and DbObjectImportRules of one namespace, and decides by the
/// same rules as the operator.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-rolecall",
    bin_name = "kubectl rolecall",
    version,
    max_term_width = 110,
    after_help = EXIT_STATUS,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

// Each paragraph is one line: they are wrapped to the terminal's width, and a line break of our own would end up in the
// middle of a line.

const EXIT_STATUS: &str = "\
Exit status: 0 done; 1 error, with a message on standard error; 2 the answer is no, if that was requested \
(explain --exit-code, convert --strict, doctor, audit verify), or access grows (plan). connect ends with the status of the client program; \
doctor ends with 3 where nothing is wrong, as far as it could look.";

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The namespace. Default: that of the context; with -f the only one that the files name.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,

    /// The context of the kubeconfig to use.
    #[arg(long, global = true)]
    pub context: Option<String>,

    /// The cluster of the kubeconfig to use. Default: that of the context.
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,

    /// The kubeconfig to use. Default: $KUBECONFIG, which may list several files, else ~/.kube/config, else
    /// in-cluster.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Act as this user in the cluster: a name, or system:serviceaccount:NAMESPACE:NAME.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,

    /// With --as: in this group; repeat it for several.
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate")]
    pub impersonate_groups: Vec<String>,

    /// With --as: with this uid.
    #[arg(long = "as-uid", global = true, value_name = "UID", requires = "impersonate")]
    pub impersonate_uid: Option<String>,

    /// How to print: table, json or yaml; get and ls also: wide; plan also: markdown; report also: csv, html. Default: table;
    /// convert: yaml.
    #[arg(short, long, global = true, value_enum, hide_possible_values = true, value_name = "FORM")]
    pub output: Option<Output>,
}

impl Global {
    /// How to print.
    pub fn output(&self) -> Output {
        self.output.unwrap_or(Output::Table)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a user may do on a database, what gave it, and what took the rest away.
    Explain(ExplainArgs),
    /// List the databases that a user reaches; with -v the database roles allowed on each.
    Ls(LsArgs),
    /// List databases, users, roles or rules, with what follows from all of them together.
    Get(GetArgs),
    /// Show what applying manifests would change: who gains and loses what, and which sessions end.
    Plan(PlanArgs),
    /// List the users that get something on a database or table, and what gives it to them.
    WhoCan(WhoCanArgs),
    /// List the sessions that are live.
    Sessions(SessionsArgs),
    /// End sessions, and wait until the database shows the access gone.
    End(EndArgs),
    /// List the sessions that wait for approval, with who asks for what.
    Requests(RequestsArgs),
    /// Approve exactly what a session asks for.
    Approve(ApproveArgs),
    /// Deny what a session asks for, which is final.
    Deny(DenyArgs),
    /// Show what a session's user runs now.
    Queries(QueriesArgs),
    /// Cancel queries of a session's user; the connections stay.
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel(StopArgs),
    /// End connections of a session's user; the session stays.
    #[command(after_help = TERMINATE_EXAMPLES)]
    Terminate(StopArgs),
    /// Find out what is wrong between the operator and a database server, and how to mend it.
    Doctor(DoctorArgs),
    /// Check the audit log.
    Audit(AuditArgs),
    /// Show who had which access, when, why, and how it ended; and who reaches what.
    Report(ReportArgs),
    /// Convert Teleport's db, role, db_object_import_rule and user YAML to Rolecall's kinds.
    Convert(ConvertArgs),
    /// Start a session, run a client in it, and end the session: psql, mongosh, any other.
    Connect(ConnectArgs),
    /// Print a script that completes commands, flags and names in a shell.
    Completion(CompletionArgs),
    /// Write man pages.
    Man(ManArgs),
}

/// Where the objects come from.
#[derive(Clone, Debug, Default, Args)]
pub struct Source {
    /// Decide offline from these manifests: YAML or JSON files, directories of them, or - for standard input. Objects
    /// of other kinds are ignored. Repeat it for several.
    #[arg(short, long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The name of the cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// What several commands need to know about the cluster.
#[derive(Clone, Debug, Default, Args)]
pub struct Cluster {
    /// This cluster's name, as the operator's --cluster-name: users whose originCluster is another one are called
    /// remote-<username>-<originCluster> in databases.
    #[arg(
        long,
        value_name = "NAME",
        env = "ROLECALL_CLUSTER_NAME",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub cluster_name: String,
}

/// `explain`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub struct ExplainArgs {
    /// The DatabaseUser, by name or by its name in databases.
    #[arg(short, long)]
    pub user: String,

    /// The DatabaseAdmin, by name.
    #[arg(short, long)]
    pub database: String,

    /// The logical database. Left out: what applies to any that the user may reach. Also: --db-name.
    #[arg(long, alias = "db-name", value_name = "NAME")]
    pub database_name: Option<String>,

    /// The database roles that a session would ask for. Default: all that are allowed.
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    pub db_roles: Vec<String>,

    /// Objects of the server, for which to show labels and permissions: a YAML or JSON list of
    /// {kind, database, schema, name}, or CSV lines kind,database,schema,name; - for standard input. kind is table,
    /// view, materialized_view, foreign_table, sequence, function, procedure, schema or collection.
    #[arg(long, value_name = "FILE")]
    pub objects: Option<PathBuf>,

    /// Show labels and permissions of the objects that the logical database has now. They are read from the server as
    /// its admin user, read-only; for that you must be allowed to read the Secrets that the DatabaseAdmin names in
    /// spec.auth and spec.tls.
    #[arg(long, requires = "database_name", conflicts_with_all = ["objects", "files"])]
    pub live: bool,

    /// With --live: connect to this address instead of the server's own, for example that of a port-forward. The
    /// server's certificate must still carry the server's own name.
    #[arg(long, value_name = "HOST:PORT", requires = "live")]
    pub address: Option<String>,

    /// End with status 2 where a session could not start.
    #[arg(long)]
    pub exit_code: bool,

    /// Where the objects come from.
    #[command(flatten)]
    pub source: Source,
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  # What may alice do in horizon on orders, and why not more?
  kubectl rolecall explain -u alice -d orders --database-name horizon

  # On how many objects would she get each privilege, and by what?
  kubectl rolecall explain -u alice -d orders --database-name horizon --live

  # The same before anything is applied, with the permissions on some tables
  kubectl rolecall explain -u alice -d orders --database-name horizon \\
    -f manifests/ --objects tables.csv

  # In a pipeline: status 2 where alice could not start a session
  kubectl rolecall explain -u alice -d orders --exit-code -f manifests/

-o json prints an object of apiVersion cli.rolecall.dev/v1 and kind Explanation, which docs/explain-json.md \
describes. Within v1 fields are added, never changed or removed.";

/// `ls`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = LS_EXAMPLES)]
pub struct LsArgs {
    /// The DatabaseUser, by name or by its name in databases. Default: the one that names you in the cluster.
    #[arg(short, long, env = "ROLECALL_USER", hide_env_values = true)]
    pub user: Option<String>,

    /// Print the database roles allowed on each database and its labels, too.
    #[arg(short, long)]
    pub verbose: bool,

    /// Where the objects come from.
    #[command(flatten)]
    pub source: Source,
}

const LS_EXAMPLES: &str = "\
Examples:
  # Which databases can I reach?
  kubectl rolecall ls

  # Which can alice reach, and with which database roles?
  kubectl rolecall ls -v --user alice";

/// `sessions`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = SESSIONS_EXAMPLES)]
pub struct SessionsArgs {
    /// Of every namespace.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,

    /// Ended and rejected ones, too.
    #[arg(short, long)]
    pub all: bool,

    /// Only of this DatabaseUser.
    #[arg(short, long)]
    pub user: Option<String>,

    /// Only on this DatabaseAdmin.
    #[arg(short, long)]
    pub database: Option<String>,
}

const SESSIONS_EXAMPLES: &str = "\
Examples:
  # Who is on orders now?
  kubectl rolecall sessions --database orders

  # Everything that alice had, ended sessions included
  kubectl rolecall sessions --user alice --all";

/// `end`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = END_EXAMPLES)]
pub struct EndArgs {
    /// The DatabaseSessions, by name.
    #[arg(required = true, value_name = "SESSION")]
    pub sessions: Vec<String>,

    /// Do not wait until the database shows the access gone.
    #[arg(long)]
    pub no_wait: bool,

    /// How long to wait, as a duration such as 90s; longer is an error, and the session keeps ending.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub timeout: std::time::Duration,
}

const END_EXAMPLES: &str = "\
Examples:
  # End a session; back when alice is out
  kubectl rolecall end alice-orders

  # End whatever bob has
  kubectl rolecall end $(kubectl rolecall sessions --user bob -o json |
    jq -r '.items[].metadata.name')";

/// `convert`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct ConvertArgs {
    /// Teleport's YAML or JSON, also as the objects of its Kubernetes operator: files, directories of them, or - for
    /// standard input. Repeat it for several.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// End with status 2 where something could not be carried over, or where the cluster would refuse the result.
    #[arg(long)]
    pub strict: bool,
}

const CONVERT_EXAMPLES: &str = "\
Examples:
  # Everything that Teleport has about databases
  tctl get db,roles,users,db_object_import_rule |
    kubectl rolecall convert -f - > rolecall.yaml

  # The objects of Teleport's Kubernetes operator
  kubectl get teleportrolesv7,teleportdatabasesv3,teleportusers -o yaml |
    kubectl rolecall convert -f -

  # In a pipeline: status 2 where a line of the role has no equal
  kubectl rolecall convert --strict -f role.yaml > rolecall.yaml &&
    kubectl apply -n shop -f rolecall.yaml

What was not carried over, and why, is listed on standard error, and so is what the cluster would refuse. A label \
expression that could not be carried over selects no database in allow and every database in deny, until it is \
written in CEL.";

/// `connect`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = CONNECT_EXAMPLES)]
pub struct ConnectArgs {
    /// The DatabaseAdmin, by name.
    pub database: String,

    /// The DatabaseUser, by name or by its name in databases. Default: the one that names you in the cluster.
    #[arg(short, long, env = "ROLECALL_USER", hide_env_values = true)]
    pub user: Option<String>,

    /// The logical database. Without it mongosh starts in `test`; psql needs it. Also: --database-name.
    #[arg(long, alias = "database-name", value_name = "NAME")]
    pub db_name: Option<String>,

    /// Only these of the allowed database roles. Default: all.
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    pub db_roles: Vec<String>,

    /// How long the session lives at most, as a duration such as 1h.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub ttl: std::time::Duration,

    /// Why the access is needed, for the audit log.
    #[arg(long)]
    pub reason: Option<String>,

    /// Connect to this address instead of the server's own, for example that of a tunnel. The server's certificate must
    /// still carry the server's own name. Default: the server's own where it resolves here; where it is a Service or
    /// a Pod of the cluster, a port that is forwarded through the API server.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,

    /// Run the command after -- instead of psql or mongosh. It finds in its environment how to connect: PGHOST, PGUSER,
    /// PGSSLCERT and so on; with MongoDB MONGODB_URI.
    #[arg(long)]
    pub exec: bool,

    /// Print how to connect instead of running a client, and keep the session until Ctrl-C: env, uri, jdbc or dsn.
    #[arg(long, value_name = "FORM", value_enum, hide_possible_values = true, conflicts_with = "exec")]
    pub print: Option<Form>,

    /// Keep a local port open for clients with windows, such as pgAdmin, DBeaver or Compass, until Ctrl-C, and print
    /// what to enter in them. It logs in with the session's credentials, which are renewed.
    #[arg(long, conflicts_with_all = ["exec", "print", "client_args"])]
    pub proxy: bool,

    /// With --proxy: the local port. Default: a free one.
    #[arg(long, value_name = "PORT", default_value = "0", hide_default_value = true, requires = "proxy")]
    pub port: u16,

    /// The authorities that the server's certificate is checked against, in PEM. Default: those that the session's
    /// status lists, which are the DatabaseAdmin's, else those of the system (psql 16 and later).
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// How long to wait for the session to start, as a duration such as 90s. Where waiting is of no use it is not
    /// waited for.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub timeout: std::time::Duration,

    /// Arguments for psql or mongosh; with --exec the command.
    #[arg(last = true, value_name = "ARGS")]
    pub client_args: Vec<std::ffi::OsString>,

    /// The name of the cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

const CONNECT_EXAMPLES: &str = "\
Examples:
  # psql in horizon on orders, for an hour at most
  kubectl rolecall connect orders --db-name horizon

  # One statement with one role
  kubectl rolecall connect orders --db-name horizon --db-roles reader -- \\
    -c 'select 1'

  # Any other client
  kubectl rolecall connect orders --db-name horizon --exec -- \\
    pg_dump --schema-only

  # A local port for pgAdmin, DBeaver or Compass
  kubectl rolecall connect orders --db-name horizon --proxy --port 15432

  # mongosh on a MongoDB, with one command
  kubectl rolecall connect events --db-name horizon -- \\
    --quiet --eval 'db.orders.countDocuments()'

A server that the cluster reaches by the name of a Service or a Pod is reached by a port-forward through the API server. \
The key never leaves this machine: the session gets a certificate request. On Linux key and certificate lie in memory \
and never in a file system; elsewhere in a directory that only you can read, until the client program ends. No right to \
read Secrets is needed, unless users log in by passwords.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_is_sound_and_has_help() {
        let command = Cli::command();
        command.clone().debug_assert();
        for command in command.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            assert!(command.get_after_help().is_some(), "{} has examples", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
