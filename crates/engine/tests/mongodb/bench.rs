//! An engine on a real server, and what it takes to look at it with other eyes.

#![allow(dead_code, reason = "not every test uses all of it")]

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use rolecall_engine::account::{Enabled, WantedRole};
use rolecall_engine::mongodb::{Address, ClientCertificate, Config, Mongodb, Tls, user_name};
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{AccountName, Applied, Desired, Engine as _, Error, Owner, Want};
use rolecall_testbed::{Certificate, Mongo, MongoAdmin};

/// One admin user on one server, with an engine.
pub(crate) struct Bench<'a> {
    pub(crate) mongo: &'a Mongo,
    pub(crate) admin: String,
    pub(crate) certificate: Certificate,
    pub(crate) engine: Mongodb,
    pub(crate) root: Client,
}

impl<'a> Bench<'a> {
    pub(crate) async fn new(mongo: &'a Mongo, privileges: MongoAdmin) -> Self {
        let admin = crate::common::unique("admin");
        let certificate = mongo.create_admin(&admin, &privileges).await.unwrap();
        let engine = Mongodb::new(config(mongo, &admin, &certificate)).unwrap();
        let root = mongo.superuser().await.unwrap();
        Self { mongo, admin, certificate, engine, root }
    }

    pub(crate) fn config(&self) -> Config {
        config(self.mongo, &self.admin, &self.certificate)
    }

    /// A command of the superuser.
    pub(crate) async fn run(&self, database: &str, command: Document) -> Document {
        let shown = command.to_string();
        let answer = self.root.database(database).run_command(command).await;
        answer.unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// A client of a user, with a certificate of its own.
    pub(crate) async fn log_in(&self, user: &str) -> rolecall_testbed::Result<Client> {
        self.mongo.connect(&self.mongo.client_cert(user)?).await
    }

    pub(crate) async fn bring(&self, desired: &Desired) -> Result<Applied, Error> {
        let observed = self.engine.observe(&desired.query()).await?;
        let plan = plan::plan(desired, &observed).unwrap_or_else(|refusal| panic!("{refusal}"));
        self.engine.apply(&plan).await
    }

    /// That nothing is left to do.
    pub(crate) async fn settled(&self, desired: &Desired) -> Plan {
        let observed = self.engine.observe(&desired.query()).await.unwrap();
        plan::plan(&plan::settled(desired), &observed).unwrap()
    }

    /// The user as the server has it.
    pub(crate) async fn user(&self, name: &str) -> Option<Document> {
        let user = doc! { "user": user_name(&AccountName::new(name).unwrap()), "db": "$external" };
        let ask = doc! { "usersInfo": user, "showCustomData": true, "showAuthenticationRestrictions": true };
        let answer = self.run("$external", ask).await;
        let users = answer.get_array("users").unwrap();
        users.first().and_then(Bson::as_document).cloned()
    }
}

pub(crate) fn config(mongo: &Mongo, admin: &str, certificate: &Certificate) -> Config {
    let identity = ClientCertificate {
        cert_pem: certificate.cert_pem.clone(),
        key_pem: certificate.key_pem.clone().into(),
    };
    let mut config = Config::new(Address::parse(&mongo.uri()).unwrap(), admin, identity);
    config.tls = Tls { ca_pem: Some(mongo.server_ca_pem().to_owned()), ..Tls::default() };
    config
}

/// That an account works, with these roles.
pub(crate) fn wanted(user: &str, roles: &[&str]) -> Desired {
    let roles = roles.iter().map(|role| ((*role).to_owned(), WantedRole::default()));
    let enabled = Enabled { roles: roles.collect(), ..Enabled::default() };
    Desired {
        account: AccountName::new(user).unwrap(),
        owner: Owner { uid: "us".into(), admin: "shop/us".into(), cluster: String::new() },
        session_database: None,
        want: Want::Enabled(enabled),
    }
}

/// That its access has ended.
pub(crate) fn ended(user: &str, drop: bool) -> Desired {
    Desired { want: Want::Ended { drop }, ..wanted(user, &[]) }
}
