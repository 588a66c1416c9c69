//! A PostgreSQL that has no release yet, from Debian's suites for what is being prepared.
//!
//! Its packages are unpacked into the cache together with every library that they need, the C library and its loader
//! included: they are newer than the machine's. Their version is whatever Debian has at that time, and is not locked.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, io};

use super::apt::{Apt, os_release};
use super::{PostgresInstallation, initdb};
use crate::cache;
use crate::error::{Error, Result};
use crate::postgres::PgVersion;
use crate::progress::Progress;

const NAME: &str = "PostgreSQL 19";
const VERSION: PgVersion = PgVersion::V19;
/// A release is in the first suite, what comes before in the second.
const SUITES: [&str; 2] = ["sid", "experimental"];
/// Names a mirror of Debian, on machines that have none.
const MIRROR: &str = "ROLECALL_DEBIAN_MIRROR";
const KEYRING: &str = "usr/share/keyrings/debian-archive-keyring.gpg";
/// Libraries that only the just-in-time compiler, plperl or installers need.
const LEFT_OUT: [&str; 4] = ["libllvm", "libperl", "libc-", "libdebian-installer"];

/// Runs a program with the unpacked loader and libraries. The program still takes itself for this file, from which
/// it finds the others.
const WRAPPER: &str = "#!/bin/sh
root=${0%/usr/lib/postgresql/*}
libraries=$(echo \"$root\"/usr/lib/*-linux-gnu)
exec \"$libraries\"/ld-linux-*.so.* --library-path \"$libraries\" --argv0 \"$0\" \"$0.bin\" \"$@\"
";

pub(super) fn postgres() -> Result<PostgresInstallation> {
    let suites = SUITES.join(" ");
    let dir = cache::ensure("postgres19", &[("suites", &suites), ("wrapper", WRAPPER)], fetch)?;
    Ok(PostgresInstallation {
        version: VERSION,
        bin: bin(&dir),
        template: dir.join("data"),
        environment: environment(),
        // The one name of universal time that is known without the machine's time zone files.
        settings: [("lc_messages", "C"), ("timezone", "GMT"), ("log_timezone", "GMT")],
    })
}

fn bin(dir: &Path) -> PathBuf {
    dir.join(format!("usr/lib/postgresql/{}/bin", VERSION.major()))
}

fn environment() -> Vec<(&'static str, String)> {
    // The machine's settings for OpenSSL are written for another version of it.
    vec![("OPENSSL_CONF", "/dev/null".to_owned())]
}

fn fetch(dir: &Path) -> Result<()> {
    let progress = Progress::start(format!("fetching {NAME}"));
    let work = dir.join("apt");
    fs::create_dir(&work).map_err(Error::io("creating", &work))?;
    progress.detail("reading package lists");
    let mirror = mirror(&work)?;
    let keyring = keyring(&work)?;
    let sources: String = SUITES
        .iter()
        .map(|suite| format!("deb [signed-by={}] {mirror} {suite} main\n", keyring.display()))
        .collect();
    let apt = Apt::with_sources(NAME, &work, &sources)?;
    progress.detail("unpacking");
    let package = format!("postgresql-{}", VERSION.major());
    let mut packages = apt.libraries(&package, &LEFT_OUT)?;
    packages.push(package);
    apt.unpack(&packages, dir)?;
    fs::remove_dir_all(&work).map_err(Error::io("removing", &work))?;
    for program in ["postgres", "initdb"] {
        wrap(&bin(dir).join(program))?;
    }
    initdb(&bin(dir), dir, &environment())?;
    progress.done();
    Ok(())
}

/// Puts the wrapper in a program's place.
fn wrap(program: &Path) -> Result<()> {
    let real = program.with_extension("bin");
    fs::rename(program, &real).map_err(Error::io("renaming", program))?;
    fs::write(program, WRAPPER).map_err(Error::io("writing", program))?;
    fs::set_permissions(program, Permissions::from_mode(0o755)).map_err(Error::io("opening", program))
}

/// Where this machine gets Debian's packages.
fn mirror(work: &Path) -> Result<String> {
    if let Ok(mirror) = env::var(MIRROR) {
        return Ok(mirror);
    }
    let wanted = os_release("VERSION_CODENAME");
    let format = ["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"];
    let listed = Apt::of_machine(NAME, work).run("apt-get", &format)?;
    let found = listed.lines().filter_map(|line| line.split_once(' ')).find(|(suite, _)| *suite == wanted);
    match found.filter(|_| os_release("ID") == "debian") {
        Some((_, mirror)) => Ok(mirror.to_owned()),
        None => Err(Error::Build {
            component: NAME.to_owned(),
            detail: format!("only Debian has it; name a mirror of Debian in {MIRROR}"),
        }),
    }
}

/// The keys that Debian signs with: the machine's, or those of the package.
fn keyring(work: &Path) -> Result<PathBuf> {
    let machine = Path::new("/").join(KEYRING);
    if machine.is_file() {
        return Ok(machine);
    }
    let package = ["debian-archive-keyring"];
    if Apt::of_machine(NAME, work).unpack(&package, work).is_err() {
        Apt::with_own_lists(NAME, work)?.unpack(&package, work)?;
    }
    let unpacked = work.join(KEYRING);
    let missing = || Error::io("opening", &unpacked)(io::ErrorKind::NotFound.into());
    if unpacked.is_file() { Ok(unpacked.clone()) } else { Err(missing()) }
}
