//! The story that the demo tells on PostgreSQL, step by step. Every step checks what it shows.

use std::time::Instant;

use anyhow::bail;
use rolecall_testbed::Postgres;
use rolecall_testbed::progress::duration;

use super::chapters::{READY, Samples};
use super::psql::{self, Sql, Who};
use super::stage::{ADMIN, Stage};

/// The database user of the sample DatabaseUser.
pub(super) const USERNAME: &str = "alice@example.com";

const SAMPLES: Samples = Samples { database: "orders", role: "hr-reader", session: "alice-orders" };

/// Writes the files of the session's Secret into the demo's directory.
pub(super) const SAVE: &str = "umask 077; for key in tls.crt tls.key ca.crt; do\n  \
    kubectl get secret alice-orders -o go-template=\"{{index .data \\\"$key\\\" | base64decode}}\" > $DEMO/$key\n\
    done";

const ACCOUNT: &str = "select rolname, rolcanlogin, array(select pg_get_userbyid(roleid) from pg_auth_members \
    where member = r.oid) as member_of from pg_roles r where rolname like 'alice%'";
const PERMISSIONS: &str = "kubectl get dbs alice-orders -o jsonpath='{.status.permissions}{\"\\n\"}'";
const SETS: &str = "select rolname, shobj_description(oid, 'pg_authid') as stands_for from pg_roles \
    where rolname like 'rolecall:%'";
const QUESTION: &str = "select c.name, count(*) as orders, sum(o.total) as total from orders.orders o \
    join orders.customers c on c.id = o.customer group by c.name order by total desc";

