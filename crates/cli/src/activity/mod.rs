//! What a session's user runs now, and stopping it: asked as that user, who needs no right for it.

mod args;
mod engine;
mod login;
mod view;

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase};
use rolecall_engine::{Activity, Running, Stop};
use tokio::time::{Instant, sleep};

pub use args::{CANCEL_EXAMPLES, QueriesArgs, StopArgs, TERMINATE_EXAMPLES, Way};
pub use view::{QueryList, table};

use crate::Exit;
use crate::args::Global;
use crate::input::{Cluster, get, name_of};
use crate::output::{self, Output, colour, render};
use login::Login;

/// How often to look whether something has stopped.
const POLL: Duration = Duration::from_millis(200);

/// The command `queries`.
///
/// # Errors
///
/// A session that is not live, a login that is refused, what the server answered.
pub async fn queries(global: &Global, args: &QueriesArgs) -> anyhow::Result<Exit> {
    let subject = Subject::read(global, &args.session).await?;
    let running = subject.as_user("queries", &args.way, async |engine| Ok(engine.running().await?)).await?;
    let Some(running) = running else { return Ok(Exit::Other(INTERRUPTED)) };
    let list = subject.list(running);
    let colour = colour();
    output::print(&render(&list, global.output(), || table(&list, colour))?)?;
    if list.items.is_empty() && global.output() == Output::Table {
        output::say(format_args!("{} runs nothing on {}.", list.username, list.database));
    }
    Ok(Exit::Done)
}

/// The commands `cancel` and `terminate`.
///
/// # Errors
///
/// As [`queries`]; nothing of that number, several where none is named, something that does not stop in time.
pub async fn stop(global: &Global, args: &StopArgs, how: Stop) -> anyhow::Result<Exit> {
    let subject = Subject::read(global, &args.session).await?;
    let command = match how {
        Stop::Cancel => "cancel",
        Stop::Terminate => "terminate",
    };
    let stopped = subject
        .as_user(command, &args.way, async |engine| {
            let chosen = choose(engine.running().await?, args, how)?;
            for one in &chosen {
                engine.stop(&one.id, how).await?;
            }
            until_stopped(engine, &chosen, how, args).await?;
            Ok(chosen)
        })
        .await?;
    let Some(stopped) = stopped else { return Ok(Exit::Other(INTERRUPTED)) };
    let list = subject.list(stopped);
    let text = || list.items.iter().map(|item| view::stopped(item, how)).collect::<String>();
    output::print(&render(&list, global.output(), text)?)?;
    if list.items.is_empty() && global.output() == Output::Table {
        output::say(format_args!("{} runs nothing on {}.", list.username, list.database));
    }
    Ok(Exit::Done)
}

/// Exit status after an interruption.
const INTERRUPTED: u8 = 130;

/// Whose queries they are.
struct Subject {
    cluster: Cluster,
    session: DatabaseSession,
    admin: DatabaseAdmin,
}

impl Subject {
    async fn read(global: &Global, session: &str) -> anyhow::Result<Self> {
        let cluster = Cluster::connect(global).await?;
        let session: DatabaseSession = get(&cluster, &name_of::<DatabaseSession>(session)?).await?;
        let phase = session.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
        if phase != SessionPhase::Active {
            bail!(
                "the session {} is {phase:?}, so its user is not in the database by it; those that are: kubectl rolecall sessions",
                session.name_any()
            );
        }
        let admin = get(&cluster, &session.spec.database).await?;
        Ok(Self { cluster, session, admin })
    }

    /// Does something as the user of the session; `None`: it was interrupted.
    async fn as_user<T>(
        &self,
        command: &str,
        way: &Way,
        act: impl AsyncFnOnce(&dyn Activity) -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        let login = Login::new(&self.cluster, &self.session, &self.admin, command, way).await?;
        login
            .run(async |access| {
                let (engine, _through) = engine::of_user(&self.cluster, &self.admin, access, way).await?;
                let done = act(&*engine).await;
                engine.leave().await;
                done
            })
            .await
    }

    fn list(&self, running: Vec<Running>) -> QueryList {
        let username = self.session.status.as_ref().and_then(|status| status.username.clone());
        QueryList::new(&self.session.name_any(), &self.session.spec, username.unwrap_or_default(), running)
    }
}

/// What is meant by the arguments.
fn choose(running: Vec<Running>, args: &StopArgs, how: Stop) -> anyhow::Result<Vec<Running>> {
    if args.all {
        // An idle connection has nothing to cancel.
        return Ok(running.into_iter().filter(|one| one.active || how == Stop::Terminate).collect());
    }
    let listed = |running: &[Running]| running.iter().map(view::line).collect::<Vec<_>>().join("\n");
    if running.is_empty() {
        bail!("this user has no connection to the server, so that there is nothing to stop");
    }
    if args.pids.is_empty() {
        let active: Vec<Running> = running.iter().filter(|one| one.active).cloned().collect();
        return match active.len() {
            1 => Ok(active),
            0 => bail!("no query runs in the connections of this user:\n{}", listed(&running)),
            _ => bail!("several queries run; name one by its number, or --all:\n{}", listed(&active)),
        };
    }
    args.pids
        .iter()
        .map(|pid| {
            let one = running.iter().find(|one| one.id == *pid).ok_or_else(|| {
                anyhow!("this user has nothing of the number {pid}; there is:\n{}", listed(&running))
            })?;
            if how == Stop::Cancel && !one.active {
                bail!(
                    "{pid} runs no query that could be cancelled: it is {}; to end the connection: kubectl rolecall terminate {} {pid}",
                    one.state,
                    args.session
                );
            }
            Ok(one.clone())
        })
        .collect()
}

