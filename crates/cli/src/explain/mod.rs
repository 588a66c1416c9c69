//! What a user may do on a database, what gave it, and what took the rest away.

mod decide;
mod roles;
mod show;
mod view;

pub use decide::{Question, answer};
pub use show::table;
pub use view::*;

use crate::Exit;
use crate::args::{ExplainArgs, Global};
use crate::input::{gather, read_objects};
use crate::output::{self, colour, render};

/// The command.
///
/// # Errors
///
/// Input that cannot be read, a user or database that does not exist.
pub async fn run(global: &Global, args: &ExplainArgs) -> anyhow::Result<Exit> {
    let namespace = gather(global, &args.source).await?;
    let objects = args.objects.as_deref().map(read_objects).transpose()?;
    let question = Question {
        user: &args.user,
        database: &args.database,
        database_name: args.database_name.as_deref(),
        requested: &args.db_roles,
        objects,
    };
    let explanation = answer(&namespace, question)?;
    let colour = colour();
    output::print(&render(&explanation, global.output(), || table(&explanation, colour))?)?;
    Ok(if args.exit_code && !explanation.allowed { Exit::Refused } else { Exit::Done })
}
