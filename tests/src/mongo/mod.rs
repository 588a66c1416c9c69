//! A [`BaseEnv`] with a MongoDB server; what the server shows of an account; logging in as a user.
//!
//! One server serves all tests of a binary, which takes a moment to start and much memory; so each environment has its
//! own names on it.

mod account;
mod login;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use anyhow::{Result, bail};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rolecall_testbed::{Mongo, MongoAdmin, run_through_elections};
use serde_json::json;

pub use account::MongoAccount;
pub use login::{AUTHENTICATION_FAILED, Login, UNAUTHORIZED, code, login_code, login_with};

use crate::TIMEOUT;
use crate::base_env::{self, BaseEnv, Manifests, Trust};
use crate::operator::FILTER;

/// A [`BaseEnv`] with logical databases, roles and an admin user of the test's own on a MongoDB server.
///
/// `reader` and `writer` are roles of the logical database `app`, which has the collection `orders` with one document.
pub struct MongoTestEnv {
    // Declared first: the operator ends before its servers do.
    base: BaseEnv,
    /// A client of the superuser.
    pub root: Client,
    /// The logical database of sessions.
    pub app: String,
    /// The name of the admin user, which the server calls `CN=` and this.
    pub admin_user: String,
    /// The database user name of the DatabaseUser `alice`.
    pub alice: String,
    server: Server,
}

/// The server: that of the binary, or one that a test may stop.
#[derive(Debug)]
enum Server {
    Shared(&'static Mongo),
    Own(Box<Mongo>),
}

/// A test environment that is about to be made.
#[derive(Clone, Debug)]
pub struct MongoTestEnvBuilder {
    privileges: Option<MongoAdmin>,
    members: Option<usize>,
    user_credentials: bool,
    object_permissions: bool,
    alice: Option<String>,
    flags: Vec<String>,
    filter: String,
}

impl MongoTestEnvBuilder {
    /// Other privileges for the admin user than those that the README asks for.
    pub fn privileges(self, privileges: MongoAdmin) -> Self {
        Self { privileges: Some(privileges), ..self }
    }

    /// The admin user has also what object permissions need.
    pub fn object_permissions(self) -> Self {
        Self { object_permissions: true, ..self }
    }

    /// Its own replica set, with so many members.
    pub fn members(self, members: usize) -> Self {
        Self { members: Some(members), ..self }
    }

    /// Users bring their own certificates.
    pub fn without_user_credentials(self) -> Self {
        Self { user_credentials: false, ..self }
    }

    /// Another prefix of alice's database user name.
    pub fn alice(self, name: &str) -> Self {
        Self { alice: Some(name.to_owned()), ..self }
    }

    /// A flag for every operator of this environment.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// What the operator logs, as in RUST_LOG.
    pub fn log_filter(self, filter: &str) -> Self {
        Self { filter: filter.to_owned(), ..self }
    }

    /// Makes it.
    ///
    /// # Errors
    /// When a component does not start or an object is refused.
    pub async fn start(self) -> Result<MongoTestEnv> {
        let namespace = base_env::namespace().await?;
        let server = match self.members {
            None => Server::Shared(Mongo::shared().await?),
            Some(members) => Server::Own(Box::new(Mongo::builder().members(members).start().await?)),
        };
        let mongo = server.mongo();
        let unique = namespace.1.trim_start_matches("e2e-");
        let (app, admin_user) = (format!("app-{unique}"), format!("admin-{unique}"));
        let alice = format!("{}-{unique}", self.alice.as_deref().unwrap_or("alice@example.com"));
        let mut privileges = self.privileges.unwrap_or_default();
        if self.object_permissions {
            privileges = privileges.object_permissions(&app);
        }
        let admin = mongo.create_admin(&admin_user, &privileges).await?;
        let root = mongo.superuser().await?;
        prepare(&root, &app).await?;
        let mut spec = json!({
            "protocol": "mongodb",
            "uri": mongo.uri(),
            "adminUser": {"name": admin_user},
            "tls": {"caSecretRef": {"name": "orders-ca", "key": "ca.crt"}},
            "auth": {"x509": {"secretRef": {"name": "orders-admin-cert"}}},
        });
        if self.user_credentials {
            spec["userCredentials"] = json!({"x509": {"caSecretRef": {"name": "orders-client-ca"}}});
        }
        let manifests = Manifests {
            admin: spec,
            db_role: format!("reader@{app}"),
            database: app.clone(),
            alice: alice.clone(),
        };
        let trust =
            Trust { admin: &admin, users: mongo.client_authority(), server_ca: mongo.server_ca_pem() };
        let base = BaseEnv::new(namespace, manifests, trust, &self.flags, &self.filter).await?;
        let mut env = MongoTestEnv { base, root, app, admin_user, alice, server };
        env.make_objects().await?;
        env.start_operator().await?;
        Ok(env)
    }
}

impl Deref for MongoTestEnv {
    type Target = BaseEnv;

