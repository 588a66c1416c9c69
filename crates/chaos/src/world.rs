//! What all lanes share: a cluster and four database servers.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use mongodb::bson::{Document, doc};
use rolecall_testbed::{Certificate, Cluster, Mongo, MongoAdmin, PgVersion, Postgres};
use tokio::sync::Mutex;

use crate::link::State;
use crate::objects::Objects;
use crate::server::{ADMIN, DATABASE, ROLE, Server};
use crate::teleport::Teleport;
use crate::ways::Ways;

/// A server's connections, and how many more for each lane.
const CONNECTIONS: (usize, usize) = (28, 12);

/// See the module.
#[derive(Debug)]
pub struct World {
    /// The API server and etcd.
    pub cluster: Cluster,
    /// The objects of the namespace `default`, and through them those of others.
    pub objects: Objects,
    /// What follows `Orders`.
    pub standby: Mutex<Option<Postgres>>,
    /// The replica set.
    pub mongo: Mongo,
    /// From the operator of each lane to everything.
    pub ways: Vec<Arc<Ways>>,
    /// Who gives access on the same servers.
    pub teleport: Teleport,
    /// The certificates of the admin user.
    pub certificates: BTreeMap<Server, Certificate>,
    /// The PostgreSQL servers; the primary of each.
    postgres: RwLock<BTreeMap<Server, Arc<Postgres>>>,
}

impl World {
    /// Starts everything that so many lanes share, and the ways of each.
    ///
    /// # Errors
    /// When a component does not start.
    pub async fn start(lanes: usize) -> Result<Self> {
        let cluster = Cluster::start().await?;
        cluster
            .kubectl(&["apply", "--server-side", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")])
            .await?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
        let (mut postgres, mut certificates) = (BTreeMap::new(), BTreeMap::new());
        let connections = CONNECTIONS.0 + CONNECTIONS.1 * lanes;
        for (server, version) in [
            (Server::Orders, PgVersion::V17),
            (Server::Ledger, PgVersion::V16),
            (Server::Archive, PgVersion::V18),
        ] {
            let mut builder = Postgres::builder(version).setting("max_connections", &connections.to_string());
            if server == Server::Ledger {
                builder = builder
                    .hba(&format!("hostssl all {ADMIN} all cert\nhostssl all all all scram-sha-256\n"));
            }
            let pg = builder.start().await?;
            certificates.insert(server, prepare(&pg).await?);
            postgres.insert(server, Arc::new(pg));
        }
        let standby = Mutex::new(Some(postgres[&Server::Orders].standby().await?));
        let mongo = Mongo::builder().members(3).start().await?;
        certificates.insert(Server::Events, prepare_mongo(&mongo).await?);
        let mut ways = Vec::new();
        for _ in 0..lanes {
            ways.push(Arc::new(Ways::to(port_of(&cluster.url())?, &postgres).await?));
        }
        let (objects, postgres) = (Objects::new(client(&cluster).await?, "default"), RwLock::new(postgres));
        let teleport = Teleport::default();
        Ok(Self { cluster, objects, standby, mongo, ways, teleport, certificates, postgres })
    }

    /// A PostgreSQL server; none where it is MongoDB.
    pub fn postgres(&self, server: Server) -> Option<Arc<Postgres>> {
        // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
        self.postgres.read().unwrap_or_else(PoisonError::into_inner).get(&server).cloned()
    }

    /// One server takes the place of another, which had written more.
    pub async fn replace(&self, server: Server, by: Postgres) {
        // No step of Teleport's is under way on the other one any more, and none begins.
        let mut accounts = self.teleport.left().await;
        accounts.retain(|(other, _), _| *other != server);
        self.postgres.write().unwrap_or_else(PoisonError::into_inner).insert(server, Arc::new(by));
    }

    /// What is broken works again: after a fault that could not be inflicted as a whole.
    ///
    /// # Errors
    /// When something does not start again.
    pub async fn recover(&self) -> Result<()> {
        for ways in &self.ways {
            ways.set(State::Whole);
        }
        self.cluster.unpause_api_server().await;
        self.cluster.start_api_server().await?;
        for pg in Server::POSTGRES.into_iter().filter_map(|server| self.postgres(server)) {
            pg.unpause().await;
            pg.start_again().await?;
            pg.sql("postgres", "alter system reset all").await?;
            pg.sql("postgres", "select pg_reload_conf()").await?;
        }
        for member in 0..self.mongo.ports().len() {
            self.mongo.unpause(member).await;
            self.mongo.start_again(member).await?;
        }
        let mut standby = self.standby.lock().await;
        if let Some(orders) = self.postgres(Server::Orders).filter(|_| standby.is_none()) {
            *standby = Some(orders.standby().await?);
        }
        Ok(())
    }
}

/// A client with every right.
async fn client(cluster: &Cluster) -> Result<Client> {
    let kubeconfig = Kubeconfig::from_yaml(&fs::read_to_string(cluster.kubeconfig())?)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // The caller's, where the environment names one.
    config.proxy_url = None;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = Some(Duration::from_secs(30));
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
