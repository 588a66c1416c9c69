//! The arguments of `get`.

use clap::{Args, ValueEnum};

use super::Source;

/// `get`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GetArgs {
    /// What to list: databases, users, roles or rules; also by the names that kubectl takes, such as dba or
    /// databaseusers.
    #[arg(value_enum, ignore_case = true, hide_possible_values = true)]
    pub kind: Kind,

    /// Only these, by name.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Where the objects come from.
    #[command(flatten)]
    pub source: Source,
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// DatabaseAdmins.
    #[value(aliases = ["database", "dba", "databaseadmin", "databaseadmins"])]
    Databases,
    /// DatabaseUsers.
    #[value(aliases = ["user", "dbu", "databaseuser", "databaseusers"])]
    Users,
    /// ProvisioningRoles.
    #[value(aliases = ["role", "prole", "provisioningrole", "provisioningroles"])]
    Roles,
    /// DbObjectImportRules.
    #[value(aliases = ["rule", "doir", "dbobjectimportrule", "dbobjectimportrules"])]
    Rules,
}

const EXAMPLES: &str = "\
Examples:
  # Which databases are there, who reaches them, who is on them now?
  kubectl rolecall get databases

  # What does each role select and give?
  kubectl rolecall get roles -o wide

  # The same of manifests that are not applied yet
  kubectl rolecall get users -f manifests/

kubectl get shows what an object says of itself. This shows what follows from all of them together. -o json prints an \
object of kind RowList, which docs/get-json.md describes. For sessions: kubectl rolecall sessions.";
