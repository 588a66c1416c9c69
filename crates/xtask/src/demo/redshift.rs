//! The demo on a simulator of Amazon Redshift, step by step. Every step checks what it shows, and the output says that
//! neither Redshift nor AWS is there.

use std::path::PathBuf;

use anyhow::Context;
use rolecall_aws_testbed::front::AwsFront;
use rolecall_aws_testbed::redshift::{Admin, Kind, Object, Redshift};
use rolecall_aws_testbed::sigv4::Keys;
use rolecall_testbed::Cluster;
use rolecall_testbed::progress::{Progress, duration};
use tokio_postgres::Client;

use super::chapters::{READY, Samples, Story};
use super::psql::{self, Query, alice, superuser};
use super::shell::{Answer, Shell};
use super::stage::{ADMIN, ALICE, Database, SUPERUSER, Stage, USERNAME};

const SAMPLES: Samples =
    Samples { database: "sales", role: "sales-reader", session: "alice-sales", keys: "username host port" };

const REGION: &str = "eu-west-1";
/// The superuser of the demo.
const DBA: &str = "dba";
const ADDRESS: &str = "sales.abc123xyz.eu-west-1.redshift.amazonaws.com:5439";

const ACCOUNT: &str =
    "select user_name, superuser, connection_limit from svv_user_info where user_name = 'alice@example.com'";
const ROLES: &str =
    "select role_name from svv_user_grants where user_name = 'alice@example.com' order by role_name";
const RIGHTS: &str = "select identity_name, relation_name, privilege_type from svv_relation_privileges where identity_type = 'role'";

/// A simulator of the cluster, and of the AWS API that hands out passwords for it.
pub(super) struct Simulator {
    redshift: Redshift,
    front: AwsFront,
    /// The password of the superuser.
    password: String,
    /// The AWS credentials of alice, who may ask for her own database user alone.
    alice: Keys,
}

impl Simulator {
    async fn start() -> anyhow::Result<(Self, Keys)> {
        let redshift = Redshift::start().await?;
        let password = redshift.create_admin(DBA, Admin::Superuser)?;
        redshift.create_admin(ADMIN, Admin::Superuser)?;
        redshift.create_object("dev", &Object::new(Kind::Table, "shop", "orders"))?;
        let operator = Keys::new("AKIDOPERATOR", "operator-secret", None);
        let alice = Keys::new("AKIDALICE", "alice-secret", None);
        let front = AwsFront::start(REGION, operator.clone()).await?;
        front.add_cluster("sales", redshift.issuer());
        front.add_keys(operator.clone(), Some(&[ADMIN]));
        front.add_keys(alice.clone(), Some(&[USERNAME]));
        Ok((Self { redshift, front, password, alice }, operator))
    }

    async fn alice(&self) -> anyhow::Result<(String, String)> {
        let credentials = self.front.get_cluster_credentials(&self.alice, USERNAME, "sales").await;
        credentials.context("asking for alice's credentials")
    }
}

impl Database for Simulator {
    const CLIENT: &'static str = "psql";
    type Query = Query;

    async fn ask(&self, _: &Shell, query: &Query) -> anyhow::Result<Answer> {
        let connected = if query.is_of_alice() {
            let (login, password) = self.alice().await?;
            self.redshift.connect(&login, &password, "dev").await
        } else {
            self.redshift.connect(DBA, &self.password, "dev").await
        };
        Ok(match connected {
            Ok(client) => psql::send(&client, query.text()?.as_str(), false).await,
            Err(error) => Answer { ok: false, text: format!("psql: error: {error}\n") },
        })
    }
}

impl Story for Simulator {
    const SUMMARY: &'static str = "- This was a simulator of Amazon Redshift and of the AWS API, not Amazon Redshift and not AWS.\n\
         - A DatabaseSession made a database user with what policy gives; its password comes from AWS, for this user alone.\n\
         - Ending it closed the login, ended the open session, took all rights away and read that back.\n\
         - The account stays, closed, because the role says `createDbUserMode: Keep`.";

