//! A logical database with collections, an admin user, and the desired sets.

use std::collections::BTreeSet;

use rolecall_engine::sets::{DesiredSet, SetRecord, SyncedSet, plan_set};
use rolecall_engine::{Catalog, CatalogQuery, Engine as _, Reason, Want};
use rolecall_engine_conformance::DesiredAccount;
use rolecall_mongodb::{Address, ClientCertificate, Config, Mongodb};
use rolecall_pki::tls::Tls;
use rolecall_policy::{Privilege, PrivilegeSet};
use rolecall_testbed::{Certificate, Mongo, MongoAdmin, run_through_elections};

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
pub(crate) use rolecall_testbed::unique;

/// One logical database, and an engine whose admin user may manage permission sets in it.
pub(crate) struct Shop<'a> {
    pub(crate) mongo: &'a Mongo,
    pub(crate) admin: String,
    pub(crate) certificate: Certificate,
    pub(crate) engine: Mongodb,
    pub(crate) database: String,
    root: Client,
}

/// What the documentation asks for without `grantRole` on every database, so that only named databases have it.
pub(crate) fn narrow() -> MongoAdmin {
    let users = [
        "createUser",
        "updateUser",
        "dropUser",
        "viewUser",
        "setAuthenticationRestriction",
        "changeCustomData",
    ];
    MongoAdmin::nothing().cluster(&["inprog"]).database("", &["revokeRole"]).database("$external", &users)
}

impl Shop<'static> {
    /// On the server that the whole binary shares.
    pub(crate) async fn new(collections: &[&str]) -> Self {
        Self::on(Mongo::shared().await.unwrap(), collections).await
    }
}

impl<'a> Shop<'a> {
    pub(crate) async fn on(mongo: &'a Mongo, collections: &[&str]) -> Self {
        let (admin, database) = (unique("admin"), unique("shop"));
        let certificate = mongo.create_admin(&admin, &narrow().object_permissions(&database)).await.unwrap();
        let root = mongo.superuser().await.unwrap();
        let engine = engine(mongo, &admin, &certificate);
        let shop = Self { mongo, admin, certificate, engine, database, root };
        for collection in collections {
            shop.run(doc! { "create": *collection }).await;
        }
        shop
    }

    /// Another engine with the same admin user.
    pub(crate) fn another(&self) -> Mongodb {
        engine(self.mongo, &self.admin, &self.certificate)
    }

    /// A command of the superuser.
    pub(crate) async fn run(&self, command: Document) -> Document {
        self.run_in(&self.database, command).await
    }

