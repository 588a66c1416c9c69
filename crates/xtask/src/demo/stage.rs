//! What the demo plays on: a cluster, a database server, the operator, and a directory for files.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mongodb::bson::{Document, doc};
use rolecall_testbed::progress::Progress;
use rolecall_testbed::{
    Authority, Certificate, Cluster, KubernetesVersion, Mongo, PgVersion, Postgres, components,
};
use rolecall_xtask::operator::{self, Operator, Profile};
use tempfile::TempDir;

use super::mongosh;
use super::psql::{self, Sql, Who};
use super::shell::{Answer, Shell};
use super::tour::Tour;

/// TLS and a client certificate, whoever comes over the network.
const HBA: &str = "\
hostssl all all 0.0.0.0/0 cert
hostssl all all ::/0 cert
";

/// How long something is waited for that takes a moment: long enough for a machine under load.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);

/// The admin user of `deploy/samples`.
pub(super) const ADMIN: &str = "teleport-admin";

/// Everything that runs, in the order in which it is stopped.
#[derive(Debug)]
pub(super) struct Stage<S> {
    pub(super) operator: Option<Operator>,
    pub(super) cluster: Cluster,
    /// The database server.
    pub(super) server: S,
    pub(super) shell: Shell,
    pub(super) tour: Tour,
    has_client: bool,
    binary: PathBuf,
    // Dropped last: the others have files in it.
    dir: TempDir,
}

/// Builds or fetches what is missing, with progress: minutes on a new machine, nothing the next time.
///
/// # Errors
/// When something cannot be built; the message says what to install where that is the reason.
pub(super) fn prepare(mongodb: bool) -> anyhow::Result<PathBuf> {
    if mongodb {
        components::mongodb()?;
    } else {
        components::postgres(PgVersion::V17)?;
    }
    components::etcd()?;
    components::Kubernetes::prepare(KubernetesVersion::NEWEST)?;
    operator::build(Profile::Dev)
}

/// What proves the parties of a server to each other.
struct Trust<'a> {
    users: &'a Authority,
    admin: Certificate,
    server_ca: &'a str,
}

