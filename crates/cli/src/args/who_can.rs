//! The arguments of `who-can`.

use clap::Args;

use super::Source;

/// `who-can`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub struct WhoCanArgs {
    /// The DatabaseAdmin, by name.
    pub database: String,

    /// An object of the server, as DATABASE.SCHEMA.NAME, or SCHEMA.NAME with --db-name; on MongoDB
    /// DATABASE.COLLECTION. A part with a dot in it stands in double quotes. A schema or logical database itself: with
    /// --kind schema DATABASE.NAME.
    #[arg(value_name = "TABLE")]
    pub object: Option<String>,

    /// The logical database: only who may connect to it. Also: --database-name.
    #[arg(long, alias = "database-name", value_name = "NAME")]
    pub db_name: Option<String>,

    /// What the object is: table, view, materialized_view, foreign_table, sequence, function, procedure, schema or
    /// collection. Default: table; on MongoDB collection.
    #[arg(long, value_name = "KIND", requires = "object")]
    pub kind: Option<String>,

    /// Only who has this privilege on the object, such as SELECT or find.
    #[arg(long, value_name = "PRIVILEGE", requires = "object")]
    pub privilege: Option<String>,

    /// List those who get nothing, too, and why.
    #[arg(short, long)]
    pub all: bool,

    /// Where the objects come from.
    #[command(flatten)]
    pub source: Source,
}

const EXAMPLES: &str = "\
Examples:
  # Who gets in on orders, with which database roles, and by what?
  kubectl rolecall who-can orders

  # Who may do what with a table, and by what?
  kubectl rolecall who-can orders horizon.hr.employees

  # Who may write to it?
  kubectl rolecall who-can orders horizon.hr.employees --privilege UPDATE

  # The same for manifests that are not applied yet
  kubectl rolecall who-can orders -f manifests/

-o json prints an object of kind WhoCan, which docs/who-can-json.md describes. What database roles give on objects is \
in the database, and not known here.";
