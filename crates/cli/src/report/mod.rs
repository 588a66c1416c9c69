//! Who had which access, when, why, by which role, asked by whom, approved by whom, and how it ended; and who reaches
//! what.

mod accesses;
mod html;
mod moment;
mod reach;
mod show;
mod spreadsheet;

use anyhow::Context;
use jiff::Timestamp;
use rolecall_api::{DatabaseAdmin, DatabaseSession};
use rolecall_ledger::verify::Options;
use rolecall_ledger::{Accesses, Verification};
use serde::Serialize;

pub use accesses::{Item, Source, items, of_sessions};
pub use html::page;
pub use moment::Moment;
pub use reach::{Change, Reach, ReachItem, changes, reach};
pub use show::table;
pub use spreadsheet::{accesses as accesses_csv, reach as reach_csv};

use crate::Exit;
use crate::args::{Global, ReportArgs};
use crate::audit;
use crate::explain::API_VERSION;
use crate::input::{Cluster, Namespace, name_of, read_manifests};
use crate::output::{self, Output, colour, render};

/// What `report` answers. Its JSON is stable like that of `explain`; `docs/report.md` describes it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `AccessReport`.
    pub kind: &'static str,
    /// When it was made.
    pub made_at: Timestamp,
    /// From when on accesses are listed; `null`: all.
    pub since: Option<Timestamp>,
    /// Until when accesses are listed.
    pub until: Timestamp,
    /// The user that it is about; `null`: all.
    pub user: Option<String>,
    /// The database that it is about; `null`: all.
    pub database: Option<String>,
    /// What it was made from.
    pub sources: Sources,
    /// What it cannot say, and why: sentences.
    pub missing: Vec<String>,
    /// The accesses, in the order in which they began.
    pub accesses: Vec<Item>,
    /// Who reaches what, from policy alone; `null` where no policy was read.
    pub reach: Option<Reach>,
}

/// What a report was made from.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sources {
    /// The audit log; `null`: none was given.
    pub ledger: Option<Ledger>,
    /// The number of DatabaseSessions that were read; `null`: none could be.
    pub sessions: Option<usize>,
}

/// The audit log that a report was made from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// When its first line was written.
    pub from: Option<Timestamp>,
    /// When its last line was written.
    pub until: Option<Timestamp>,
    /// Whether it is whole.
    pub verification: Verification,
}

/// The command.
///
/// # Errors
///
/// A file that cannot be read; without an audit log, a cluster that does not answer.
pub async fn run(global: &Global, args: &ReportArgs) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let report = gather(global, args, now).await?;
    let text = match (global.output(), args.reach) {
        (Output::Csv, false) => accesses_csv(&report)?,
        (Output::Csv, true) => reach_csv(&report)?,
        (Output::Html, _) => page(&report)?,
        (form, reach) => {
            let colour = colour();
            render(&report, form, || table(&report, reach, colour))?
        }
    };
    output::print(&text)?;
    if global.output() == Output::Csv {
        // Nowhere in the file itself: every line of it is a row.
        for missing in &report.missing {
            output::say(format_args!("note: {missing}"));
        }
    }
    Ok(Exit::Done)
}

async fn gather(global: &Global, args: &ReportArgs, now: Timestamp) -> anyhow::Result<Report> {
    let user = args.user.clone();
    let database = args.database.as_deref().map(name_of::<DatabaseAdmin>).transpose()?;
    let mut missing = Vec::new();
    let (mut found, mut sources) = (Accesses::default(), Sources::default());
    if args.ledger.is_empty() {
        missing.push(
            "No audit log was given (-f): accesses of sessions whose objects are gone are not listed."
                .to_owned(),
        );
    } else {
        let lines = audit::read(&args.ledger)?;
        let options = Options { keys: audit::keys(&args.key_file)?, ..Options::default() };
        let verification = audit::check(&lines, &options)?;
        if !verification.ok {
            missing.push(format!(
                "The audit log is not whole: {}.",
                verification.faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join("; ")
            ));
        }
        found = Accesses::of(&lines);
        if found.lost > 0 {
            missing.push(format!("The operator could not write {} lines of the audit log.", found.lost));
        }
        sources.ledger = Some(Ledger { from: found.from, until: found.until, verification });
    }
    let asked = match args.offline {
        true => Err(anyhow::anyhow!(
            "nothing to make a report from: without a cluster (--offline) name an audit log (-f) or --manifests"
        )),
        false => of_cluster(global, args).await,
    };
    let (sessions, mut namespace) = match asked {
        Ok((sessions, namespace)) => {
            sources.sessions = Some(sessions.len());
            (sessions, namespace)
        }
        Err(error) if args.ledger.is_empty() && args.manifests.is_empty() => return Err(error),
        Err(error) => {
            missing.push(match args.offline {
                true => "No cluster was asked: what is live is as the audit log says.".to_owned(),
                false => format!(
                    "The cluster could not be asked, and what is live is as the audit log says: {error:#}."
                ),
            });
            (Vec::new(), None)
        }
    };
    if !args.manifests.is_empty() {
        namespace = Some(manifests(global, &args.manifests)?);
    }
    let until = args.until.as_ref().map_or(now, |moment| moment.at(now));
    let since = args.since.as_ref().map(|moment| moment.at(now));
    if let (Some(since), Some(ledger)) = (since, &sources.ledger)
        && ledger.from.is_none_or(|from| from > since)
    {
        missing.push("The audit log begins after the time that was asked for: accesses before its first line are listed only where their objects are still there.".to_owned());
    }
    let mut accesses = items(found.accesses, &sessions);
    accesses.retain(|item| {
        let access = &item.access;
        access.overlaps(since, Some(until))
            && (args.refused || access.was_given())
            && user.as_ref().is_none_or(|user| [&access.user, &access.username].contains(&user))
            && database.as_ref().is_none_or(|database| access.database == *database)
    });
    let reached = match &mut namespace {
        None => {
            missing.push("No policy was read: who reaches what is not told.".to_owned());
            None
        }
        Some(namespace) => {
            namespace.cluster_name.clone_from(&args.cluster.cluster_name);
            let mut found = reach::reach(namespace, user.as_deref(), database.as_deref());
            if !args.compare.is_empty() {
                let mut before = manifests(global, &args.compare).context("--compare")?;
                before.cluster_name.clone_from(&args.cluster.cluster_name);
                let before = self::reach::reach(&before, user.as_deref(), database.as_deref());
                found.changes = Some(changes(&before, &found));
            }
            Some(found)
        }
    };
    Ok(Report {
        api_version: API_VERSION,
        kind: "AccessReport",
        made_at: now,
        since,
        until,
        user,
        database,
        sources,
        missing,
        accesses,
        reach: reached,
    })
}

/// The sessions of the cluster, and policy where it may be read.
async fn of_cluster(
    global: &Global,
    args: &ReportArgs,
) -> anyhow::Result<(Vec<DatabaseSession>, Option<Namespace>)> {
    let cluster = Cluster::connect(global).await?;
    let api = if args.all_namespaces { cluster.everywhere() } else { cluster.api() };
    let sessions = crate::input::list(api).await?;
    Ok((sessions, cluster.namespace().await.ok()))
}

fn manifests(global: &Global, files: &[std::path::PathBuf]) -> anyhow::Result<Namespace> {
    let (namespace, notes) = read_manifests(files, global.namespace.as_deref())?;
    for note in notes {
        output::say(format_args!("note: {note}"));
    }
    Ok(namespace)
}

#[cfg(test)]
pub(crate) mod samples;
