//! Reading one account, and what is needed to decide about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, Timestamp, doc};

use super::Mongodb;
use super::members::{Hello, Look};
use super::privileges::{Privileges, connection_status};
use super::role::{RoleName, database_fault};
use super::server::Request;
use super::user::{Door, User, documents, users, users_info};
use crate::account::{DatabaseFacts, RoleFacts};
use crate::{AccountName, Class, Dialect, Error, Observed, Query, Reason};

/// How long the members may take to make what the primary shows, where the moment that matters is not known.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(1);
/// How long a majority may take to confirm what the primary shows.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Actions that a role has which only one named literally may have: whoever has it can make users or hand out roles.
const POWERS: [&str; 9] = [
    "anyAction",
    "internal",
    "createUser",
    "updateUser",
    "grantRole",
    "createRole",
    "updateRole",
    "changePassword",
    "changeOwnCustomData",
];

/// What is told of a role that may have such actions and that the admin user may not look into.
const UNSEEN: &str = "privileges that the admin user may not see (grant it viewRole on admin)";

/// A user, and the moment that it was read at.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) user: Option<User>,
    pub(super) at: Option<Timestamp>,
}

impl Mongodb {
    /// Reads a user from the primary. One that is not disabled is not remembered as such any longer.
    pub(super) async fn user(&self, account: &AccountName) -> Result<Read, Error> {
        let what = format!("reading the account {:?}", account.as_str());
        let protocol = self.server.protocol().await?;
        let request = users_info(what, &BTreeSet::from([account.clone()]), protocol);
        let answer = self.server.run(&request).await?;
        let user = users(&answer).remove(account);
        if user.as_ref().is_none_or(|user| user.door != Door::Locked) {
            self.locks.forget(account);
        }
        Ok(Read { user, at: answer.get_timestamp("operationTime").ok() })
    }

    pub(super) async fn read_account(&self, query: &Query) -> Result<Observed, Error> {
        let account = &query.account;
        let (read, hello, roles) =
            futures::try_join!(self.user(account), self.server.hello(), self.role_facts(&query.roles))?;
        let found = match &read.user {
            None => None,
            Some(user) => Some(user.account(self.backends(query, user, &read, &hello).await?)),
        };
        let sets = self.set_facts(&query.sets).await?;
        let databases = query.databases.iter().filter(|name| database_fault(name).is_none());
        Ok(Observed {
            account: found,
            roles,
            sets,
            // A logical database exists as soon as somebody writes to it, and everybody may name it.
            databases: databases
                .map(|name| (name.clone(), DatabaseFacts { allows_connections: true, connect: true }))
                .collect(),
            admin_user: self.server.config().admin_user.clone(),
            dialect: Dialect::MongoDb,
        })
    }

    /// The connections of an account. A member that cannot be asked may hold one, and one that has not heard of the end
    /// may let the user in: each counts as one where the access has ended, and ending it again tells more about it.
    async fn backends(&self, query: &Query, user: &User, read: &Read, hello: &Hello) -> Result<u32, Error> {
        if !user.is_managed() && user.owner().is_none() {
            return Ok(0);
        }
        let ended = user.door == Door::Locked;
        if ended {
            self.wait_until_confirmed(&query.account, read.at, hello).await?;
        }
        let ours = ended && user.is_of(&query.owner_uid);
        let locked = self.locks.of(&query.account);
        // The set's own time is that of changes; a single server has nobody to follow it.
        let after = locked.or(read.at).filter(|_| ours && hello.set.is_some());
        let look = Look { account: Some(&query.account), after };
        let begun = Instant::now();
        let mut sight = self.server.look(hello, look, &self.away).await?;
        while locked.is_none() && !sight.behind.is_empty() && begun.elapsed() < CAUGHT_UP_WITHIN {
            tokio::time::sleep(PAUSE).await;
            sight = self.server.look(hello, look, &self.away).await?;
        }
        let silent = sight.unasked.iter().filter(|member| !self.away.contains(member)).count();
        let unknown = if ours { silent + sight.behind.len() } else { 0 };
        Ok(sight.backends(&query.account, ended).saturating_add(u32::try_from(unknown).unwrap_or(u32::MAX)))
    }

