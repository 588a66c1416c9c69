//! What the demo plays on: a cluster, a database server, the operator, and a directory for files.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use rolecall_testbed::progress::Progress;
use rolecall_testbed::{Cluster, PgVersion, Postgres, components};
use rolecall_xtask::operator::{self, Operator, Profile};
use tempfile::TempDir;

use super::psql::{self, Sql, Who};
use super::shell::{Answer, Shell};
use super::tour::Tour;

/// TLS and a client certificate, whoever comes over the network.
const HBA: &str = "\
hostssl all all 0.0.0.0/0 cert
hostssl all all ::/0 cert
";

/// The admin user of `deploy/samples`.
pub(super) const ADMIN: &str = "teleport-admin";

/// Everything that runs, in the order in which it is stopped.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) operator: Option<Operator>,
    pub(super) cluster: Cluster,
    pub(super) postgres: Postgres,
    pub(super) shell: Shell,
    pub(super) tour: Tour,
    has_psql: bool,
    binary: PathBuf,
    // Dropped last: the others have files in it.
    dir: TempDir,
}

/// Builds or fetches what is missing, with progress: minutes on a new machine, nothing the next time.
///
/// # Errors
/// When something cannot be built; the message says what to install where that is the reason.
pub(super) fn prepare() -> anyhow::Result<PathBuf> {
    components::postgres(PgVersion::V17)?;
    components::etcd()?;
    components::Kubernetes::prepare()?;
    operator::build(Profile::Dev)
}

impl Stage {
    /// Starts the servers and writes the files that the tour uses.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn set(binary: PathBuf) -> anyhow::Result<Self> {
        let progress =
            Progress::start("starting etcd, kube-apiserver, kube-controller-manager and PostgreSQL 17");
        let postgres = Postgres::builder(PgVersion::V17).hba(HBA).start().await?;
        let cluster = Cluster::start().await?;
        progress.done();
        let dir =
            tempfile::Builder::new().prefix("rolecall-demo-").tempdir().context("making a directory")?;
        let kubectl = cluster.kubectl_path();
        let mut shell = Shell::new(dir.path(), kubectl.parent().unwrap_or(Path::new("/")));
        shell.export("KUBECONFIG", &cluster.kubeconfig().display().to_string());
        shell.export("DEMO", &dir.path().display().to_string());
        let socket = postgres.socket_dir().display();
        shell.export(psql::SUPERUSER, &format!("host={socket} port={} user=postgres", postgres.port()));
        let has_psql = shell.has("psql").await;
        let stage =
            Self { operator: None, cluster, postgres, shell, tour: Tour::new(), has_psql, binary, dir };
        stage.write_certificates()?;
        stage.write_manifests()?;
        Ok(stage)
    }

    /// Whether the machine has psql.
    pub(super) fn has_psql(&self) -> bool {
        self.has_psql
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
        self.operator = Some(Operator::start(&self.binary, &kubeconfig, &log, &[]).await?);
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

    /// As [`Stage::run`], for a line that has to fail.
    ///
    /// # Errors
    /// When it succeeds, or its answer lacks one of `expected`.
    pub(super) async fn run_refused(&self, line: &str, expected: &[&str]) -> anyhow::Result<String> {
        self.tour.command(line);
        let answer = self.shell.run(line).await?;
        self.judge(line, answer, false, expected)
    }

    /// Shows a psql line, runs it, shows its answer, and returns it.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn psql(&self, who: Who, sql: Sql<'_>, expected: &[&str]) -> anyhow::Result<String> {
        let line = psql::line(who, sql);
        self.tour.command(&line);
        let answer = psql::ask(&self.shell, self.has_psql, &self.postgres, who, sql).await?;
        self.judge(&line, answer, true, expected)
    }

    /// As [`Stage::psql`], for what the server has to refuse.
    ///
    /// # Errors
    /// As [`Stage::run_refused`].
    pub(super) async fn psql_refused(
        &self,
        who: Who,
        sql: Sql<'_>,
        expected: &[&str],
    ) -> anyhow::Result<String> {
        let line = psql::line(who, sql);
        self.tour.command(&line);
        let answer = psql::ask(&self.shell, self.has_psql, &self.postgres, who, sql).await?;
        self.judge(&line, answer, false, expected)
    }

    /// A statement that runs while other things happen; nothing of it is shown.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub(super) async fn psql_aside(&self, who: Who, text: &str) -> anyhow::Result<Answer> {
        psql::ask(&self.shell, self.has_psql, &self.postgres, who, Sql::Text(text)).await
    }

    /// Waits until a query of the superuser answers with `wanted`.
    ///
    /// # Errors
    /// When it does not within ten seconds.
    pub(super) async fn wait_for_value(&self, query: &str, wanted: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.postgres.value("postgres", query).await?.as_deref() != Some(wanted) {
            if started.elapsed().as_secs() > 10 {
                bail!("waited in vain for {wanted} from: {query}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(())
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

    /// The certificates that an administrator would have at hand.
    fn write_certificates(&self) -> anyhow::Result<()> {
        let clients = self.postgres.client_authority();
        let admin = self.postgres.client_cert(ADMIN)?;
        let files = [
            ("server-ca.crt", self.postgres.server_ca_pem()),
            ("client-ca.crt", clients.cert_pem()),
            ("client-ca.key", clients.key_pem()),
            ("admin.crt", &admin.cert_pem),
            ("admin.key", &admin.key_pem),
        ];
        for (name, text) in files {
            self.write(name, text)?;
        }
        Ok(())
    }

    /// The samples, with the address of our server in place of theirs.
    fn write_manifests(&self) -> anyhow::Result<()> {
        const ADDRESS: &str = "orders-db.shop.svc:5432";
        let samples = crate::root().join("deploy/samples");
        for name in
            ["database_admin.yaml", "provisioning_role.yaml", "database_user.yaml", "database_session.yaml"]
        {
            let text = fs::read_to_string(samples.join(name)).with_context(|| format!("reading {name}"))?;
            if name == "database_admin.yaml" && !text.contains(ADDRESS) {
                bail!("deploy/samples/{name} does not name {ADDRESS}");
            }
            self.write(name, &text.replace(ADDRESS, &self.postgres.address()))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir().join(name);
        let opened = fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
        opened
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }
}
