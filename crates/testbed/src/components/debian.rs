//! A PostgreSQL that speaks German, and PgBouncer, from the packages of the machine's own Debian or Ubuntu.
//!
//! The npm packages are built without message catalogues, so they know no language but English. Debian's packages have
//! them. They are downloaded and unpacked into the cache; nothing is installed and no right of root is needed. Their
//! version is the distribution's, which keeps only its newest, so it cannot be locked in a file.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{PgBouncerInstallation, PostgresInstallation, initdb};
use crate::cache;
use crate::error::{Error, Result};
use crate::postgres::PgVersion;
use crate::progress::Progress;

const NAME: &str = "PostgreSQL with German messages";

/// Libraries that only the just-in-time compiler needs, or that must be those of the machine.
const LEFT_OUT: [&str; 5] = ["libllvm", "libc6", "libc-bin", "libc-dev", "libperl"];

pub(super) fn german_postgres() -> Result<PostgresInstallation> {
    let dir = cache::ensure("postgres-german", &[("release", &release())], fetch)?;
    let version = packaged_version(&dir)?;
    Ok(PostgresInstallation {
        version,
        bin: bin(&dir, version),
        template: dir.join("data"),
        environment: environment(&dir),
        // "C" would mean English whatever the catalogues say. The one name of universal time that is known without
        // the machine's time zone files.
        settings: [("lc_messages", "C.UTF-8"), ("timezone", "GMT"), ("log_timezone", "GMT")],
    })
}

/// PgBouncer, in the version of the distribution.
pub(super) fn pgbouncer() -> Result<PgBouncerInstallation> {
    let dir = cache::ensure("pgbouncer", &[("release", &release())], |dir| {
        unpacked("PgBouncer", dir, |apt| {
            apt.unpack(&["pgbouncer"], dir)?;
            apt.unpack_libraries("pgbouncer", &dir.join(PGBOUNCER), dir)
        })
    })?;
    Ok(PgBouncerInstallation { program: dir.join(PGBOUNCER), environment: libraries(&dir) })
}

const PGBOUNCER: &str = "usr/sbin/pgbouncer";

/// Which release it is, not what it looks like today: a second run must not ask the package archive.
fn release() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID=")).collect()
}

fn fetch(dir: &Path) -> Result<()> {
    unpacked(NAME, dir, |apt| apt.unpack_postgres(dir))?;
    initdb(&bin(dir, packaged_version(dir)?), dir, &environment(dir))
}

/// Unpacks packages below `dir`, with the machine's package lists when it has them, else with lists of our own.
fn unpacked(name: &str, dir: &Path, unpack: impl Fn(&Apt) -> Result<()>) -> Result<()> {
    let progress = Progress::start(format!("fetching {name}"));
    let apt = dir.join("apt");
    fs::create_dir(&apt).map_err(Error::io("creating", &apt))?;
    if unpack(&Apt::of_machine(&apt)).is_err() {
        progress.detail("reading package lists");
        let own = Apt::with_own_lists(&apt)?;
        own.run("apt-get", &["update"])?;
        unpack(&own)?;
    }
    fs::remove_dir_all(&apt).map_err(Error::io("removing", &apt))?;
    progress.done();
    Ok(())
}

/// apt, with options that make it work without rights.
struct Apt {
    options: Vec<String>,
    dir: PathBuf,
}

impl Apt {
    fn of_machine(dir: &Path) -> Self {
        // As root it would otherwise download as a user who may not write here.
        Self { options: vec!["-o".to_owned(), "APT::Sandbox::User=root".to_owned()], dir: dir.to_owned() }
    }

    fn with_own_lists(dir: &Path) -> Result<Self> {
        let mut apt = Self::of_machine(dir);
        for (key, path) in [("State", "lists/partial"), ("Cache", "archives/partial")] {
            let home = dir.join(key);
            fs::create_dir_all(home.join(path)).map_err(Error::io("creating", &home))?;
            apt.options.extend(["-o".to_owned(), format!("Dir::{key}={}", home.display())]);
        }
        Ok(apt)
    }

