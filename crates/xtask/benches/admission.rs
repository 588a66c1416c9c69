//! `cargo xtask bench admission`: what the admission policies add to the creation of a session.
//!
//! Two API servers, one with everything of `deploy/` and one with the kinds alone, are asked in turns by a person whose
//! right to create sessions comes from a Role; so that what else the machine does meets both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rolecall_api::DatabaseSession;
use rolecall_testbed::progress::Progress;
use rolecall_testbed::{Cluster, Identity};
use serde_json::json;

/// What a create may cost more.
const BOUND: Duration = Duration::from_millis(2);
/// How long an API server may take to know its policies.
const PATIENCE: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "shop";
const RIGHTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: alice, namespace: shop}
rules:
- {apiGroups: [rolecall.dev], resources: [databasesessions], verbs: [create]}
- {apiGroups: [rolecall.dev], resources: [databaseusers, databaseadmins], resourceNames: [alice, orders], verbs: [connect]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: alice, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: alice}
subjects: [{kind: User, name: alice, apiGroup: rbac.authorization.k8s.io}]
";

#[tokio::main]
async fn main() -> Result<()> {
    // One TLS provider for everything; installing it twice is the only way to fail, and this is the first line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let count = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(500);
    let progress = Progress::start("starting two clusters");
    let (with, without) = (Side::start(true).await?, Side::start(false).await?);
    progress.done();

    let progress = Progress::start("measuring");
    let (mut times_with, mut times_without) = (Vec::new(), Vec::new());
    for number in 0..count {
        progress.detail(format!("{number} of {count}"));
        times_without.push(without.create(number).await?);
        times_with.push(with.create(number).await?);
    }
    progress.done();

    println!("{count} creations of a session, one after the other");
    let (with, without) = (Times::of(times_with), Times::of(times_without));
    println!("with the policies:    {with}");
    println!("without:              {without}");
    let added = with.median.saturating_sub(without.median);
    println!("they add, at median:  {:.2} ms", added.as_secs_f64() * 1e3);
    ensure!(added < BOUND, "that is more than {BOUND:?}");
    Ok(())
}

/// An API server, as a person reaches it.
struct Side {
    sessions: Api<DatabaseSession>,
    _cluster: Cluster,
}

impl Side {
    async fn start(policies: bool) -> Result<Self> {
        let cluster = Cluster::start().await?;
        let deploy = rolecall_xtask::root().join("deploy").display().to_string();
        let crds = format!("{deploy}/crds");
        cluster.kubectl(&["apply", "--server-side", "--filename", &crds]).await?;
        if policies {
            for part in [&deploy, &format!("{deploy}/mutating"), &format!("{deploy}/finalizer")] {
                cluster.kubectl(&["apply", "--server-side", "--kustomize", part]).await?;
            }
        }
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
        cluster.apply(RIGHTS).await?;
        let kubeconfig =
            Kubeconfig::from_yaml(&cluster.kubeconfig_for(&Identity::user("alice", &[])).await?)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // The caller's, where the environment names one.
        config.proxy_url = None;
        let side =
            Self { sessions: Api::namespaced(Client::try_from(config)?, NAMESPACE), _cluster: cluster };
        side.wait(policies).await?;
        Ok(side)
    }

    /// The API server compiles policies, and reads roles, in the background.
    async fn wait(&self, policies: bool) -> Result<()> {
        let begun = Instant::now();
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        loop {
            let forged = self.sessions.create(&dry_run, &session("waiting", Some("somebody else"))?).await;
            let own = self.sessions.create(&dry_run, &session("waiting", None)?).await;
            let written = own.as_ref().is_ok_and(|session| session.spec.requested_by.is_some());
            if own.is_ok() && forged.is_err() == policies && written == policies {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the policies have no effect: {own:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// How long one creation takes.
    async fn create(&self, number: usize) -> Result<Duration> {
        let session = session(&format!("alice-{number}"), None)?;
        let begun = Instant::now();
        self.sessions.create(&PostParams::default(), &session).await.context("creating a session")?;
        Ok(begun.elapsed())
    }
}

fn session(name: &str, requested_by: Option<&str>) -> Result<DatabaseSession> {
    let mut spec = json!({"user": "alice", "database": "orders", "databaseName": "horizon", "ttl": "1h"});
    if let Some(who) = requested_by {
        spec["requestedBy"] = who.into();
    }
    Ok(serde_json::from_value(json!({
        "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    }))?)
}

struct Times {
    median: Duration,
    p95: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        Self { median: at(50), p95: at(95) }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "median {:.2} ms, 95 of 100 within {:.2} ms", ms(self.median), ms(self.p95))
    }
}
