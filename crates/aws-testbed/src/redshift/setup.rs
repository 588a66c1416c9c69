//! What is there before Rolecall comes, and what others do beside it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::catalog::{Acl, Identity, Kind, OWNER_ID, ObjectKey, Password, Right, User};
use super::error::SqlError;
use super::login;
use super::read::{Value, default_kind};
use super::server::{Error, Redshift, Result};
use super::session::Connection;
use super::shared::Shared;
use super::state::Temporary;

/// What an admin user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// In the role `sys:superuser`, which is not the superuser attribute.
    SystemRole,
    /// The same with SYSLOG ACCESS UNRESTRICTED.
    SystemRoleWithSyslog,
    /// CREATEUSER.
    Superuser,
}

/// An object to create.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its schema; of a schema its own name.
    pub schema: &'a str,
    /// Its name; of a schema empty.
    pub name: &'a str,
    /// The types of its arguments, for functions and procedures.
    pub arguments: &'a [&'a str],
    /// The user that owns it; none is the cluster's own admin user.
    pub owner: Option<&'a str>,
}

impl<'a> Object<'a> {
    /// An object of the cluster's own admin user, without arguments.
    pub fn new(kind: Kind, schema: &'a str, name: &'a str) -> Self {
        Self { kind, schema, name, arguments: &[], owner: None }
    }

    fn key(&self) -> ObjectKey {
        let (schema, name) = (self.schema.to_lowercase(), self.name.to_lowercase());
        match self.kind {
            Kind::Schema => ObjectKey::Schema(schema),
            Kind::Function | Kind::Procedure => {
                ObjectKey::Function(schema, name, self.arguments.iter().map(|&of| of.to_owned()).collect())
            }
            _ => ObjectKey::Relation(schema, name),
        }
    }
}

/// A session that nobody uses, until it is closed or ended by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Its process.
    pub process: i32,
}

impl Redshift {
    /// Runs statements as the cluster's own admin user, past the wire, and returns the rows of all of them as text.
    ///
    /// # Errors
    /// When one is refused; [`Error::sqlstate`] says why.
    pub async fn sql(&self, database: &str, statements: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut session = self.shared.lock().open(OWNER_ID, "awsuser", database);
        session.is_phantom = true;
        let (done, error) = Connection::new(Arc::clone(&self.shared), session).simple(statements).await;
        if let Some(error) = error {
            return Err(refused(&error));
        }
        let text = |value: Value| match value {
            Value::Null => None,
            Value::Bool(value) => Some(if value { "t" } else { "f" }.to_owned()),
            Value::Int(number) => Some(number.to_string()),
            Value::Text(text) => Some(text),
        };
        let rows = done.into_iter().flat_map(|done| done.rows);
        Ok(rows.map(|row| row.into_iter().map(text).collect()).collect())
    }

    /// Makes an admin user and returns its password.
    ///
    /// # Errors
    /// When the user exists.
    pub fn create_admin(&self, name: &str, admin: Admin) -> Result<String> {
        let password = self.create_user(name)?;
        self.change_user(name, |user| {
            user.superuser = admin == Admin::Superuser;
            user.syslog_unrestricted = admin == Admin::SystemRoleWithSyslog;
        })?;
        if admin != Admin::Superuser {
            let mut state = self.shared.lock();
            let catalog = Arc::make_mut(&mut state.committed);
            let role = catalog.role("sys:superuser").map(|role| role.id).unwrap_or_default();
            let user = catalog.user(name).map(|user| user.id).unwrap_or_default();
            catalog.members.insert((user, role), false);
        }
        Ok(password)
    }

    /// Makes a user that may log in with a password, which it returns.
    ///
    /// # Errors
    /// When the user exists.
    pub fn create_user(&self, name: &str) -> Result<String> {
        let password = format!("Aa1{:016x}", rand::random::<u64>());
        let mut state = self.shared.lock();
        if state.committed.user(name).is_some() {
            return Err(refused(&SqlError::new("42710", format!("user \"{name}\" already exists"))));
        }
        let tx = state.begin(true);
        let id = state.next_id(&tx);
        state.release(tx.id);
        let user = User { password: Some(Password::Plain(password.clone())), ..User::new(id, name) };
        Arc::make_mut(&mut state.committed).users.insert(id, user);
        Ok(password)
    }

    fn change_user(&self, name: &str, change: impl FnOnce(&mut User)) -> Result<()> {
        let mut state = self.shared.lock();
        let users = &mut Arc::make_mut(&mut state.committed).users;
        let user = users.values_mut().find(|user| user.name == name);
        user.map(change).ok_or_else(|| refused(&SqlError::unknown("user", name)))
    }

    /// Makes a logical database, which may be one of a datashare.
    pub fn create_database(&self, name: &str, is_shared: bool) {
        let mut state = self.shared.lock();
        let catalog = Arc::make_mut(&mut state.committed);
        if !catalog.databases.contains_key(name) {
            catalog.add_database(name, OWNER_ID);
        }
        if let Some(database) = catalog.databases.get_mut(name) {
            database.shared = is_shared;
        }
    }

