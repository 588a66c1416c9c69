//! `cargo xtask bench fairness`: what sessions on healthy servers wait for where a dead and a slow server are beside them.
//!
//! Twenty servers, each behind a way of its own. In turns all of them are healthy, and one hears nothing and another
//! answers 25 s late while sessions wait for both; in each turn sessions start on the other eighteen.

#[path = "common/client.rs"]
mod client;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_chaos::link::{Link, State};
use rolecall_testbed::progress::Progress;
use rolecall_testbed::{Cluster, PgVersion, Postgres};
use rolecall_xtask::operator::{self, Operator, Profile};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The 99th percentile on healthy servers is at most so many times that without servers that are ill.
const BOUND: f64 = 1.3;
/// How long an answer of the slow server takes.
const LATE: Duration = Duration::from_secs(25);
const SERVERS: usize = 20;
/// The last two are those that are ill in turns.
const HEALTHY: usize = SERVERS - 2;
/// People. With no more sessions at a time than these, each has an account of its own on every server.
const USERS: usize = 60;
const NAMESPACE: &str = "bench-fairness";
const ADMIN: &str = "teleport-admin";
const ROLE: &str = "reader";
const PATIENCE: Duration = Duration::from_secs(180);
/// Sessions that start at the same time.
const PARALLEL: usize = 2;
/// So long after they were asked for, the sessions of the servers that are ill are all under way.
const UNDER_WAY: Duration = Duration::from_secs(8);

/// Measures how fair the operator is.
#[derive(Parser)]
#[command(name = "cargo xtask bench fairness", bin_name = "cargo xtask bench fairness")]
struct Args {
    /// Turns of each kind.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Sessions on each healthy server in each turn.
    #[arg(long, default_value_t = 10)]
    each: usize,
    /// Sessions that wait for each of the servers that are ill.
    #[arg(long, default_value_t = 60)]
    waiting: usize,
    /// A binary of the operator that has been built. Default: it is built as a release.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// What cargo gives to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    // One TLS provider for everything; installing it twice is the only way to fail, and this is the first line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let built = args.operator.clone();
    let build = move || built.map_or_else(|| operator::build(Profile::Release), Ok);
    let binary = tokio::task::spawn_blocking(build).await??;

    let progress = Progress::start("starting a cluster and twenty servers");
    let bed = Bed::start(&binary).await?;
    progress.done();

    let progress = Progress::start("measuring");
    let (mut healthy, mut ill) = (Vec::new(), Vec::new());
    for turn in 0..args.turns {
        progress.detail(format!("turn {} of {}, all servers are healthy", turn + 1, args.turns));
        healthy.extend(bed.sessions(args.each).await?);
        progress.detail(format!("turn {} of {}, one is dead and one is slow", turn + 1, args.turns));
        bed.fall_ill(args.waiting).await?;
        ill.extend(bed.sessions(args.each).await?);
        bed.recover().await?;
    }
    progress.done();

    println!("sessions on {HEALTHY} healthy servers, from the request to Active:");
    let (healthy, ill) = (Times::of(healthy), Times::of(ill));
    println!("beside two more healthy ones:    {healthy}");
    println!("beside a dead and a slow one:    {ill}");
    let ratio = |of: fn(&Times) -> Duration| of(&ill).as_secs_f64() / of(&healthy).as_secs_f64();
    let (median, p99) = (ratio(|times| times.median), ratio(|times| times.p99));
    println!("ratio at median {median:.2}, at the 99th percentile {p99:.2}");
    ensure!(p99 <= BOUND, "that is more than {BOUND}: on a busy machine, more turns and sessions say more");
    Ok(())
}

/// How long sessions took.
struct Times {
    count: usize,
    median: Duration,
    p99: Duration,
    longest: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        let longest = times.last().copied().unwrap_or_default();
        Self { count: times.len(), median: at(50), p99: at(99), longest }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let Self { count, median, p99, longest } = self;
        let (median, p99, longest) = (ms(*median), ms(*p99), ms(*longest));
        write!(f, "median {median:.1} ms, p99 {p99:.1} ms, longest {longest:.1} ms ({count} sessions)")
    }
}

