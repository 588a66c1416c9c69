//! A real MongoDB server.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use rolecall_engine::{AccountName, Engine, Owner};
use rolecall_engine_conformance::{Harness, Objects, State, Trace};
use rolecall_mongodb::{Address, ClientCertificate, Config, Mongodb, user_name};
use rolecall_pki::tls::Tls;
use rolecall_testbed::{Certificate, Mongo, MongoAdmin, run_through_elections};

use crate::common::unique;

/// What the admin user of the engine may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// What the documentation asks for.
    Documented,
    /// As documented, but roles of one database only can be granted.
    OneDatabase,
    /// Besides what the documentation asks for, it creates roles of one database without seeing them.
    CreatesOnly,
    /// Besides, it sees and creates roles, and ends operations.
    More,
    /// Besides what the documentation asks for, it manages permission sets in every database.
    Sets,
}

/// Where roles are.
const DATABASE: &str = "shop";

pub(crate) struct MongoServer {
    mongo: &'static Mongo,
    rights: Rights,
    admin: String,
    certificate: Certificate,
    engine: Mongodb,
    root: Client,
    /// Clients of users that are kept open, each with one connection.
    kept: Mutex<Vec<(String, Client)>>,
}

impl MongoServer {
    pub(crate) async fn new(mongo: &'static Mongo, rights: Rights) -> Self {
        let admin = unique("admin");
        let privileges = match rights {
            Rights::Documented => MongoAdmin::documented(),
            Rights::More => MongoAdmin::documented().killop().database("", &["viewRole", "createRole"]),
            Rights::CreatesOnly => MongoAdmin::documented().database(DATABASE, &["createRole"]),
            Rights::Sets => MongoAdmin::documented().object_permissions(""),
            Rights::OneDatabase => MongoAdmin::nothing()
                .cluster(&["inprog"])
                .database("", &["revokeRole"])
                .database(DATABASE, &["grantRole"])
                .database(
                    "$external",
                    &[
                        "createUser",
                        "updateUser",
                        "dropUser",
                        "viewUser",
                        "setAuthenticationRestriction",
                        "changeCustomData",
                    ],
                ),
        };
        let certificate = mongo.create_admin(&admin, &privileges).await.unwrap();
        let engine = Mongodb::new(config(mongo, &mongo.uri(), &admin, &certificate)).unwrap();
        let root = mongo.superuser().await.unwrap();
        Self { mongo, rights, admin, certificate, engine, root, kept: Mutex::default() }
    }

    /// The user as the server has it.
    pub(crate) async fn document(&self, user: &str) -> Option<Document> {
        let ask = doc! {
            "usersInfo": { "user": user_of(user), "db": "$external" },
            "showCustomData": true, "showAuthenticationRestrictions": true,
        };
        let answer = self.run("$external", ask).await;
        list(&answer, "users").first().map(|user| (*user).clone())
    }

    /// The connections of a user that are still those of this user. One that was thrown out does not come back.
    async fn connected(&self, user: &str) -> u32 {
        let kept = self.kept.lock().unwrap().clone();
        let mut connected = 0;
        for (_, client) in kept.iter().filter(|(name, _)| name == user) {
            let status = client.database("admin").run_command(doc! { "connectionStatus": 1 }).await.unwrap();
            let info = status.get_document("authInfo").unwrap();
            connected += u32::from(!list(info, "authenticatedUsers").is_empty());
        }
        connected
    }

    /// Runs a command for a long time, in the connection that was opened last.
    async fn keep_busy(&self, user: &str) {
        let (_, client) = self.kept.lock().unwrap().last().unwrap().clone();
        let admin = client.database("admin");
        let hello = admin.run_command(doc! { "hello": 1 }).await.unwrap();
        let version = hello.get_document("topologyVersion").unwrap().clone();
        let wait = doc! { "hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 60_000 };
        tokio::spawn(async move { admin.run_command(wait).await });
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while self.busy(&user_of(user)).await == 0 {
            assert!(std::time::Instant::now() < deadline, "{user} runs nothing");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// What a user runs at this moment.
    async fn busy(&self, user: &str) -> u32 {
        let pipeline = vec![
            doc! { "$currentOp": { "allUsers": true } },
            doc! { "$match": { "effectiveUsers.user": user, "active": true } },
        ];
        let seen = self.run("admin", doc! { "aggregate": 1, "pipeline": pipeline, "cursor": {} }).await;
        u32::try_from(list(seen.get_document("cursor").unwrap(), "firstBatch").len()).unwrap()
    }

    /// A client of the user; none when the server says no.
    pub(crate) async fn client(&self, user: &str) -> Option<Client> {
        let certificate = self.mongo.client_cert(user).unwrap();
        self.mongo.connect(&certificate).await.ok()
    }

    pub(crate) async fn run(&self, database: &str, command: Document) -> Document {
        let shown = command.to_string();
        let answer = run_through_elections(&self.root, database, command).await;
        answer.unwrap_or_else(|error| panic!("{shown}: {error}"))
    }
}

pub(crate) fn config(mongo: &Mongo, uri: &str, admin: &str, certificate: &Certificate) -> Config {
    let identity = ClientCertificate {
        cert_pem: certificate.cert_pem.clone(),
        key_pem: certificate.key_pem.clone().into(),
    };
    let mut config = Config::new(Address::parse(uri).unwrap(), admin, identity);
    config.tls = Tls { ca_pem: Some(mongo.server_ca_pem().to_owned()), ..Tls::default() };
    config
}

fn user_of(name: &str) -> String {
    user_name(&AccountName::new(name).unwrap())
}

fn role_document(role: &str) -> Document {
    let (role, database) = role.split_once('@').unwrap();
    doc! { "role": role, "db": database }
}

pub(crate) fn list<'a>(document: &'a Document, key: &str) -> Vec<&'a Document> {
    document
        .get_array(key)
        .map_or_else(|_| Vec::new(), |all| all.iter().filter_map(Bson::as_document).collect())
}

#[async_trait]
impl Harness for MongoServer {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn unreachable(&self) -> Box<dyn Engine> {
        let mut config = config(self.mongo, "mongodb://localhost:1", &self.admin, &self.certificate);
        config.connect_timeout = std::time::Duration::from_secs(1);
        Box::new(Mongodb::new(config).unwrap())
    }

