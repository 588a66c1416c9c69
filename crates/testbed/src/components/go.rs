//! Components built from Go modules.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::cache;
use crate::cluster::KubernetesVersion;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// The files of a Go module of ours.
pub(super) type Module = [(&'static str, &'static str); 3];

const KUBERNETES: Module = [
    ("go.mod", include_str!("../../components/kubernetes/go.mod")),
    ("go.sum", include_str!("../../components/kubernetes/go.sum")),
    ("tools.go", include_str!("../../components/kubernetes/tools.go")),
];

const APISERVER_1_31: Module = [
    ("go.mod", include_str!("../../components/kube-apiserver-1.31/go.mod")),
    ("go.sum", include_str!("../../components/kube-apiserver-1.31/go.sum")),
    ("tools.go", include_str!("../../components/kube-apiserver-1.31/tools.go")),
];

const APISERVER_1_36: Module = [
    ("go.mod", include_str!("../../components/kube-apiserver-1.36/go.mod")),
    ("go.sum", include_str!("../../components/kube-apiserver-1.36/go.sum")),
    ("tools.go", include_str!("../../components/kube-apiserver-1.36/tools.go")),
];

const ETCD: Module = [
    ("go.mod", include_str!("../../components/etcd/go.mod")),
    ("go.sum", include_str!("../../components/etcd/go.sum")),
    ("main.go", include_str!("../../components/etcd/main.go")),
];

const KUBELET: Module = [
    ("go.mod", include_str!("../../components/kubelet/go.mod")),
    ("go.sum", include_str!("../../components/kubelet/go.sum")),
    ("main.go", include_str!("../../components/kubelet/main.go")),
];

/// From this version on Go fetches the newer one that a go.mod asks for by itself.
const OLDEST_GO: u32 = 21;
const GO_REMEDY: &str =
    "Install it: apt-get install golang-go (Debian 13 or newer; elsewhere see https://go.dev/doc/install)";

/// The directory with kube-apiserver, kube-controller-manager and kubectl of the newest version.
pub(super) fn kubernetes() -> Result<PathBuf> {
    let packages = [
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kubectl",
    ];
    of_kubernetes("kubernetes", &KUBERNETES, &packages)
}

/// The directory with kube-apiserver of this version.
pub(super) fn apiserver(version: KubernetesVersion) -> Result<PathBuf> {
    let module = match version {
        KubernetesVersion::V1_31 => APISERVER_1_31,
        KubernetesVersion::V1_36 => APISERVER_1_36,
        KubernetesVersion::V1_37 => return kubernetes(),
    };
    let name = format!("kube-apiserver-{version}");
    of_kubernetes(&name, &module, &["k8s.io/kubernetes/cmd/kube-apiserver"])
}

fn of_kubernetes(name: &str, module: &Module, packages: &[&str]) -> Result<PathBuf> {
    cache::ensure(name, module, |dir| {
        let version = required_version(module[0].1, "k8s.io/kubernetes").unwrap_or("v0.0.0");
        build(name, module, dir, &version_flags(version), packages)
    })
}

/// The directory with etcd.
pub(super) fn etcd() -> Result<PathBuf> {
    cache::ensure("etcd", &ETCD, |dir| build("etcd", &ETCD, dir, "", &["."]))
}

/// The directory with what forwards ports of Pods.
pub(super) fn kubelet() -> Result<PathBuf> {
    cache::ensure("kubelet", &KUBELET, |dir| build("kubelet", &KUBELET, dir, "", &["."]))
}

/// Builds `packages` of the module made of `files` into `dir`.
pub(super) fn build(
    name: &str,
    files: &[(&str, &str)],
    dir: &Path,
    flags: &str,
    packages: &[&str],
) -> Result<()> {
    let source = write(files, dir)?;
    require_go(name)?;
    let progress = Progress::start(format!("building {name}"));
    progress.detail("fetching modules");
    let total = packages_in(&source, name, packages)?;

    let mut output = dir.as_os_str().to_owned();
    // With the slash `go build` writes one file per package, named like it.
    output.push("/");
    let mut child = go(&source)
        .args(["build", "-v", "-trimpath", "-ldflags", &format!("-s -w {flags}"), "-o"])
        .arg(output)
        .args(packages)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(unusable)?;
    let mut output = String::new();
    let mut compiled = 0;
    if let Some(stderr) = child.stderr.take() {
        // `-v` names each package on its own line as it is compiled; what else comes is an error.
        for line in BufReader::new(stderr).lines().map_while(std::result::Result::ok) {
            if line.contains(' ') {
                output.push_str(&line);
                output.push('\n');
            } else {
                compiled += 1;
                progress.detail(format!("{compiled} of at most {total} packages"));
            }
        }
    }
    let status = child.wait().map_err(Error::io("waiting for", Path::new("go")))?;
    if !status.success() {
        return Err(Error::Build { component: name.to_owned(), detail: output });
    }
    progress.done();
    Ok(())
}

