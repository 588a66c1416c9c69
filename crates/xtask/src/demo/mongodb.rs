//! The story that the demo tells on MongoDB, step by step. Every step checks what it shows.

use std::time::Instant;

use mongodb::bson::{Document, doc};
use rolecall_testbed::Mongo;
use rolecall_testbed::progress::duration;

use super::chapters::Samples;
use super::mongosh::{self, Who};
use super::stage::{ADMIN, Stage};

const SAMPLES: Samples = Samples { database: "events", role: "events-reader", session: "alice-events" };

/// Writes the files of the session's Secret into the demo's directory.
pub(super) const SAVE: &str = "umask 077; for key in tls.pem ca.crt uri; do\n  \
    kubectl get secret alice-events -o go-template=\"{{index .data \\\"$key\\\" | base64decode}}\" > $DEMO/$key\n\
    done";

/// How the files make a connection string.
pub(super) const CONNECT: &str =
    "export ALICE=\"$(cat $DEMO/uri)&tlsCertificateKeyFile=$DEMO/tls.pem&tlsCAFile=$DEMO/ca.crt\"";

const PERMISSIONS: &str = "kubectl get dbs alice-events -o jsonpath='{.status.permissions}{\"\\n\"}'";

/// The user as the server has it.
fn account() -> Document {
    doc! { "usersInfo": { "user": "CN=alice@example.com", "db": "$external" }, "showAuthenticationRestrictions": true }
}

/// Tells the whole story.
///
/// # Errors
/// When a step does not show what it should.
pub(super) async fn tell(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    servers(stage).await?;
    stage.install().await?;
    stage.run_operator().await?;
    declare(stage).await?;
    start_session(stage).await?;
    use_it(stage).await?;
    end_session(stage).await?;
    nothing_left(stage).await
}

async fn servers(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.tour.step("A Kubernetes API server and a MongoDB");
    stage.tour.command(&format!("export KUBECONFIG={}", stage.shell.variable("KUBECONFIG")));
    stage.run("kubectl version", &["Server Version"]).await?;
    stage.tour.command(&format!("export SUPERUSER=\"{}\"", stage.shell.variable("SUPERUSER")));
    if !stage.has_client() {
        stage
            .tour
            .say("(mongosh is not installed on this machine: a small client of the demo asks in its place)");
    }
    stage.tour.say("The logical database of a small shop:");
    let orders = vec![
        doc! { "_id": 1, "customer": "Nordlicht GmbH", "total": 1730 },
        doc! { "_id": 2, "customer": "Harbour Cafe", "total": 96 },
    ];
    stage
        .mongosh(Who::Superuser, "horizon", doc! { "insert": "orders", "documents": orders }, &["\"n\":2"])
        .await?;
    stage.mongosh(Who::Superuser, "horizon", doc! { "create": "notes" }, &["\"ok\":1"]).await?;
    stage.tour.say("The user that Rolecall works as. It may see operations, manage users of `$external`, and make and give\nroles of `horizon`; it can read no data:");
    let users = [
        "createUser",
        "updateUser",
        "dropUser",
        "viewUser",
        "setAuthenticationRestriction",
        "changeCustomData",
    ];
    let roles_of_horizon = ["grantRole", "createRole", "dropRole", "viewRole", "listCollections"];
    let privileges = vec![
        doc! { "resource": { "cluster": true }, "actions": ["inprog"] },
        doc! { "resource": { "db": "", "collection": "" }, "actions": ["revokeRole"] },
        doc! { "resource": { "db": "$external", "collection": "" }, "actions": &users[..] },
        doc! { "resource": { "db": "horizon", "collection": "" }, "actions": &roles_of_horizon[..] },
    ];
    let no_roles: [&str; 0] = [];
    let role = doc! { "createRole": "teleport-admin-role", "privileges": privileges, "roles": &no_roles[..] };
    stage.mongosh(Who::Superuser, "admin", role, &["\"ok\":1"]).await?;
    let roles = vec![doc! { "role": "teleport-admin-role", "db": "admin" }];
    let user = doc! { "createUser": format!("CN={ADMIN}"), "roles": roles };
    stage.mongosh(Who::Superuser, "$external", user, &["\"ok\":1"]).await?;
    Ok(())
}

