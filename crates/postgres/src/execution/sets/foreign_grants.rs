//! What a set has that no set should have and that the admin user cannot take away: each with the statement that does it.

use rolecall_engine::Error;
use rolecall_engine::sets::Excess;

use super::role::making_plain;
use crate::Postgres;
use crate::quote::{identifier, literal};
use crate::reads::objects::is_foreign_grant;
use crate::statements::rights;
use crate::transport::message::Message;
use crate::transport::server::Place;
use crate::transport::version::Dialect;

impl Postgres {
    /// Lists what sweeping left of a set's foreign_grants. `database`: the one of the set.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached any more.
    pub(super) async fn foreign_grants(
        &self,
        place: &Place,
        dialect: Dialect,
        set: &str,
        database: &str,
    ) -> Result<Vec<Excess>, Error> {
        let role = format!("ROLE {}", identifier(set));
        let mut foreign_grants = Vec::new();
        let what = format!("listing what {} should not have", identifier(set));
        for row in self.server.run(place, &Message::one(what, making_plain(set, dialect))).await?.rows() {
            foreign_grants.push(Excess {
                object: role.clone(),
                privileges: "an attribute or a membership".to_owned(),
                grantor: String::new(),
                statement: row.get(0).unwrap_or_default().to_owned(),
                ..Excess::default()
            });
        }
        let own = literal(database);
        let here = is_foreign_grant(&format!(
            "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = {own})"
        ));
        let on_database = format!("d.datname <> {own} OR a.privilege_type <> 'CONNECT'");
        foreign_grants
            .extend(self.grants(place, &rights::list_grants(set, dialect, &on_database, &here), "").await?);
        for one in self.dependencies_of(place, set).await? {
            let Some(other) = one.database.filter(|other| other != database || one.kind != "a") else {
                continue;
            };
            let there = format!(" in the database {}", identifier(&other));
            if one.kind != "a" {
                // DROP OWNED takes it out of policies, and drops what it owns; by nothing else can a set own anything.
                foreign_grants.push(Excess {
                    object: role.clone(),
                    privileges: format!("ownership or a part in a policy{there}"),
                    grantor: String::new(),
                    statement: format!(
                        "REASSIGN OWNED BY {0} TO CURRENT_USER; DROP OWNED BY {0}",
                        identifier(set)
                    ),
                    ..Excess::default()
                });
                continue;
            }
            let listing = rights::list_grants(set, dialect, "false", "s.dbid <> 0");
            match self.grants(&Place::Exactly(other.clone()), &listing, &there).await {
                Ok(found) => foreign_grants.extend(found),
                Err(error) => {
                    tracing::debug!(set, %error, "its rights in another database cannot be listed");
                    let admin = identifier(&self.server.config().admin_user);
                    foreign_grants.push(Excess {
                        object: format!("{} objects{there}", one.count),
                        privileges: "rights that cannot be read".to_owned(),
                        grantor: String::new(),
                        statement: format!("GRANT CONNECT ON DATABASE {} TO {admin}", identifier(&other)),
                        ..Excess::default()
                    });
                }
            }
        }
        Ok(foreign_grants)
    }

    async fn grants(&self, place: &Place, listing: &Message, there: &str) -> Result<Vec<Excess>, Error> {
        let reply = self.server.run(place, listing).await?;
        let found = reply.rows().iter().map(|row| {
            let text = |column| row.get(column).unwrap_or_default().to_owned();
            Excess {
                object: format!("{}{there}", text(0)),
                privileges: text(1),
                grantor: text(2),
                statement: text(3),
                ..Excess::default()
            }
        });
        Ok(found.collect())
    }
}