/// Copies files of a module into `dir`; `files` name its version.
pub(super) fn fetch(
    name: &str,
    files: &[(&str, &str)],
    module: &str,
    paths: &[String],
    dir: &Path,
) -> Result<()> {
    require_go(name)?;
    let progress = Progress::start(format!("fetching {name}"));
    let source = write(files, dir)?;
    let output = go(&source)
        .args(["mod", "download", "-json", module])
        .stdin(Stdio::null())
        .output()
        .map_err(unusable)?;
    let failed = |detail: String| Error::Build { component: name.to_owned(), detail };
    let text = String::from_utf8_lossy(&output.stdout);
    // A JSON object with one member on each line.
    let member = text.lines().find_map(|line| line.trim().strip_prefix("\"Dir\": \"")?.strip_suffix("\","));
    let Some(unpacked) = member.map(PathBuf::from) else {
        return Err(failed(format!("{text}{}", String::from_utf8_lossy(&output.stderr))));
    };
    for path in paths {
        let from = unpacked.join(path);
        let to = dir.join(from.file_name().unwrap_or_default());
        fs::copy(&from, &to).map_err(Error::io("copying", &from))?;
    }
    progress.done();
    Ok(())
}

/// Writes the files of a module of ours into a folder of `dir`.
fn write(files: &[(&str, &str)], dir: &Path) -> Result<PathBuf> {
    let source = dir.join("source");
    fs::create_dir(&source).map_err(Error::io("creating", &source))?;
    for (file, text) in files {
        let path = source.join(file);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    Ok(source)
}

/// How many packages the build may have to compile; fetches the modules on the way.
fn packages_in(source: &Path, name: &str, packages: &[&str]) -> Result<usize> {
    let listed =
        go(source).args(["list", "-deps"]).args(packages).stdin(Stdio::null()).output().map_err(unusable)?;
    if !listed.status.success() {
        let detail = String::from_utf8_lossy(&listed.stderr).into_owned();
        return Err(Error::Build { component: name.to_owned(), detail });
    }
    Ok(listed.stdout.split(|byte| *byte == b'\n').count())
}

/// `go`, independent of the settings that the caller may have for projects of their own.
fn go(source: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH");
    if env::var_os("HOME").is_none() {
        // A build needs a cache, which has no default without a home.
        command.env("GOCACHE", source.join("go-build")).env("GOPATH", source.join("go"));
    }
    command
}

/// Says what to install when there is no Go, or one that is too old to fetch a newer one.
fn require_go(name: &str) -> Result<()> {
    let missing = || Error::Missing {
        program: "Go 1.21 or newer",
        purpose: format!("build {name}"),
        remedy: GO_REMEDY,
    };
    let output = match Command::new("go").arg("version").stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing()),
        other => other.map_err(unusable)?,
    };
    let minor = minor_version(&String::from_utf8_lossy(&output.stdout));
    if minor.is_some_and(|minor| minor < OLDEST_GO) { Err(missing()) } else { Ok(()) }
}

/// The 26 in `go version go1.26.8 linux/amd64`; none for anything but a release.
fn minor_version(text: &str) -> Option<u32> {
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("go1."))?;
    version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

fn unusable(error: std::io::Error) -> Error {
    Error::io("running", Path::new("go"))(error)
}

/// What Kubernetes' own build writes into its programs, so that `kubectl version` is correct.
fn version_flags(version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let set = |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
    [set("gitVersion", version), set("gitMajor", major), set("gitMinor", minor), set("gitTreeState", "clean")]
        .join(" ")
}

/// The version of `module` that a go.mod requires.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let line = line.trim_start().strip_prefix("require ").unwrap_or(line).trim();
        line.strip_prefix(module)?.strip_prefix(' ')?.split_whitespace().next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_read() {
        assert_eq!(minor_version("go version go1.26.8 linux/amd64\n"), Some(26));
        assert_eq!(minor_version("go version go1.19 linux/amd64"), Some(19));
        assert_eq!(minor_version("go version devel go1.27-abc linux/amd64"), Some(27));
        assert_eq!(minor_version(""), None);
    }

    #[test]
    fn the_version_comes_from_the_lock_file() {
        for (module, minor) in [(KUBERNETES, "1.37"), (APISERVER_1_36, "1.36"), (APISERVER_1_31, "1.31")] {
            let version = required_version(module[0].1, "k8s.io/kubernetes").unwrap();
            assert!(version.starts_with(&format!("v{minor}.")), "{version}");
            assert!(version_flags(version).contains("version.gitMajor=1 "));
        }
        assert_eq!(required_version("require (\n\ta.b/c v1.2.3 // indirect\n)", "a.b/c"), Some("v1.2.3"));
    }
}
