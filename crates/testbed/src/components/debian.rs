//! A PostgreSQL that speaks German, PgBouncer, and single packages, from the machine's own Debian or Ubuntu.
//!
//! The npm packages are built without message catalogues, so they know no language but English. Debian's packages have
//! them. They are downloaded and unpacked into the cache; nothing is installed and no right of root is needed. Their
//! version is the distribution's, which keeps only its newest, so it cannot be locked in a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{Apt, output};
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
            unpack_libraries(apt, "pgbouncer", &dir.join(PGBOUNCER), dir)
        })
    })?;
    Ok(PgBouncerInstallation { program: dir.join(PGBOUNCER), environment: libraries(&dir) })
}

const PGBOUNCER: &str = "usr/sbin/pgbouncer";

/// psql, in the version of the distribution, and what it needs in its environment.
pub(super) fn psql() -> Result<(PathBuf, Vec<(&'static str, String)>)> {
    let dir = cache::ensure("psql", &[("release", &release())], |dir| {
        unpacked("psql", dir, |apt| {
            // The package `postgresql-client` depends on the release's version of it.
            let package = versioned(apt, "postgresql-client")?;
            apt.unpack(&[&package], dir)?;
            unpack_libraries(apt, &package, &program(dir, "psql")?, dir)
        })
    })?;
    Ok((program(&dir, "psql")?, libraries(&dir)))
}

/// Chromium, in the version of the distribution, and what it needs in its environment.
pub(super) fn chromium() -> Result<(PathBuf, Vec<(&'static str, String)>)> {
    const PROGRAM: &str = "usr/lib/chromium/chromium";
    let dir = cache::ensure("chromium", &[("release", &release())], |dir| {
        unpacked("chromium", dir, |apt| {
            apt.unpack(&["chromium", "chromium-common"], dir)?;
            unpack_libraries(apt, "chromium", &dir.join(PROGRAM), dir)
        })
    })?;
    Ok((dir.join(PROGRAM), libraries(&dir)))
}

/// Shells, in the versions of the distribution, and what fish needs in its environment.
pub(super) fn shells() -> Result<(PathBuf, Vec<(&'static str, String)>)> {
    // The static zsh looks for no modules, which only an installed one finds.
    const PACKAGES: [&str; 5] = ["zsh-static", "zsh-common", "fish", "fish-common", "bash-completion"];
    let (release, packages) = (release(), PACKAGES.join(" "));
    let inputs = [("release", release.as_str()), ("packages", &packages), ("libraries of", "fish")];
    let dir = cache::ensure("shells", &inputs, |dir| {
        unpacked("shells", dir, |apt| {
            apt.unpack(&PACKAGES, dir)?;
            unpack_libraries(apt, "fish", &dir.join(FISH), dir)
        })
    })?;
    let environment = libraries(&dir);
    Ok((dir, environment))
}

/// Where the distribution's package has fish.
pub(super) const FISH: &str = "usr/bin/fish";

/// The library that shows a program another time, in the version of the distribution.
pub(super) fn faketime() -> Result<PathBuf> {
    let dir = packages("faketime", &["libfaketime"])?;
    let libraries = dir.join("usr/lib");
    let entries = fs::read_dir(&libraries).map_err(Error::io("reading", &libraries))?;
    let found = entries.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    found
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| failed("the package contains no library".to_owned()))
}

/// A program of whichever version of PostgreSQL was unpacked.
fn program(dir: &Path, name: &str) -> Result<PathBuf> {
    let versions = dir.join("usr/lib/postgresql");
    let entries = fs::read_dir(&versions).map_err(Error::io("reading", &versions))?;
    let found =
        entries.flatten().map(|entry| entry.path().join("bin").join(name)).find(|path| path.is_file());
    found.ok_or_else(|| failed(format!("the package contains no {name}")))
}

/// The package that a package without a version in its name depends on.
fn versioned(apt: &Apt, name: &str) -> Result<String> {
    let depends = apt.run("apt-cache", &["depends", name])?;
    let is_version = |word: &&str| {
        let rest = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        rest.is_some_and(|rest| rest.parse::<u16>().is_ok())
    };
    let package = depends.split_whitespace().find(is_version);
    package.map(str::to_owned).ok_or_else(|| failed(format!("the distribution has no package `{name}`")))
}

/// The directory into which one or several packages are unpacked, in the version of the distribution.
pub(super) fn packages(component: &'static str, packages: &[&str]) -> Result<PathBuf> {
    cache::ensure(component, &[("release", &release()), ("packages", &packages.join(" "))], |dir| {
        unpacked(component, dir, |apt| apt.unpack(packages, dir))
    })
}

/// The release, not its current state: a second run must not need the package archive.
fn release() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID=")).collect()
}

fn fetch(dir: &Path) -> Result<()> {
    unpacked(NAME, dir, |apt| unpack_postgres(apt, dir))?;
    initdb(&bin(dir, packaged_version(dir)?), dir, &environment(dir))
}

/// Unpacks packages below `dir`, with the machine's package lists when it has them, else with lists of our own.
fn unpacked(name: &'static str, dir: &Path, unpack: impl Fn(&Apt) -> Result<()>) -> Result<()> {
    let progress = Progress::start(format!("fetching {name}"));
    let work = dir.join("apt");
    fs::create_dir(&work).map_err(Error::io("creating", &work))?;
    if unpack(&Apt::of_machine(name, &work)).is_err() {
        progress.detail("reading package lists");
        unpack(&Apt::with_own_lists(name, &work)?)?;
    }
    fs::remove_dir_all(&work).map_err(Error::io("removing", &work))?;
    progress.done();
    Ok(())
}

fn unpack_postgres(apt: &Apt, dir: &Path) -> Result<()> {
    // The package `postgresql` depends on the release's version of it.
    let package = versioned(apt, "postgresql")?;
    apt.unpack(&[&package], dir)?;
    unpack_libraries(apt, &package, &bin(dir, packaged_version(dir)?).join("postgres"), dir)
}

/// Unpacks what a program of a package needs and the machine lacks.
fn unpack_libraries(apt: &Apt, package: &str, program: &Path, dir: &Path) -> Result<()> {
    if libraries_missing(program, dir)? {
        apt.unpack(&apt.libraries(package, &LEFT_OUT)?, dir)?;
        if libraries_missing(program, dir)? {
            return Err(failed("not all of its libraries are available".to_owned()));
        }
    }
    Ok(())
}

/// Whether the loader misses libraries of `program`.
fn libraries_missing(program: &Path, dir: &Path) -> Result<bool> {
    let listed = output(NAME, Command::new("ldd").arg(program).envs(environment(dir)))?;
    Ok(String::from_utf8_lossy(&listed.stdout).contains("not found"))
}

fn packaged_version(dir: &Path) -> Result<PgVersion> {
    let found = PgVersion::ALL.into_iter().find(|version| bin(dir, *version).is_dir());
    found.ok_or_else(|| failed("the distribution has none of the versions 15 to 19".to_owned()))
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
