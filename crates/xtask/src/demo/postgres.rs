//! The demo on PostgreSQL, step by step. Every step checks what it shows.

use std::path::PathBuf;

use anyhow::bail;
use rolecall_testbed::progress::{Progress, duration};
use rolecall_testbed::{Cluster, PgVersion, Postgres, components};

use super::chapters::{READY, Samples, Story};
use super::psql::{alice, superuser, superuser_file};
use super::stage::{ADMIN, ALICE, SUPERUSER, Stage, Trust, USERNAME};

const SAMPLES: Samples = Samples {
    database: "orders",
    role: "hr-reader",
    session: "alice-orders",
    keys: "tls.crt tls.key ca.crt",
};

/// TLS and a client certificate, whoever comes over the network.
const HBA: &str = "\
hostssl all all 0.0.0.0/0 cert
hostssl all all ::/0 cert
";

const ACCOUNT: &str = "select rolname, rolcanlogin, array(select pg_get_userbyid(roleid) from pg_auth_members \
    where member = r.oid) as member_of from pg_roles r where rolname like 'alice%'";
const PERMISSIONS: &str = "kubectl get dbs alice-orders -o jsonpath='{.status.permissions}{\"\\n\"}'";
const SETS: &str = "select rolname, shobj_description(oid, 'pg_authid') as stands_for from pg_roles \
    where rolname like 'rolecall:%'";
const QUESTION: &str = "select c.name, count(*) as orders, sum(o.total) as total from orders.orders o \
    join orders.customers c on c.id = o.customer group by c.name order by total desc";

impl Story for Postgres {
    const SUMMARY: &'static str = "- A DatabaseSession made a database user with what policy gives and a certificate that ends with the session.\n\
         - Deleting it closed the login, took all rights away, ended the open connection and read that back.\n\
         - The account stays, disabled, because the role says `createDbUserMode: Keep`: what it owns is kept.";

    fn prepare() -> rolecall_testbed::Result<()> {
        components::postgres(PgVersion::V17).map(drop)
    }

    async fn start(binary: PathBuf) -> anyhow::Result<Stage<Self>> {
        let progress =
            Progress::start("starting etcd, kube-apiserver, kube-controller-manager and PostgreSQL 17");
        let server = Self::builder(PgVersion::V17).hba(HBA).start().await?;
        let cluster = Cluster::start().await?;
        progress.done();
        let mut stage = Stage::new(binary, cluster, server).await?;
        let server = &stage.server;
        let connection =
            format!("host={} port={} user=postgres", server.socket_dir().display(), server.port());
        stage.write_certificates(&Trust {
            users: server.client_authority(),
            admin: server.client_cert(ADMIN)?,
            server_ca: server.server_ca_pem(),
        })?;
        stage.write_manifests("deploy/samples", "orders-db.shop.svc:5432", &server.address())?;
        stage.shell.export(SUPERUSER, &connection);
        Ok(stage)
    }

    async fn play(stage: &mut Stage<Self>) -> anyhow::Result<()> {
        servers(stage).await?;
        stage.install().await?;
        stage.run_operator().await?;
        declare(stage).await?;
        start_session(stage).await?;
        use_it(stage).await?;
        use_objects(stage).await?;
        end_session(stage).await?;
        nothing_left(stage).await?;
        every_role(stage).await
    }

    fn lines(stage: &Stage<Self>) -> Vec<String> {
        vec![
            format!("export ALICE=\"{}\"", stage.shell.variable(ALICE)),
            format!("export SUPERUSER=\"{}\"", stage.shell.variable(SUPERUSER)),
            format!("{}   # a new key and certificate each time", SAMPLES.save()),
            "psql \"$ALICE\"".to_owned(),
        ]
    }
}

async fn servers(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.show_servers("a PostgreSQL 17").await?;
    stage.tour.say("PostgreSQL lets nobody in over the network without TLS and a client certificate:");
    let hba = "select type, user_name, auth_method from pg_hba_file_rules";
    stage.query(superuser("postgres", hba), &["hostssl", "cert"]).await?;
    stage.tour.say(
        "The logical database of a small shop, with a role `reader` and the user that Rolecall works as:",
    );
    stage.query(superuser("postgres", "create database horizon"), &[]).await?;
    stage.query(superuser_file("horizon", "crates/xtask/src/demo/horizon.sql"), &[]).await?;
    let roles = "select rolname, rolcanlogin, rolcreaterole, rolsuper from pg_roles \
        where rolname in ('reader', 'teleport-admin')";
    stage.query(superuser("horizon", roles), &["reader", ADMIN]).await?;
    stage.tour.say(
        "It announces to Rolecall that its objects have changed, so that nobody waits for the next resync:",
    );
    let announce = "deploy/postgresql/announce_objects.sql";
    stage.query(superuser_file("horizon", announce), &[]).await?;
    Ok(())
}

