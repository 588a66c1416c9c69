//! The operator as it runs in a cluster: its real binary in a process of its own, with the rights of its service
//! account and nothing more.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rolecall_testbed::{Cluster, Identity, environment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Taking the lead and listing everything takes a second; a loaded machine may need much longer.
const TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

/// The namespace of the operator in `deploy`.
pub const NAMESPACE: &str = "rolecall-system";

/// How the operator is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build.
    Dev,
    /// As it is shipped.
    Release,
}

/// Builds the operator, with cargo's own progress, and returns the path of its binary.
///
/// # Errors
/// When it does not compile.
pub fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // In development of the whole workspace: its dependencies then have the features that those of the tests have, and are
    // not built anew.
    match profile {
        Profile::Dev => cargo.args(["build", "--workspace", "--bin", "rolecall-operator"]),
        Profile::Release => cargo.args(["build", "--release", "--package", "rolecall-operator"]),
    };
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let output = cargo
        .current_dir(crate::root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo build of rolecall-operator")?;
    if !output.status.success() {
        bail!("the operator could not be built");
    }
    // One JSON object per line; the one about our binary names its file, wherever the target directory is.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "rolecall-operator")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo build did not say where the operator's binary is")
}

/// A kubeconfig with the rights of the service account that `deploy` makes for the operator.
///
/// # Errors
/// When it cannot be written.
pub async fn kubeconfig(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let name = format!("system:serviceaccount:{NAMESPACE}:rolecall-operator");
    let namespace_group = format!("system:serviceaccounts:{NAMESPACE}");
    // Not with a token of the account, which would run out in an hour.
    let identity = Identity::user(&name, &["system:serviceaccounts", &namespace_group]);
    Ok(cluster.kubeconfig_file_for(&identity).await?)
}

/// A running operator. It ends in order when this value is dropped, and also when this process is killed.
#[derive(Debug)]
pub struct Operator {
    supervisor: Child,
    pid: u32,
    address: SocketAddr,
    log: PathBuf,
}

impl Operator {
    /// Starts the operator with these arguments, beside the address of its metrics, and these environment variables, and
    /// waits until it works.
    ///
    /// # Errors
    /// When it ends or is not ready in time, with the end of its log.
    pub async fn start(
        binary: &Path,
        kubeconfig: &Path,
        log: &Path,
        args: &[&str],
        variables: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let mut supervisor = Command::new("sh")
            .args(["-c", include_str!("operator.sh"), "rolecall-operator"])
            .arg(log)
            .arg(binary)
            .args(["--listen", "127.0.0.1:0", "--leader-election-namespace", NAMESPACE])
            .args(args)
            .env_clear()
            .envs(environment(log.parent().unwrap_or(Path::new("/"))))
            .env("KUBECONFIG", kubeconfig)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal goes to the whole group; this one is ended in order, when its owner is.
            .process_group(0)
            .spawn()
            .context("starting the operator")?;
        let mut line = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("starting the operator")?;
        }
        let pid = line.trim().parse().context("the shell that starts the operator named no process")?;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut operator = Self { supervisor, pid, address: unknown, log: log.to_owned() };
        operator.wait_until_ready().await?;
        Ok(operator)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it serves its metrics.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The body of `/metrics`, `/readyz` or `/livez`.
    ///
    /// # Errors
    /// When it does not answer, or not with 200.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address).await.context("connecting to the operator")?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("the operator did not answer in HTTP")?;
        if !head.starts_with("HTTP/1.1 200 ") {
            bail!("{path} of the operator: {}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(address) = address(&std::fs::read_to_string(&self.log).unwrap_or_default()) {
                self.address = address;
                if self.get("/readyz").await.is_ok_and(|body| body.starts_with("working")) {
                    return Ok(());
                }
            }
            if !Path::new(&format!("/proc/{}", self.pid)).exists() {
                bail!("the operator ended while starting. The end of its log:\n{}", tail(&self.log, 25));
            }
            if Instant::now() > deadline {
                bail!("the operator was not ready in time. The end of its log:\n{}", tail(&self.log, 25));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // The supervisor ends in time; if it did not, nothing could be done about it.
        let _ = self.supervisor.wait();
    }
}

/// The last lines of a file; nothing when it cannot be read.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The address that the log says is served: the port was the system's choice.
fn address(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("serving /livez"))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_log() {
        let log =
            "2026-01-01T00:00:00Z  INFO a: serving /livez, /readyz and /metrics address=127.0.0.1:4711\n";
        assert_eq!(address(log), Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        assert_eq!(address("nothing yet\n"), None);
    }
}
