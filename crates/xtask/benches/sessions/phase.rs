//! One measured phase: many sessions start, or end, and a watch says when.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use rolecall_api::{DatabaseSession, SessionPhase};
use tokio::sync::mpsc;

use crate::bed::{self, Bed};
use crate::floor::Floor;

/// A phase that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The operator.
    Operator,
    /// A bare client.
    Floor,
}

impl Side {
    /// Where its objects are. The operator watches only its own.
    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::Operator => "bench-operator",
            Self::Floor => "bench-floor",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "operator",
            Self::Floor => "floor",
        })
    }
}

/// What happens to the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// From the request that creates one until a watch shows it Active.
    Start,
    /// From the request that deletes one until a watch shows it gone.
    End,
}

/// How long it took.
#[derive(Clone, Debug)]
pub(crate) struct Timings {
    /// Each session.
    pub(crate) each: Vec<Duration>,
    /// From the first request to the last answer of the watch.
    pub(crate) wall: Duration,
}

/// `count` sessions at once, with `parallel` requests under way.
pub(crate) async fn at_once(
    bed: &Bed,
    floor: &Floor,
    side: Side,
    kind: Kind,
    count: usize,
    parallel: usize,
) -> anyhow::Result<Timings> {
    let mut seen = watch(bed, side, kind).await?;
    let begun = Instant::now();
    let sent = stream::iter(0..count)
        .map(|index| async move {
            let sent = Instant::now();
            act(bed, floor, side, kind, index).await.map(|()| (name(index), sent))
        })
        .buffer_unordered(parallel)
        .try_collect::<HashMap<String, Instant>>();
    let waited = async {
        let mut done = HashMap::new();
        while done.len() < count {
            let (name, at) = next(&mut seen).await?;
            done.entry(name).or_insert(at);
        }
        anyhow::Ok(done)
    };
    let (sent, done) =
        tokio::time::timeout(TIMEOUT, async { tokio::try_join!(sent, waited) }).await.with_context(
            || format!("{kind:?} of {count} sessions took longer than {} s", TIMEOUT.as_secs()),
        )??;
    let each = sent.iter().filter_map(|(name, sent)| Some(done.get(name)?.duration_since(*sent))).collect();
    let last = done.values().max().copied().unwrap_or(begun);
    Ok(Timings { each, wall: last.duration_since(begun) })
}

/// `count` sessions, each when the one before is done.
pub(crate) async fn one_by_one(
    bed: &Bed,
    floor: &Floor,
    side: Side,
    kind: Kind,
    count: usize,
) -> anyhow::Result<Timings> {
    let mut seen = watch(bed, side, kind).await?;
    let begun = Instant::now();
    let mut each = Vec::new();
    for index in 0..count {
        let sent = Instant::now();
        let wanted = async {
            loop {
                let (name, at) = next(&mut seen).await?;
                if name == self::name(index) {
                    return anyhow::Ok(at);
                }
            }
        };
        let both = async { tokio::try_join!(act(bed, floor, side, kind, index), wanted) };
        let ((), at) = tokio::time::timeout(TIMEOUT, both)
            .await
            .with_context(|| format!("{kind:?} of one session took longer than {} s", TIMEOUT.as_secs()))??;
        each.push(at.duration_since(sent));
    }
    Ok(Timings { each, wall: begun.elapsed() })
}

/// Everything that our client does for one session: in the operator's rounds it only creates and deletes it.
async fn act(bed: &Bed, floor: &Floor, side: Side, kind: Kind, index: usize) -> anyhow::Result<()> {
    let sessions: Api<DatabaseSession> = Api::namespaced(bed.client.clone(), side.namespace());
    match kind {
        Kind::Start => {
            let session = serde_json::from_value(bed::session(bed.engine, side, index))?;
            let created = sessions.create(&PostParams::default(), &session).await?;
            if side == Side::Floor {
                floor.start(index, &created).await?;
            }
        }
        Kind::End => {
            sessions.delete(&name(index), &DeleteParams::default()).await?;
            if side == Side::Floor {
                floor.end(index).await?;
            }
        }
    }
    Ok(())
}

/// Watch events about sessions that became Active, or are gone, from now on.
async fn watch(
    bed: &Bed,
    side: Side,
    kind: Kind,
) -> anyhow::Result<mpsc::UnboundedReceiver<(String, Instant)>> {
    let sessions: Api<DatabaseSession> = Api::namespaced(bed.client.clone(), side.namespace());
    let listed = sessions.list_metadata(&kube::api::ListParams::default()).await?;
    let version = listed.metadata.resource_version.unwrap_or_default();
    let (send, receive) = mpsc::unbounded_channel();
    let stream = sessions.watch(&WatchParams::default(), &version).await?;
    // Ends when the receiver is dropped, with the next event.
    tokio::spawn(async move {
        let mut stream = pin!(stream);
        while let Some(event) = stream.next().await {
            let reached = match (kind, event) {
                (Kind::Start, Ok(WatchEvent::Modified(session))) if is_active(&session) => session.name_any(),
                (Kind::End, Ok(WatchEvent::Deleted(session))) => session.name_any(),
                (_, Err(_)) => return,
                _ => continue,
            };
            if send.send((reached, Instant::now())).is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

async fn next(seen: &mut mpsc::UnboundedReceiver<(String, Instant)>) -> anyhow::Result<(String, Instant)> {
    match seen.recv().await {
        Some(event) => Ok(event),
        None => bail!("the watch ended"),
    }
}

fn is_active(session: &DatabaseSession) -> bool {
    session.status.as_ref().is_some_and(|status| status.phase == Some(SessionPhase::Active))
}

/// The name of the session with this number.
pub(crate) fn name(index: usize) -> String {
    format!("s{index:04}")
}