    pub(crate) async fn run_in(&self, database: &str, command: Document) -> Document {
        let shown = command.to_string();
        let answer = run_through_elections(&self.root, database, command).await;
        answer.unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// The full name of a set that nobody else has.
    pub(crate) fn set(&self) -> String {
        format!("rolecall:{}@{}", unique("set"), self.database)
    }

    pub(crate) async fn read(&self, sets: &[&str]) -> Catalog {
        let sets = sets.iter().map(|set| (*set).to_owned()).collect();
        self.engine.read_objects(&CatalogQuery { database: self.database.clone(), sets }).await.unwrap()
    }

    pub(crate) fn record(&self) -> SetRecord {
        SetRecord {
            uid: "us".to_owned(),
            admin: "shop/orders".to_owned(),
            database: self.database.clone(),
            permissions: "FIND where env: [$prod]".to_owned(),
            ..SetRecord::default()
        }
    }

    /// A desired set with privileges on collections; `*` for all.
    pub(crate) fn desired(&self, set: &str, catalog: &Catalog, wanted: &[(&str, &str)]) -> DesiredSet {
        let of = |name: &str| -> PrivilegeSet {
            let texts = wanted.iter().filter(|(_, wanted)| *wanted == name || *wanted == "*");
            texts.flat_map(|(list, _)| list.split(", ")).map(|text| Privilege::parse(text).unwrap()).collect()
        };
        let wanted = catalog.objects.iter().enumerate().map(|(i, object)| (i, of(&object.name)));
        DesiredSet {
            role: set.to_owned(),
            record: self.record(),
            wanted: wanted.filter(|(_, privileges)| !privileges.is_empty()).collect(),
        }
    }

    /// Reads, and syncs a set.
    pub(crate) async fn sync(&self, set: &str, wanted: &[(&str, &str)]) -> SyncedSet {
        let catalog = self.read(&[set]).await;
        let desired = self.desired(set, &catalog, wanted);
        self.engine.sync_sets(&[desired], &catalog).await.unwrap().remove(0)
    }

    /// Syncs a set, and checks that it is complete, that it has just that and that nothing is left to do.
    pub(crate) async fn reach(&self, set: &str, wanted: &[(&str, &str)]) -> SyncedSet {
        let outcome = self.sync(set, wanted).await;
        assert!(outcome.is_complete(), "{outcome:#?}");
        let catalog = self.read(&[set]).await;
        let plan = plan_set(&self.desired(set, &catalog, wanted), &catalog);
        assert!(plan.is_nothing(), "left to do:\n{plan}");
        outcome
    }

    /// The role of a set as the superuser sees it; none where it does not exist.
    pub(crate) async fn role(&self, set: &str) -> Option<Document> {
        let (role, database) = set.split_once('@').unwrap();
        let ask = doc! { "rolesInfo": { "role": role, "db": database }, "showPrivileges": true };
        let answer = self.run_in(database, ask).await;
        answer.get_array("roles").unwrap().first().map(|role| role.as_document().unwrap().clone())
    }

    /// What a set may do by name: action and collection. What it may do elsewhere is shown with the database, and the
    /// record of it is left out.
    pub(crate) async fn privileges_of(&self, set: &str) -> BTreeSet<(String, String)> {
        let role = self.role(set).await.unwrap();
        let mut found = BTreeSet::new();
        for privilege in role.get_array("privileges").unwrap().iter().filter_map(Bson::as_document) {
            let resource = privilege.get_document("resource").unwrap();
            let place = match (resource.get_str("db"), resource.get_str("collection")) {
                (Ok(_), Ok(collection)) if collection.starts_with("system.rolecall ") => continue,
                (Ok(database), Ok(collection)) if database == self.database => collection.to_owned(),
                _ => resource.to_string(),
            };
            for action in privilege.get_array("actions").unwrap() {
                found.insert((action.as_str().unwrap().to_owned(), place.clone()));
            }
        }
        found
    }

    /// Changes the role of a set by hand.
    pub(crate) async fn tamper(&self, verb: &str, set: &str, change: Document) {
        let mut command = doc! { verb: set.split_once('@').unwrap().0 };
        command.extend(change);
        self.run(command).await;
    }

    /// A privilege on one collection.
    pub(crate) fn privilege(&self, collection: &str, action: &str) -> Document {
        doc! { "resource": { "db": &self.database, "collection": collection }, "actions": [action] }
    }

    /// The desired account that is a member of these sets.
    pub(crate) fn member(&self, user: &str, sets: &[&str]) -> DesiredAccount {
        let mut desired = DesiredAccount::start(user, &self.database).unwrap();
        if let Want::Enabled(enabled) = &mut desired.0.want {
            enabled.sets = sets.iter().map(|set| (*set).to_owned()).collect();
        }
        desired
    }

    /// Applies a desired account.
    pub(crate) async fn bring(&self, desired: &DesiredAccount) {
        if let Err(stopped) = desired.bring(&self.engine).await {
            panic!("{stopped}");
        }
    }

    /// Why a desired account cannot be applied.
    pub(crate) async fn reason(&self, desired: &DesiredAccount) -> Reason {
        desired.bring(&self.engine).await.unwrap_err().reason().unwrap()
    }

    /// Logs in as a user.
    pub(crate) async fn log_in(&self, user: &str) -> Client {
        let certificate = self.mongo.client_cert(user).unwrap();
        self.mongo.connect(&certificate).await.unwrap()
    }
}

/// What to compare with [`Shop::privileges_of`].
pub(crate) fn grants(list: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    list.iter().map(|(action, place)| ((*action).to_owned(), (*place).to_owned())).collect()
}

fn engine(mongo: &Mongo, admin: &str, certificate: &Certificate) -> Mongodb {
    let identity = ClientCertificate {
        cert_pem: certificate.cert_pem.clone(),
        key_pem: certificate.key_pem.clone().into(),
    };
    let mut config = Config::new(Address::parse(&mongo.uri()).unwrap(), admin, identity);
    config.tls = Tls { ca_pem: Some(mongo.server_ca_pem().to_owned()), ..Tls::default() };
    Mongodb::new(config).unwrap()
}
