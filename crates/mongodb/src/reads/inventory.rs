//! All managed accounts of a server.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::server::InventoryEntry;
use rolecall_engine::{AccountName, Error, Inventory};

use crate::Mongodb;
use crate::reads::members::MemberQuery;
use crate::statements::user::{LoginAccess, User, managed_users, users, users_info};

/// The most users that are read in full in one answer, which has at most 16 MiB.
const AT_ONCE: usize = 1000;

impl Mongodb {
    pub(crate) async fn list_accounts(&self) -> Result<Inventory, Error> {
        let hello = self.server.hello().await?;
        let protocol = self.server.protocol().await?;
        let answer = self.server.run(&managed_users(protocol)).await?;
        let names: Vec<AccountName> = users(&answer).into_keys().collect();
        let mut all: BTreeMap<AccountName, User> = BTreeMap::new();
        for names in names.chunks(AT_ONCE) {
            let names: BTreeSet<AccountName> = names.iter().cloned().collect();
            let request = users_info("reading the managed users", &names, protocol);
            all.extend(users(&self.server.run(&request).await?));
        }
        let seen = self.server.ask_members(&hello, MemberQuery::default(), &self.away).await?;
        let accounts = all.values().filter(|user| user.is_managed()).map(|user| InventoryEntry {
            account: user.account.clone(),
            owner: user.owner(),
            enabled: user.access != LoginAccess::Locked,
            memberships: match user.access {
                LoginAccess::Locked => BTreeSet::new(),
                LoginAccess::Open | LoginAccess::Restricted => {
                    user.roles.iter().map(ToString::to_string).collect()
                }
            },
            manageable: true,
            strays: user.access == LoginAccess::Restricted,
            backends: seen.backends(&user.account, user.access == LoginAccess::Locked),
        });
        Ok(Inventory { accounts: accounts.collect() })
    }
}
