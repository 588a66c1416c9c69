//! An engine on a real server, and what it takes to inspect it without the engine.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::SelectionCriteria;
use rolecall_engine::account::{Enabled, WantedRole};
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{AccountName, Applied, Class, Desired, Engine as _, Error, Owner, Want};
use rolecall_mongodb::{Address, ClientCertificate, Config, Mongodb, user_name};
use rolecall_pki::tls::Tls;
use rolecall_testbed::{Certificate, Mongo, MongoAdmin, run_through_elections};
use tokio::task::JoinHandle;

/// Long enough for a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

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
        let admin = rolecall_testbed::unique("admin");
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
        let answer = run_through_elections(&self.root, database, command).await;
        answer.unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// A client of a user, with a certificate of its own.
    pub(crate) async fn log_in(&self, user: &str) -> rolecall_testbed::Result<Client> {
        self.mongo.connect(&self.mongo.client_cert(user)?).await
    }

    /// Runs a command for this long on `shop.orders`, where something must be, and waits until some member runs it. It
    /// returns true when it ends by itself.
    pub(crate) async fn run_for(&self, client: &Client, time: Duration) -> JoinHandle<bool> {
        let shop = client.database("shop");
        let filter = doc! { "$where": format!("sleep({}); return true", time.as_millis()) };
        let slow = doc! { "find": "orders", "filter": filter, "limit": 1 };
        let running = tokio::spawn(async move { shop.run_command(slow).await.is_ok() });
        let pipeline = vec![
            doc! { "$currentOp": { "allUsers": true } },
            doc! { "$match": { "active": true, "command.find": "orders", "command.filter.$where": { "$exists": true } } },
        ];
        let ask = doc! { "aggregate": 1, "pipeline": pipeline, "cursor": {} };
        until("the command runs", async || {
            let mut seen = 0;
            for member in 0..self.mongo.ports().len() {
                let address = self.mongo.address(member);
                let there: SelectionCriteria = SelectionCriteria::Predicate(Arc::new(move |server| {
                    server.address().to_string() == address
                }));
                let admin = self.root.database("admin");
                let answer = admin.run_command(ask.clone()).selection_criteria(there).await.unwrap();
                seen += answer.get_document("cursor").unwrap().get_array("firstBatch").unwrap().len();
            }
            seen > 0
        })
        .await;
        running
    }

    pub(crate) async fn bring(&self, desired: &Desired) -> Result<Applied, Error> {
        let observed = self.engine.observe(&desired.query()).await?;
        let plan = plan::plan(desired, &observed).unwrap_or_else(|refusal| panic!("{refusal}"));
        self.engine.apply(&plan).await
    }

    /// Applies it, trying again as an operator does: between two primaries, or where a member is slow. It counts how
    /// often that failed.
    pub(crate) async fn reach(&self, desired: &Desired) -> (Applied, u64) {
        let deadline = Instant::now() + PATIENCE;
        let mut failed = 0;
        loop {
            match self.bring(desired).await {
                Ok(applied) => return (applied, failed),
                Err(error) => {
                    let again = error.class != Class::Refused && Instant::now() < deadline;
                    assert!(again, "{desired:?}: {error}");
                }
            }
            failed += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// That nothing is left to do.
    pub(crate) async fn settled(&self, desired: &Desired) -> Plan {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.engine.observe(&desired.query()).await {
                Ok(observed) => return plan::plan(&plan::settled(desired), &observed).unwrap(),
                // A member that is slow is no reason to fail.
                Err(error) => assert!(Instant::now() < deadline, "{desired:?}: {error}"),
            }
        }
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
        owner: Owner {
            uid: "us".into(),
            admin: "shop/us".into(),
            cluster: String::new(),
            ..Owner::default()
        },
        session_database: None,
        want: Want::Enabled(enabled),
    }
}

/// That its access has ended.
pub(crate) fn ended(user: &str, drop: bool) -> Desired {
    Desired { want: Want::Ended { drop, reassign_to: None }, ..wanted(user, &[]) }
}

/// The same while a session is live.
pub(crate) fn live(mut desired: Desired) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        enabled.in_use = true;
    }
    desired
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
