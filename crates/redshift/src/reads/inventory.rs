//! All managed accounts of a cluster.

use rolecall_engine::server::InventoryEntry;
use rolecall_engine::{AccountName, Dialect, Error, Inventory, MARKER};

use super::observe::Seen;
use super::sessions;
use crate::Redshift;

impl Redshift {
    pub(crate) async fn list_accounts(&self) -> Result<Inventory, Error> {
        let run_in = self.server.target_database(None);
        let admin = self.server.config().admin_user.as_str();
        let seen = Seen::read(&self.server.read(&run_in, &Seen::statements(None)).await?);
        let sight = seen.sight(admin);
        if !sight.is_clear() {
            return Err(sight.error("listing the accounts", admin));
        }
        accounts(&seen, admin).map_err(|_| sight.error("listing the accounts", admin))
    }
}

/// The managed accounts among all users.
fn accounts(seen: &Seen, admin: &str) -> Result<Inventory, super::users::Unseen> {
    let managed = seen.users.roles.iter().filter(|(_, roles)| roles.contains_key(MARKER));
    let names = managed.filter_map(|(name, _)| AccountName::new(name.as_str()).ok());
    let rights = seen.roles.rights(&seen.users, admin);
    let mut accounts = Vec::new();
    for account in names.filter(|name| Dialect::Redshift.user_fault(name).is_none() && name.as_str() != admin)
    {
        let Some(user) = seen.users.users.get(account.as_str()) else { continue };
        let enabled = seen.users.is_open(&account).ok_or(super::users::Unseen)?;
        accounts.push(InventoryEntry {
            owner: seen.users.owner(&account, seen.roles.names()),
            backends: sessions::count(&seen.sessions, &account),
            // Nobody but a superuser changes one.
            manageable: rights.is_superuser || !user.is_superuser,
            memberships: if enabled { seen.users.memberships(&account) } else { Default::default() },
            enabled,
            strays: false,
            account,
        });
    }
    Ok(Inventory { accounts })
}

#[cfg(test)]
mod tests {
    use rolecall_engine::dialect::redshift::record::owner_role;

    use super::super::roles::Roles;
    use super::super::users::Users;
    use super::*;
    use crate::transport::rows::Row;
    use crate::transport::rows::tests::row;

    fn seen(info: &[Row]) -> Seen {
        let user = |name: &str| row([name, "1", "f", "", ""]);
        let grant = |name: &str, role: &str| row([name, role, "f"]);
        let ours = owner_role("us");
        let grants = [
            grant("alice", MARKER),
            grant("alice", &ours),
            grant("alice", "reader"),
            grant("bob", MARKER),
            grant("bob", "reader"),
            grant("carol", "reader"),
            grant("not a name of ours", MARKER),
            grant("dropped", MARKER),
        ];
        Seen {
            users: Users::read(&["alice", "bob", "carol", "not a name of ours"].map(user), info, &grants),
            roles: Roles::default(),
            sessions: sessions::read(&[row(["1", "IAM:alice"])]),
            databases: Vec::new(),
        }
    }

    fn info(name: &str, limit: &str) -> Row {
        row([name, "f", "f", limit, "RESTRICTED", "0"])
    }

    #[test]
    fn managed_accounts_are_listed_with_what_they_can_do() {
        let seen = seen(&[info("alice", "UNLIMITED"), info("bob", "0"), info("carol", "UNLIMITED")]);
        let inventory = accounts(&seen, "admin").unwrap();
        let shown = inventory.accounts.iter().map(|entry| {
            let uid = entry.owner.as_ref().map(|owner| owner.uid.as_str());
            (entry.account.as_str(), uid, entry.enabled, entry.backends, entry.memberships.len())
        });
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [("alice", Some("us"), true, 1, 1), ("bob", None, false, 0, 0)]
        );
    }

    #[test]
    fn an_account_whose_state_is_hidden_makes_no_inventory() {
        assert!(accounts(&seen(&[info("bob", "0")]), "admin").is_err());
    }
}
