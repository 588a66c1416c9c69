//! What the demo runs on: a cluster, a database server, the operator, and a directory for files.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rolecall_testbed::{Authority, Certificate, Cluster};
use rolecall_xtask::operator::{self, Operator};
use tempfile::TempDir;

use super::shell::{Answer, Shell};
use super::tour::Tour;

/// Limit for what usually takes a moment: long enough for a machine under load.
const TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);

/// The admin user of `deploy/samples`.
pub(super) const ADMIN: &str = "teleport-admin";
/// The database user of the sample DatabaseUser.
pub(super) const USERNAME: &str = "alice@example.com";
/// The shell variable with the superuser's connection string.
pub(super) const SUPERUSER: &str = "SUPERUSER";
/// The shell variable with alice's connection string.
pub(super) const ALICE: &str = "ALICE";

/// A database server, queried by its own client program.
pub(super) trait Database: Sized + 'static {
    /// The client program.
    const CLIENT: &'static str;
    /// A query, and who sends it; its text is the shell line for the client program.
    type Query: Display;

    /// Sends a query by the built-in client, for a machine without the client program.
    ///
    /// # Errors
    /// When the query cannot be sent. A refusal by the server is an answer.
    async fn ask(&self, shell: &Shell, query: &Self::Query) -> anyhow::Result<Answer>;
}

/// Everything that runs, in the order in which it is stopped.
#[derive(Debug)]
pub(super) struct Stage<S> {
    pub(super) operator: Option<Operator>,
    pub(super) cluster: Cluster,
    /// The database server.
    pub(super) server: S,
    pub(super) shell: Shell,
    pub(super) tour: Tour,
    /// What the operator finds in its environment.
    pub(super) operator_environment: Vec<(String, String)>,
    has_client: bool,
    binary: PathBuf,
    // Dropped last: the others have files in it.
    dir: TempDir,
}

/// The certificates that an administrator would have at hand.
pub(super) struct Trust<'a> {
    /// Signs the certificates of users.
    pub(super) users: &'a Authority,
    /// The admin user's certificate.
    pub(super) admin: Certificate,
    /// Who signed the server's certificate, in PEM.
    pub(super) server_ca: &'a str,
}

impl<S: Database> Stage<S> {
    /// Sets up the directory and the shell.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) async fn new(binary: PathBuf, cluster: Cluster, server: S) -> anyhow::Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("rolecall-demo-").tempdir().context("making a directory")?;
        let kubectl = cluster.kubectl_path();
        let mut shell = Shell::new(dir.path(), kubectl.parent().unwrap_or(Path::new("/")));
        shell.export("KUBECONFIG", &cluster.kubeconfig().display().to_string());
        shell.export("DEMO", &dir.path().display().to_string());
        let has_client = shell.has(S::CLIENT).await;
        Ok(Self {
            operator: None,
            cluster,
            server,
            shell,
            tour: Tour::new(),
            operator_environment: Vec::new(),
            has_client,
            binary,
            dir,
        })
    }

    /// Shows a query, sends it, shows its answer, and returns it.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn query(&self, query: S::Query, expected: &[&str]) -> anyhow::Result<String> {
        self.check_query(&query, true, expected).await
    }

    /// As [`Stage::query`], for a query that the server has to refuse.
    ///
    /// # Errors
    /// As [`Stage::run_refused`].
    pub(super) async fn query_refused(&self, query: S::Query, expected: &[&str]) -> anyhow::Result<String> {
        self.check_query(&query, false, expected).await
    }

    async fn check_query(&self, query: &S::Query, ok: bool, expected: &[&str]) -> anyhow::Result<String> {
        let line = query.to_string();
        self.tour.command(&line);
        let answer = self.ask(query).await?;
        self.judge(&line, answer, ok, expected)
    }

    /// Sends a query without showing anything.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub(super) async fn ask(&self, query: &S::Query) -> anyhow::Result<Answer> {
        if self.has_client {
            self.shell.run(&query.to_string()).await
        } else {
            self.server.ask(&self.shell, query).await
        }
    }
}

