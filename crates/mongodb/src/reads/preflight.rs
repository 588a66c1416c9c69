//! What a server is, and what its admin user lacks.

use mongodb::bson::{Bson, Document, doc};
use rolecall_engine::dialect::mongodb::{EXTERNAL, RoleName, remedy, user_name_of};
use rolecall_engine::{Error, Finding, Needs, Preflight, Reason};
use serde_json::{Value, json};

use crate::Mongodb;
use crate::reads::history::history;
use crate::reads::privileges::Privileges;
use crate::statements::user::documents;
use crate::transport::request::Request;

impl Mongodb {
    pub(crate) async fn check_server(&self, needs: &Needs) -> Result<Preflight, Error> {
        // Refuses servers where users cannot be provisioned.
        let (_, answer) = self.server.hello_and_answer().await?;
        let build = doc! { "buildInfo": 1 };
        let build = self.server.run(&Request::new("reading the version", "admin", build)).await?;
        let privileges = self.privileges().await?;
        let findings = self.findings(needs, &privileges);
        Ok(Preflight {
            version: build.get_str("version").unwrap_or_default().to_owned(),
            identity: self.identity().await?,
            history: history(&answer),
            findings,
            ..Preflight::default()
        })
    }

    /// Nothing that any user may read distinguishes a replica set from all others, except the id that it gave to the
    /// admin user when that was created: it is random, replicated, and everybody may read their own.
    async fn identity(&self) -> Result<String, Error> {
        let config = self.server.config();
        let user = doc! { "user": user_name_of(&config.admin_user), "db": EXTERNAL };
        let request = Request::new("reading the admin user", EXTERNAL, doc! { "usersInfo": user });
        let answer = self.server.run(&request).await?;
        let id = documents(&answer, "users").next().and_then(id);
        Ok(id.unwrap_or_else(|| config.address.to_string()))
    }

    fn findings(&self, needs: &Needs, privileges: &Privileges) -> Vec<Finding> {
        let admin = &self.server.config().admin_user;
        let role = privileges.role.as_deref();
        let mut findings: Vec<Finding> = privileges
            .missing()
            .into_iter()
            .map(|(place, resource, actions)| {
                Finding::fixed_by(
                    Reason::MissingMongoPrivileges,
                    place,
                    &format!("the admin user lacks {} on {place}", actions.join(", ")),
                    remedy::give_commands(&[(json_of(&resource), &actions)], admin, role),
                )
            })
            .collect();
        let named = needs.roles.iter().filter_map(|text| Some((text, RoleName::parse(text).ok()?)));
        for (text, name) in named {
            if !privileges.on_database(&name.database, "grantRole") {
                findings.push(Finding::fixed_by(
                    Reason::MissingMongoPrivileges,
                    text,
                    &format!("the admin user may not grant the role {text:?}"),
                    remedy::may_grant_commands(text, admin, role),
                ));
            }
            if needs.create_missing_roles
                && !name.is_built_in()
                && !privileges.on_database(&name.database, "createRole")
            {
                let resource = json!({"db": name.database, "collection": ""});
                findings.push(Finding::fixed_by(
                    Reason::MissingMongoPrivileges,
                    text,
                    &format!("missingDbRoles: Create needs createRole on the database {:?}", name.database),
                    remedy::give_commands(&[(resource, &["createRole"])], admin, role),
                ));
            }
        }
        findings
    }
}

/// The id of a user, as text.
fn id(user: &Document) -> Option<String> {
    match user.get("userId")? {
        Bson::Binary(id) => id.to_uuid().ok().map(|id| id.to_string()),
        _ => None,
    }
}

fn json_of(resource: &Document) -> Value {
    // Strings and truth values, which JSON has as well.
    serde_json::to_value(resource).unwrap_or_default()
}