    /// Makes an object, and its schema when that is missing.
    ///
    /// # Errors
    /// When the database or the owner is missing, or the object exists.
    pub fn create_object(&self, database: &str, object: &Object<'_>) -> Result<()> {
        let mut state = self.shared.lock();
        let catalog = Arc::make_mut(&mut state.committed);
        let owner = match object.owner {
            Some(owner) => catalog
                .user(owner)
                .map(|user| user.id)
                .ok_or_else(|| refused(&SqlError::unknown("user", owner)))?,
            None => OWNER_ID,
        };
        let objects = catalog.databases.values().map(|database| database.objects.len()).sum::<usize>();
        let known = catalog.databases.get_mut(database).ok_or_else(|| {
            refused(&SqlError::new("3D000", format!("database \"{database}\" does not exist")))
        })?;
        // The table of a materialized view has the number after it.
        let id = 110_000 + 4 * u32::try_from(objects).unwrap_or_default();
        let schema = ObjectKey::Schema(object.schema.to_lowercase());
        if object.kind != Kind::Schema {
            let missing =
                super::catalog::Object { id: id + 2, kind: Kind::Schema, owner: OWNER_ID, acl: Acl::new() };
            known.objects.entry(schema).or_insert(missing);
        }
        if known.objects.contains_key(&object.key()) {
            return Err(refused(&SqlError::new("42P07", format!("{:?} already exists", object.key()))));
        }
        let mut acl = Acl::new();
        if matches!(object.kind, Kind::Function | Kind::Procedure) {
            acl.insert(Right { who: Identity::Public, privilege: "EXECUTE".to_owned() }, false);
        }
        known.objects.insert(object.key(), super::catalog::Object { id, kind: object.kind, owner, acl });
        Ok(())
    }

    /// Drops an object, and a schema with everything in it.
    pub fn drop_object(&self, database: &str, object: &Object<'_>) {
        let mut state = self.shared.lock();
        if let Some(database) = Arc::make_mut(&mut state.committed).databases.get_mut(database) {
            let key = object.key();
            database.objects.retain(|other, _| match &key {
                ObjectKey::Schema(schema) => other.schema() != schema,
                key => other != key,
            });
        }
    }

    /// What `owner` creates later in a database gives `user` a right.
    ///
    /// # Errors
    /// When one of the users is missing.
    pub fn add_default_privilege(
        &self,
        database: &str,
        owner: &str,
        user: &str,
        kind: Kind,
        privilege: &str,
    ) -> Result<()> {
        let mut state = self.shared.lock();
        let catalog = Arc::make_mut(&mut state.committed);
        let id = |name: &str| {
            catalog.user(name).map(|user| user.id).ok_or_else(|| refused(&SqlError::unknown("user", name)))
        };
        let (owner, user) = (id(owner)?, id(user)?);
        let right = Right { who: Identity::User(user), privilege: privilege.to_owned() };
        if let Some(database) = catalog.databases.get_mut(database) {
            database.defaults.insert((owner, None, default_kind(kind), right));
        }
        Ok(())
    }

    /// Lets a user use an IAM role in COPY and the like (ASSUMEROLE), which no list of rights shows.
    ///
    /// # Errors
    /// When the user is missing.
    pub fn grant_assume_role(&self, user: &str, arn: &str) -> Result<()> {
        let mut state = self.shared.lock();
        let catalog = Arc::make_mut(&mut state.committed);
        let id = catalog
            .user(user)
            .map(|user| user.id)
            .ok_or_else(|| refused(&SqlError::unknown("user", user)))?;
        catalog.assume_role.insert((id, arn.to_owned()));
        Ok(())
    }

    /// A temporary password for a login name with its prefix (`IAM:alice`), as GetClusterCredentials hands out, and
    /// when it ends. The user need not be there.
    pub fn issue_password(&self, login: &str, life: SignedDuration) -> (String, Timestamp) {
        self.issuer().issue_password(login, life)
    }

    /// What hands out temporary passwords for this cluster.
    pub fn issuer(&self) -> Issuer {
        Issuer(Arc::clone(&self.shared))
    }

    /// Opens a session past the wire and past the connection limit, under a login name with or without a prefix.
    ///
    /// # Errors
    /// When the user is missing.
    pub fn open_session(&self, login: &str, database: &str) -> Result<OpenSession> {
        let mut state = self.shared.lock();
        let name = login::user_of(login).0;
        let user = state.committed.user(name).map(|user| user.id);
        let user = user.ok_or_else(|| refused(&SqlError::unknown("user", name)))?;
        let process = state.open(user, login, database).process;
        if let Some(session) = state.sessions.get_mut(&process) {
            session.is_phantom = true;
        }
        Ok(OpenSession { process })
    }

    /// Closes such a session.
    pub fn close_session(&self, session: OpenSession) {
        self.shared.lock().close(session.process);
    }

    /// Does a user have a password?
    pub fn has_password(&self, user: &str) -> bool {
        self.shared.lock().committed.user(user).is_some_and(|user| user.password.is_some())
    }

    /// The login names of all open sessions of a user, with their prefixes.
    pub fn logins(&self, user: &str) -> Vec<String> {
        let state = self.shared.lock();
        let id = state.committed.user(user).map(|user| user.id);
        let sessions = state.sessions.values().filter(|session| Some(session.user) == id);
        sessions.map(|session| session.login.clone()).collect()
    }
}

/// Hands out temporary passwords for a cluster.
#[derive(Clone, Debug)]
pub struct Issuer(Arc<Shared>);

impl Issuer {
    /// As [`Redshift::issue_password`].
    pub fn issue_password(&self, login: &str, life: SignedDuration) -> (String, Timestamp) {
        let mut state = self.0.lock();
        // With characters that have to be escaped on their way.
        let password = format!("<temporary>+/=&{:032x}", rand::random::<u128>());
        let expires = state.now().saturating_add(life).unwrap_or(Timestamp::MAX);
        state.temporary.push(Temporary { login: login.to_owned(), password: password.clone(), expires });
        (password, expires)
    }
}

fn refused(error: &SqlError) -> Error {
    Error::Refused { code: error.code.to_owned(), message: error.message.clone() }
}
