//! What faults happen to: a cluster, four database servers, the objects that are about them, an operator.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use mongodb::bson::{Document, doc};
use rolecall_testbed::{Certificate, Cluster, Identity, Mongo, MongoAdmin, PgVersion, Postgres};
use serde_json::{Value, json};

use crate::link::{Link, State};
use crate::objects::Objects;
use crate::operator::Operators;

/// The namespace of all objects.
pub const NAMESPACE: &str = "chaos";
/// The logical database of all sessions.
pub const DATABASE: &str = "app";
/// The admin user on every server.
const ADMIN: &str = "teleport-admin";
/// The role that policy gives.
pub const ROLE: &str = "reader";
/// The users, by their ProvisioningRole: accounts that are kept, and such that are dropped.
pub const USERS: [(&str, &str); 6] = [
    ("alice", "keep"),
    ("bob", "keep"),
    ("carol", "keep"),
    ("dave", "drop"),
    ("erin", "drop"),
    ("frank", "drop"),
];

/// A server of the world, by the name of its DatabaseAdmin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// PostgreSQL 17 with certificates and a standby.
    Orders,
    /// PostgreSQL 16 with passwords.
    Ledger,
    /// PostgreSQL 18 with certificates, whose answers are late now and then.
    Archive,
    /// A replica set of three.
    Events,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Orders, Self::Ledger, Self::Archive, Self::Events];
    /// Those that are PostgreSQL.
    pub const POSTGRES: [Self; 3] = [Self::Orders, Self::Ledger, Self::Archive];

    /// The name of its DatabaseAdmin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Ledger => "ledger",
            Self::Archive => "archive",
            Self::Events => "events",
        }
    }

    /// The server of a DatabaseAdmin.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.name() == name)
    }
}

/// See the module.
#[derive(Debug)]
pub struct World {
    /// The operator, first: it ends before what it uses.
    pub operator: Operators,
    /// The API server and etcd.
    pub cluster: Cluster,
    /// From the operator to the API server.
    pub api: Link,
    /// The objects.
    pub objects: Objects,
    /// The PostgreSQL servers; the primary of each.
    pub postgres: BTreeMap<Server, Postgres>,
    /// From the operator to each of them.
    pub links: BTreeMap<Server, Link>,
    /// What follows `Orders`.
    pub standby: Option<Postgres>,
    /// The replica set.
    pub mongo: Mongo,
    certificates: BTreeMap<Server, Certificate>,
}

impl World {
    /// Starts everything, with an operator that works.
    ///
    /// # Errors
    /// When a component does not start.
    pub async fn start(operator: &Path) -> Result<Self> {
        let cluster = Cluster::start().await?;
        cluster
            .kubectl(&["apply", "--server-side", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")])
            .await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
        let objects = Objects::new(client(&cluster).await?, NAMESPACE);
        let port = port_of(&cluster.url())?;
        let api = Link::to(port).await?;
        let name = "system:serviceaccount:rolecall-system:rolecall-operator";
        let groups = ["system:serviceaccounts", "system:serviceaccounts:rolecall-system"];
        // Not with a token of the account, which would run out in an hour.
        let text = cluster.kubeconfig_for(&Identity::user(name, &groups)).await?;
        let kubeconfig = cluster.kubeconfig().with_file_name("chaos.kubeconfig");
        fs::write(
            &kubeconfig,
            text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", api.port())),
        )?;

        let (mut postgres, mut links, mut certificates) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (server, version) in [
            (Server::Orders, PgVersion::V17),
            (Server::Ledger, PgVersion::V16),
            (Server::Archive, PgVersion::V18),
        ] {
            let mut builder = Postgres::builder(version).setting("max_connections", "40");
            if server == Server::Ledger {
                builder = builder
                    .hba(&format!("hostssl all {ADMIN} all cert\nhostssl all all all scram-sha-256\n"));
            }
            let pg = builder.start().await?;
            certificates.insert(server, prepare(&pg).await?);
            links.insert(server, Link::to(pg.port()).await?);
            postgres.insert(server, pg);
        }
        let standby = Some(postgres[&Server::Orders].standby().await?);
        let mongo = Mongo::builder().members(3).start().await?;
        certificates.insert(Server::Events, prepare_mongo(&mongo).await?);

        let operator = Operators::new(operator, kubeconfig)?;
        let mut world =
            Self { operator, cluster, api, objects, postgres, links, standby, mongo, certificates };
        world
            .objects
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
            .await?;
        for server in Server::ALL {
            world.make_secrets(&world.objects, server).await?;
            world.objects.apply(world.admin(server)).await?;
        }
        for object in policy() {
            world.objects.apply(object).await?;
        }
        world.cluster.take_snapshot().await?;
        world.operator.restart().await?;
        Ok(world)
    }

    /// What is broken works again: after a fault that could not be inflicted as a whole.
    ///
    /// # Errors
    /// When something does not start again.
    pub async fn recover(&mut self) -> Result<()> {
        self.api.set(State::Whole);
        self.cluster.unpause_api_server().await;
        self.cluster.start_api_server().await?;
        for (server, pg) in &self.postgres {
            self.links[server].set(State::Whole);
            pg.unpause().await;
            pg.start_again().await?;
            pg.sql("postgres", "alter system reset all").await?;
            pg.sql("postgres", "select pg_reload_conf()").await?;
        }
        for member in 0..self.mongo.ports().len() {
            self.mongo.unpause(member).await;
            self.mongo.start_again(member).await?;
        }
        for server in Server::ALL {
            self.make_secrets(&self.objects, server).await?;
            self.objects.apply(self.admin(server)).await?;
        }
        self.operator.restart().await
    }

    /// The Secrets that the DatabaseAdmin of a server names.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn make_secrets(&self, objects: &Objects, server: Server) -> Result<()> {
        let (users, ca) = match self.postgres.get(&server) {
            Some(pg) => (pg.client_authority(), pg.server_ca_pem()),
            None => (self.mongo.client_authority(), self.mongo.server_ca_pem()),
        };
        let (name, admin) = (server.name(), &self.certificates[&server]);
        objects.tls_secret(&format!("{name}-admin-cert"), &admin.cert_pem, &admin.key_pem).await?;
        objects.tls_secret(&format!("{name}-client-ca"), users.cert_pem(), users.key_pem()).await?;
        objects
            .apply(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{name}-ca")},
                "stringData": {"ca.crt": ca},
            }))
            .await
    }

    /// The DatabaseAdmin of a server.
    pub fn admin(&self, server: Server) -> Value {
        let name = server.name();
        let user_credentials = match server {
            Server::Ledger => json!({"password": {}}),
            _ => json!({"x509": {"caSecretRef": {"name": format!("{name}-client-ca")}}}),
        };
        let mut spec = json!({
            "tls": {"caSecretRef": {"name": format!("{name}-ca"), "key": "ca.crt"}},
            "auth": {"x509": {"secretRef": {"name": format!("{name}-admin-cert")}}},
            "userCredentials": user_credentials,
        });
        match self.links.get(&server) {
            Some(link) => {
                spec["protocol"] = "postgres".into();
                spec["uri"] = format!("localhost:{}", link.port()).into();
                spec["adminUser"] = json!({"name": ADMIN, "defaultDatabase": "postgres"});
            }
            None => {
                spec["protocol"] = "mongodb".into();
                spec["uri"] = self.mongo.uri().into();
                spec["adminUser"] = json!({"name": ADMIN});
            }
        }
        let engine = if server == Server::Events { "mongodb" } else { "postgres" };
        json!({
            "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseAdmin",
            "metadata": {"name": name, "labels": {"engine": engine}}, "spec": spec,
        })
    }
}

