//! What the admin user needs for object permissions, and the command that gives it.
//!
//! Measured on MongoDB 6.0: `createRole` to make a set, `grantRole` on the database for each privilege in it and to give
//! it to users, `revokeRole` to replace its privileges (the server asks for no `updateRole`), `dropRole`, `viewRole` to
//! read it, `listCollections`.

use mongodb::bson::Document;
use rolecall_engine::dialect::mongodb::remedy;
use rolecall_engine::{Error, Reason};
use serde_json::json;

use crate::Mongodb;
use crate::transport::code::{self, UNAUTHORIZED};
use crate::transport::request::Request;

const ACTIONS: [&str; 6] =
    ["createRole", "dropRole", "grantRole", "listCollections", "revokeRole", "viewRole"];

impl Mongodb {
    /// Sends a command; where the admin user may not run it, the error says what is missing on the database.
    pub(crate) async fn run_for_sets(&self, database: &str, request: Request) -> Result<Document, Error> {
        match self.server.run(&request).await {
            Err(error) => Err(self.explained(error, database).await),
            answer => answer,
        }
    }

    /// The error, with what the admin user lacks for object permissions on the database when that is behind it.
    pub(crate) async fn explained(&self, error: Error, database: &str) -> Error {
        if error.code != code::text(UNAUTHORIZED) {
            return error;
        }
        let Ok(privileges) = self.privileges().await else { return error };
        let missing: Vec<&str> =
            ACTIONS.into_iter().filter(|action| !privileges.on_database(database, action)).collect();
        if missing.is_empty() {
            return error;
        }
        let resource = json!({"db": database, "collection": ""});
        let admin = &self.server.config().admin_user;
        let give = remedy::give(&[(resource, &missing)], admin, privileges.role.as_deref());
        Error {
            reason: Reason::MissingMongoPrivileges,
            detail: format!("the admin user lacks {} on the database {database:?}", missing.join(", ")),
            remedy: format!("run {give}"),
            ..error
        }
    }
}
