//! The arguments of `audit` and `report`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Cluster;
use crate::report::Moment;

/// `audit`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AUDIT_EXAMPLES)]
pub struct AuditArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What to do with an audit log.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no line is missing, changed, repeated or in another place.
    Verify(VerifyArgs),
}

/// `audit verify`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct VerifyArgs {
    /// The audit log: files as the operator or a container runtime wrote them, or what a collector made of them; - for
    /// standard input, such as that of kubectl logs. Their order does not matter. Other lines are passed over.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The key that the operator seals lines with (--audit-key-file). With it, a chain that is not sealed is a fault.
    /// Repeat it where the key was changed.
    #[arg(long, value_name = "FILE")]
    pub key_file: Vec<PathBuf>,

    /// A line that has to be there, as CHAIN:NUMBER:HASH: what you wrote down of an earlier check. Repeat it for several.
    #[arg(long, value_name = "LINE")]
    pub head: Vec<String>,

    /// The namespace of the operator: the last line that it published on its Lease there has to be there, so that
    /// an end that was cut off shows.
    #[arg(long, value_name = "NAMESPACE")]
    pub lease: Option<String>,

    /// The oldest lines have to be there, too: none was deleted because it was old.
    #[arg(long)]
    pub complete: bool,
}

const AUDIT_EXAMPLES: &str = "\
Examples:
  # Is anything missing in the audit log?
  kubectl rolecall audit verify audit.jsonl --lease rolecall-system";

const VERIFY_EXAMPLES: &str = "\
Examples:
  # A file and those that it was before, beside what the operator published
  kubectl rolecall audit verify /var/log/rolecall/audit.jsonl* --lease rolecall-system

  # What the Pods have written since they started
  kubectl logs -n rolecall-system -l app.kubernetes.io/name=rolecall --tail=-1 --prefix |
    kubectl rolecall audit verify -

Exit status: 0 nothing is wrong; 2 something is, and each line says which line and why; 1 it could not be checked. \
docs/audit.md says what a chain of hashes shows and what it does not.";

/// `report`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = REPORT_EXAMPLES)]
pub struct ReportArgs {
    /// Accesses since then: a duration before now such as 90d or 12h, a date, or a time (RFC 3339). Default: all.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,

    /// Accesses until then, likewise. Default: now.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Moment>,

    /// The audit log, as audit verify takes it: files, or - for standard input. Without it, only what DatabaseSessions
    /// that are still there say.
    #[arg(short = 'f', long = "ledger", value_name = "FILE")]
    pub ledger: Vec<PathBuf>,

    /// The key that the audit log is sealed with.
    #[arg(long, value_name = "FILE", requires = "ledger")]
    pub key_file: Vec<PathBuf>,

    /// Only of this DatabaseUser, or of this user in databases.
    #[arg(short, long)]
    pub user: Option<String>,

    /// Only on this DatabaseAdmin.
    #[arg(short, long)]
    pub database: Option<String>,

    /// Sessions of every namespace. Who reaches what is told of one namespace.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,

    /// Ask no cluster: the audit log alone, and policy from --manifests.
    #[arg(long)]
    pub offline: bool,

    /// Who reaches what, from these manifests instead of the cluster: files, or directories of them. Repeat it for
    /// several.
    #[arg(long, value_name = "FILE")]
    pub manifests: Vec<PathBuf>,

    /// What changed in who reaches what since these manifests, such as those of an earlier commit.
    #[arg(long, value_name = "FILE")]
    pub compare: Vec<PathBuf>,

    /// In tables and CSV: who reaches what, instead of accesses.
    #[arg(long)]
    pub reach: bool,

    /// What was asked for and refused, too.
    #[arg(long)]
    pub refused: bool,

    /// The name of the cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

const REPORT_EXAMPLES: &str = "\
Examples:
  # Who had which access in the last quarter? A page for an auditor
  kubectl rolecall report -A --since 90d -f audit.jsonl -o html > report.html

  # The same for a spreadsheet, about one database
  kubectl rolecall report --since 90d -f audit.jsonl --database orders -o csv

  # Who reaches what now, and what changed since a tag
  git worktree add /tmp/then v1.4 &&
    kubectl rolecall report --reach --compare /tmp/then/databases

An access is listed once, however often its lines stand there. Times are the latest at which the database had been \
read back. -o json prints an object of kind AccessReport, which docs/report.md describes.";
