//! One of several lanes: a namespace with its users, sessions and operator. What happens in one does not disturb another,
//! so that the outcome of each fault is checked by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rolecall_testbed::Identity;
use serde_json::{Value, json};

use crate::link::State;
use crate::objects::Objects;
use crate::operator::Operators;
use crate::server::{ADMIN, DATABASE, ROLE, Server};
use crate::ways::Ways;
use crate::world::World;

/// The users, by their ProvisioningRole: accounts that are kept, and such that are dropped.
pub const USERS: [(&str, &str); 6] = [
    ("alice", "keep"),
    ("bob", "keep"),
    ("carol", "keep"),
    ("dave", "drop"),
    ("erin", "drop"),
    ("frank", "drop"),
];

/// See the module.
#[derive(Debug)]
pub struct Lane {
    /// The operator, first: it ends before what it uses.
    pub operator: Operators,
    /// The objects.
    pub objects: Objects,
    /// From the operator to everything.
    pub ways: Arc<Ways>,
    /// Users whose sessions policy ended, because a fault took their roles.
    pub revoked: BTreeSet<String>,
    number: usize,
}

impl Lane {
    /// Makes the objects of a lane. Its operator does not run yet.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn start(world: &World, number: usize, operator: &Path) -> Result<Self> {
        let ways = Arc::clone(&world.ways[number]);
        let name = "system:serviceaccount:rolecall-system:rolecall-operator";
        let groups = ["system:serviceaccounts", "system:serviceaccounts:rolecall-system"];
        // Not with a token of the account, which would run out in an hour.
        let text = world.cluster.kubeconfig_for(&Identity::user(name, &groups)).await?;
        let kubeconfig = world.cluster.kubeconfig().with_file_name(format!("lane-{number}.kubeconfig"));
        let url = world.cluster.url();
        let (host, _) = url.rsplit_once(':').context("the port of the API server")?;
        fs::write(&kubeconfig, text.replace(&url, &format!("{host}:{}", ways.api.port())))?;
        let namespace = namespace(number);
        let several = world.ways.len() > 1;
        // What is changed by hand heals with the next look.
        let mut flags = vec![format!("--resync-interval={}s", if several { 3 } else { 5 })];
        if several {
            flags.push(format!("--watch-namespace={namespace},{}", doomed(&namespace)));
        }
        let operator = Operators::new(operator, kubeconfig, flags)?;
        let objects = world.objects.of(&namespace);
        let lane = Self { operator, objects, ways, revoked: BTreeSet::new(), number };
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        lane.objects.apply(manifest).await?;
        lane.make_admins(world).await?;
        for object in lane.policy() {
            lane.objects.apply(object).await?;
        }
        Ok(lane)
    }

    /// What is broken works again: after a fault that could not be inflicted as a whole.
    ///
    /// # Errors
    /// When something does not start again.
    pub async fn recover(&mut self, world: &World) -> Result<()> {
        self.ways.set(State::Whole);
        self.make_admins(world).await?;
        for object in self.policy() {
            self.objects.apply(object).await?;
        }
        self.operator.restart().await
    }

    /// The name of the namespace that a fault makes and deletes.
    pub fn doomed(&self) -> String {
        doomed(self.objects.namespace())
    }

    /// The database user name of a DatabaseUser.
    pub fn username(&self, user: &str) -> String {
        format!("{user}{}", self.suffix())
    }

    /// What the names of all accounts of this lane end with.
    pub fn suffix(&self) -> String {
        suffix(self.number)
    }

    /// Is this the first one? It answers for accounts that belong to none, too.
    pub fn is_first(&self) -> bool {
        self.number == 0
    }

    async fn make_admins(&self, world: &World) -> Result<()> {
        for server in Server::ALL {
            self.make_secrets(world, &self.objects, server).await?;
            self.objects.apply(self.admin(world, server)).await?;
        }
        Ok(())
    }

    /// The Secrets that the DatabaseAdmin of a server names.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn make_secrets(&self, world: &World, objects: &Objects, server: Server) -> Result<()> {
        let (name, admin) = (server.name(), &world.certificates[&server]);
        let pg = world.postgres(server);
        let (users, ca) = match &pg {
            Some(pg) => (pg.client_authority(), pg.server_ca_pem()),
            None => (world.mongo.client_authority(), world.mongo.server_ca_pem()),
        };
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
    pub fn admin(&self, world: &World, server: Server) -> Value {
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
        match self.ways.servers.get(&server) {
            Some(link) => {
                spec["protocol"] = "postgres".into();
                spec["uri"] = format!("localhost:{}", link.port()).into();
                spec["adminUser"] = json!({"name": ADMIN, "defaultDatabase": "postgres"});
            }
            None => {
                spec["protocol"] = "mongodb".into();
                spec["uri"] = world.mongo.uri().into();
                spec["adminUser"] = json!({"name": ADMIN});
            }
        }
        let engine = if server == Server::Events { "mongodb" } else { "postgres" };
        json!({
            "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseAdmin",
            "metadata": {"name": name, "labels": {"engine": engine}}, "spec": spec,
        })
    }

    /// What policy is, for everybody and always.
    pub fn policy(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        for (name, mode) in [("keep", "Keep"), ("drop", "BestEffortDrop")] {
            for (engine, role) in [("postgres", ROLE.to_owned()), ("mongodb", format!("{ROLE}@{DATABASE}"))] {
                let mut allow =
                    json!({"dbLabels": {"engine": [engine]}, "dbNames": [DATABASE], "dbRoles": [role]});
                if engine == "postgres" {
                    allow["dbPermissions"] =
                        json!([{"match": {"name": ["notes"]}, "permissions": ["SELECT"]}]);
                }
                let spec = json!({"options": {"createDbUserMode": mode}, "allow": allow});
                objects.push(object("ProvisioningRole", &format!("{name}-{engine}"), spec));
            }
        }
        objects.extend(USERS.map(|(user, role)| self.user(user, role, true)));
        objects
    }

    /// A DatabaseUser, with its roles or without any.
    pub fn user(&self, user: &str, role: &str, allowed: bool) -> Value {
        let roles = [format!("{role}-postgres"), format!("{role}-mongodb")];
        let roles = if allowed { json!(roles) } else { json!([]) };
        object("DatabaseUser", user, json!({"username": self.username(user), "roles": roles}))
    }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn namespace(number: usize) -> String {
    format!("chaos-{number}")
}

fn doomed(namespace: &str) -> String {
    format!("{namespace}-doomed")
}

fn suffix(number: usize) -> String {
    format!("@lane{number}.example.com")
}

/// Is this account of one of so many lanes?
pub fn is_of_a_lane(account: &str, lanes: usize) -> bool {
    (0..lanes).any(|number| account.ends_with(&suffix(number)))
}