async fn declare(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.declare(&SAMPLES).await?;
    stage.query(superuser("horizon", ACCOUNT), &["(0 rows)"]).await?;
    Ok(())
}

async fn start_session(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.start_session(&SAMPLES).await?;
    stage.query(superuser("horizon", ACCOUNT), &["t", "reader"]).await?;
    Ok(())
}

async fn use_it(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("Work with the issued certificate");
    stage.save_secret(&SAMPLES, &["tls.crt", "tls.key"]).await?;
    let connection = format!(
        "host={} port={} dbname=horizon user={USERNAME} sslmode=verify-full \
         sslrootcert={dir}/ca.crt sslcert={dir}/tls.crt sslkey={dir}/tls.key",
        stage.server.host(),
        stage.server.port(),
        dir = stage.dir().display(),
    );
    stage.tour.command(&format!("export ALICE=\"{connection}\""));
    stage.shell.export(ALICE, &connection);
    stage.query(alice("select current_user"), &[USERNAME]).await?;
    stage.query(alice(QUESTION), &["Nordlicht GmbH", "2230.00"]).await?;
    stage.tour.say("What the role `reader` does not allow, alice may not:");
    let waive = "update orders.orders set total = 0";
    stage.query_refused(alice(waive), &["permission denied for table orders"]).await?;
    Ok(())
}

async fn use_objects(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("Rights on single objects, by their labels");
    stage.run("grep -v '^ *#' $DEMO/db_object_import_rule.yaml", &["DbObjectImportRule"]).await?;
    stage.tour.say(
        "`hr-reader` lets alice read what has the label `dept: hr`, but nothing that is `confidential`:",
    );
    stage.run_until(PERMISSIONS, &["{\"SELECT\":2}"]).await?;
    let headcount = "select * from hr.v_headcount order by 1";
    stage.query(alice(headcount), &["Payments", "Warehouse"]).await?;
    let salaries = "select * from hr.salaries";
    stage.query_refused(alice(salaries), &["permission denied for table salaries"]).await?;
    stage.tour.say(
        "The rights are held once by a shared role, of which alice is a member; its comment says what it stands for:",
    );
    stage.query(superuser("horizon", SETS), &["rolecall:", "dept"]).await?;
    stage.tour.say("A table that somebody adds meanwhile:");
    let trainings = "create table hr.trainings as select 'First aid' as title";
    stage.query(superuser("horizon", trainings), &[]).await?;
    let given =
        "kubectl wait --for=jsonpath='{.status.permissions.SELECT}'=3 --timeout=300s dbs/alice-orders";
    stage.run(given, &["condition met"]).await?;
    stage.query(alice("select * from hr.trainings"), &["First aid"]).await?;
    Ok(())
}

async fn end_session(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("End the session, while a connection of alice is open");
    // Not just any connection of alice: that of the step before may not be gone yet.
    let open = "select count(*) from pg_stat_activity where usename = 'alice@example.com' \
        and state = 'active' and query like 'select pg_sleep%'";
    let sleep = alice("select pg_sleep(600)");
    let running = stage.until("the connection of alice", async || {
        Ok(stage.server.value("postgres", open).await?.as_deref() == Some("1"))
    });
    let (interrupted, took) = stage.end_session(&SAMPLES, &sleep, running).await?;
    stage.tour.say(&format!(
        "That returned after {}: a finalizer holds the object until the database was read back and shows the access\n\
         gone. What the open connection received:",
        duration(took)
    ));
    if interrupted.text.contains("terminating connection") || interrupted.text.contains("connection closed") {
        stage.tour.output(&interrupted.text);
        return Ok(());
    }
    bail!(
        "step {}: the open connection should be terminated; it said:\n{}",
        stage.tour.at(),
        interrupted.text
    )
}

async fn nothing_left(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("The login is refused, the account is disabled, the credentials are gone");
    let refused = format!("role \"{USERNAME}\" is not permitted to log in");
    stage.query_refused(alice("select current_user"), &[&refused]).await?;
    stage.query(superuser("horizon", ACCOUNT), &["f", "teleport-auto-user"]).await?;
    stage
        .tour
        .say("`teleport-auto-user` marks it as managed and gives nothing; `reader` and the shared role are taken away.");
    stage.run_refused("kubectl get secret alice-orders", &["not found"]).await?;
    stage.show_disabled(&SAMPLES).await
}

async fn every_role(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("A session that asks for no database roles gets all that policy allows");
    stage.run("sed '/dbRoles:/d' $DEMO/database_session.yaml | kubectl apply -f -", &["created"]).await?;
    stage.run(&format!("{READY} dbs/alice-orders"), &["condition met"]).await?;
    let roles = "kubectl get dbs alice-orders -o jsonpath='{.status.dbRoles}{\"\\n\"}'";
    stage.run(roles, &[r#"["reader","team-blue","team-green"]"#]).await?;
    stage.run("kubectl delete dbs alice-orders", &["deleted"]).await?;
    Ok(())
}