impl<S> Stage<S> {
    /// Waits until `seen` says yes.
    ///
    /// # Errors
    /// When it does not in time, with `what` it waited for.
    pub(super) async fn until(
        &self,
        what: &str,
        seen: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !seen().await? {
            if started.elapsed() > TIMEOUT {
                bail!("step {}: waited in vain for {what}", self.tour.at());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Whether the machine has the server's client program.
    pub(super) fn has_client(&self) -> bool {
        self.has_client
    }

    /// The operator's binary.
    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// The demo's directory.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the operator with the rights of its service account.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) async fn start_operator(&mut self) -> anyhow::Result<()> {
        let kubeconfig = operator::kubeconfig(&self.cluster).await?;
        let log = self.dir().join("operator.log");
        self.operator =
            Some(Operator::start(&self.binary, &kubeconfig, &log, &[], &self.operator_environment).await?);
        Ok(())
    }

    /// Shows a line, runs it, shows its answer, and returns it.
    ///
    /// # Errors
    /// When it fails, or its answer lacks one of `expected`.
    pub(super) async fn run(&self, line: &str, expected: &[&str]) -> anyhow::Result<String> {
        self.tour.command(line);
        let answer = self.shell.run(line).await?;
        self.judge(line, answer, true, expected)
    }

    /// As [`Stage::run`], again and again until the answer has all of `expected`.
    ///
    /// # Errors
    /// As [`Stage::run`], when that does not happen in time.
    pub(super) async fn run_until(&self, line: &str, expected: &[&str]) -> anyhow::Result<String> {
        self.tour.command(line);
        let started = Instant::now();
        loop {
            let answer = self.shell.run(line).await?;
            let complete = answer.ok && expected.iter().all(|text| answer.text.contains(*text));
            if complete || started.elapsed() > TIMEOUT {
                return self.judge(line, answer, true, expected);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// As [`Stage::run`], for a line that has to fail.
    ///
    /// # Errors
    /// When it succeeds, or its answer lacks one of `expected`.
    pub(super) async fn run_refused(&self, line: &str, expected: &[&str]) -> anyhow::Result<String> {
        self.tour.command(line);
        let answer = self.shell.run(line).await?;
        self.judge(line, answer, false, expected)
    }

    /// Shows an answer, and checks that it is what the tour promised.
    pub(super) fn judge(
        &self,
        line: &str,
        answer: Answer,
        ok: bool,
        expected: &[&str],
    ) -> anyhow::Result<String> {
        self.tour.output(&answer.text);
        let step = self.tour.at();
        if answer.ok != ok {
            let (is, should) = if ok { ("failed", "succeed") } else { ("succeeded", "be refused") };
            bail!("step {step}: `{line}` {is}, but it should {should}:\n{}", answer.text);
        }
        if let Some(missing) = expected.iter().find(|text| !answer.text.contains(**text)) {
            bail!("step {step}: `{line}` should answer with {missing:?}; it answered:\n{}", answer.text);
        }
        Ok(answer.text)
    }

    /// Writes the certificates.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write_certificates(&self, trust: &Trust<'_>) -> anyhow::Result<()> {
        let files = [
            ("server-ca.crt", trust.server_ca),
            ("client-ca.crt", trust.users.cert_pem()),
            ("client-ca.key", trust.users.key_pem()),
            ("admin.crt", &trust.admin.cert_pem),
            ("admin.key", &trust.admin.key_pem),
        ];
        for (name, text) in files {
            self.write(name, text)?;
        }
        Ok(())
    }

    /// Writes the samples of a directory, with the address of our server in place of theirs.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the samples do not name that address.
    pub(super) fn write_manifests(&self, samples: &str, theirs: &str, ours: &str) -> anyhow::Result<()> {
        for name in [
            "database_admin.yaml",
            "provisioning_role.yaml",
            "db_object_import_rule.yaml",
            "database_user.yaml",
            "database_session.yaml",
        ] {
            let path = crate::root().join(samples).join(name);
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            if name == "database_admin.yaml" && !text.contains(theirs) {
                bail!("{samples}/{name} does not name {theirs}");
            }
            self.write(name, &text.replace(theirs, ours))?;
        }
        Ok(())
    }

    /// Writes a file into the demo's directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir().join(name);
        let opened = fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
        opened
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }
}
