//! The steps that are the same on every database server.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rolecall_testbed::progress::duration;
use rolecall_testbed::{KubernetesVersion, components};
use rolecall_xtask::operator::{self, Profile};

use super::shell::Answer;
use super::stage::{Database, SUPERUSER, Stage, USERNAME};

/// A tour on one kind of database server.
pub(super) trait Story: Database {
    /// What happened, said at the end.
    const SUMMARY: &'static str;
    /// On what it ran.
    const RUN_ON: &'static str = "real components";

    /// Builds or fetches the server, where that was not done before.
    ///
    /// # Errors
    /// When it cannot be built; the message says what to install where that is the reason.
    fn prepare() -> rolecall_testbed::Result<()>;

    /// Starts the servers and writes the files that the tour uses.
    ///
    /// # Errors
    /// When one does not start.
    async fn start(binary: PathBuf) -> anyhow::Result<Stage<Self>>;

    /// Runs the tour.
    ///
    /// # Errors
    /// When a step does not show what it should.
    async fn play(stage: &mut Stage<Self>) -> anyhow::Result<()>;

    /// Lines to continue with by hand.
    fn lines(stage: &Stage<Self>) -> Vec<String>;
}

/// Builds or fetches what is missing, with progress: minutes on a new machine, nothing the next time.
///
/// # Errors
/// As [`Story::prepare`].
pub(super) fn prepare<S: Story>() -> anyhow::Result<PathBuf> {
    S::prepare()?;
    components::etcd()?;
    components::Kubernetes::prepare(KubernetesVersion::NEWEST)?;
    operator::build(Profile::Dev)
}

/// Waits until objects are ready. It takes a moment; a machine under load may need much longer.
pub(super) const READY: &str = "kubectl wait --for=condition=Ready --timeout=300s";

/// The names of the objects in a directory of samples.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) database: &'static str,
    pub(super) role: &'static str,
    pub(super) session: &'static str,
    /// The keys of the session's Secret that make a connection.
    pub(super) keys: &'static str,
}

impl Samples {
    /// A line that writes the files of the session's Secret into the demo's directory.
    pub(super) fn save(&self) -> String {
        let Self { session, keys, .. } = self;
        format!(
            "umask 077; for key in {keys}; do\n  \
             kubectl get secret {session} -o go-template=\"{{{{index .data \\\"$key\\\" | base64decode}}}}\" > $DEMO/$key\n\
             done"
        )
    }
}

