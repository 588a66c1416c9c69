//! Lists of objects with what follows from all of them together: who reaches what, and who is there now.

mod rows;

pub use rows::{Row, RowList, rows};

use rolecall_api::DatabaseSession;

use crate::Exit;
use crate::args::{GetArgs, Global};
use crate::input::{Cluster, gather};
use crate::output::{self, Output, colour, render};
use crate::table::{Cell, Style, Table};

/// The command.
///
/// # Errors
///
/// Input that cannot be read, a name that nothing has.
pub async fn run(global: &Global, args: &GetArgs) -> anyhow::Result<Exit> {
    let namespace = gather(global, &args.source).await?;
    let sessions = match args.source.files.is_empty() {
        // Who may not read them is told the rest.
        true => crate::input::list::<DatabaseSession>(Cluster::connect(global).await?.api()).await.ok(),
        false => None,
    };
    let list = rows(&namespace, args.kind, &args.names, sessions.as_deref())?;
    let (wide, colour) = (global.output() == Output::Wide, colour());
    output::print(&render(&list, global.output(), || table(&list, wide, colour))?)?;
    if list.items.is_empty() && matches!(global.output(), Output::Table | Output::Wide) {
        output::say("Nothing found.");
    }
    Ok(Exit::Done)
}

/// The list for a terminal; `wide`: with all columns.
pub fn table(list: &RowList, wide: bool, colour: bool) -> String {
    let shown = |row: &Row| if wide { row.columns.len() } else { row.narrow };
    let Some(first) = list.items.first() else { return String::new() };
    let mut headings = vec!["NAME".to_owned()];
    headings.extend(first.columns.iter().take(shown(first)).map(|(name, _)| heading(name)));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(&headings);
    for row in &list.items {
        let cells = row.columns.iter().take(shown(row)).map(|(_, value)| match value.as_str() {
            "" => Cell::new("-", Style::Dim),
            "yes" => Cell::yes(true),
            "no" => Cell::yes(false),
            text => text.into(),
        });
        table.row([Cell::from(&row.name)].into_iter().chain(cells));
    }
    table.render(colour)
}

/// `dbRoles` as `DB ROLES`.
fn heading(name: &str) -> String {
    let mut heading = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            heading.push(' ');
        }
        heading.push(c.to_ascii_uppercase());
    }
    heading
}