/// Everything that runs, in the order in which it is stopped.
struct Bed {
    _operator: Operator,
    client: Client,
    /// A certificate request, in base64.
    request: String,
    /// When a watch showed sessions Active.
    active: Arc<Mutex<HashMap<String, Instant>>>,
    watch: JoinHandle<Result<()>>,
    links: Vec<Link>,
    _servers: Vec<Postgres>,
    _cluster: Cluster,
    _dir: tempfile::TempDir,
}

impl Bed {
    async fn start(binary: &Path) -> Result<Self> {
        let servers: Vec<Postgres> =
            stream::iter(0..SERVERS).map(|_| server()).buffered(4).try_collect().await?;
        let mut links = Vec::new();
        for server in &servers {
            links.push(Link::to(server.port()).await?);
        }
        // No controller manager: then all requests are the operator's, ours, or the API server's own.
        let cluster = Cluster::builder().controllers(&[]).start().await?;
        let deploy = rolecall_xtask::root().join("deploy").display().to_string();
        cluster.kubectl(&["apply", "--server-side", "-k", &deploy]).await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).await?;
        cluster.apply(&objects(&servers, &links)?).await?;
        let client = client::client(&cluster).await?;
        let dir = tempfile::Builder::new().prefix("rolecall-bench-").tempdir()?;
        let args = ["--watch-namespace", NAMESPACE, "--log", "warn,rolecall_operator::http=info"];
        let kubeconfig = operator::kubeconfig(&cluster).await?;
        let log = dir.path().join("operator.log");
        let operator = Operator::start(binary, &kubeconfig, &log, &args, &[]).await?;
        let wait = ["wait", "--for=condition=Ready", "--timeout=120s", "--namespace", NAMESPACE];
        cluster
            .kubectl(&[&wait[..], &["databaseadmins,provisioningroles,databaseusers", "--all"]].concat())
            .await?;
        let key = rcgen::KeyPair::generate()?;
        let request = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
        let active = Arc::default();
        let watch = tokio::spawn(watch(client.clone(), Arc::clone(&active)));
        let request = STANDARD.encode(request);
        Ok(Self {
            _operator: operator,
            client,
            request,
            active,
            watch,
            links,
            _servers: servers,
            _cluster: cluster,
            _dir: dir,
        })
    }

    fn api(&self) -> Api<DatabaseSession> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// So many sessions start on each healthy server, and end; returns how long each took to start.
    async fn sessions(&self, each: usize) -> Result<Vec<Duration>> {
        locked(&self.active).clear();
        let all: Vec<(usize, usize)> =
            (0..each).flat_map(|number| (0..HEALTHY).map(move |server| (server, number))).collect();
        let times = stream::iter(&all)
            .map(|(server, number)| self.start_one(*server, *number))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        for (server, number) in &all {
            self.api().delete(&name(*server, *number), &DeleteParams::default()).await?;
        }
        self.gone(|session| !is_on_ill(session)).await?;
        Ok(times)
    }

    async fn start_one(&self, server: usize, number: usize) -> Result<Duration> {
        let begun = Instant::now();
        self.create(server, number).await?;
        let name = name(server, number);
        while begun.elapsed() < PATIENCE {
            if let Some(at) = locked(&self.active).get(&name) {
                return Ok(at.duration_since(begun));
            }
            ensure!(!self.watch.is_finished(), "the watch ended");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        anyhow::bail!("{name} did not start in {} s", PATIENCE.as_secs())
    }

    async fn create(&self, server: usize, number: usize) -> Result<()> {
        let spec = json!({
            "user": user(server, number), "database": database(server), "databaseName": "postgres",
            "certificateRequest": self.request,
        });
        let session = serde_json::from_value(object("DatabaseSession", &name(server, number), spec))?;
        self.api().create(&PostParams::default(), &session).await.context("creating a session")?;
        Ok(())
    }

    /// Two servers are ill from now on, and so many sessions wait for each.
    async fn fall_ill(&self, waiting: usize) -> Result<()> {
        self.links[HEALTHY].set(State::Silent);
        self.links[HEALTHY + 1].set(State::Slow(LATE));
        for number in 0..waiting {
            self.create(HEALTHY, number).await?;
            self.create(HEALTHY + 1, number).await?;
        }
        tokio::time::sleep(UNDER_WAY).await;
        Ok(())
    }

    /// They are healthy again, and nothing waits for them.
    async fn recover(&self) -> Result<()> {
        self.links.iter().for_each(|link| link.set(State::Whole));
        let waiting = self.api().list(&Default::default()).await?;
        for session in &waiting {
            self.api().delete(&session.name_any(), &DeleteParams::default()).await?;
        }
        self.gone(|_| true).await
    }

    /// Waits until such sessions are gone.
    async fn gone(&self, which: impl Fn(&DatabaseSession) -> bool) -> Result<()> {
        let begun = Instant::now();
        while self.api().list(&Default::default()).await?.iter().any(&which) {
            ensure!(begun.elapsed() < PATIENCE, "sessions do not end");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

/// Notes when sessions become Active.
async fn watch(client: Client, active: Arc<Mutex<HashMap<String, Instant>>>) -> Result<()> {
    let sessions: Api<DatabaseSession> = Api::namespaced(client, NAMESPACE);
    loop {
        let list = sessions.list(&Default::default()).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut events = pin!(sessions.watch(&WatchParams::default(), &version).await?);
        while let Some(event) = events.try_next().await? {
            let (WatchEvent::Added(session) | WatchEvent::Modified(session)) = event else { continue };
            if session.status.as_ref().is_some_and(|status| status.phase == Some(SessionPhase::Active)) {
                locked(&active).entry(session.name_any()).or_insert_with(Instant::now);
            }
        }
    }
}

async fn server() -> Result<Postgres> {
    let server = Postgres::start(PgVersion::V17).await?;
    server.create_admin(ADMIN).await?;
    let role = format!("create role {ROLE}; grant {ROLE} to \"{ADMIN}\" with admin option");
    server.sql("postgres", &role).await?;
    Ok(server)
}

/// Everything but sessions.
fn objects(servers: &[Postgres], links: &[Link]) -> Result<String> {
    let secret = |name: String, kind: &str, data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": NAMESPACE}, "data": data})
    };
    let pair =
        |cert: &str, key: &str| json!({"tls.crt": STANDARD.encode(cert), "tls.key": STANDARD.encode(key)});
    let mut items = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})];
    for (index, (server, link)) in servers.iter().zip(links).enumerate() {
        let (admin, authority) = (server.client_cert(ADMIN)?, server.client_authority());
        let (cert, ca, server_ca) =
            (format!("cert-{index}"), format!("ca-{index}"), format!("server-ca-{index}"));
        items.push(secret(cert.clone(), "kubernetes.io/tls", pair(&admin.cert_pem, &admin.key_pem)));
        items.push(secret(ca.clone(), "kubernetes.io/tls", pair(authority.cert_pem(), authority.key_pem())));
        let data = json!({"ca.crt": STANDARD.encode(server.server_ca_pem())});
        items.push(secret(server_ca.clone(), "Opaque", data));
        let spec = json!({
            "protocol": "postgres", "uri": format!("localhost:{}", link.port()), "labels": {"env": "bench"},
            "adminUser": {"name": ADMIN, "defaultDatabase": "postgres"},
            "tls": {"caSecretRef": {"name": server_ca, "key": "ca.crt"}},
            "auth": {"x509": {"secretRef": {"name": cert}}},
            "userCredentials": {"x509": {"caSecretRef": {"name": ca}, "ttl": "1h"}},
        });
        items.push(object("DatabaseAdmin", &database(index), spec));
    }
    let role = json!({
        "options": {"createDbUserMode": "Keep"},
        "allow": {"dbLabels": {"env": ["bench"]}, "dbNames": ["postgres"], "dbRoles": [ROLE]},
    });
    items.push(object("ProvisioningRole", "reader", role));
    let users = (0..USERS).map(|number| {
        let spec = json!({"username": format!("user{number}@example.com"), "roles": ["reader"]});
        object("DatabaseUser", &format!("user{number}"), spec)
    });
    items.extend(users);
    Ok(serde_json::to_string(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?)
}

fn user(server: usize, number: usize) -> String {
    format!("user{}", (server + number) % USERS)
}

fn database(server: usize) -> String {
    format!("db{server:02}")
}

fn name(server: usize, number: usize) -> String {
    format!("db{server:02}-{number}")
}

fn is_on_ill(session: &DatabaseSession) -> bool {
    (HEALTHY..SERVERS).any(|server| session.spec.database == database(server))
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

// A poisoned lock means that a thread panicked between two plain map operations; what it holds is whole.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
