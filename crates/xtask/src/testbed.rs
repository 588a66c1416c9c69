//! `cargo xtask testbed`: components that stay up in the background.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rolecall_testbed::progress::Progress;
use rolecall_testbed::{
    Certificate, Cluster, KubernetesVersion, Mongo, MongoAdmin, PgVersion, Postgres, cache_dir, components,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

/// What to do with the background components.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Starts a cluster, PostgreSQL servers and a MongoDB replica set, and prints how to reach them.
    Up(Wanted),
    /// Stops what `up` started and removes its data.
    Down,
    /// Tells again how to reach what `up` started.
    Status,
    /// Builds every component into the cache and starts nothing.
    Prepare,
    /// Holds the components for `up`.
    #[command(hide = true)]
    Hold(Wanted),
}

/// Which components to start.
#[derive(Clone, clap::Args)]
struct Wanted {
    /// Only these PostgreSQL versions, for example `--postgres 16,17`.
    #[arg(long, value_delimiter = ',', default_value = "15,16,17,18", value_parser = parse_version)]
    postgres: Vec<PgVersion>,
    /// So many members of the MongoDB replica set; 0 for none.
    #[arg(long, default_value_t = 1, value_name = "MEMBERS")]
    mongo: usize,
    /// No Kubernetes cluster.
    #[arg(long)]
    no_cluster: bool,
}

impl Wanted {
    /// The arguments that say the same.
    fn arguments(&self) -> Vec<String> {
        let versions: Vec<String> = self.postgres.iter().map(|version| version.major().to_string()).collect();
        let mut arguments =
            vec![format!("--postgres={}", versions.join(",")), format!("--mongo={}", self.mongo)];
        if self.no_cluster {
            arguments.push("--no-cluster".to_owned());
        }
        arguments
    }
}

/// What the background process reports about itself once everything is up.
#[derive(Serialize, Deserialize)]
struct State {
    pid: i32,
    text: String,
}

/// Runs one action.
///
/// # Errors
/// When a component cannot be built, started or stopped.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let files = UpFiles::new()?;
    match args.action {
        Action::Up(wanted) => up(&files, wanted).await,
        Action::Down => down(&files),
        Action::Status => status(&files),
        Action::Prepare => tokio::task::spawn_blocking(|| components::prepare_all(&KubernetesVersion::ALL))
            .await?
            .context("preparing the components"),
        Action::Hold(wanted) => hold(&files, &wanted).await,
    }
}

/// The files by which `up`, `down` and the holder find each other.
struct UpFiles {
    dir: PathBuf,
}

impl UpFiles {
    fn new() -> anyhow::Result<Self> {
        let dir = cache_dir()?.join("up");
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir })
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The holder keeps this file locked for as long as it lives, so a stale state is never taken for a live one.
    fn lock(&self) -> anyhow::Result<File> {
        let path = self.dir.join("lock");
        File::create(&path).with_context(|| format!("opening {}", path.display()))
    }

    fn is_running(&self) -> anyhow::Result<bool> {
        Ok(self.lock()?.try_lock().is_err())
    }

    /// What the living holder says; none when there is no holder or it is not ready.
    fn read(&self) -> anyhow::Result<Option<State>> {
        if !self.is_running()? {
            return Ok(None);
        }
        let Ok(text) = fs::read_to_string(self.state()) else { return Ok(None) };
        Ok(Some(serde_json::from_str(&text).context("reading the state of the testbed")?))
    }
}