async fn declare(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.declare(&SAMPLES).await?;
    stage.mongosh(Who::Superuser, "$external", account(), &["\"users\":[]"]).await?;
    Ok(())
}

async fn start_session(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.start_session(&SAMPLES).await?;
    stage
        .mongosh(Who::Superuser, "$external", account(), &["\"role\":\"read\"", "teleport-auto-user"])
        .await?;
    Ok(())
}

async fn use_it(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.tour.step("Work with the issued certificate, by the uri of the Secret");
    stage.run("kubectl describe secret alice-events | sed -n '/^Type/,$p'", &["tls.pem", "uri"]).await?;
    stage.run(SAVE, &[]).await?;
    stage.tour.command(CONNECT);
    let alice = stage.shell.run(&format!("{CONNECT}; printf %s \"$ALICE\"")).await?;
    stage.shell.export(Who::Alice.variable(), &alice.text);
    let me = doc! { "connectionStatus": 1 };
    stage.mongosh(Who::Alice, "horizon", me, &["CN=alice@example.com"]).await?;
    stage.mongosh(Who::Alice, "horizon", doc! { "find": "orders" }, &["Nordlicht GmbH"]).await?;
    stage.tour.say("What the role `read` does not allow, alice may not:");
    let raise = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "total": 0 } } }];
    let command = doc! { "update": "orders", "updates": raise };
    stage.mongosh_refused(Who::Alice, "horizon", command, &["not authorized on horizon"]).await?;
    stage.tour.say("Collections with the label `purpose: notes` alice may write:");
    stage.run("grep -v '^ *#' $DEMO/db_object_import_rule.yaml", &["DbObjectImportRule"]).await?;
    stage.run_until(PERMISSIONS, &["{\"INSERT\":1,\"UPDATE\":1}"]).await?;
    let note = vec![doc! { "_id": 1, "order": 2, "text": "called back" }];
    let command = doc! { "insert": "notes", "documents": note };
    stage.mongosh(Who::Alice, "horizon", command, &["\"n\":1"]).await?;
    Ok(())
}

async fn end_session(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.tour.step("End the session, while a command of alice runs");
    let slowly = doc! { "find": "orders", "filter": { "$where": "sleep(2000) || true" } };
    stage.tour.command(&format!("{} &", mongosh::line(Who::Alice, "horizon", &slowly)));
    let delete = "kubectl delete dbs alice-events";
    let end = async {
        stage.until_running("orders").await?;
        stage.tour.command(delete);
        let started = Instant::now();
        let answer = stage.shell.run(delete).await?;
        anyhow::Ok((answer, started.elapsed()))
    };
    let (_, (answer, took)) = tokio::try_join!(stage.mongosh_aside(Who::Alice, "horizon", &slowly), end)?;
    stage.judge(delete, answer, true, &["deleted"])?;
    stage.tour.say(&format!(
        "That returned after {}: the rights were gone at once, but MongoDB lets a command that runs come to its end, and\n\
         a finalizer holds the object until nothing of alice runs any more.",
        duration(took)
    ));
    Ok(())
}

async fn nothing_left(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.tour.step("The login is refused, the account is locked, the credentials are gone");
    let me = doc! { "connectionStatus": 1 };
    stage.mongosh_refused(Who::Alice, "horizon", me, &["Authentication failed"]).await?;
    stage.mongosh(Who::Superuser, "$external", account(), &["\"roles\":[]", "0.0.0.0"]).await?;
    stage.run_refused("kubectl get secret alice-events", &["not found"]).await?;
    stage.show_disabled(SAMPLES.database).await
}