/// Waits until nothing of it is left.
async fn until_stopped(
    engine: &dyn Activity,
    chosen: &[Running],
    how: Stop,
    args: &StopArgs,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + args.wait;
    loop {
        let now = engine.running().await.context("looking whether it has stopped")?;
        let left: Vec<&Running> = chosen.iter().filter(|one| still_runs(one, &now, how)).collect();
        let Some(first) = left.first() else { return Ok(()) };
        if Instant::now() >= deadline {
            let waited = rolecall_policy::format_duration(args.wait);
            let next = match how {
                Stop::Cancel => {
                    format!("end its connection: kubectl rolecall terminate {} {}", args.session, first.id)
                }
                Stop::Terminate => format!("take the access away: kubectl rolecall end {}", args.session),
            };
            let lines: Vec<String> = left.iter().map(|one| view::line(one)).collect();
            bail!("still there after {waited}; {next}\n{}", lines.join("\n"));
        }
        sleep(POLL).await;
    }
}

/// Is the very query still running, or the very connection still there?
fn still_runs(one: &Running, now: &[Running], how: Stop) -> bool {
    now.iter().any(|other| {
        other.id == one.id && (how == Stop::Terminate || (other.active && other.since == one.since))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(id: &str, active: bool) -> Running {
        Running {
            id: id.to_owned(),
            since: Some("2024-05-01T10:00:00.000Z".to_owned()),
            active,
            state: if active { "active" } else { "idle in transaction" }.to_owned(),
            waits_for: String::new(),
            database: "horizon".to_owned(),
            application: "psql".to_owned(),
            query: format!("SELECT {id}"),
        }
    }

    fn args(pids: &[&str], all: bool) -> StopArgs {
        StopArgs {
            session: "s".to_owned(),
            pids: pids.iter().map(|pid| (*pid).to_owned()).collect(),
            all,
            wait: Duration::from_secs(1),
            way: Way { address: None, timeout: Duration::from_secs(1) },
        }
    }

    #[test]
    fn what_is_not_named_must_be_clear() {
        let ids = |chosen: anyhow::Result<Vec<Running>>| {
            chosen
                .map(|chosen| chosen.into_iter().map(|one| one.id).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        let all = vec![running("1", true), running("2", false)];
        let both = vec![running("1", true), running("3", true)];
        assert_eq!(ids(choose(all.clone(), &args(&[], false), Stop::Cancel)), Ok(vec!["1".to_owned()]));
        let error = ids(choose(both, &args(&[], false), Stop::Cancel)).unwrap_err();
        assert!(error.contains("several queries") && error.contains("SELECT 3"), "{error}");
        let error = ids(choose(vec![running("2", false)], &args(&[], false), Stop::Cancel)).unwrap_err();
        assert!(error.contains("no query runs") && error.contains("idle in transaction"), "{error}");
        for pids in [&[][..], &["7"]] {
            let error = ids(choose(Vec::new(), &args(pids, false), Stop::Cancel)).unwrap_err();
            assert!(error.contains("no connection to the server"), "{error}");
        }
        let error = ids(choose(all.clone(), &args(&["7"], false), Stop::Terminate)).unwrap_err();
        assert!(error.contains("nothing of the number 7"), "{error}");
        let error = ids(choose(all.clone(), &args(&["2"], false), Stop::Cancel)).unwrap_err();
        assert!(error.contains("kubectl rolecall terminate s 2"), "{error}");
        assert_eq!(ids(choose(all.clone(), &args(&["2"], false), Stop::Terminate)), Ok(vec!["2".to_owned()]));
        assert_eq!(ids(choose(all.clone(), &args(&[], true), Stop::Cancel)), Ok(vec!["1".to_owned()]));
        assert_eq!(ids(choose(all, &args(&[], true), Stop::Terminate)).map(|ids| ids.len()), Ok(2));
    }

    #[test]
    fn the_next_query_of_a_connection_is_another_one() {
        let one = running("1", true);
        let next = Running { since: Some("2024-05-01T10:00:09.000Z".to_owned()), ..one.clone() };
        assert!(still_runs(&one, std::slice::from_ref(&one), Stop::Cancel));
        assert!(!still_runs(&one, std::slice::from_ref(&next), Stop::Cancel));
        assert!(still_runs(&one, &[next], Stop::Terminate));
        assert!(!still_runs(&one, &[running("1", false)], Stop::Cancel));
        assert!(!still_runs(&one, &[running("2", true)], Stop::Terminate));
    }
}