async fn up(files: &UpFiles, wanted: Wanted) -> anyhow::Result<()> {
    if let Some(state) = files.read()? {
        println!("already up (stop it with `cargo xtask testbed down`)\n\n{}", state.text);
        return Ok(());
    }
    if files.is_running()? {
        bail!("another `cargo xtask testbed up` is starting");
    }
    // Here and not in the holder: this is where somebody watches the progress.
    let arguments = wanted.arguments();
    tokio::task::spawn_blocking(move || prepare(&wanted)).await??;

    let log = File::create(files.log()).context("creating the log")?;
    let mut holder = Command::new(std::env::current_exe()?);
    holder.args(["testbed", "hold"]).args(arguments);
    // Away from our terminal and directory: it lives on when both are gone.
    holder.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).current_dir("/");
    let mut holder = holder.spawn().context("starting the holder")?;

    let progress = Progress::start("starting");
    loop {
        if let Some(state) = files.read()? {
            progress.done();
            println!("\n{}", state.text);
            println!("stop with: cargo xtask testbed down");
            return Ok(());
        }
        if holder.try_wait()?.is_some() {
            drop(progress);
            bail!("the components did not start:\n{}", fs::read_to_string(files.log()).unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn prepare(wanted: &Wanted) -> rolecall_testbed::Result<()> {
    for version in &wanted.postgres {
        components::postgres(*version)?;
    }
    if wanted.mongo > 0 {
        components::mongodb()?;
    }
    if !wanted.no_cluster {
        components::etcd()?;
        components::Kubernetes::prepare(KubernetesVersion::NEWEST)?;
    }
    Ok(())
}

fn down(files: &UpFiles) -> anyhow::Result<()> {
    let Some(state) = files.read()? else {
        println!("nothing is up");
        return Ok(());
    };
    let pid = Pid::from_raw(state.pid).context("the state of the testbed names no process")?;
    kill_process(pid, Signal::TERM).context("stopping the holder")?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while files.is_running()? {
        if Instant::now() > deadline {
            bail!("process {} did not stop within a minute", state.pid);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("stopped");
    Ok(())
}

fn status(files: &UpFiles) -> anyhow::Result<()> {
    match files.read()? {
        Some(state) => println!("{}", state.text),
        None => println!("nothing is up"),
    }
    Ok(())
}

/// Starts everything, reports it, and waits for the signal to end.
async fn hold(files: &UpFiles, wanted: &Wanted) -> anyhow::Result<()> {
    let lock = files.lock()?;
    // Reading the state locks it for a moment, so one failure means little.
    let mut tries = 0;
    while lock.try_lock().is_err() {
        tries += 1;
        if tries > 100 {
            bail!("a testbed is up already");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let _ = fs::remove_file(files.state());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let mut text = String::new();
    let mut servers = Vec::new();
    for version in &wanted.postgres {
        let server = Postgres::start(*version).await?;
        text.push_str(&describe_postgres(&server, files).await?);
        servers.push(server);
    }
    let mongo = match wanted.mongo {
        0 => None,
        members => Some(Mongo::builder().members(members).start().await?),
    };
    if let Some(mongo) = &mongo {
        text.push_str(&describe_mongo(mongo, files).await?);
    }
    let cluster = if wanted.no_cluster { None } else { Some(Cluster::start().await?) };
    if let Some(cluster) = &cluster {
        text.push_str(&format!(
            "Kubernetes\n  export KUBECONFIG={}\n  alias kubectl={}\n\n",
            cluster.kubeconfig().display(),
            cluster.kubectl_path().display(),
        ));
    }
    let state = State { pid: i32::try_from(std::process::id())?, text };
    let unfinished = files.dir.join("state.part");
    fs::write(&unfinished, serde_json::to_string(&state)?)?;
    fs::rename(&unfinished, files.state())?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop((cluster, mongo, servers));
    fs::remove_file(files.state())?;
    drop(lock);
    Ok(())
}

/// How to reach a server, as its superuser and as an operator's admin user. Writes the files that psql needs.
async fn describe_postgres(server: &Postgres, files: &UpFiles) -> anyhow::Result<String> {
    let admin = server.create_admin("teleport-admin").await?;
    let dir = files.dir.join(format!("postgres{}", server.version().major()));
    write_files(&dir, server.server_ca_pem(), &admin)?;
    let (files, port) = (dir.display(), server.port());
    Ok(format!(
        "{}\n  psql 'host={} port={port} user=postgres'\n  \
         psql 'host={} port={port} dbname=postgres user={} sslmode=verify-full \
         sslrootcert={files}/ca.crt sslcert={files}/client.crt sslkey={files}/client.key'\n\n",
        server.version(),
        server.socket_dir().display(),
        server.host(),
        admin.common_name,
    ))
}

/// How to reach the replica set, as its superuser and as an operator's admin user. Writes the files that mongosh needs.
async fn describe_mongo(mongo: &Mongo, files: &UpFiles) -> anyhow::Result<String> {
    let root = mongo.create_user("root", &["root@admin"]).await?;
    let admin = mongo.create_admin("teleport-admin", &MongoAdmin::documented()).await?;
    let mut text = "MongoDB\n".to_owned();
    for identity in [&root, &admin] {
        let dir = files.dir.join("mongodb").join(&identity.common_name);
        write_files(&dir, mongo.server_ca_pem(), identity)?;
        text.push_str(&format!(
            "  mongosh '{}&authMechanism=MONGODB-X509&authSource=$external' \
             --tls --tlsCAFile {files}/ca.crt --tlsCertificateKeyFile {files}/client.pem\n",
            mongo.uri(),
            files = dir.display(),
        ));
    }
    text.push('\n');
    Ok(text)
}

fn write_files(dir: &Path, ca_pem: &str, identity: &Certificate) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    // mongosh wants both in one file.
    let both = format!("{}{}", identity.cert_pem, identity.key_pem);
    let files = [
        ("ca.crt", ca_pem),
        ("client.crt", &identity.cert_pem),
        ("client.key", &identity.key_pem),
        ("client.pem", &both),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        // An old file would keep its mode, and libpq refuses keys that others may read.
        let _ = fs::remove_file(&path);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
    }
    Ok(())
}

fn parse_version(text: &str) -> Result<PgVersion, String> {
    let known = PgVersion::ALL.iter().find(|version| version.major().to_string() == text);
    known.copied().ok_or_else(|| format!("no PostgreSQL {text} here; there are 15, 16, 17, 18 and 19"))
}
