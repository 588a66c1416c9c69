//! What the operator's image is built, run and looked at with. Nothing is installed, and no right of root is needed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::apt::output;
use super::{debian, pip};
use crate::cache;
use crate::error::{Error, Result};
use crate::progress::Progress;

const ZIGBUILD: (&str, &str) =
    ("requirements.txt", include_str!("../../components/zigbuild/requirements.txt"));

/// bubblewrap, which runs a program in a root file system of its own, in the version of the machine's Debian or Ubuntu
/// (seconds).
///
/// # Errors
/// On other distributions, and when the package cannot be fetched.
pub fn bubblewrap() -> Result<PathBuf> {
    Ok(debian::packages("bubblewrap", &["bubblewrap"])?.join("usr/bin/bwrap"))
}

/// `musl-gcc`, which compiles C for static programs with the machine's own compiler, in the version of the machine's Debian
/// or Ubuntu (seconds).
///
/// # Errors
/// On other distributions, and when the packages cannot be fetched.
pub fn musl_gcc() -> Result<PathBuf> {
    let packages = debian::packages("musl", &["musl-dev", "musl-tools"])?;
    let dir = cache::ensure("musl-gcc", &[("wrapper", MUSL_GCC)], |dir| {
        let lib = packages.join("usr/lib");
        let folders = fs::read_dir(&lib).map_err(Error::io("reading", &lib))?.flatten();
        let specs = folders.map(|folder| folder.path().join("musl-gcc.specs")).find(|path| path.exists());
        let specs = specs.ok_or_else(|| Error::Build {
            component: "musl-gcc".to_owned(),
            detail: format!("no musl-gcc.specs in {}", lib.display()),
        })?;
        let text = fs::read_to_string(&specs).map_err(Error::io("reading", &specs))?;
        let (program, own) = (dir.join("musl-gcc"), dir.join("musl-gcc.specs"));
        fs::write(&own, relocated(&text)).map_err(Error::io("writing", &own))?;
        fs::write(&program, MUSL_GCC.replace("PACKAGES", &packages.display().to_string()))
            .map_err(Error::io("writing", &program))?;
        fs::set_permissions(&program, Permissions::from_mode(0o755)).map_err(Error::io("opening", &program))
    })?;
    Ok(dir.join("musl-gcc"))
}

/// The packages' own program knows them only where they are installed.
const MUSL_GCC: &str =
    "#!/bin/sh\nexport MUSL_ROOT='PACKAGES'\nexec gcc \"$@\" -specs \"$(dirname \"$0\")/musl-gcc.specs\"\n";

/// GCC's specifications of musl, with paths below the environment variable `MUSL_ROOT`.
fn relocated(specs: &str) -> String {
    let mut parts = specs.split("/usr/");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_whitespace() || c == '}').unwrap_or(part.len());
        let (path, rest) = part.split_at(end);
        text.push_str(&format!("%:getenv(MUSL_ROOT /usr/{path}){rest}"));
    }
    text
}

/// cargo-zigbuild, which builds for other machines, and the directory of the `zig` that it uses (a minute).
///
/// # Errors
/// When Python or pip is missing, or the packages cannot be fetched.
pub fn zigbuild() -> Result<Zigbuild> {
    let dir = cache::ensure("zigbuild", &[ZIGBUILD], |dir| {
        let progress = Progress::start("fetching zig");
        pip::install("zig", ZIGBUILD, dir)?;
        progress.done();
        Ok(())
    })?;
    let package = dir.join("package");
    Ok(Zigbuild { program: package.join("bin/cargo-zigbuild"), zig: package.join("ziglang/zig") })
}

/// A compiler for other machines.
#[derive(Clone, Debug)]
pub struct Zigbuild {
    /// `cargo-zigbuild`.
    pub program: PathBuf,
    /// `zig`, which it finds by its environment variable `CARGO_ZIGBUILD_ZIG_PATH`.
    pub zig: PathBuf,
}

/// qemu, which runs a static program of ARM64 on another machine, in the version of the machine's Debian or Ubuntu (seconds).
///
/// # Errors
/// On other distributions, and when the package cannot be fetched.
pub fn qemu_aarch64() -> Result<PathBuf> {
    Ok(debian::packages("qemu", &["qemu-user-static"])?.join("usr/bin/qemu-aarch64-static"))
}

/// An archive with the root file system of a Debian with a C compiler, of this release (minutes).
///
/// # Errors
/// When the machine is no Debian or Ubuntu, or the packages cannot be fetched.
pub fn debian(release: &str) -> Result<PathBuf> {
    let program = debian::packages("mmdebstrap", &["mmdebstrap"])?.join("usr/bin/mmdebstrap");
    let inputs = [("release", release), ("packages", DEBIAN_PACKAGES)];
    let dir = cache::ensure("debian", &inputs, |dir| {
        let progress = Progress::start(format!("fetching Debian {release}"));
        let mut command = Command::new(&program);
        command.args(["--quiet", "--variant=minbase"]).arg(format!("--include={DEBIAN_PACKAGES}"));
        command.arg(release).arg(dir.join(DEBIAN_ARCHIVE));
        command.args(std::env::var_os("ROLECALL_DEBIAN_MIRROR"));
        output("Debian", &mut command)?;
        progress.done();
        Ok(())
    })?;
    Ok(dir.join(DEBIAN_ARCHIVE))
}

const DEBIAN_PACKAGES: &str = "ca-certificates,gcc,g++,make";
const DEBIAN_ARCHIVE: &str = "debian.tar";

#[test]
fn the_paths_of_musl_are_below_the_packages() {
    let specs = "*link_libgcc:\n-L/usr/lib/x86_64-linux-musl -L .%s\n*startfile:\n%{!shared: /usr/lib/x/Scrt1.o} crtbeginS.o%s\n";
    let expected = "*link_libgcc:\n-L%:getenv(MUSL_ROOT /usr/lib/x86_64-linux-musl) -L .%s\n*startfile:\n%{!shared: %:getenv(MUSL_ROOT /usr/lib/x/Scrt1.o)} crtbeginS.o%s\n";
    assert_eq!(relocated(specs), expected);
}