impl<S: Database> Stage<S> {
    /// The servers; `server` with its article.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn show_servers(&mut self, server: &str) -> anyhow::Result<()> {
        self.tour.step(&format!("A Kubernetes API server and {server}"));
        self.tour.command(&format!("export KUBECONFIG={}", self.shell.variable("KUBECONFIG")));
        self.run("kubectl version", &["Server Version"]).await?;
        self.tour.command(&format!("export SUPERUSER=\"{}\"", self.shell.variable(SUPERUSER)));
        if !self.has_client() {
            self.tour.say(&format!(
                "({} is not installed on this machine: a small client of the demo takes its place)",
                S::CLIENT
            ));
        }
        Ok(())
    }

    /// The kinds, and the rights of the operator.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn install(&mut self) -> anyhow::Result<()> {
        self.tour.step("Install the six kinds and the operator's rights");
        self.run(
            "kubectl apply --server-side -k deploy",
            &["databasesessions.rolecall.dev serverside-applied"],
        )
        .await?;
        self.run("kubectl wait --for=condition=Established --timeout=300s crd --all", &["condition met"])
            .await?;
        // Established kinds are served, and appear in lists a moment later.
        let kinds =
            ["DatabaseAdmin", "DatabaseSession", "DatabaseUser", "DbObjectImportRule", "ProvisioningRole"];
        self.run_until("kubectl api-resources --api-group=rolecall.dev", &kinds).await?;
        Ok(())
    }

    /// The operator.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) async fn run_operator(&mut self) -> anyhow::Result<()> {
        self.tour.step("Run the operator, with the rights of its service account");
        let binary = self.binary();
        let binary = binary.strip_prefix(crate::root()).unwrap_or(binary).display();
        self.tour
            .command(&format!("{binary} --listen 127.0.0.1:0 --leader-election-namespace rolecall-system &"));
        self.start_operator().await?;
        self.run("kubectl get lease --namespace rolecall-system", &["rolecall-operator"]).await?;
        Ok(())
    }

    /// A namespace with the Secrets of the DatabaseAdmin, and the samples but for the session.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn declare(&mut self, samples: &Samples) -> anyhow::Result<()> {
        let Samples { database, role, .. } = samples;
        self.tour.step("Declare the database server, who may get what on it, and a person");
        self.run("kubectl create namespace shop", &["created"]).await?;
        self.run("kubectl config set-context --current --namespace=shop", &[]).await?;
        self.tour.say(
            "Three Secrets: who signed the server's certificate, the admin user's own certificate, and the authority\n\
             that signs the users' certificates.",
        );
        for line in [
            format!("kubectl create secret generic {database}-ca --from-file=ca.crt=$DEMO/server-ca.crt"),
            format!(
                "kubectl create secret tls {database}-admin-cert --cert=$DEMO/admin.crt --key=$DEMO/admin.key"
            ),
            format!(
                "kubectl create secret tls {database}-client-ca --cert=$DEMO/client-ca.crt --key=$DEMO/client-ca.key"
            ),
        ] {
            self.run(&line, &["created"]).await?;
        }
        self.tour.say("The samples of deploy/samples, with this server's address:");
        self.run("grep -v '^ *#' $DEMO/provisioning_role.yaml", &["ProvisioningRole"]).await?;
        self.run("grep -v '^ *#' $DEMO/database_user.yaml", &["DatabaseUser"]).await?;
        let apply = "kubectl apply -f $DEMO/database_admin.yaml -f $DEMO/provisioning_role.yaml -f $DEMO/db_object_import_rule.yaml -f $DEMO/database_user.yaml";
        self.run(apply, &[&format!("databaseadmin.rolecall.dev/{database} created")]).await?;
        self.run(&format!("{READY} dba/{database} dbu/alice prole/{role}"), &[]).await?;
        self.run("kubectl get dba", &[database, "True"]).await?;
        self.run("kubectl get prole,doir,dbu", &[role, "alice"]).await?;
        self.tour.say("Nothing of alice is in the database yet:");
        Ok(())
    }

    /// The session of the samples, until it is Active.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn start_session(&mut self, samples: &Samples) -> anyhow::Result<()> {
        let session = samples.session;
        self.tour.step("Alice needs the data for an hour: a DatabaseSession");
        self.run("grep -v '^ *#' $DEMO/database_session.yaml", &["DatabaseSession"]).await?;
        let started = Instant::now();
        self.run("kubectl apply -f $DEMO/database_session.yaml", &["created"]).await?;
        self.run(&format!("{READY} dbs/{session}"), &["condition met"]).await?;
        let took = duration(started.elapsed());
        self.run("kubectl get dbs", &[session, "Active"]).await?;
        self.tour.say(&format!(
            "Active within {took} of the first command. The user was made, with what policy gives:"
        ));
        Ok(())
    }

    /// The Secret of the session, and its files in the demo's directory.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn save_secret(&self, samples: &Samples, expected: &[&str]) -> anyhow::Result<()> {
        let session = samples.session;
        self.run(&format!("kubectl describe secret {session} | sed -n '/^Type/,$p'"), expected).await?;
        self.run(&samples.save(), &[]).await?;
        Ok(())
    }

    /// Ends the session while a query of alice runs; `running` waits until it does. Returns what the query answered,
    /// and how long the deletion took.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn end_session(
        &self,
        samples: &Samples,
        query: &S::Query,
        running: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<(Answer, Duration)> {
        self.tour.command(&format!("{query} &"));
        let delete = format!("kubectl delete dbs {}", samples.session);
        let end = async {
            running.await?;
            self.tour.command(&delete);
            let started = Instant::now();
            let answer = self.shell.run(&delete).await?;
            anyhow::Ok((answer, started.elapsed()))
        };
        let (interrupted, (answer, took)) = tokio::try_join!(self.ask(query), end)?;
        self.judge(&delete, answer, true, &["deleted"])?;
        Ok((interrupted, took))
    }

    /// What the DatabaseUser says of an account that is disabled.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn show_disabled(&self, samples: &Samples) -> anyhow::Result<()> {
        self.run(
            "kubectl wait --for=jsonpath='{.status.accounts[0].phase}'=Disabled --timeout=300s dbu/alice",
            &[],
        )
        .await?;
        let accounts = "kubectl get dbu alice -o jsonpath='{range .status.accounts[*]}{.database} {.username} {.phase}{\"\\n\"}{end}'";
        self.run(accounts, &[&format!("{} {USERNAME} Disabled", samples.database)]).await?;
        Ok(())
    }
}
