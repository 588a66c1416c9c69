//! The Dockerfile, built as everybody builds it, but for the image that it starts from: there is no registry here, so that
//! image is made of Debian's packages and the Rust of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rolecall_testbed::components::images;
use serde_json::json;

use crate::packed::Layout;
use crate::root::Root;
use crate::run;

const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Images in a directory of their own, without a daemon.
struct Images {
    storage: PathBuf,
}

impl Images {
    /// `buildah` with these arguments; what it says.
    fn buildah<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.storage.join("images")).arg("--runroot").arg(self.storage.join("run"));
        let said = run(command.args(["--storage-driver", "vfs"]).args(arguments));
        Ok(said.context("apt-get install buildah?")?.trim().to_owned())
    }

    /// Makes what the Dockerfile calls `name`: Debian `release`, with Rust where the image with Rust has it.
    fn rust(&self, name: &str, release: &str) -> Result<()> {
        let container = self.buildah(["from", "scratch"])?;
        let archive = images::debian(release)?;
        self.buildah([
            "add".as_ref(),
            "--quiet".as_ref(),
            container.as_ref(),
            archive.as_os_str(),
            "/".as_ref(),
        ])?;
        let here = |command: &mut Command| run(command.current_dir(SOURCE));
        let sysroot = here(Command::new("rustc").args(["--print", "sysroot"]))?;
        // By the name that rust-toolchain.toml gives it, whatever the directory is called here.
        let toolchain = here(Command::new("rustup").args(["show", "active-toolchain"]))?;
        let toolchain = toolchain.split_whitespace().next().context("a toolchain")?;
        let to = format!("/usr/local/rustup/toolchains/{toolchain}");
        self.buildah(["copy", "--quiet", &container, sysroot.trim(), &to])?;
        let rustup = run(Command::new("sh").args(["-c", "realpath \"$(command -v rustup)\""]))?;
        for proxy in ["rustup", "cargo", "rustc"] {
            self.buildah([
                "copy",
                "--quiet",
                &container,
                rustup.trim(),
                &format!("/usr/local/cargo/bin/{proxy}"),
            ])?;
        }
        let search = "PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let environment = ["RUSTUP_HOME=/usr/local/rustup", "CARGO_HOME=/usr/local/cargo", search];
        let environment = environment.iter().flat_map(|variable| ["--env", variable]);
        self.buildah(["config"].into_iter().chain(environment).chain([container.as_str()]))?;
        self.buildah(["commit", "--quiet", "--rm", &container, name]).map(drop)
    }
}

/// Every file and directory below `dir`: permissions and content.
fn files(dir: &Path, below: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) -> Result<()> {
    for entry in fs::read_dir(dir.join(below))?.flatten() {
        let path = below.join(entry.file_name());
        let metadata = entry.metadata()?;
        let content = if metadata.is_dir() { Vec::new() } else { fs::read(entry.path())? };
        found.insert(path.clone(), (metadata.permissions().mode() & 0o7777, content));
        if metadata.is_dir() {
            files(dir, &path, found)?;
        }
    }
    Ok(())
}

/// The Dockerfile makes what was laid out, from a build of its own in another place, and the image runs it as nobody.
pub(crate) fn assert_makes(root: &Root) -> Result<()> {
    let dockerfile = fs::read_to_string(Path::new(SOURCE).join("Dockerfile"))?;
    let name = dockerfile.lines().find_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let name = name.context("an image that it starts from")?;
    let release = name.rsplit('-').next().context("a release")?;
    let images = Images { storage: root.beside().to_owned() };
    images.rust(name, release)?;

    // What was compiled or downloaded for it before is not again.
    let target = Path::new(SOURCE).join("target/dockerfile");
    let (registry, layout) = (target.join("registry"), root.beside().join("layout"));
    fs::create_dir_all(&registry)?;
    let (target, registry) = (target.display(), registry.display());
    let volumes = [
        format!("{target}:/source/target"),
        format!("{registry}:/usr/local/cargo/registry"),
        // Where a proxy has an authority of its own, this machine knows it.
        format!("{AUTHORITIES}:{AUTHORITIES}:ro"),
    ];
    let options = ["--isolation=chroot", "--pull-never", "--build-arg=ROLECALL_PROFILE=dev", "--format=oci"];
    let build = ["bud"].into_iter().chain(options);
    let build = build.chain(volumes.iter().flat_map(|volume| ["--volume", volume]));
    images.buildah(build.chain(["--tag", "operator", SOURCE]))?;

    images.buildah(["push", "--quiet", "operator", &format!("oci:{}:test", layout.display())])?;
    let layout = Layout(&layout);
    let manifest = layout.blob(&layout.read("index.json")?["manifests"][0])?;
    let config = &layout.blob(&manifest["config"])?["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/rolecall-operator"]));
    assert_eq!(config["ExposedPorts"], json!({"8080/tcp": {}}));

    let container = images.buildah(["from", "--pull-never", "operator"])?;
    let (mut made, mut laid_out) = (BTreeMap::new(), BTreeMap::new());
    files(Path::new(&images.buildah(["mount", &container])?), Path::new(""), &mut made)?;
    files(&root.path(), Path::new(""), &mut laid_out)?;
    let names = |files: &BTreeMap<PathBuf, (u32, Vec<u8>)>| -> Vec<(PathBuf, u32)> {
        files.iter().map(|(path, (mode, _))| (path.clone(), *mode)).collect()
    };
    assert_eq!(names(&made), names(&laid_out));
    images.buildah(["umount", &container])?;
    let program = |files: &BTreeMap<PathBuf, (u32, Vec<u8>)>| files[Path::new("rolecall-operator")].1.clone();
    ensure!(program(&made) == program(&laid_out), "one commit makes two programs");
    Ok(())
}
