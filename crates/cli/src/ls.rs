//! The databases that a user reaches.

use std::collections::BTreeMap;

use kube::ResourceExt;
use rolecall_policy::{Database, Mode, Protocol, User, list_reach};
use rolecall_resolve::{Claim, user_spec, username_holder};
use serde::Serialize;

use crate::Exit;
use crate::args::{Global, LsArgs};
use crate::explain::{API_VERSION, BlockedView, NamesView};
use crate::input::{Cluster, Namespace, gather, own_user, user_of};
use crate::output::{self, colour, render};
use crate::table::{Cell, Style, Table};

/// What `ls` answers. Its JSON is stable like that of `explain`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `DatabaseList`.
    pub kind: &'static str,
    /// Name of the DatabaseUser.
    pub user: String,
    /// Its name in databases.
    pub username: String,
    /// What keeps every session of the user from starting.
    pub blocked: Vec<BlockedView>,
    /// The databases that policy lets the user reach and provisions it on, by name.
    pub items: Vec<Reached>,
}

/// A database that the user reaches.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// Name of the DatabaseAdmin.
    pub database: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The logical databases that the user may connect to.
    pub database_names: NamesView,
    /// How the user is provisioned.
    pub mode: Mode,
    /// The database roles that it may have.
    pub db_roles: Vec<String>,
    /// The role that gets what the user owns before it is dropped.
    #[serde(skip)]
    pub reassign_to: Option<String>,
    /// Whether the DatabaseAdmin is suspended, so that no session starts now.
    pub suspended: bool,
}

/// The command.
///
/// # Errors
///
/// Input that cannot be read, a user that does not exist.
pub async fn run(global: &Global, args: &LsArgs) -> anyhow::Result<Exit> {
    let namespace = gather(global, &args.source).await?;
    let user = match &args.user {
        Some(user) => user_of(user)?,
        None if args.source.files.is_empty() => {
            own_user(&Cluster::connect(global).await?, &namespace).await?
        }
        None => anyhow::bail!("which user? name it with --user"),
    };
    let listing = list(&namespace, &user)?;
    let colour = colour();
    let verbose = args.verbose || global.output() == output::Output::Wide;
    output::print(&render(&listing, global.output(), || table(&listing, verbose, colour))?)?;
    if matches!(global.output(), output::Output::Table | output::Output::Wide) {
        for blocked in &listing.blocked {
            output::say(format_args!("{}: {}", blocked.reason, blocked.message));
        }
        if listing.items.is_empty() && listing.blocked.is_empty() {
            output::say(format_args!("No databases that {} may reach.", listing.user));
        }
    }
    Ok(Exit::Done)
}

/// The answer, without I/O.
///
/// # Errors
///
/// A user that does not exist.
pub fn list(namespace: &Namespace, user: &str) -> anyhow::Result<Listing> {
    let user = namespace.user(user)?;
    let username = namespace.username(user);
    let resolved = User::resolve(&user_spec(user, &username), &namespace.compiled_roles_of(user));
    let mut admins: Vec<_> = namespace.admins.iter().collect();
    admins.sort_by_key(|admin| admin.name_any());
    let databases: Vec<Database> = admins.iter().map(|admin| rolecall_resolve::database(admin)).collect();
    let reach = list_reach(&resolved, &databases);
    let items = admins.iter().zip(databases).zip(reach).filter(|(_, reach)| reach.denial.is_none());
    let items = items.map(|((admin, database), reach)| Reached {
        database: database.name,
        protocol: database.protocol,
        labels: database.labels,
        database_names: (&reach.database_names).into(),
        mode: reach.mode,
        db_roles: reach.db_roles.clone(),
        reassign_to: reach.reassign_to.clone(),
        suspended: admin.spec.suspend,
    });
    let items = items.collect();
    let mut blocked = Vec::new();
    if let Claim::Taken(taken) = username_holder(user, &namespace.users, &namespace.cluster_name) {
        blocked.push(taken.into());
    }
    if user.spec.suspend {
        blocked.push(BlockedView {
            reason: rolecall_api::reasons::USER_SUSPENDED.to_owned(),
            message: format!("the DatabaseUser {:?} is suspended; no session starts", user.name_any()),
        });
    }
    if let Some(denial) = resolved.unresolved() {
        blocked.push(BlockedView { reason: denial.reason.to_string(), message: denial.message.clone() });
    }
    Ok(Listing {
        api_version: API_VERSION,
        kind: "DatabaseList",
        user: user.name_any(),
        username,
        blocked,
        items,
    })
}

/// The answer for a terminal.
pub fn table(listing: &Listing, verbose: bool, colour: bool) -> String {
    if listing.items.is_empty() {
        return String::new();
    }
    let mut headings = vec!["DATABASE", "PROTOCOL", "DATABASE NAMES", "MODE"];
    if verbose {
        headings.extend(["DATABASE ROLES", "LABELS"]);
    }
    let mut table = Table::new(&headings);
    for item in &listing.items {
        let names = match (&item.database_names, item.protocol.needs_database_name()) {
            // There no name has to be allowed for a session without one.
            (NamesView::Only(names), false) if names.is_empty() => "-".to_owned(),
            (names, _) => names.to_string(),
        };
        let mode = if item.suspended {
            Cell::new(format!("{} (suspended)", item.mode), Style::Dim)
        } else {
            item.mode.to_string().into()
        };
        let mut row: Vec<Cell> =
            vec![(&item.database).into(), item.protocol.as_str().into(), names.into(), mode];
        if verbose {
            let labels: Vec<String> =
                item.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            row.push(item.db_roles.join(", ").into());
            row.push(labels.join(", ").into());
        }
        table.row(row);
    }
    table.render(colour)
}
