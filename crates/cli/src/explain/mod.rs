//! What a user may do on a database, what gave it, and what took the rest away.

mod decide;
mod live;
mod roles;
mod show;
mod view;

pub use decide::{Objects, Question, answer};
pub use show::table;
pub use view::*;

use rolecall_api::DatabaseAdmin;

use crate::Exit;
use crate::args::{ExplainArgs, Global};
use crate::input::{Cluster, find_admin, gather, name_of, read_objects, user_of};
use crate::output::{self, colour, render};

/// The command.
///
/// # Errors
///
/// Input that cannot be read, a user or database that does not exist.
pub async fn run(global: &Global, args: &ExplainArgs) -> anyhow::Result<Exit> {
    let (user, database) = (user_of(&args.user)?, name_of::<DatabaseAdmin>(&args.database)?);
    let namespace = gather(global, &args.source).await?;
    find_admin(global, &args.source, &namespace, &database).await?;
    let objects = match (&args.objects, &args.database_name) {
        (Some(file), _) => Some(Objects::of_file(read_objects(file)?)),
        (None, Some(name)) if args.live => {
            let cluster = Cluster::connect(global).await?;
            let admin = namespace.admin(&database)?;
            Some(live::read(&cluster, admin, name, args.address.as_deref()).await?)
        }
        _ => None,
    };
    let question = Question {
        user: &user,
        database: &database,
        database_name: args.database_name.as_deref(),
        requested: &args.db_roles,
        objects,
    };
    let explanation = answer(&namespace, question)?;
    let colour = colour();
    output::print(&render(&explanation, global.output(), || table(&explanation, colour))?)?;
    Ok(if args.exit_code && !explanation.allowed { Exit::Refused } else { Exit::Done })
}
