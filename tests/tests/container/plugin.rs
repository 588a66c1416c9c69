//! The kubectl plugin as `deploy/cli/package.sh` packs it for each machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rolecall_testbed::components::images;

use crate::root::path;
use crate::run;

/// Where an ELF file says which machine it is for, and the numbers of ours.
const ELF_MACHINE: usize = 18;
const MACHINES: [(&str, &str, u16); 2] = [("x86_64", "amd64", 62), ("aarch64", "arm64", 183)];

/// Packs it with this profile of cargo, and runs what is in the archives.
pub(crate) fn assert_packed_for_each_machine(profile: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let packed = dir.path().join("packed");
    let (musl, zigbuild) = (images::musl_gcc()?, images::zigbuild()?);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cli/package.sh");
    run(Command::new(script)
        .arg(&packed)
        .env("ROLECALL_PROFILE", profile)
        .env("PATH", path(&[&musl, &zigbuild.program])?)
        .env("CARGO_ZIGBUILD_ZIG_PATH", &zigbuild.zig))
    .context("packing the plugin")?;
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&packed))?;
    for (machine, name, number) in MACHINES {
        let archive = format!("kubectl-rolecall-{}-linux-{name}.tar.gz", env!("CARGO_PKG_VERSION"));
        let unpacked = dir.path().join(machine);
        fs::create_dir(&unpacked)?;
        run(Command::new("tar").arg("xzf").arg(packed.join(&archive)).arg("-C").arg(&unpacked))?;
        let program = unpacked.join("kubectl-rolecall");
        let bytes = fs::read(&program)?;
        ensure!(
            bytes.get(ELF_MACHINE..ELF_MACHINE + 2) == Some(&number.to_le_bytes()[..]),
            "not for {machine}"
        );
        // A program that is not static names the one that loads its libraries.
        ensure!(memchr::memmem::find(&bytes, b"/lib/ld-").is_none(), "{archive} is not static");
        let mut command = match machine == std::env::consts::ARCH {
            true => Command::new(&program),
            false => {
                ensure!(machine == "aarch64", "no emulator of {machine} is fetched");
                let mut emulator = Command::new(images::qemu_aarch64()?);
                emulator.arg(&program);
                emulator
            }
        };
        let version = run(command.arg("--version").env_clear())?;
        assert_eq!(version, format!("kubectl-rolecall {}\n", env!("CARGO_PKG_VERSION")), "{machine}");
        println!("{archive}: {} bytes", fs::metadata(packed.join(&archive))?.len());
    }
    Ok(())
}
