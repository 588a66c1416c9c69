//! The sessions that are live.

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, SessionPhase, conditions};
use serde::Serialize;

use crate::Exit;
use crate::args::{Global, SessionsArgs};
use crate::input::{Cluster, Namespace, name_of};
use crate::output::{self, Output, colour, render};
use crate::table::{Cell, Style, Table};

/// Sessions as kubectl lists objects.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionList {
    /// `v1`.
    pub api_version: &'static str,
    /// `List`.
    pub kind: &'static str,
    /// The DatabaseSessions.
    pub items: Vec<DatabaseSession>,
}

/// The command.
///
/// # Errors
///
/// An API server that does not answer.
pub async fn run(global: &Global, args: &SessionsArgs) -> anyhow::Result<Exit> {
    let mut args = args.clone();
    args.user = args.user.as_deref().map(name_of::<DatabaseUser>).transpose()?;
    args.database = args.database.as_deref().map(name_of::<DatabaseAdmin>).transpose()?;
    let args = &args;
    let cluster = Cluster::connect(global).await?;
    let api = if args.all_namespaces { cluster.everywhere() } else { cluster.api() };
    let list = select(crate::input::list(api).await?, args);
    let colour = colour();
    let now = Timestamp::now();
    output::print(&render(&list, global.output(), || table(&list, args.all_namespaces, now, colour))?)?;
    if list.items.is_empty() {
        if !args.all_namespaces {
            warn_of_wrong_names(&cluster, args).await;
        }
        if global.output() != Output::Table {
            return Ok(Exit::Done);
        }
        match args.all_namespaces {
            true => output::say("No sessions found."),
            false => {
                output::say(format_args!("No sessions found in namespace {}.", cluster.namespace_name()))
            }
        }
    }
    Ok(Exit::Done)
}

/// Says so if nothing was found because the name is wrong; says nothing to a user who may not read these objects.
async fn warn_of_wrong_names(cluster: &Cluster, args: &SessionsArgs) {
    let objects = Namespace {
        name: Some(cluster.namespace_name().to_owned()),
        users: crate::input::list(cluster.api()).await.unwrap_or_default(),
        admins: crate::input::list(cluster.api()).await.unwrap_or_default(),
        ..Namespace::default()
    };
    let user = args.user.as_ref().filter(|_| !objects.users.is_empty()).map(|name| {
        objects
            .users
            .iter()
            .any(|user| user.name_any() == *name)
            .then_some(())
            .ok_or_else(|| objects.no_user(name))
    });
    let admin = args
        .database
        .as_ref()
        .filter(|_| !objects.admins.is_empty())
        .map(|name| objects.admin(name).map(drop));
    for error in [user, admin].into_iter().flatten().filter_map(Result::err) {
        output::say(format_args!("note: {error}"));
    }
}

/// The requested sessions, by namespace and name.
pub fn select(mut sessions: Vec<DatabaseSession>, args: &SessionsArgs) -> SessionList {
    sessions.retain(|session| {
        (args.all || is_live(session))
            && args.user.as_ref().is_none_or(|user| session.spec.user == *user)
            && args.database.as_ref().is_none_or(|database| session.spec.database == *database)
    });
    sessions.sort_by_cached_key(|session| (session.namespace(), session.name_any()));
    for session in &mut sessions {
        // Of use to the API server only; kubectl hides them too.
        session.metadata.managed_fields = None;
    }
    SessionList { api_version: "v1", kind: "List", items: sessions }
}

/// The sessions for a terminal: the columns of `kubectl get`.
pub fn table(list: &SessionList, namespaces: bool, now: Timestamp, colour: bool) -> String {
    if list.items.is_empty() {
        return String::new();
    }
    let mut headings = vec!["NAME", "USER", "DATABASE", "DBNAME", "PHASE", "EXPIRES", "REASON", "AGE"];
    if namespaces {
        headings.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&headings);
    for session in &list.items {
        let status = session.status.clone().unwrap_or_default();
        let phase = phase(session);
        let style = match phase {
            SessionPhase::Active => Style::Good,
            SessionPhase::Rejected => Style::Bad,
            SessionPhase::Ended => Style::Dim,
            _ => Style::Plain,
        };
        let reason =
            conditions::find(&status.conditions, conditions::READY).map(|ready| ready.reason.clone());
        let created = session.creation_timestamp().map(|time| time.0);
        let mut row: Vec<Cell> = vec![
            session.name_any().into(),
            (&session.spec.user).into(),
            (&session.spec.database).into(),
            session.spec.database_name.as_deref().unwrap_or("-").into(),
            Cell::new(format!("{phase:?}"), style),
            status.expires_at.map_or("-".to_owned(), |time| until(now, time.0)).into(),
            reason.unwrap_or_default().into(),
            created.map_or("-".to_owned(), |created| span(now.duration_since(created))).into(),
        ];
        if namespaces {
            row.insert(0, session.namespace().unwrap_or_default().into());
        }
        table.row(row);
    }
    table.render(colour)
}

fn phase(session: &DatabaseSession) -> SessionPhase {
    session.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

fn is_live(session: &DatabaseSession) -> bool {
    !matches!(phase(session), SessionPhase::Ended | SessionPhase::Rejected)
}

fn until(now: Timestamp, end: Timestamp) -> String {
    if end <= now { "now".to_owned() } else { format!("in {}", span(end.duration_since(now))) }
}

/// A length of time in its two largest units, as kubectl writes ages.
pub(crate) fn span(length: jiff::SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    let rest = |amount: i64, unit: char| if amount > 0 { format!("{amount}{unit}") } else { String::new() };
    match () {
        () if days >= 8 => format!("{days}d"),
        () if days >= 2 => format!("{days}d{}", rest(hours % 24, 'h')),
        () if hours >= 3 => format!("{hours}h{}", rest(minutes % 60, 'm')),
        () if minutes >= 10 => format!("{minutes}m"),
        () if minutes >= 2 => format!("{minutes}m{}", rest(seconds % 60, 's')),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_like_those_of_kubectl() {
        let spans = [5, 119, 125, 700, 3_600, 3 * 3_600 + 60, 49 * 3_600, 9 * 86_400];
        let texts: Vec<_> =
            spans.iter().map(|seconds| span(jiff::SignedDuration::from_secs(*seconds))).collect();
        assert_eq!(texts, ["5s", "119s", "2m5s", "11m", "60m", "3h1m", "2d1h", "9d"]);
    }
}
