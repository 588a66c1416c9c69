//! Roles: whose they are, what they may, who may hand them out.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::account::{RoleFacts, SetFacts};
use rolecall_engine::dialect::redshift::record;

use super::users::Users;
use crate::transport::rows::{Row, text};

/// System roles that may hand out every role.
const GRANTING: [&str; 2] = ["sys:superuser", "sys:secadmin"];
/// The system privilege that does the same.
const GRANT_ROLE: &str = "GRANT ROLE";

/// The roles of the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles {
    /// By name, with whoever created each.
    pub(crate) owners: BTreeMap<String, String>,
    /// Which roles each role has itself.
    nested: BTreeMap<String, BTreeSet<String>>,
    /// What each may do to the system.
    powers: BTreeMap<String, BTreeSet<String>>,
}

/// What the admin user may do with roles and users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdminRights {
    pub(crate) is_superuser: bool,
    /// It may hand out every role.
    pub(crate) grants_all: bool,
    /// Roles that it may hand out beside.
    grants: BTreeSet<String>,
    /// What it may do to the system, by its roles.
    pub(crate) powers: BTreeSet<String>,
    /// Its roles, and theirs.
    pub(crate) roles: BTreeSet<String>,
}

impl Roles {
    /// From the answers to [`query::roles`](crate::statements::query::roles), `role_grants` and `system_privileges`.
    pub(crate) fn read(roles: &[Row], nested: &[Row], powers: &[Row]) -> Self {
        let mut all = Self {
            owners: roles.iter().map(|row| (text(row, 0).to_owned(), text(row, 1).to_owned())).collect(),
            ..Self::default()
        };
        for row in nested {
            all.nested.entry(text(row, 0).to_owned()).or_default().insert(text(row, 1).to_owned());
        }
        for row in powers {
            let power = text(row, 0).to_ascii_uppercase();
            all.powers.entry(text(row, 1).to_owned()).or_default().insert(power);
        }
        all
    }

    /// The names of all of them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.owners.keys()
    }

    /// Does a role of this name exist?
    pub(crate) fn exists(&self, role: &str) -> bool {
        self.owners.contains_key(role)
    }

    /// Which roles a role has itself.
    pub(crate) fn nested_in(&self, role: &str) -> impl Iterator<Item = &str> {
        self.nested.get(role).into_iter().flatten().map(String::as_str)
    }

    /// Which roles have this one.
    pub(crate) fn with(&self, role: &str) -> impl Iterator<Item = &str> {
        let having = self.nested.iter().filter(move |(_, nested)| nested.contains(role));
        having.map(|(name, _)| name.as_str())
    }

    /// These roles, and all that they have themselves.
    fn closure<'a>(&'a self, roles: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = roles.into_iter().collect();
        while let Some(role) = open.pop() {
            if found.insert(role.to_owned()) {
                open.extend(self.nested_in(role));
            }
        }
        found
    }

    /// What makes a role powerful: what it may do to the system, and the server's own roles that it has.
    fn attributes(&self, role: &str) -> Vec<String> {
        let all = self.closure([role]);
        let powers = all.iter().flat_map(|one| self.powers.get(one).into_iter().flatten().cloned());
        let own = all.iter().filter(|one| *one != role && one.starts_with("sys:")).cloned();
        let attributes: BTreeSet<String> = powers.chain(own).collect();
        attributes.into_iter().collect()
    }

    /// What the admin user may do with roles.
    pub(crate) fn rights(&self, users: &Users, admin: &str) -> AdminRights {
        let is_superuser = users.users.get(admin).is_some_and(|user| user.is_superuser);
        let roles = self.closure(users.roles_of(admin));
        let powers: BTreeSet<String> =
            roles.iter().flat_map(|role| self.powers.get(role).into_iter().flatten().cloned()).collect();
        let given = users.roles.get(admin).into_iter().flatten();
        let with_option = given.filter(|(_, option)| **option).map(|(role, _)| role);
        let own = self.owners.iter().filter(|(_, owner)| *owner == admin).map(|(role, _)| role);
        AdminRights {
            is_superuser,
            grants_all: is_superuser
                || GRANTING.iter().any(|role| roles.contains(*role))
                || powers.contains(GRANT_ROLE),
            grants: with_option.chain(own).cloned().collect(),
            powers,
            roles,
        }
    }

    /// What is known of the roles that are asked for, those that exist.
    pub(crate) fn facts(
        &self,
        asked: &BTreeSet<String>,
        rights: &AdminRights,
    ) -> BTreeMap<String, RoleFacts> {
        let facts = |role: &String| RoleFacts {
            attributes: self.attributes(role),
            managed: false,
            grantable: rights.may_grant(role),
            unseen: false,
        };
        asked.iter().filter(|role| self.exists(role)).map(|role| (role.clone(), facts(role))).collect()
    }

    /// The same of permission sets.
    pub(crate) fn set_facts(
        &self,
        asked: &BTreeSet<String>,
        rights: &AdminRights,
    ) -> BTreeMap<String, SetFacts> {
        let facts = |set: &String| SetFacts {
            owner_uid: self.owner_uid(set),
            attributes: self.foreign_in(set).map(str::to_owned).collect(),
            grantable: rights.may_grant(set),
            unseen: None,
        };
        asked.iter().filter(|set| self.exists(set)).map(|set| (set.clone(), facts(set))).collect()
    }

    /// Whose a permission set is; of nobody where it has several records.
    pub(crate) fn owner_uid(&self, set: &str) -> Option<String> {
        let mut uids = self.nested_in(set).filter_map(record::owner_uid);
        uids.next().filter(|_| uids.next().is_none())
    }

    /// Roles that a set has and no set should.
    pub(crate) fn foreign_in(&self, set: &str) -> impl Iterator<Item = &str> {
        self.nested_in(set).filter(|role| !record::is_record(role))
    }
}

