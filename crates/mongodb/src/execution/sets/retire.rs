//! Listing sets, and dropping those that nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::doc;
use rolecall_engine::dialect::mongodb::{EXTERNAL, RoleName};
use rolecall_engine::sets::SetEntry;
use rolecall_engine::{Applied, Class, Error, OWN_ROLE_PREFIX};

use super::Mongodb;
use crate::statements::role;
use crate::statements::user::documents;
use crate::transport::code::{self, ROLE_NOT_FOUND};
use crate::transport::server::Request;

impl Mongodb {
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
        let entry = |(role, set): (String, super::SetRole)| SetEntry {
            members: members.get(&role).copied().unwrap_or_default(),
            record: set.record,
            role,
            executes: false,
        };
        Ok(found.into_iter().map(entry).collect())
    }

    pub(crate) async fn retire_set(&self, set: &str, owner_uid: &str) -> Result<Applied, Error> {
        let kept = |why: String| Applied { kept_because: Some(why), ..Applied::default() };
        let dropped = || Applied { dropped: true, ..Applied::default() };
        let name = RoleName::parse(set).ok().filter(|name| rolecall_engine::plan::is_set(&name.role));
        let Some(name) = name else {
            return Ok(kept(format!("{set:?} is not the name of a permission set")));
        };
        let Some(found) = self.read_set(&name).await? else { return Ok(dropped()) };
        if found.record.is_none_or(|record| record.uid != owner_uid) {
            return Ok(kept(format!("{set:?} does not carry our record")));
        }
        if let Some(members) = self.members_of_sets().await?.get(set) {
            return Ok(kept(format!("{set:?} has {members} members")));
        }
        let what = format!("dropping the permission set {set:?}");
        let request = self.change().request(what, &name.database, doc! { "dropRole": &name.role });
        match self.run_for_sets(&name.database, request).await {
            Err(error) if error.code == code::text(ROLE_NOT_FOUND) => Ok(dropped()),
            Err(error) if error.class == Class::Refused => Ok(kept(error.to_string())),
            result => result.map(|_| dropped()),
        }
    }

    /// The logical databases whose roles the admin user may see. Without that right no set was ever made there. Of a
    /// right on all databases only those are found that hold something, or where a set has members: any other set gives
    /// nothing to anybody.
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
    async fn members_of_sets(&self) -> Result<BTreeMap<String, usize>, Error> {
        let pattern = format!("^{OWN_ROLE_PREFIX}");
        let command = doc! { "usersInfo": 1, "filter": { "roles.role": { "$regex": pattern } } };
        let request = Request::new("listing the members of permission sets", EXTERNAL, command);
        let answer = self.server.run(&request).await?;
        let mut members = BTreeMap::new();
        let roles = documents(&answer, "users").flat_map(|user| documents(user, "roles"));
        for name in roles.filter_map(role::read) {
            *members.entry(name.to_string()).or_default() += 1;
        }
        Ok(members)
    }
}
