//! The steps that are the same on every database server.

use std::time::Instant;

use rolecall_testbed::progress::duration;

use super::stage::Stage;

/// Waits until objects are ready. It takes a moment; a machine under load may need much longer.
pub(super) const READY: &str = "kubectl wait --for=condition=Ready --timeout=300s";

/// How the objects of a directory of samples are called.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) database: &'static str,
    pub(super) role: &'static str,
    pub(super) session: &'static str,
}

impl<S> Stage<S> {
    /// The kinds, and the rights of the operator.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn install(&mut self) -> anyhow::Result<()> {
        self.tour.step("Install the five kinds and the operator's rights");
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

    /// What the DatabaseUser says of an account that is disabled.
    ///
    /// # Errors
    /// As [`Stage::run`].
    pub(super) async fn show_disabled(&self, name: &str) -> anyhow::Result<()> {
        self.run(
            "kubectl wait --for=jsonpath='{.status.accounts[0].phase}'=Disabled --timeout=300s dbu/alice",
            &[],
        )
        .await?;
        let accounts = "kubectl get dbu alice -o jsonpath='{range .status.accounts[*]}{.database} {.username} {.phase}{\"\\n\"}{end}'";
        self.run(accounts, &[&format!("{name} alice@example.com Disabled")]).await?;
        Ok(())
    }
}