    fn name(&self, base: &str) -> String {
        unique(base)
    }

    fn database(&self) -> String {
        DATABASE.to_owned()
    }

    fn missing_role(&self, base: &str) -> String {
        format!("{}@{DATABASE}", unique(base))
    }

    fn takes_name(&self, name: &str) -> bool {
        !name.contains('🦀')
    }

    fn keeps_lost_roles(&self) -> bool {
        false
    }

    fn role_of(&self, _: &str) -> Option<String> {
        None
    }

    fn creates_roles(&self) -> bool {
        matches!(self.rights, Rights::CreatesOnly | Rights::More | Rights::Sets)
    }

    fn has_passwords(&self) -> bool {
        false
    }

    fn missing_database(&self) -> String {
        "no database has a $".to_owned()
    }

    async fn role(&self, base: &str, attribute: Option<&str>) -> String {
        if attribute.is_some() {
            // Every database has it, and whoever has it makes users.
            return format!("userAdmin@{DATABASE}");
        }
        let name = unique(base);
        self.run(DATABASE, doc! { "createRole": &name, "privileges": [], "roles": [] }).await;
        format!("{name}@{DATABASE}")
    }

    async fn foreign_role(&self, base: &str) -> Option<String> {
        if self.rights != Rights::OneDatabase {
            return None;
        }
        let name = unique(base);
        self.run("other", doc! { "createRole": &name, "privileges": [], "roles": [] }).await;
        Some(format!("{name}@other"))
    }

    async fn closed_database(&self, _: &str, _: Option<&str>) -> Option<String> {
        None
    }

    async fn put(&self, user: &str, state: &State) {
        let mut custom = Document::new();
        if state.managed {
            custom.insert("teleport-auto-user", true);
        }
        if let Some(Owner { uid, admin, cluster, .. }) = &state.owner {
            custom.insert("rolecall", doc! { "uid": uid, "admin": admin, "cluster": cluster });
        }
        let roles: Vec<Document> = state.memberships.iter().map(|role| role_document(role)).collect();
        let verb = if self.user_state(user).await.is_some() { "updateUser" } else { "createUser" };
        let open = doc! {
            verb: user_of(user), "customData": custom, "roles": roles, "authenticationRestrictions": [],
        };
        let lock = doc! { "updateUser": user_of(user), "authenticationRestrictions": [{ "clientSource": ["0.0.0.0"] }] };
        if state.login || state.backends > 0 {
            self.run("$external", open).await;
        } else {
            let mut closed = open;
            closed.insert("authenticationRestrictions", vec![doc! { "clientSource": ["0.0.0.0"] }]);
            self.run("$external", closed).await;
        }
        let open = self.user_state(user).await.unwrap().backends;
        for _ in open..state.backends {
            assert!(self.log_in(user).await, "{user}");
            if !state.login {
                self.keep_busy(user).await;
            }
        }
        if !state.login && state.backends > 0 {
            self.run("$external", lock).await;
        }
    }

    async fn user_state(&self, user: &str) -> Option<State> {
        let name = user_of(user);
        let found = self.document(user).await?;
        let custom = found.get_document("customData").cloned().unwrap_or_default();
        let record = custom.get_document("rolecall").ok();
        let text = |key: &str| record.unwrap().get_str(key).unwrap().to_owned();
        let restrictions = found.get_array("authenticationRestrictions").cloned().unwrap_or_default();
        let restrictions = Bson::Array(restrictions).to_string();
        let login = !restrictions.contains("\"0.0.0.0\"");
        // Of a user who may not log in nothing counts but what still runs.
        let backends = if login { self.connected(user).await } else { self.busy(&name).await };
        Some(State {
            managed: custom.get_bool("teleport-auto-user").unwrap_or(false),
            login,
            memberships: list(&found, "roles")
                .iter()
                .map(|role| format!("{}@{}", role.get_str("role").unwrap(), role.get_str("db").unwrap()))
                .collect::<BTreeSet<_>>(),
            owner: record.map(|_| Owner {
                uid: text("uid"),
                admin: text("admin"),
                cluster: text("cluster"),
                ..Owner::default()
            }),
            backends,
            limits: restrictions.contains("127.0.0.1"),
            ..State::default()
        })
    }

    async fn role_exists(&self, role: &str) -> bool {
        let answer = self.run("admin", doc! { "rolesInfo": role_document(role) }).await;
        !list(&answer, "roles").is_empty()
    }

    async fn log_in(&self, user: &str) -> bool {
        let client = self.client(user).await;
        let kept = client.map(|client| self.kept.lock().unwrap().push((user.to_owned(), client)));
        kept.is_some()
    }

    async fn leave(&self, user: &str, what: &Trace) -> bool {
        match what {
            Trace::Limit => {
                let here = doc! { "clientSource": ["127.0.0.1"] };
                self.run(
                    "$external",
                    doc! { "updateUser": user_of(user), "authenticationRestrictions": [here] },
                )
                .await;
                true
            }
            // Nobody owns anything, users are no roles, and have neither settings nor transactions that outlive them.
            _ => false,
        }
    }

    fn objects(&self) -> &dyn Objects {
        self
    }
}
