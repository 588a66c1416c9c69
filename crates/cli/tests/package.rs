//! What `deploy/cli/package.sh` packs.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-rolecall");

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn an_archive_for_each_machine_with_checksums_and_a_manifest_for_krew() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let programs = directory.path().join("programs");
    fs::create_dir(&programs).expect("it is made");
    // The pages are made by the one for this machine; what the other one does is not looked at.
    for machine in ["x86_64", "aarch64"] {
        let program = programs.join(format!("kubectl-rolecall.{machine}"));
        if machine == std::env::consts::ARCH {
            fs::copy(PROGRAM, &program).expect("it is copied");
        } else {
            fs::write(&program, "another machine's").expect("it is written");
        }
    }
    let pack = |name: &str| {
        let to = directory.path().join(name);
        let mut script = Command::new(root().join("deploy/cli/package.sh"));
        run(script.arg(&to).arg("https://get.example.com").env("ROLECALL_PLUGINS", &programs));
        to
    };
    let packed = pack("one");
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&packed));
    let archive = format!("kubectl-rolecall-{}-linux-amd64.tar.gz", env!("CARGO_PKG_VERSION"));
    let listed = run(Command::new("tar").arg("tzf").arg(packed.join(&archive)));
    for file in [
        "./kubectl-rolecall",
        "./kubectl_complete-rolecall",
        "./LICENSE",
        "./man1/kubectl-rolecall-plan.1",
        "./completions/zsh",
        "./completions/kubectl",
    ] {
        assert!(listed.lines().any(|line| line == file), "{file}: {listed}");
    }
    let manifest = fs::read_to_string(packed.join("rolecall.yaml")).expect("it is there");
    let manifest: Value = serde_saphyr::from_str(&manifest).expect("it is YAML");
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(manifest["spec"]["version"], concat!("v", env!("CARGO_PKG_VERSION")));
    let platforms = manifest["spec"]["platforms"].as_array().expect("a list");
    assert_eq!(platforms.len(), 2);
    let sums = fs::read_to_string(packed.join("SHA256SUMS")).expect("it is there");
    for platform in platforms {
        let sum = platform["sha256"].as_str().expect("a sum");
        let file = platform["uri"]
            .as_str()
            .and_then(|uri| uri.strip_prefix("https://get.example.com/"))
            .expect("a URI");
        assert!(sums.contains(&format!("{sum}  {file}\n")), "{sums}");
        assert_eq!(platform["bin"], "kubectl-rolecall");
    }
    // Packed again, it is the same.
    let again = pack("two");
    assert_eq!(
        fs::read(packed.join("SHA256SUMS")).expect("read"),
        fs::read(again.join("SHA256SUMS")).expect("read")
    );
}
