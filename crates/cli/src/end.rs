//! Ending sessions.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use kube::{Api, ResourceExt};
use rolecall_api::{DatabaseSession, conditions};
use tokio::time::timeout;

use crate::Exit;
use crate::args::{EndArgs, Global};
use crate::input::{Cluster, get, name_of, plain, remedy};
use crate::output::{self, Output};

/// The command: deletes the sessions, all at once, and waits until the database showed the access gone, which is when
/// the operator lets the objects go.
///
/// # Errors
///
/// A session that does not exist, or whose end takes longer than the timeout; the others are ended nevertheless.
pub async fn run(global: &Global, args: &EndArgs) -> anyhow::Result<Exit> {
    let cluster = Cluster::connect(global).await?;
    let cluster = &cluster;
    let ends = args.sessions.iter().map(|name| async move {
        let name = &name_of::<DatabaseSession>(name)?;
        let ended = end(cluster, name, args).await;
        if ended.is_ok() && global.output() == Output::Table {
            output::print(&format!("session {name} {}\n", if args.no_wait { "is ending" } else { "ended" }))?;
        }
        ended
    });
    let results = futures::future::join_all(ends).await;
    if global.output() != Output::Table {
        let ended: Vec<&DatabaseSession> = results.iter().flatten().collect();
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": ended});
        output::print(&output::render(&list, global.output(), String::new)?)?;
    }
    let failures: Vec<String> = results
        .into_iter()
        .filter_map(Result::err)
        .map(|error| format!("{error:#}{}", remedy(&error)))
        .collect();
    if failures.is_empty() { Ok(Exit::Done) } else { Err(anyhow!(failures.join("\nerror: "))) }
}

async fn end(cluster: &Cluster, name: &str, args: &EndArgs) -> anyhow::Result<DatabaseSession> {
    let api = cluster.api::<DatabaseSession>();
    let ending = || format!("ending the session {name}");
    let session: DatabaseSession = get(cluster, name).await?;
    let uid = session.uid().unwrap_or_default();
    // A session of the same name that somebody creates meanwhile is another one.
    let same = Preconditions { uid: session.uid(), resource_version: None };
    api.delete(name, &DeleteParams::default().preconditions(same))
        .await
        .map_err(plain)
        .with_context(ending)?;
    if args.no_wait {
        return Ok(session);
    }
    let gone = timeout(args.timeout, await_condition(api.clone(), name, is_deleted(&uid)));
    let waited = tokio::select! {
        waited = gone => waited,
        never = tell(&api, name) => match never {},
    };
    match waited {
        Ok(waited) => waited.map(|_| session).with_context(ending),
        Err(_) => {
            let why = why(&api, name).await.map(|why| format!(" ({why})"));
            Err(anyhow!(
                "the session {name} has not ended after {}{}; it is still ending",
                rolecall_policy::format_duration(args.timeout),
                why.unwrap_or_default()
            ))
        }
    }
}

/// Says again and again what a session that ends waits for, each time that it is something else.
async fn tell(api: &Api<DatabaseSession>, name: &str) -> Infallible {
    /// What takes less needs no words.
    const PAUSE: Duration = Duration::from_secs(3);
    let mut told = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let why =
            why(api, name).await.unwrap_or_else(|| "until the database shows the access gone".to_owned());
        if told.as_ref() != Some(&why) {
            output::say(format_args!("waiting for the end of {name}: {why}"));
            told = Some(why);
        }
    }
}

/// What a session says of itself.
async fn why(api: &Api<DatabaseSession>, name: &str) -> Option<String> {
    let session = api.get_opt(name).await.ok().flatten()?;
    let ready = conditions::find(&session.status?.conditions, conditions::READY)?.clone();
    Some(format!("{}: {}", ready.reason, ready.message))
}
