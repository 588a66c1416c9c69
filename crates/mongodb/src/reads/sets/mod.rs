//! Reading permission sets: what they may do, whose they are, and how many users have each.
//!
//! | module | contains |
//! |---|---|
//! | `role` | one set as the server has it |
//! | `needs` | what the admin user needs for all this, and the command that gives it |

mod needs;
mod role;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use mongodb::bson::doc;
use rolecall_engine::account::SetFacts;
use rolecall_engine::dialect::mongodb::{EXTERNAL, RoleName};
use rolecall_engine::objects::SetState;
use rolecall_engine::sets::SetEntry;
use rolecall_engine::{Error, OWN_ROLE_PREFIX};

use role::SetRole;

use crate::Mongodb;
use crate::reads::objects::Numbers;
use crate::statements;
use crate::statements::user::documents;
use crate::transport::code::{self, UNAUTHORIZED};
use crate::transport::request::Request;

/// Sets that are read at the same time. Each is read by itself, as one can fill an answer.
const AT_ONCE: usize = 4;

impl Mongodb {
    /// The sets that are asked for, those that exist, as accounts see them. One that may not be read is reported as
    /// such: it concerns who should get it, and nobody else.
    pub(crate) async fn set_facts(
        &self,
        sets: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, SetFacts>, Error> {
        let mut facts = BTreeMap::new();
        for (name, role) in self.each_set(sets).await {
            let found = match role {
                Ok(None) => continue,
                Ok(Some(role)) => SetFacts {
                    owner_uid: role.record.map(|record| record.uid),
                    attributes: role.inherits,
                    // Who makes a set must be able to grant the privileges in it, which is the same right.
                    grantable: true,
                    unseen: None,
                },
                Err(Error { code, detail, remedy, .. }) if code == code::text(UNAUTHORIZED) => {
                    SetFacts { unseen: Some(format!("{detail}; {remedy}")), ..SetFacts::default() }
                }
                Err(error) => return Err(error),
            };
            facts.insert(name, found);
        }
        Ok(facts)
    }

    /// The state of the sets that are asked for, those that exist in this logical database.
    pub(crate) async fn set_states(
        &self,
        database: &str,
        sets: &BTreeSet<String>,
        numbers: &Numbers<'_>,
    ) -> Result<BTreeMap<String, SetState>, Error> {
        let here = |name: &&String| RoleName::parse(name).is_ok_and(|name| name.database == database);
        let here = sets.iter().filter(here).cloned().collect();
        let found = self.read_sets(&here).await?;
        Ok(found.into_iter().map(|(name, role)| (name, role.state(numbers))).collect())
    }

    /// Every set that the admin user may see, with the number of its members.
    pub(crate) async fn all_sets(&self) -> Result<Vec<SetEntry>, Error> {
        let members = self.members_of_sets().await?;
        let mut sets = BTreeSet::new();
        for database in self.databases_with_sets(&members).await? {
            let request = Request::new(
                format!("listing the roles of the database {database:?}"),
                &database,
                doc! { "rolesInfo": 1 },
            );
            let answer = self.run_for_sets(&database, request).await?;
            let roles = documents(&answer, "roles").filter_map(|role| role.get_str("role").ok());
            let name =
                |role: &str| RoleName { role: role.to_owned(), database: database.clone() }.to_string();
            sets.extend(roles.filter(|role| rolecall_engine::plan::is_set(role)).map(name));
        }
        let found = self.read_sets(&sets).await?;
        let entry = |(role, set): (String, SetRole)| SetEntry {
            members: members.get(&role).copied().unwrap_or_default(),
            record: set.record,
            role,
            executes: false,
        };
        Ok(found.into_iter().map(entry).collect())
    }

    async fn read_sets(&self, sets: &BTreeSet<String>) -> Result<BTreeMap<String, SetRole>, Error> {
        let found = self.each_set(sets).await.into_iter();
        found.filter_map(|(name, role)| Some(role.transpose()?.map(|role| (name, role)))).collect()
    }

    async fn each_set(&self, sets: &BTreeSet<String>) -> Vec<(String, Result<Option<SetRole>, Error>)> {
        let names: Vec<(String, RoleName)> = sets
            .iter()
            .filter(|set| rolecall_engine::plan::is_set(set))
            .filter_map(|set| Some((set.clone(), RoleName::parse(set).ok()?)))
            .collect();
        let mut found = Vec::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let reading = names.iter().map(async |(set, name)| (set.clone(), self.read_set(name).await));
            found.extend(join_all(reading).await);
        }
        found
    }

    /// One set; `None` where it does not exist.
    pub(crate) async fn read_set(&self, name: &RoleName) -> Result<Option<SetRole>, Error> {
        let command = doc! {
            "rolesInfo": statements::role::document(name),
            "showPrivileges": true,
        };
        let what = format!("reading the permission set {:?}", name.to_string());
        let answer = self.run_for_sets(&name.database, Request::new(what, &name.database, command)).await?;
        Ok(documents(&answer, "roles").next().map(|role| SetRole::read(role, &name.database)))
    }

    /// The logical databases whose roles the admin user may see. Without that right no set was ever made there. Of a
    /// right on all databases only those are found that contain something, or where a set has members: any other set
    /// gives nothing to anybody.
    async fn databases_with_sets(
        &self,
        members: &BTreeMap<String, usize>,
    ) -> Result<BTreeSet<String>, Error> {
        let privileges = self.privileges().await?;
        let (mut databases, everywhere) = privileges.databases("viewRole");
        if everywhere {
            let command = doc! { "listDatabases": 1, "nameOnly": true, "authorizedDatabases": true };
            let request = Request::new("listing the databases", "admin", command);
            let answer = self.server.run(&request).await?;
            let names = documents(&answer, "databases").filter_map(|database| database.get_str("name").ok());
            databases.extend(names.map(str::to_owned));
            databases.extend(members.keys().filter_map(|set| Some(RoleName::parse(set).ok()?.database)));
        }
        Ok(databases)
    }

    /// How many users of `$external` have each set. One that nobody has is absent.
    pub(crate) async fn members_of_sets(&self) -> Result<BTreeMap<String, usize>, Error> {
        let pattern = format!("^{OWN_ROLE_PREFIX}");
        let command = doc! { "usersInfo": 1, "filter": { "roles.role": { "$regex": pattern } } };
        let request = Request::new("listing the members of permission sets", EXTERNAL, command);
        let answer = self.server.run(&request).await?;
        let mut members = BTreeMap::new();
        let roles = documents(&answer, "users").flat_map(|user| documents(user, "roles"));
        for name in roles.filter_map(statements::role::read) {
            *members.entry(name.to_string()).or_default() += 1;
        }
        Ok(members)
    }
}
