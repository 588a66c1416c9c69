//! Reading one account, and what is needed to decide about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, Timestamp, doc};
use rolecall_engine::account::{DatabaseFacts, RoleFacts};
use rolecall_engine::dialect::mongodb::{RoleName, database_fault};
use rolecall_engine::{AccountName, Dialect, Error, Observed, Query};

use crate::Mongodb;
use crate::reads::members::{Hello, MemberQuery, MembersSeen};
use crate::reads::powers::powers;
use crate::reads::privileges::{Privileges, connection_status};
use crate::statements::role;
use crate::statements::user::{LoginAccess, User, documents, users, users_info};
use crate::transport::request::Request;

/// How long the members may take to make what the primary shows, where the moment that matters is not known.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// What is reported of a role that may have such actions and that the admin user may not read.
const UNSEEN: &str = "privileges that the admin user may not see (grant it viewRole on admin)";

/// A user, and the moment that it was read at.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) user: Option<User>,
    pub(crate) at: Option<Timestamp>,
}

impl Mongodb {
    /// Reads a user from the primary. One that is not disabled, or not gone, is not remembered as such any longer.
    pub(crate) async fn user(&self, account: &AccountName) -> Result<Read, Error> {
        let what = format!("reading the account {:?}", account.as_str());
        let protocol = self.server.protocol().await?;
        let request = users_info(what, &BTreeSet::from([account.clone()]), protocol);
        let answer = self.server.run(&request).await?;
        let user = users(&answer).remove(account);
        if user.as_ref().is_none_or(|user| user.access != LoginAccess::Locked) {
            self.locks.forget(account);
        }
        if user.is_some() {
            self.gone.forget(account);
        }
        Ok(Read { user, at: answer.get_timestamp("operationTime").ok() })
    }

    pub(crate) async fn read_account(&self, query: &Query) -> Result<Observed, Error> {
        let (read, hello, roles, sets) = futures::try_join!(
            self.user(&query.account),
            self.server.hello(),
            self.role_facts(&query.roles),
            self.set_facts(&query.sets)
        )?;
        let matters = match &read.user {
            Some(user) => user.is_managed() || user.owner().is_some(),
            None => query.to_end,
        };
        if matters {
            self.wait_until_confirmed(&query.account, read.at, &hello).await?;
        }
        let (account, still_running) = match &read.user {
            Some(user) if matches!(user.access, LoginAccess::Locked) && matters => {
                (Some(user.account(self.backends_of_locked(query, user, &read, &hello).await?)), 0)
            }
            Some(user) if matters => {
                let members = MemberQuery { account: Some(&query.account), after: None };
                let seen = self.server.ask_members(&hello, members, &self.away).await?;
                (Some(user.account(seen.backends(&query.account, false))), 0)
            }
            Some(user) => (Some(user.account(0)), 0),
            None if matters => (None, self.remains(&query.account, &read, &hello).await?),
            None => (None, 0),
        };
        let databases = query.databases.iter().filter(|name| database_fault(name).is_none());
        Ok(Observed {
            account,
            still_running,
            user_fault: None,
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

    /// What counts as connections of an account that is disabled: what it runs. A member that cannot be asked may run
    /// something, and one that has not heard of the end may let the user in: each counts as one, and ending the access
    /// again says more about it.
    async fn backends_of_locked(
        &self,
        query: &Query,
        user: &User,
        read: &Read,
        hello: &Hello,
    ) -> Result<u32, Error> {
        let account = &query.account;
        let ours = user.is_of(&query.owner_uid);
        let known = self.locks.of(account);
        let after = known.or(read.at).filter(|_| ours);
        let seen = self.check_after(account, after, known.is_none(), hello).await?;
        // That an access has ended is not said by what was found out a while ago.
        let is_away = |member: &&String| match query.to_end {
            true => self.away.is_certain(member),
            false => self.away.contains(member),
        };
        let silent = seen.unasked.iter().filter(|member| !is_away(member)).count();
        let unknown = if ours { silent + seen.behind.len() } else { 0 };
        Ok(seen.backends(account, true).saturating_add(u32::try_from(unknown).unwrap_or(u32::MAX)))
    }

    /// What is left of an account that somebody dropped: what it still runs, and the members that have not heard of it.
    /// Members that do not answer are not counted, as there is no user any more by which to find out about them.
    async fn remains(&self, account: &AccountName, read: &Read, hello: &Hello) -> Result<u32, Error> {
        let known = self.gone.of(account);
        let seen = self.check_after(account, known.or(read.at), known.is_none(), hello).await?;
        let left =
            seen.backends(account, true).saturating_add(u32::try_from(seen.behind.len()).unwrap_or(u32::MAX));
        if left > 0 {
            // A single server reports no time, and nobody follows it.
            let at = known.or(read.at).unwrap_or(Timestamp { time: 0, increment: 0 });
            self.gone.remember(account, at);
        } else {
            self.gone.forget(account);
        }
        Ok(left)
    }

    /// Reads what an account runs, and which members have not made a change yet. They get a moment to make one that
    /// is as late as the account was read.
    async fn check_after(
        &self,
        account: &AccountName,
        after: Option<Timestamp>,
        is_late: bool,
        hello: &Hello,
    ) -> Result<MembersSeen, Error> {
        // The set's own time is that of changes; a single server has nobody to follow it.
        let query = MemberQuery { account: Some(account), after: after.filter(|_| hello.set.is_some()) };
        let begun = Instant::now();
        let mut seen = self.server.ask_members(hello, query, &self.away).await?;
        while is_late && !seen.behind.is_empty() && begun.elapsed() < CAUGHT_UP_WITHIN {
            tokio::time::sleep(PAUSE).await;
            seen = self.server.ask_members(hello, query, &self.away).await?;
        }
        Ok(seen)
    }

    /// What the primary shows may be undone by a failover until a majority has it. It is not trusted before, neither
    /// for an access that has ended nor of a right that was given or taken.
    async fn wait_until_confirmed(
        &self,
        account: &AccountName,
        at: Option<Timestamp>,
        hello: &Hello,
    ) -> Result<(), Error> {
        let what = format!("reading the account {:?}", account.as_str());
        self.server.until_confirmed(&what, at, hello).await
    }

    /// Roles that are asked for. Where the admin user may not read them they are assumed to exist, and reported as
    /// unseen where it could make them: the server says so itself when one is not there, or is.
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
            let unseen =
                !visible(name) && !name.is_built_in() && privileges.on_database(&name.database, "createRole");
            let grantable = privileges.on_database(&name.database, "grantRole");
            Some(((*text).clone(), RoleFacts { attributes, managed: false, grantable, unseen }))
        });
        Ok(facts.collect())
    }

    pub(crate) async fn privileges(&self) -> Result<Privileges, Error> {
        Ok(Privileges::read(&self.server.run(&connection_status()).await?))
    }

    /// The roles that exist, each with what makes it powerful.
    pub(crate) async fn powers(&self, names: &[&RoleName]) -> Result<BTreeMap<RoleName, Vec<String>>, Error> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let list: Vec<Document> = names.iter().map(|name| role::document(name)).collect();
        let command = doc! { "rolesInfo": list, "showPrivileges": true, "showBuiltinRoles": true };
        let answer = self.server.run(&Request::new("reading database roles", "admin", command)).await?;
        let roles = documents(&answer, "roles");
        Ok(roles.filter_map(|role| Some((role::read(role)?, powers(role)))).collect())
    }
}