    const RUN_ON: &'static str = "a real Kubernetes API server and simulators of Redshift and AWS";

    fn prepare() -> rolecall_testbed::Result<()> {
        Ok(())
    }

    async fn start(binary: PathBuf) -> anyhow::Result<Stage<Self>> {
        let progress =
            Progress::start("starting etcd, kube-apiserver, kube-controller-manager and the simulators");
        let (server, operator) = Simulator::start().await?;
        let cluster = Cluster::start().await?;
        progress.done();
        let mut stage = Stage::new(binary, cluster, server).await?;
        let server = &stage.server;
        stage.write("server-ca.crt", server.redshift.ca_pem())?;
        let (host, port) = (server.redshift.host(), server.redshift.port());
        // The simulator's certificate is from an authority of its own.
        let ours = format!("{host}:{port}\n  tls: {{caSecretRef: {{name: sales-ca, key: ca.crt}}}}");
        stage.write_manifests("deploy/samples/redshift", ADDRESS, &ours)?;
        let connection = format!(
            "host={host} port={port} user={DBA} password={} sslmode=verify-full sslrootcert={}",
            server.password,
            stage.dir().join("server-ca.crt").display()
        );
        let mut environment = server.front.environment();
        environment.push(("AWS_ACCESS_KEY_ID", operator.access_key_id));
        environment.push(("AWS_SECRET_ACCESS_KEY", operator.secret));
        stage.operator_environment =
            environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        stage.shell.export(SUPERUSER, &connection);
        Ok(stage)
    }

    async fn play(stage: &mut Stage<Self>) -> anyhow::Result<()> {
        servers(stage).await?;
        stage.install().await?;
        stage.run_operator().await?;
        declare(stage).await?;
        start_session(stage).await?;
        let session = use_it(stage).await?;
        end_session(stage, session).await?;
        nothing_left(stage).await
    }

    fn lines(stage: &Stage<Self>) -> Vec<String> {
        vec![
            format!("export SUPERUSER=\"{}\"", stage.shell.variable(SUPERUSER)),
            format!("psql \"$SUPERUSER dbname=dev\" -c \"{ROLES}\""),
        ]
    }
}

async fn servers(stage: &mut Stage<Simulator>) -> anyhow::Result<()> {
    stage.show_servers("a SIMULATOR of Amazon Redshift and of the AWS API").await?;
    stage.tour.say(
        "Neither is AWS: the simulator knows what Rolecall sends and reads, and is stricter than the service is known to be.",
    );
    stage.query(superuser("dev", "select version()"), &["PostgreSQL 8.0.2"]).await?;
    stage.tour.say("The role that sessions give. The user that Rolecall works as has CREATEUSER:");
    stage.query(superuser("dev", "create role reporting"), &[]).await?;
    stage
        .query(
            superuser("dev", "select usename, usesuper from pg_user where usename = 'teleport-admin'"),
            &["t"],
        )
        .await?;
    Ok(())
}

async fn declare(stage: &mut Stage<Simulator>) -> anyhow::Result<()> {
    let Samples { database, role, .. } = SAMPLES;
    stage.tour.step("Declare the cluster, who may get what on it, and a person");
    stage.run("kubectl create namespace shop", &["created"]).await?;
    stage.run("kubectl config set-context --current --namespace=shop", &[]).await?;
    stage.tour.say("No secret of a database: the operator asks AWS for a password that ends in minutes.");
    stage
        .run("kubectl create secret generic sales-ca --from-file=ca.crt=$DEMO/server-ca.crt", &["created"])
        .await?;
    stage.run("grep -v '^ *#' $DEMO/database_admin.yaml", &["protocol: redshift"]).await?;
    stage.run("grep -v '^ *#' $DEMO/provisioning_role.yaml", &["ProvisioningRole"]).await?;
    let apply = "kubectl apply -f $DEMO/database_admin.yaml -f $DEMO/provisioning_role.yaml -f $DEMO/db_object_import_rule.yaml -f $DEMO/database_user.yaml";
    stage.run(apply, &[&format!("databaseadmin.rolecall.dev/{database} created")]).await?;
    stage.run(&format!("{READY} dba/{database} dbu/alice prole/{role}"), &[]).await?;
    stage.run("kubectl get dba", &[database, "True"]).await?;
    stage.tour.say("Nothing of alice is in the database yet:");
    stage.query(superuser("dev", ACCOUNT), &["(0 rows)"]).await?;
    Ok(())
}

