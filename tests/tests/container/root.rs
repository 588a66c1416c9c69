//! The image's root file system, as `deploy/image/root.sh` lays it out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rolecall_testbed::components::images;

use crate::run;

/// One of the scripts in `deploy/image`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/image").join(name)
}

/// The caller's search path, with the directories of these programs before it.
pub(crate) fn path(programs: &[&Path]) -> Result<OsString> {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let first = programs.iter().filter_map(|program| program.parent().map(Path::to_path_buf));
    Ok(std::env::join_paths(first.chain(std::env::split_paths(&others)))?)
}

/// A root file system, in a directory that goes with this value.
pub(crate) struct Root {
    dir: tempfile::TempDir,
    /// The machine that it is for, as Rust calls it.
    pub(crate) machine: &'static str,
}

impl Root {
    /// Builds the operator with this profile of cargo for this machine, and lays out its root.
    pub(crate) async fn build(profile: &'static str, machine: &'static str) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::build_now(profile, machine)).await?
    }

    fn build_now(profile: &str, machine: &'static str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut command = Command::new(script("root.sh"));
        command.arg(dir.path().join("root")).arg(machine).env("ROLECALL_PROFILE", profile);
        if machine == std::env::consts::ARCH {
            command.env("PATH", path(&[&images::musl_gcc()?])?);
        } else {
            let zigbuild = images::zigbuild()?;
            command.env("PATH", path(&[&zigbuild.program])?).env("CARGO_ZIGBUILD_ZIG_PATH", &zigbuild.zig);
        }
        run(&mut command).context("laying out the image's root")?;
        Ok(Self { dir, machine })
    }

    /// The directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The operator in it.
    pub(crate) fn program(&self) -> PathBuf {
        self.path().join("rolecall-operator")
    }

    /// The operator holds no path of the machine that built it: another machine would make another program.
    pub(crate) fn assert_names_no_place_of_this_machine(&self) -> Result<()> {
        let program = std::fs::read(self.program())?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the sources")?;
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
        let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home).context("cargo's home")?;
        for place in [source, &cargo] {
            let bytes = place.as_os_str().as_encoded_bytes();
            let found =
                memchr::memmem::find(&program, bytes).map(|at| &program[at..program.len().min(at + 120)]);
            ensure!(found.is_none(), "{}", String::from_utf8_lossy(found.unwrap_or_default()));
        }
        Ok(())
    }

    /// A directory beside it.
    pub(crate) fn beside(&self) -> &Path {
        self.dir.path()
    }
}