/// Tells the whole story.
///
/// # Errors
/// When a step does not show what it should.
pub(super) async fn tell(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
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

async fn servers(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("A Kubernetes API server and a PostgreSQL 17");
    stage.tour.command(&format!("export KUBECONFIG={}", stage.shell.variable("KUBECONFIG")));
    stage.run("kubectl version", &["Server Version"]).await?;
    stage.tour.say("PostgreSQL lets nobody in over the network without TLS and a client certificate:");
    stage.tour.command(&format!("export SUPERUSER=\"{}\"", stage.shell.variable(psql::SUPERUSER)));
    if !stage.has_client() {
        stage
            .tour
            .say("(psql is not installed on this machine: a small client of the demo asks in its place)");
    }
    let hba = "select type, user_name, auth_method from pg_hba_file_rules";
    stage.psql(Who::Superuser("postgres"), Sql::Text(hba), &["hostssl", "cert"]).await?;
    stage.tour.say(
        "The logical database of a small shop, with a role `reader` and the user that Rolecall works as:",
    );
    stage.psql(Who::Superuser("postgres"), Sql::Text("create database horizon"), &[]).await?;
    stage.psql(Who::Superuser("horizon"), Sql::File("crates/xtask/src/demo/horizon.sql"), &[]).await?;
    let roles = "select rolname, rolcanlogin, rolcreaterole, rolsuper from pg_roles \
        where rolname in ('reader', 'teleport-admin')";
    stage.psql(Who::Superuser("horizon"), Sql::Text(roles), &["reader", ADMIN]).await?;
    stage.tour.say(
        "It announces to Rolecall that its objects have changed, so that nobody waits for the next look:",
    );
    let announce = Sql::File("deploy/postgresql/announce_objects.sql");
    stage.psql(Who::Superuser("horizon"), announce, &[]).await?;
    Ok(())
}

async fn declare(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.declare(&SAMPLES).await?;
    stage.psql(Who::Superuser("horizon"), Sql::Text(ACCOUNT), &["(0 rows)"]).await?;
    Ok(())
}

async fn start_session(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.start_session(&SAMPLES).await?;
    stage.psql(Who::Superuser("horizon"), Sql::Text(ACCOUNT), &["t", "reader"]).await?;
    Ok(())
}

async fn use_it(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("Work with the issued certificate");
    stage.run("kubectl describe secret alice-orders | sed -n '/^Type/,$p'", &["tls.crt", "tls.key"]).await?;
    stage.run(SAVE, &[]).await?;
    let alice = format!(
        "host={} port={} dbname=horizon user={USERNAME} sslmode=verify-full \
         sslrootcert={dir}/ca.crt sslcert={dir}/tls.crt sslkey={dir}/tls.key",
        stage.server.host(),
        stage.server.port(),
        dir = stage.dir().display(),
    );
    stage.tour.command(&format!("export ALICE=\"{alice}\""));
    stage.shell.export(psql::ALICE, &alice);
    stage.psql(Who::Alice, Sql::Text("select current_user"), &[USERNAME]).await?;
    stage.psql(Who::Alice, Sql::Text(QUESTION), &["Nordlicht GmbH", "2230.00"]).await?;
    stage.tour.say("What the role `reader` does not allow, alice may not:");
    let waive = Sql::Text("update orders.orders set total = 0");
    stage.psql_refused(Who::Alice, waive, &["permission denied for table orders"]).await?;
    Ok(())
}

async fn use_objects(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("Rights on single objects, by their labels");
    stage.run("grep -v '^ *#' $DEMO/db_object_import_rule.yaml", &["DbObjectImportRule"]).await?;
    stage.tour.say(
        "`hr-reader` lets alice read what has the label `dept: hr`, but nothing that is `confidential`:",
    );
    stage.run_until(PERMISSIONS, &["{\"SELECT\":2}"]).await?;
    let headcount = Sql::Text("select * from hr.v_headcount order by 1");
    stage.psql(Who::Alice, headcount, &["Payments", "Warehouse"]).await?;
    let salaries = Sql::Text("select * from hr.salaries");
    stage.psql_refused(Who::Alice, salaries, &["permission denied for table salaries"]).await?;
    stage.tour.say(
        "The rights are held once by a shared role, of which alice is a member; its comment says what it stands for:",
    );
    stage.psql(Who::Superuser("horizon"), Sql::Text(SETS), &["rolecall:", "dept"]).await?;
    stage.tour.say("A table that somebody adds meanwhile:");
    let trainings = Sql::Text("create table hr.trainings as select 'First aid' as title");
    stage.psql(Who::Superuser("horizon"), trainings, &[]).await?;
    let given =
        "kubectl wait --for=jsonpath='{.status.permissions.SELECT}'=3 --timeout=300s dbs/alice-orders";
    stage.run(given, &["condition met"]).await?;
    stage.psql(Who::Alice, Sql::Text("select * from hr.trainings"), &["First aid"]).await?;
    Ok(())
}

async fn end_session(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("End the session, while a connection of alice is open");
    let sleep = "select pg_sleep(600)";
    stage.tour.command(&format!("{} &", psql::line(Who::Alice, Sql::Text(sleep))));
    // Not just any connection of alice: that of the step before may not be gone yet.
    let open = "select count(*) from pg_stat_activity where usename = 'alice@example.com' \
        and state = 'active' and query like 'select pg_sleep%'";
    let delete = "kubectl delete dbs alice-orders";
    let end = async {
        stage.wait_for_value(open, "1").await?;
        stage.tour.command(delete);
        let started = Instant::now();
        let answer = stage.shell.run(delete).await?;
        anyhow::Ok((answer, started.elapsed()))
    };
    let (said, (answer, took)) = tokio::try_join!(stage.psql_aside(Who::Alice, sleep), end)?;
    stage.judge(delete, answer, true, &["deleted"])?;
    stage.tour.say(&format!(
        "That returned after {}: a finalizer holds the object until the database was read back and shows the access\n\
         gone. What the open connection was told:",
        duration(took)
    ));
    if said.text.contains("terminating connection") || said.text.contains("connection closed") {
        stage.tour.output(&said.text);
        return Ok(());
    }
    bail!("step {}: the open connection should be terminated; it said:\n{}", stage.tour.at(), said.text)
}

async fn nothing_left(stage: &mut Stage<Postgres>) -> anyhow::Result<()> {
    stage.tour.step("The login is refused, the account is disabled, the credentials are gone");
    let refused = format!("role \"{USERNAME}\" is not permitted to log in");
    stage.psql_refused(Who::Alice, Sql::Text("select current_user"), &[&refused]).await?;
    stage.psql(Who::Superuser("horizon"), Sql::Text(ACCOUNT), &["f", "teleport-auto-user"]).await?;
    stage
        .tour
        .say("`teleport-auto-user` marks it as managed and gives nothing; `reader` and the shared role are taken away.");
    stage.run_refused("kubectl get secret alice-orders", &["not found"]).await?;
    stage.show_disabled(SAMPLES.database).await
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
