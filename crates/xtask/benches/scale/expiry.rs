//! All sessions expire in one minute: when is each access gone?
//!
//! Three clocks, which are one: the catalogue shows the login gone (each server is asked five times in a second, by somebody
//! who is not the operator), the audit log says that it was proven, and a watch shows the session Ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use futures::TryStreamExt;
use futures::future::try_join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_testbed::progress::Progress;
use serde_json::Value;

use crate::bed::{Bed, NAMESPACE};
use crate::figures::{Delays, Expiry};
use crate::gauge::Gauges;
use crate::load::{name, username};
use crate::observer::Observer;

/// How often each server is asked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Objects in one answer.
const PAGE: u32 = 500;
/// How long after the last expiry the last access may end.
const PATIENCE: Duration = Duration::from_secs(300);
/// What follows later is counted, too.
const SETTLE: Duration = Duration::from_secs(16);
const SAID_EVERY: Duration = Duration::from_millis(500);

/// Milliseconds since 1970.
pub(crate) type Millis = i64;

/// Waits for the expiries, and measures them.
pub(crate) async fn measure(bed: &Bed, size: u32, progress: &Progress) -> anyhow::Result<Expiry> {
    let (due, version) = due(bed).await?;
    let (Some(first), Some(last)) = (due.values().min().copied(), due.values().max().copied()) else {
        bail!("no session expires");
    };
    let left = first - now();
    if due.len() != size as usize || left < 2_000 {
        bail!(
            "{} of {size} sessions are live, and the first expires in {left} ms: allow more time with --setup",
            due.len()
        );
    }
    progress.detail(format!("the first session expires in {} s", left / 1_000));
    tokio::time::sleep(Duration::from_millis(u64::try_from(left - 2_000)?)).await;
    let before = Gauges::read(bed).await?;
    let ends = ends(bed, version, &due, progress);
    let looks = try_join_all(bed.servers.iter().map(async |server| look(Observer::new(server).await?).await));
    let patience = Duration::from_millis(u64::try_from(last - now())?) + PATIENCE;
    let all = async { tokio::try_join!(ends, looks) };
    let (ended, gone) = tokio::select! {
        all = tokio::time::timeout(patience, all) => all.context("waiting for the last end")??,
        ended = bed.operator_ended() => return Err(ended),
    };
    let gone: HashMap<String, Millis> = gone.into_iter().flatten().collect();
    tokio::time::sleep(SETTLE).await;
    let spent = Gauges::read(bed).await?.since(&before);
    let by_user: HashMap<String, Millis> =
        (0..size as usize).filter_map(|index| Some((username(index), *due.get(&name(index))?))).collect();
    Ok(Expiry {
        within_ms: last - first,
        gone: Delays::of(&by_user, &gone),
        proven: Delays::of(&due, &proven(&std::fs::read_to_string(bed.operator()?.log())?)),
        ended: Delays::of(&due, &ended),
        spent,
    })
}

/// When each session expires, by its status, and from which version on to watch.
async fn due(bed: &Bed) -> anyhow::Result<(HashMap<String, Millis>, String)> {
    let sessions: Api<DatabaseSession> = Api::namespaced(bed.client.clone(), NAMESPACE);
    let (mut due, mut params) = (HashMap::new(), ListParams::default().limit(PAGE));
    loop {
        let page = sessions.list(&params).await?;
        for session in &page.items {
            let status = session.status.as_ref().filter(|status| status.phase == Some(SessionPhase::Active));
            if let Some(Time(at)) = status.and_then(|status| status.expires_at.as_ref()) {
                due.insert(session.name_any(), at.as_millisecond());
            }
        }
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok((due, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}

/// When a watch showed each session Ended.
async fn ends(
    bed: &Bed,
    version: String,
    due: &HashMap<String, Millis>,
    progress: &Progress,
) -> anyhow::Result<HashMap<String, Millis>> {
    let sessions: Api<DatabaseSession> = Api::namespaced(bed.client.clone(), NAMESPACE);
    let (mut ended, mut said) = (HashMap::new(), SystemTime::now());
    let mut version = version;
    loop {
        let mut events = pin!(sessions.watch(&WatchParams::default(), &version).await?);
        while let Some(event) = events.try_next().await? {
            let session = match event {
                WatchEvent::Modified(session) => session,
                WatchEvent::Error(error) => bail!("the watch failed: {error}"),
                _ => continue,
            };
            version = session.resource_version().unwrap_or(version);
            let phase = session.status.as_ref().and_then(|status| status.phase);
            if phase == Some(SessionPhase::Ended) {
                ended.entry(session.name_any()).or_insert_with(now);
            }
            if said.elapsed().is_ok_and(|since| since > SAID_EVERY) {
                said = SystemTime::now();
                progress.detail(format!("{} of {} sessions ended", ended.len(), due.len()));
            }
            if ended.len() == due.len() {
                return Ok(ended);
            }
        }
    }
}

/// When a server showed each access gone; until it shows none.
async fn look(observer: Observer<'_>) -> anyhow::Result<HashMap<String, Millis>> {
    let (mut gone, mut before) = (HashMap::new(), HashSet::new());
    loop {
        let usable = observer.usable().await?;
        let at = now();
        gone.extend(before.difference(&usable).map(|name: &String| (name.clone(), at)));
        if usable.is_empty() {
            return Ok(gone);
        }
        before = usable;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// When the audit log says that each access is proven to be gone.
fn proven(log: &str) -> HashMap<String, Millis> {
    let lines = log.lines().filter(|line| line.starts_with('{') && line.contains(r#""event":"ended""#));
    lines
        .filter_map(|line| {
            let line: BTreeMap<String, Value> = serde_json::from_str(line).ok()?;
            let Time(at) = serde_json::from_value(line.get("time")?.clone()).ok()?;
            let is_proven = line.get("proven") == Some(&Value::Bool(true));
            is_proven.then_some((line.get("session")?.as_str()?.to_owned(), at.as_millisecond()))
        })
        .collect()
}

/// What the clock shows.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
