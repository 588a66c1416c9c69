//! Permission sets: custom roles that hold collections for the users who have them.
//!
//! A set is the role `rolecall:<hash>` of its logical database. Its list of privileges is replaced as a whole, so that
//! one `updateRole` puts right whatever is different, and what somebody added by hand goes with it.
//!
//! Roles carry no comment and no custom data. What a set stands for is kept in the name of a collection, on which it
//! has a privilege that is of no use: see `marker`.
//!
//! | module | holds |
//! |---|---|
//! | `marker` | the record of a set, as a privilege |
//! | `held` | privileges as the server has them, and as they should be |
//! | `sync` | what is sent when, so that sets hold what they should |
//! | `retire` | listing sets, and dropping them |
//! | `needs` | what the admin user needs for all this, and the command that gives it |

mod held;
mod marker;
mod needs;
mod retire;
mod sync;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use mongodb::bson::doc;
use rolecall_engine::Error;
use rolecall_engine::account::SetFacts;
use rolecall_engine::dialect::mongodb::RoleName;
use rolecall_engine::objects::SetState;

use held::SetRole;

use crate::Mongodb;
use crate::reads::objects::Numbers;
use crate::statements::role;
use crate::statements::user::documents;
use crate::transport::code::{self, UNAUTHORIZED};
use crate::transport::server::Request;

/// Sets that are read at the same time. Each is read by itself, as one can fill an answer.
const AT_ONCE: usize = 4;

impl Mongodb {
    /// The sets that are asked for, those that exist, as accounts see them. One that may not be read is told as such: it
    /// concerns who should get it, and nobody else.
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

    async fn read_set(&self, name: &RoleName) -> Result<Option<SetRole>, Error> {
        let command = doc! {
            "rolesInfo": role::document(name),
            "showPrivileges": true,
        };
        let what = format!("reading the permission set {:?}", name.to_string());
        let answer = self.run_for_sets(&name.database, Request::new(what, &name.database, command)).await?;
        Ok(documents(&answer, "roles").next().map(|role| SetRole::read(role, &name.database)))
    }
}