impl AdminRights {
    /// May the admin user hand this role out?
    pub(crate) fn may_grant(&self, role: &str) -> bool {
        self.grants_all || self.grants.contains(role)
    }

    /// What it lacks to manage users and roles.
    pub(crate) fn lacking(&self) -> Vec<&'static str> {
        let all = self.is_superuser || GRANTING.iter().any(|role| self.roles.contains(*role));
        let needed = ["CREATE USER", "ALTER USER", "DROP USER", "CREATE ROLE", "DROP ROLE"];
        needed.into_iter().filter(|power| !all && !self.powers.contains(*power)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rows::tests::row;

    fn roles() -> Roles {
        Roles::read(
            &[
                row(["reader", "dba"]),
                row(["boss", "dba"]),
                row(["mine", "admin"]),
                row(["sys:secadmin", "rdsdb"]),
                row(["rolecall_1", "admin"]),
                row(["rolecall_2", "admin"]),
            ],
            &[
                row(["boss", "maker"]),
                row(["rolecall_1", "rolecall_owner_us"]),
                row(["rolecall_1", "rolecall_database_dev"]),
                row(["rolecall_2", "rolecall_owner_us"]),
                row(["rolecall_2", "rolecall_owner_them"]),
                row(["rolecall_2", "reader"]),
            ],
            &[row(["create user", "maker"])],
        )
    }

    fn rights(superuser: &str, granted: &[(&str, &str)]) -> AdminRights {
        let grants: Vec<Row> = granted.iter().map(|(role, option)| row(["admin", role, option])).collect();
        let users = Users::read(&[row(["admin", "100", superuser, "", ""])], &[], &grants);
        roles().rights(&users, "admin")
    }

    #[test]
    fn the_admin_user_may_hand_out_what_is_its_own_or_was_given_so() {
        let plain = rights("f", &[("reader", "t"), ("boss", "f")]);
        assert!(plain.may_grant("reader") && plain.may_grant("mine") && !plain.may_grant("boss"));
        assert_eq!(plain.lacking().len(), 4, "boss has CREATE USER by another role");
        for all in [rights("t", &[]), rights("f", &[("sys:secadmin", "f")])] {
            assert!(all.may_grant("boss") && all.lacking().is_empty(), "{all:?}");
        }
    }

    #[test]
    fn a_role_is_powerful_by_all_that_it_has() {
        let asked = ["reader", "boss", "ghost"].map(str::to_owned).into();
        let facts = roles().facts(&asked, &rights("t", &[]));
        assert_eq!(facts["reader"].attributes, Vec::<String>::new());
        assert_eq!(facts["boss"].attributes, ["CREATE USER"]);
        assert_eq!(facts.len(), 2, "ghost does not exist");
    }

    #[test]
    fn a_set_has_the_record_of_one_owner_and_no_other_role() {
        let asked = ["rolecall_1", "rolecall_2"].map(str::to_owned).into();
        let facts = roles().set_facts(&asked, &rights("t", &[]));
        assert_eq!(facts["rolecall_1"].owner_uid.as_deref(), Some("us"));
        assert!(facts["rolecall_1"].attributes.is_empty());
        assert_eq!(facts["rolecall_2"].owner_uid, None);
        assert_eq!(facts["rolecall_2"].attributes, ["reader"]);
    }
}
