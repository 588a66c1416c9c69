//! All managed accounts of a server.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::server::InventoryEntry;
use rolecall_engine::{AccountName, Error, Inventory};

use super::Mongodb;
use super::members::Look;
use super::user::{Door, User, managed_users, users, users_info};

/// The most users that one answer tells all about: an answer has at most 16 MiB.
const AT_ONCE: usize = 1000;

impl Mongodb {
    pub(super) async fn count_accounts(&self) -> Result<Inventory, Error> {
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
        let sight = self.server.look(&hello, Look::default(), &self.away).await?;
        let accounts = all.values().filter(|user| user.is_managed()).map(|user| InventoryEntry {
            account: user.account.clone(),
            owner: user.owner(),
            enabled: user.door != Door::Locked,
            memberships: match user.door {
                Door::Locked => BTreeSet::new(),
                Door::Open | Door::Restricted => user.roles.iter().map(ToString::to_string).collect(),
            },
            manageable: true,
            backends: sight.backends(&user.account, user.door == Door::Locked),
        });
        Ok(Inventory { accounts: accounts.collect() })
    }
}