impl Stage<Postgres> {
    /// Starts the servers and writes the files that the tour uses.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn postgres(binary: PathBuf) -> anyhow::Result<Self> {
        let progress =
            Progress::start("starting etcd, kube-apiserver, kube-controller-manager and PostgreSQL 17");
        let server = Postgres::builder(PgVersion::V17).hba(HBA).start().await?;
        let cluster = Cluster::start().await?;
        progress.done();
        let mut stage = Self::set(binary, cluster, server, "psql").await?;
        let pg = &stage.server;
        let superuser = format!("host={} port={} user=postgres", pg.socket_dir().display(), pg.port());
        let trust = Trust {
            users: pg.client_authority(),
            admin: pg.client_cert(ADMIN)?,
            server_ca: pg.server_ca_pem(),
        };
        stage.write_certificates(&trust)?;
        stage.write_manifests("deploy/samples", "orders-db.shop.svc:5432", &pg.address())?;
        stage.shell.export(psql::SUPERUSER, &superuser);
        Ok(stage)
    }

    /// Shows a psql line, runs it, shows its answer, and returns it.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn psql(&self, who: Who, sql: Sql<'_>, expected: &[&str]) -> anyhow::Result<String> {
        let line = psql::line(who, sql);
        self.tour.command(&line);
        let answer = psql::ask(&self.shell, self.has_client, &self.server, who, sql).await?;
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
        let answer = psql::ask(&self.shell, self.has_client, &self.server, who, sql).await?;
        self.judge(&line, answer, false, expected)
    }

    /// A statement that runs while other things happen; nothing of it is shown.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub(super) async fn psql_aside(&self, who: Who, text: &str) -> anyhow::Result<Answer> {
        psql::ask(&self.shell, self.has_client, &self.server, who, Sql::Text(text)).await
    }

    /// Waits until a query of the superuser answers with `wanted`.
    ///
    /// # Errors
    /// When it does not in time.
    pub(super) async fn wait_for_value(&self, query: &str, wanted: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.server.value("postgres", query).await?.as_deref() != Some(wanted) {
            if started.elapsed() > PATIENCE {
                bail!("waited in vain for {wanted} from: {query}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

impl Stage<Mongo> {
    /// Starts the servers and writes the files that the tour uses.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn mongodb(binary: PathBuf) -> anyhow::Result<Self> {
        const ADDRESS: &str = "mongodb://events-0.shop.svc:27017,events-1.shop.svc:27017,events-2.shop.svc:27017/?replicaSet=events";
        let progress = Progress::start("starting etcd, kube-apiserver, kube-controller-manager and MongoDB");
        let server = Mongo::start().await?;
        let cluster = Cluster::start().await?;
        progress.done();
        let mut stage = Self::set(binary, cluster, server, "mongosh").await?;
        let mongo = &stage.server;
        let trust = Trust {
            users: mongo.client_authority(),
            admin: mongo.client_cert(ADMIN)?,
            server_ca: mongo.server_ca_pem(),
        };
        stage.write_certificates(&trust)?;
        stage.write_manifests("deploy/samples/mongodb", ADDRESS, &mongo.uri())?;
        let superuser = format!(
            "{}&tls=true&authMechanism=MONGODB-X509&authSource=%24external&tlsCertificateKeyFile={dir}/root.pem\
             &tlsCAFile={dir}/servers.crt",
            mongo.uri(),
            dir = mongo.dir().display()
        );
        stage.shell.export(mongosh::Who::Superuser.variable(), &superuser);
        Ok(stage)
    }

    /// Shows a mongosh line, runs it, shows its answer, and returns it.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn mongosh(
        &self,
        who: mongosh::Who,
        database: &str,
        command: Document,
        expected: &[&str],
    ) -> anyhow::Result<String> {
        self.ask(who, database, &command, true, expected).await
    }

    /// As [`Stage::mongosh`], for what the server has to refuse.
    ///
    /// # Errors
    /// As [`Stage::run_refused`].
    pub(super) async fn mongosh_refused(
        &self,
        who: mongosh::Who,
        database: &str,
        command: Document,
        expected: &[&str],
    ) -> anyhow::Result<String> {
        self.ask(who, database, &command, false, expected).await
    }

    /// A command that runs while other things happen; nothing of it is shown.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub(super) async fn mongosh_aside(
        &self,
        who: mongosh::Who,
        database: &str,
        command: &Document,
    ) -> anyhow::Result<Answer> {
        mongosh::ask(&self.shell, self.has_client, who, database, command).await
    }

    /// Waits until a query runs on that collection of `horizon`.
    ///
    /// # Errors
    /// When none does in time.
    pub(super) async fn until_running(&self, collection: &str) -> anyhow::Result<()> {
        let seen = doc! {
            "currentOp": 1, "ns": format!("horizon.{collection}"), "active": true,
            "command.filter.$where": { "$exists": true },
        };
        let started = Instant::now();
        while self.server.run("admin", seen.clone()).await?.get_array("inprog")?.is_empty() {
            if started.elapsed() > PATIENCE {
                bail!("waited in vain for a query on {collection}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn ask(
        &self,
        who: mongosh::Who,
        database: &str,
        command: &Document,
        ok: bool,
        expected: &[&str],
    ) -> anyhow::Result<String> {
        let line = mongosh::line(who, database, command);
        self.tour.command(&line);
        let answer = mongosh::ask(&self.shell, self.has_client, who, database, command).await?;
        self.judge(&line, answer, ok, expected)
    }
}

impl<S> Stage<S> {
    /// The directory, the shell, and what the server is asked with: `client`, where the machine has it.
    async fn set(binary: PathBuf, cluster: Cluster, server: S, client: &str) -> anyhow::Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("rolecall-demo-").tempdir().context("making a directory")?;
        let kubectl = cluster.kubectl_path();
        let mut shell = Shell::new(dir.path(), kubectl.parent().unwrap_or(Path::new("/")));
        shell.export("KUBECONFIG", &cluster.kubeconfig().display().to_string());
        shell.export("DEMO", &dir.path().display().to_string());
        let has_client = shell.has(client).await;
        Ok(Self { operator: None, cluster, server, shell, tour: Tour::new(), has_client, binary, dir })
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
            if complete || started.elapsed() > PATIENCE {
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

    /// The certificates that an administrator would have at hand.
    fn write_certificates(&self, trust: &Trust<'_>) -> anyhow::Result<()> {
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

    /// The samples of a directory, with the address of our server in place of theirs.
    fn write_manifests(&self, samples: &str, theirs: &str, ours: &str) -> anyhow::Result<()> {
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

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir().join(name);
        let opened = fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
        opened
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }
}