    /// What the primary shows may be undone by a failover until a majority has it. That an access has ended is not
    /// believed before.
    async fn wait_until_confirmed(
        &self,
        account: &AccountName,
        at: Option<Timestamp>,
        hello: &Hello,
    ) -> Result<(), Error> {
        let Some(at) = at.filter(|_| hello.set.is_some()) else { return Ok(()) };
        let begun = Instant::now();
        let mut confirmed = hello.confirmed;
        while confirmed.is_none_or(|confirmed| confirmed < at) {
            if begun.elapsed() > CONFIRMED_WITHIN {
                return Err(Error {
                    class: Class::Transient,
                    reason: Reason::ServerRefused,
                    attempted: format!("reading the account {:?}", account.as_str()),
                    code: String::new(),
                    detail: "a majority of the replica set has not confirmed what the primary shows"
                        .to_owned(),
                    remedy: "check that a majority of the members is up and keeps up with the primary"
                        .to_owned(),
                });
            }
            tokio::time::sleep(PAUSE).await;
            confirmed = self.server.hello().await?.confirmed;
        }
        Ok(())
    }

    /// Roles that are asked for. Where the admin user may not look at them they are taken to be there: the server says
    /// so itself when one is not.
    async fn role_facts(&self, asked: &BTreeSet<String>) -> Result<BTreeMap<String, RoleFacts>, Error> {
        let names: Vec<(&String, RoleName)> =
            asked.iter().filter_map(|text| Some((text, RoleName::parse(text).ok()?))).collect();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let privileges = self.privileges().await?;
        let visible = |name: &RoleName| privileges.on_database(&name.database, "viewRole");
        let shown: Vec<&RoleName> = names.iter().map(|(_, name)| name).filter(|name| visible(name)).collect();
        let attributes = self.powers(&shown).await?;
        let facts = names.iter().filter_map(|(text, name)| {
            let attributes = match attributes.get(name) {
                Some(attributes) => attributes.clone(),
                None if visible(name) => return None,
                None if name.may_reach_far() => vec![UNSEEN.to_owned()],
                None => Vec::new(),
            };
            let grantable = privileges.on_database(&name.database, "grantRole");
            Some(((*text).clone(), RoleFacts { attributes, managed: false, grantable }))
        });
        Ok(facts.collect())
    }

    pub(super) async fn privileges(&self) -> Result<Privileges, Error> {
        Ok(Privileges::read(&self.server.run(&connection_status()).await?))
    }

    /// The roles that exist, each with what makes it powerful.
    pub(super) async fn powers(&self, names: &[&RoleName]) -> Result<BTreeMap<RoleName, Vec<String>>, Error> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let list: Vec<Document> =
            names.iter().map(|name| doc! { "role": &name.role, "db": &name.database }).collect();
        let command = doc! { "rolesInfo": list, "showPrivileges": true, "showBuiltinRoles": true };
        let answer = self.server.run(&Request::new("reading database roles", "admin", command)).await?;
        let roles = documents(&answer, "roles").filter_map(|role| {
            let text = |key: &str| role.get_str(key).ok().map(str::to_owned);
            Some((RoleName { role: text("role")?, database: text("db")? }, powers(role)))
        });
        Ok(roles.collect())
    }
}

fn powers(role: &Document) -> Vec<String> {
    let held: BTreeSet<&str> = documents(role, "inheritedPrivileges")
        .chain(documents(role, "privileges"))
        .filter_map(|privilege| privilege.get_array("actions").ok())
        .flatten()
        .filter_map(Bson::as_str)
        .collect();
    POWERS.iter().filter(|power| held.contains(*power)).map(|power| (*power).to_owned()).collect()
}
