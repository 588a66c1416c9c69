//! The demo on MongoDB, step by step. Every step checks what it shows.

use std::path::PathBuf;

use mongodb::bson::{Document, doc};
use rolecall_testbed::progress::{Progress, duration};
use rolecall_testbed::{Cluster, Mongo, components};

use super::chapters::{Samples, Story};
use super::mongosh::{alice, superuser};
use super::stage::{ADMIN, ALICE, SUPERUSER, Stage, Trust};

const SAMPLES: Samples = Samples {
    database: "events",
    role: "events-reader",
    session: "alice-events",
    keys: "tls.pem ca.crt uri",
};

/// How the files make a connection string.
const CONNECT: &str =
    "export ALICE=\"$(cat $DEMO/uri)&tlsCertificateKeyFile=$DEMO/tls.pem&tlsCAFile=$DEMO/ca.crt\"";

const PERMISSIONS: &str = "kubectl get dbs alice-events -o jsonpath='{.status.permissions}{\"\\n\"}'";

/// The user as the server has it.
fn account() -> Document {
    doc! { "usersInfo": { "user": "CN=alice@example.com", "db": "$external" }, "showAuthenticationRestrictions": true }
}

impl Story for Mongo {
    const SUMMARY: &'static str = "- A DatabaseSession made a database user with what policy gives and a certificate that ends with the session.\n\
         - Deleting it took the rights away at once, also from the open connection, and waited for what still ran.\n\
         - The account stays, locked and without roles, because the role says `createDbUserMode: Keep`.";

    fn prepare() -> rolecall_testbed::Result<()> {
        components::mongodb().map(drop)
    }

    async fn start(binary: PathBuf) -> anyhow::Result<Stage<Self>> {
        const ADDRESS: &str = "mongodb://events-0.shop.svc:27017,events-1.shop.svc:27017,events-2.shop.svc:27017/?replicaSet=events";
        let progress = Progress::start("starting etcd, kube-apiserver, kube-controller-manager and MongoDB");
        let server = Self::start().await?;
        let cluster = Cluster::start().await?;
        progress.done();
        let mut stage = Stage::new(binary, cluster, server).await?;
        let server = &stage.server;
        stage.write_certificates(&Trust {
            users: server.client_authority(),
            admin: server.client_cert(ADMIN)?,
            server_ca: server.server_ca_pem(),
        })?;
        stage.write_manifests("deploy/samples/mongodb", ADDRESS, &server.uri())?;
        let connection = format!(
            "{}&tls=true&authMechanism=MONGODB-X509&authSource=%24external&tlsCertificateKeyFile={dir}/root.pem\
             &tlsCAFile={dir}/servers.crt",
            server.uri(),
            dir = server.dir().display()
        );
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
        end_session(stage).await?;
        nothing_left(stage).await
    }

    fn lines(stage: &Stage<Self>) -> Vec<String> {
        vec![
            format!("export SUPERUSER=\"{}\"", stage.shell.variable(SUPERUSER)),
            format!("{}   # a new key and certificate each time", SAMPLES.save()),
            CONNECT.to_owned(),
            "mongosh \"$ALICE\"".to_owned(),
        ]
    }
}

async fn servers(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.show_servers("a MongoDB").await?;
    stage.tour.say("The logical database of a small shop:");
    let orders = vec![
        doc! { "_id": 1, "customer": "Nordlicht GmbH", "total": 1730 },
        doc! { "_id": 2, "customer": "Harbour Cafe", "total": 96 },
    ];
    stage.query(superuser("horizon", doc! { "insert": "orders", "documents": orders }), &["\"n\":2"]).await?;
    stage.query(superuser("horizon", doc! { "create": "notes" }), &["\"ok\":1"]).await?;
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
    stage.query(superuser("admin", role), &["\"ok\":1"]).await?;
    let roles = vec![doc! { "role": "teleport-admin-role", "db": "admin" }];
    let user = doc! { "createUser": format!("CN={ADMIN}"), "roles": roles };
    stage.query(superuser("$external", user), &["\"ok\":1"]).await?;
    Ok(())
}

async fn declare(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.declare(&SAMPLES).await?;
    stage.query(superuser("$external", account()), &["\"users\":[]"]).await?;
    Ok(())
}

async fn start_session(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.start_session(&SAMPLES).await?;
    stage.query(superuser("$external", account()), &["\"role\":\"read\"", "teleport-auto-user"]).await?;
    Ok(())
}

async fn use_it(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.tour.step("Work with the issued certificate, by the uri of the Secret");
    stage.save_secret(&SAMPLES, &["tls.pem", "uri"]).await?;
    stage.tour.command(CONNECT);
    let connection = stage.shell.run(&format!("{CONNECT}; printf %s \"$ALICE\"")).await?;
    stage.shell.export(ALICE, &connection.text);
    let me = doc! { "connectionStatus": 1 };
    stage.query(alice("horizon", me), &["CN=alice@example.com"]).await?;
    stage.query(alice("horizon", doc! { "find": "orders" }), &["Nordlicht GmbH"]).await?;
    stage.tour.say("What the role `read` does not allow, alice may not:");
    let raise = vec![doc! { "q": { "_id": 1 }, "u": { "$set": { "total": 0 } } }];
    let command = doc! { "update": "orders", "updates": raise };
    stage.query_refused(alice("horizon", command), &["not authorized on horizon"]).await?;
    stage.tour.say("Collections with the label `purpose: notes` alice may write:");
    stage.run("grep -v '^ *#' $DEMO/db_object_import_rule.yaml", &["DbObjectImportRule"]).await?;
    stage.run_until(PERMISSIONS, &["{\"INSERT\":1,\"UPDATE\":1}"]).await?;
    let note = vec![doc! { "_id": 1, "order": 2, "text": "called back" }];
    let command = doc! { "insert": "notes", "documents": note };
    stage.query(alice("horizon", command), &["\"n\":1"]).await?;
    Ok(())
}

async fn end_session(stage: &mut Stage<Mongo>) -> anyhow::Result<()> {
    stage.tour.step("End the session, while a command of alice runs");
    let slowly = doc! { "find": "orders", "filter": { "$where": "sleep(2000) || true" } };
    let seen = doc! {
        "currentOp": 1, "ns": "horizon.orders", "active": true, "command.filter.$where": { "$exists": true },
    };
    let running = stage.until("the command of alice", async || {
        Ok(!stage.server.run("admin", seen.clone()).await?.get_array("inprog")?.is_empty())
    });
    let (_, took) = stage.end_session(&SAMPLES, &alice("horizon", slowly), running).await?;
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
    stage.query_refused(alice("horizon", me), &["Authentication failed"]).await?;
    stage.query(superuser("$external", account()), &["\"roles\":[]", "0.0.0.0"]).await?;
    stage.run_refused("kubectl get secret alice-events", &["not found"]).await?;
    stage.show_disabled(&SAMPLES).await
}
