//! Who must look again when something changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use rolecall_api::DatabaseUser;

use super::{ObjectKey, ObjectsKey, Wakes, Work, World};
use crate::queue::Lane;

impl World {
    pub(super) fn admin_wakes(&self, key: &ObjectKey) -> Wakes {
        let mut wakes = vec![(Work::Admin(key.clone()), Lane::Normal)];
        wakes.extend(self.accounts_of_admin(key).into_iter().map(|a| (Work::Account(a), Lane::Normal)));
        wakes.extend(self.objects_wakes(key));
        // How many databases a role or a rule selects is part of its status.
        let rules = self.rules.keys().filter(|rule| rule.namespace == key.namespace);
        wakes.extend(rules.map(|rule| (Work::Rule(rule.clone()), Lane::Normal)));
        let roles = self.roles.keys().filter(|role| role.namespace == key.namespace);
        wakes.extend(roles.map(|role| (Work::Role(role.clone()), Lane::Normal)));
        wakes
    }

    /// A rule may concern every database of its namespace; whether there is a rule at all concerns all of them.
    pub(super) fn rule_wakes(&self, key: &ObjectKey) -> Wakes {
        let mut wakes = vec![(Work::Rule(key.clone()), Lane::Normal)];
        for admin in self.admins.keys().filter(|admin| admin.namespace == key.namespace) {
            wakes.extend(self.objects_wakes(admin));
        }
        wakes
    }

    /// The logical databases that sessions name on a DatabaseAdmin.
    pub fn objects_wakes(&self, admin: &ObjectKey) -> Wakes {
        let databases: BTreeSet<&str> = self
            .sessions_of_admin(admin)
            .filter_map(|session| session.spec.database_name.as_deref())
            .collect();
        databases
            .into_iter()
            .map(|name| {
                (Work::Objects(ObjectsKey { admin: admin.clone(), database: name.into() }), Lane::Normal)
            })
            .collect()
    }

    pub(super) fn role_wakes(&self, key: &ObjectKey) -> Wakes {
        let mut wakes = vec![(Work::Role(key.clone()), Lane::Normal)];
        for user in self.users_of_role.get(key).into_iter().flatten() {
            wakes.push((Work::User(user.clone()), Lane::Normal));
            wakes.extend(self.session_wakes(user));
        }
        wakes
    }

    pub(super) fn session_wakes(&self, user: &ObjectKey) -> Wakes {
        self.by_user
            .get(user)
            .into_iter()
            .flatten()
            .map(|session| (self.work_of(session), Lane::Normal))
            .collect()
    }

    pub(super) fn work_of(&self, session: &ObjectKey) -> Work {
        match self.account_of.get(session) {
            Some(account) => Work::Account(account.clone()),
            None => Work::Unbound(session.clone()),
        }
    }

    /// The other users with this user's database user name, and their sessions: one of them may hold the name now.
    pub(super) fn claim_wakes(&self, key: &ObjectKey, user: &DatabaseUser) -> Wakes {
        let claims = self.claims.get(&(Arc::clone(&key.namespace), self.username_of(user)));
        let mut wakes = Vec::new();
        for other in claims.into_iter().flatten().filter(|other| *other != key) {
            wakes.push((Work::User(other.clone()), Lane::Normal));
            wakes.extend(self.session_wakes(other));
        }
        wakes
    }
}