/// The roles that policy gives on a server; permission sets come beside them.
pub fn roles_on(server: Server) -> BTreeSet<String> {
    let role = if server == Server::Events { format!("{ROLE}@{DATABASE}") } else { ROLE.to_owned() };
    BTreeSet::from([role])
}

/// What policy is, for everybody and always.
pub fn policy() -> Vec<Value> {
    let of = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let mut objects = Vec::new();
    for (name, mode) in [("keep", "Keep"), ("drop", "BestEffortDrop")] {
        for (engine, role) in [("postgres", ROLE.to_owned()), ("mongodb", format!("{ROLE}@{DATABASE}"))] {
            let mut allow =
                json!({"dbLabels": {"engine": [engine]}, "dbNames": [DATABASE], "dbRoles": [role]});
            if engine == "postgres" {
                allow["dbPermissions"] = json!([{"match": {"name": ["notes"]}, "permissions": ["SELECT"]}]);
            }
            let spec = json!({"options": {"createDbUserMode": mode}, "allow": allow});
            objects.push(of("ProvisioningRole", &format!("{name}-{engine}"), spec));
        }
    }
    for (user, role) in USERS {
        let roles = [format!("{role}-postgres"), format!("{role}-mongodb")];
        objects.push(of("DatabaseUser", user, json!({"username": username(user), "roles": roles})));
    }
    objects
}

/// The database user name of a DatabaseUser.
pub fn username(user: &str) -> String {
    format!("{user}@example.com")
}

/// A client with every right.
async fn client(cluster: &Cluster) -> Result<Client> {
    let kubeconfig = Kubeconfig::from_yaml(&fs::read_to_string(cluster.kubeconfig())?)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // The caller's, where the environment names one.
    config.proxy_url = None;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(Duration::from_secs(10));
    Ok(Client::try_from(config)?)
}

fn port_of(url: &str) -> Result<u16> {
    url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).context("the port of the API server")
}

/// The databases, roles and the admin user of a PostgreSQL server.
async fn prepare(pg: &Postgres) -> Result<Certificate> {
    let admin = pg.create_admin(ADMIN).await?;
    let roles = format!(
        "create role {ROLE} nologin; create role extra nologin; grant {ROLE}, extra to \"{ADMIN}\" with admin option"
    );
    pg.sql("postgres", &roles).await?;
    pg.sql("postgres", &format!("create database {DATABASE}")).await?;
    let tables = format!(
        "create table public.notes (id int); grant select on public.notes to \"{ADMIN}\" with grant option;
         grant usage on schema public to {ROLE}"
    );
    pg.sql(DATABASE, &tables).await?;
    Ok(admin)
}

/// The same of a MongoDB server.
async fn prepare_mongo(mongo: &Mongo) -> Result<Certificate> {
    let admin = mongo.create_admin(ADMIN, &MongoAdmin::documented()).await?;
    mongo.run(DATABASE, doc! { "create": "notes" }).await?;
    let resource = doc! { "db": DATABASE, "collection": "" };
    let privileges = vec![doc! { "resource": resource, "actions": ["find"] }];
    for role in [ROLE, "extra"] {
        let none: Vec<Document> = Vec::new();
        mongo
            .run(DATABASE, doc! { "createRole": role, "privileges": privileges.clone(), "roles": none })
            .await?;
    }
    Ok(admin)
}