async fn start_session(stage: &mut Stage<Simulator>) -> anyhow::Result<()> {
    stage.start_session(&SAMPLES).await?;
    stage.query(superuser("dev", ACCOUNT), &[USERNAME, "UNLIMITED"]).await?;
    stage.query(superuser("dev", ROLES), &["reporting", "teleport-auto-user", "rolecall_owner_"]).await?;
    stage.query(superuser("dev", RIGHTS), &["orders", "SELECT"]).await?;
    Ok(())
}

/// Returns a connection of alice.
async fn use_it(stage: &mut Stage<Simulator>) -> anyhow::Result<Client> {
    stage.tour.step("Work with a password of AWS for this user, by the files of the Secret");
    stage.save_secret(&SAMPLES, &["username", "host"]).await?;
    stage.tour.say("What `aws redshift get-cluster-credentials --cluster-identifier sales --db-user $(cat $DEMO/username)`\nanswers with alice's own AWS credentials:");
    let (login, password) = stage.server.alice().await?;
    let connection = format!(
        "host={} port={} user={login} password={password} dbname=dev sslmode=verify-full sslrootcert={}",
        stage.server.redshift.host(),
        stage.server.redshift.port(),
        stage.dir().join("server-ca.crt").display()
    );
    stage.shell.export(ALICE, &connection);
    stage.tour.command(&format!("export ALICE=\"{connection}\""));
    stage.query(alice("select current_user"), &[USERNAME]).await?;
    stage.tour.say("What nobody gave alice, alice may not:");
    stage.query_refused(alice("create role mine"), &["permission denied"]).await?;
    let client = stage.server.redshift.connect(&login, &password, "dev").await?;
    stage.tour.say("A session of alice is open:");
    stage.query(superuser("dev", "select user_name from stv_sessions"), &["IAM:alice@example.com"]).await?;
    Ok(client)
}

async fn end_session(stage: &mut Stage<Simulator>, session: Client) -> anyhow::Result<()> {
    stage.tour.step("End it, while a session of alice is open");
    let started = std::time::Instant::now();
    stage
        .run("kubectl patch dbu alice --type=merge -p '{\"spec\":{\"suspend\":true}}'", &["patched"])
        .await?;
    let wait = "kubectl wait --for=jsonpath='{.status.phase}'=Ended --timeout=300s dbs/alice-sales";
    stage.run(wait, &["condition met"]).await?;
    let took = duration(started.elapsed());
    stage.run("kubectl get dbs", &["Ended"]).await?;
    stage.until("the end of alice's connection", async || Ok(session.is_closed())).await?;
    stage.tour.say(&format!("Ended after {took}, and the open connection with it."));
    Ok(())
}

async fn nothing_left(stage: &mut Stage<Simulator>) -> anyhow::Result<()> {
    stage.tour.step("The login is refused although its password still counts, and the account is closed");
    stage.query_refused(alice("select current_user"), &["too many connections"]).await?;
    stage.query(superuser("dev", ACCOUNT), &[USERNAME, " 0"]).await?;
    let left = stage.query(superuser("dev", ROLES), &["teleport-auto-user", "rolecall_owner_"]).await?;
    anyhow::ensure!(!left.contains("reporting"), "the role is still there:\n{left}");
    stage.show_disabled(&SAMPLES).await
}