    fn deref(&self) -> &BaseEnv {
        &self.base
    }
}

impl DerefMut for MongoTestEnv {
    fn deref_mut(&mut self) -> &mut BaseEnv {
        &mut self.base
    }
}

impl Server {
    fn mongo(&self) -> &Mongo {
        match self {
            Self::Shared(mongo) => mongo,
            Self::Own(mongo) => mongo,
        }
    }
}

impl MongoTestEnv {
    /// A test environment as most tests want it: the server of the binary, an admin user with the documented
    /// privileges, all objects but sessions, an operator.
    ///
    /// # Errors
    /// As [`MongoTestEnvBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// A test environment with other settings.
    pub fn builder() -> MongoTestEnvBuilder {
        MongoTestEnvBuilder {
            privileges: None,
            members: None,
            user_credentials: true,
            object_permissions: false,
            alice: None,
            flags: Vec::new(),
            filter: FILTER.to_owned(),
        }
    }

    /// The server behind the DatabaseAdmin `orders`.
    pub fn mongo(&self) -> &Mongo {
        self.server.mongo()
    }

    /// A role of the logical database, as written in dbRoles.
    pub fn role_name(&self, role: &str) -> String {
        format!("{role}@{}", self.app)
    }

    /// Gives the admin user what object permissions need.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn grant_object_permissions(&self) -> Result<()> {
        let privileges = MongoAdmin::documented().object_permissions(&self.app);
        Ok(self.mongo().set_admin(&self.admin_user, &privileges).await?)
    }

    /// The account of `alice`; `None` where there is no such user.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn account(&self) -> Result<Option<MongoAccount>> {
        self.account_of(&self.alice).await
    }

    /// The account of that database user name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn account_of(&self, username: &str) -> Result<Option<MongoAccount>> {
        read(&self.root, username).await
    }

    /// The account of `alice`, seen by another client of the superuser.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn account_by(&self, root: &Client) -> Result<Option<MongoAccount>> {
        read(root, &self.alice).await
    }

    /// Waits until the account of `alice` is as `wanted` says.
    ///
    /// # Errors
    /// When it does not become so within [`TIMEOUT`].
    pub async fn account_until(
        &self,
        what: &str,
        wanted: impl Fn(Option<&MongoAccount>) -> bool,
    ) -> Result<Option<MongoAccount>> {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        loop {
            let account = self.account().await?;
            if wanted(account.as_ref()) {
                return Ok(account);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("the account did not become {what}: {account:?}\n-- log --\n{}", self.log());
            }
            // Users cannot be watched.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes a user of `$external` by hand.
    ///
    /// # Errors
    /// When it exists already.
    pub async fn create_user(&self, username: &str, custom_data: Document) -> Result<()> {
        let roles = vec![doc! { "role": "reader", "db": &self.app }];
        let command = doc! { "createUser": subject(username)?, "roles": roles, "customData": custom_data };
        self.root.database("$external").run_command(command).await?;
        Ok(())
    }

    /// Logs in with the contents of a session's Secret, by its URI.
    ///
    /// # Errors
    /// When there is no Secret or the server refuses.
    pub async fn login(&self, session: &str) -> Result<Login> {
        login_with(&self.secret(session).await?).await
    }

    /// Reads the one document of `orders`.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn read(&self, client: &Client) -> mongodb::error::Result<Option<Document>> {
        client.database(&self.app).collection::<Document>("orders").find_one(doc! { "_id": 1 }).await
    }

    /// Writes a document of `orders`.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn write(&self, client: &Client) -> mongodb::error::Result<()> {
        let orders = client.database(&self.app).collection::<Document>("orders");
        orders.update_one(doc! { "_id": 1 }, doc! { "$inc": { "n": 1 } }).await.map(drop)
    }
}

async fn read(root: &Client, username: &str) -> Result<Option<MongoAccount>> {
    let user = doc! { "user": subject(username)?, "db": "$external" };
    let command = doc! { "usersInfo": user, "showCustomData": true, "showAuthenticationRestrictions": true };
    let answer = run_through_elections(root, "$external", command).await?;
    let users = answer.get_array("users")?;
    Ok(users.first().and_then(|user| user.as_document()).map(MongoAccount::of))
}

impl std::fmt::Debug for MongoTestEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MongoTestEnv").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The subject of a certificate with that common name, as RFC 2253 has it.
fn subject(username: &str) -> Result<String> {
    let account =
        rolecall_engine::AccountName::new(username).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    Ok(rolecall_engine::Dialect::MongoDb.login_name(&account))
}

/// The logical database and roles that tests work with.
async fn prepare(root: &Client, app: &str) -> Result<()> {
    let database = root.database(app);
    database.collection("orders").insert_one(doc! { "_id": 1, "note": "first" }).await?;
    for (role, actions) in [("reader", &["find"][..]), ("writer", &["find", "insert", "update", "remove"])] {
        let resource = doc! { "db": app, "collection": "" };
        let privileges = vec![doc! { "resource": resource, "actions": actions }];
        let no_roles: [&str; 0] = [];
        let command = doc! { "createRole": role, "privileges": privileges, "roles": no_roles };
        database.run_command(command).await?;
    }
    Ok(())
}