    fn unpack_postgres(&self, dir: &Path) -> Result<()> {
        // The package `postgresql` depends on the release's version of it.
        let depends = self.run("apt-cache", &["depends", "postgresql"])?;
        let package = depends
            .split_whitespace()
            .find(|word| word.strip_prefix("postgresql-").is_some_and(|rest| rest.parse::<u16>().is_ok()))
            .ok_or_else(|| failed("the distribution has no package `postgresql`".to_owned()))?;
        self.unpack(&[package], dir)?;
        self.unpack_libraries(package, &bin(dir, packaged_version(dir)?).join("postgres"), dir)
    }

    /// Unpacks what a program of a package needs and the machine lacks.
    fn unpack_libraries(&self, package: &str, program: &Path, dir: &Path) -> Result<()> {
        if libraries_missing(program, dir)? {
            let wanted = [
                "--no-recommends",
                "--no-suggests",
                "--no-conflicts",
                "--no-breaks",
                "--no-replaces",
                "--no-enhances",
            ];
            let arguments = [&["depends", "--recurse"], wanted.as_slice(), &[package]].concat();
            let listed = self.run("apt-cache", &arguments)?;
            let libraries: Vec<&str> = listed
                .lines()
                .filter(|line| {
                    line.starts_with("lib") && !LEFT_OUT.iter().any(|prefix| line.starts_with(prefix))
                })
                // The other architectures of a multi-architecture machine.
                .filter(|line| !line.contains(':'))
                .collect();
            self.unpack(&libraries, dir)?;
            if libraries_missing(program, dir)? {
                return Err(failed("its libraries are not all to be had".to_owned()));
            }
        }
        Ok(())
    }

    /// Downloads packages and unpacks them below `dir`.
    fn unpack(&self, packages: &[&str], dir: &Path) -> Result<()> {
        self.run("apt-get", &[&["download"], packages].concat())?;
        for entry in fs::read_dir(&self.dir).map_err(Error::io("reading", &self.dir))?.flatten() {
            let path = entry.path();
            if path.extension() == Some(OsStr::new("deb")) {
                output(Command::new("dpkg-deb").arg("-x").arg(&path).arg(dir))?;
                fs::remove_file(&path).map_err(Error::io("removing", &path))?;
            }
        }
        Ok(())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(&self.options).args(arguments).current_dir(&self.dir).env("LC_ALL", "C");
        Ok(String::from_utf8_lossy(&output(&mut command)?.stdout).into_owned())
    }
}

/// Runs a command that has to succeed.
fn output(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            let purpose = format!("fetch {NAME}");
            return Error::Missing { program: "apt-get", purpose, remedy: "Only Debian and Ubuntu have it" };
        }
        Error::io("running", Path::new(command.get_program()))(error)
    })?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

/// Whether the loader misses libraries of `program`.
fn libraries_missing(program: &Path, dir: &Path) -> Result<bool> {
    let listed = output(Command::new("ldd").arg(program).envs(environment(dir)))?;
    Ok(String::from_utf8_lossy(&listed.stdout).contains("not found"))
}

fn packaged_version(dir: &Path) -> Result<PgVersion> {
    let found = PgVersion::ALL.into_iter().find(|version| bin(dir, *version).is_dir());
    found.ok_or_else(|| failed("the distribution has none of the versions 15 to 18".to_owned()))
}

fn bin(dir: &Path, version: PgVersion) -> PathBuf {
    dir.join(format!("usr/lib/postgresql/{}/bin", version.major()))
}

/// German messages, and the unpacked libraries before the machine's.
fn environment(dir: &Path) -> Vec<(&'static str, String)> {
    let mut environment = libraries(dir);
    environment.push(("LANGUAGE", "de".to_owned()));
    environment
}

/// The unpacked libraries before the machine's.
fn libraries(dir: &Path) -> Vec<(&'static str, String)> {
    let roots = ["usr/lib", "lib"].map(|lib| dir.join(lib));
    let libraries: Vec<String> = roots
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flat_map(|entries| entries.flatten())
        .filter(|entry| entry.file_name().to_string_lossy().contains("-linux-gnu"))
        .map(|entry| entry.path().display().to_string())
        .collect();
    if libraries.is_empty() { Vec::new() } else { vec![("LD_LIBRARY_PATH", libraries.join(":"))] }
}

fn failed(detail: String) -> Error {
    Error::Build { component: NAME.to_owned(), detail }
}
