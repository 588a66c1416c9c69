//! Users and sessions are made.

use std::time::{Duration, SystemTime};

use anyhow::bail;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Api;
use kube::api::PostParams;
use rolecall_api::{DatabaseSession, DatabaseUser};
use rolecall_testbed::progress::Progress;
use rolecall_xtask::metrics;
use serde_json::json;
use tokio::time::Instant;

use crate::bed::{Bed, NAMESPACE, database, own};
use crate::{Args, Credentials};

/// Requests under way at once.
const PARALLEL: usize = 16;
/// So many sessions are made at once, and this many more than are Active, so that how long they wait hardly moves their ends.
const CHUNK: usize = 50;
const AHEAD: usize = 200;
/// Without any progress for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// When sessions end.
pub(crate) struct Plan {
    first: SystemTime,
    within: Duration,
    size: u32,
}

impl Plan {
    /// Sessions begin now.
    pub(crate) fn new(args: &Args, size: u32) -> Self {
        let setup = args.setup.unwrap_or(240 + size / 20);
        let first = SystemTime::now() + Duration::from_secs(setup.into());
        Self { first, within: Duration::from_secs(args.expire_within.into()), size }
    }

    /// What is left now of a session's time, in seconds: objects know no parts of them.
    fn ttl(&self, index: usize) -> u64 {
        let share = f64::from(u32::try_from(index).unwrap_or(u32::MAX)) / f64::from(self.size.max(1));
        let end = self.first + self.within.mul_f64(share);
        end.duration_since(SystemTime::now()).unwrap_or_default().as_secs().max(1)
    }
}

/// The name of a session, and of its user.
pub(crate) fn name(index: usize) -> String {
    format!("user{index:05}")
}

/// The database user of the user with this number.
pub(crate) fn username(index: usize) -> String {
    format!("user{index:05}@example.com")
}

/// Makes users, and waits until each is Ready.
pub(crate) async fn make_users(bed: &Bed, size: u32, progress: &Progress) -> anyhow::Result<()> {
    let users: Api<DatabaseUser> = Api::namespaced(bed.client.clone(), NAMESPACE);
    let users = &users;
    stream::iter(0..size as usize)
        .map(|index| async move {
            let spec = json!({"username": username(index), "roles": ["reader"]});
            let user = serde_json::from_value(own("DatabaseUser", NAMESPACE, &name(index), spec))?;
            users.create(&PostParams::default(), &user).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    progress.detail("waiting until users are Ready");
    let reconciled = |text: &str| of_kind(text, "user");
    until(bed, f64::from(size), reconciled).await?;
    until(bed, 0.0, |text| -metrics::sum(text, "rolecall_workqueue_depth")).await
}

/// Makes sessions, and waits until each is Active.
pub(crate) async fn make_sessions(
    bed: &Bed,
    size: u32,
    plan: &Plan,
    progress: &Progress,
) -> anyhow::Result<()> {
    let sessions: Api<DatabaseSession> = Api::namespaced(bed.client.clone(), NAMESPACE);
    let sessions = &sessions;
    let all: Vec<usize> = (0..size as usize).collect();
    for chunk in all.chunks(CHUNK) {
        let made = chunk.first().copied().unwrap_or_default();
        progress.detail(format!("{made} of {size} sessions were made"));
        until(bed, count(made.saturating_sub(AHEAD)), active).await?;
        stream::iter(chunk)
            .map(|&index| async move {
                let session = serde_json::from_value(session(bed, index, plan))?;
                sessions.create(&PostParams::default(), &session).await?;
                anyhow::Ok(())
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<_>>()
            .await?;
    }
    until(bed, f64::from(size), active).await
}

fn session(bed: &Bed, index: usize, plan: &Plan) -> serde_json::Value {
    let mut spec = json!({
        "user": name(index), "database": database(bed.server_of(index)),
        "databaseName": bed.engine.logical_database(), "ttl": format!("{}s", plan.ttl(index)),
    });
    if bed.credentials == Credentials::Request {
        spec["certificateRequest"] = json!(bed.request);
    }
    own("DatabaseSession", NAMESPACE, &name(index), spec)
}

/// Waits until a metric of the operator has reached a value.
pub(crate) async fn until(bed: &Bed, wanted: f64, metric: impl Fn(&str) -> f64) -> anyhow::Result<()> {
    let (mut last, mut moved) = (f64::MIN, Instant::now());
    loop {
        let now = metric(&bed.operator()?.get("/metrics").await?);
        if now >= wanted {
            return Ok(());
        }
        if now > last {
            (last, moved) = (now, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            bail!("{now} of {wanted}, and no more for {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Sessions that are Active, as the operator counts them.
fn active(text: &str) -> f64 {
    metrics::parse(text)
        .filter(|metric| metric.name == "rolecall_sessions" && metric.labels.get("phase") == Some(&"Active"))
        .map(|metric| metric.value)
        .sum()
}

/// Reconciles of a kind that succeeded.
pub(crate) fn of_kind(text: &str, kind: &str) -> f64 {
    metrics::parse(text)
        .filter(|metric| {
            let label = |name: &str| metric.labels.get(name).copied().unwrap_or_default();
            metric.name == "rolecall_reconcile_total" && label("kind") == kind && label("result") == "success"
        })
        .map(|metric| metric.value)
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of sessions are far below 2^53")]
fn count(sessions: usize) -> f64 {
    sessions as f64
}
