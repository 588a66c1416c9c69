//! The user that an operator works as, with exactly the privileges that it is meant to have.

use mongodb::bson::{Document, doc};

use super::Mongo;
use crate::certificates::Certificate;
use crate::error::Result;

/// The privileges of an admin user.
///
/// They start as those that the documentation of automatic user provisioning asks for, and nothing more.
#[derive(Clone, Debug)]
pub struct MongoAdmin {
    privileges: Vec<Document>,
}

impl Default for MongoAdmin {
    fn default() -> Self {
        Self::documented()
    }
}

impl MongoAdmin {
    /// What the documentation asks for: to see operations, to give and take every role, to manage users of
    /// `$external`.
    pub fn documented() -> Self {
        let users = [
            "createUser",
            "updateUser",
            "dropUser",
            "viewUser",
            "setAuthenticationRestriction",
            "changeCustomData",
        ];
        Self { privileges: Vec::new() }
            .cluster(&["inprog"])
            .database("", &["grantRole", "revokeRole"])
            .database("$external", &users)
    }

    /// No privileges at all, to build up from.
    pub fn nothing() -> Self {
        Self { privileges: Vec::new() }
    }

    /// Besides, what object permissions on `database` need: to manage its custom roles and to list its collections.
    pub fn object_permissions(self, database: &str) -> Self {
        self.database(
            database,
            &[
                "createRole",
                "updateRole",
                "dropRole",
                "viewRole",
                "grantRole",
                "revokeRole",
                "listCollections",
            ],
        )
    }

    /// Besides, to end operations of others.
    pub fn killop(self) -> Self {
        self.cluster(&["killop"])
    }

    /// Besides, these actions on the cluster.
    pub fn cluster(mut self, actions: &[&str]) -> Self {
        self.privileges.push(doc! { "resource": { "cluster": true }, "actions": actions });
        self
    }

    /// Besides, these actions on a database as a whole; on all of them when it is `""`.
    pub fn database(mut self, database: &str, actions: &[&str]) -> Self {
        self.privileges.push(doc! {
            "resource": { "db": database, "collection": "" },
            "actions": actions,
        });
        self
    }
}

impl Mongo {
    /// Makes the user `CN=name` that an operator works as, by way of a role `name-role` with these privileges, and its
    /// certificate.
    ///
    /// # Errors
    /// When user or role exist already.
    pub async fn create_admin(&self, name: &str, admin: &MongoAdmin) -> Result<Certificate> {
        let role = format!("{name}-role");
        self.set_privileges("createRole", &role, admin).await?;
        self.create_user(name, &[&format!("{role}@admin")]).await
    }

    /// Replaces the privileges of a user that [`Mongo::create_admin`] made. They are in force at once.
    ///
    /// # Errors
    /// When there is no such role.
    pub async fn set_admin(&self, name: &str, admin: &MongoAdmin) -> Result<()> {
        self.set_privileges("updateRole", &format!("{name}-role"), admin).await
    }

    async fn set_privileges(&self, command: &str, role: &str, admin: &MongoAdmin) -> Result<()> {
        let privileges = admin.privileges.clone();
        let command = doc! { command: role, "privileges": privileges, "roles": [] };
        self.run("admin", command).await.map(drop)
    }
}
