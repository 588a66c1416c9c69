//! Who must look again when something changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use rolecall_api::DatabaseUser;

use super::{ObjectKey, ObjectsKey, Wakes, Work, World, in_namespace};
use crate::account::lifecycle::may_have_access;
use crate::queue::Lane;

impl World {
    /// `if_access`: how soon sessions are looked at that may have access.
    pub(super) fn admin_wakes(&self, key: &ObjectKey, if_access: Lane) -> Wakes {
        let mut wakes = vec![(Work::Admin(key.clone()), Lane::Normal)];
        for session in self.by_admin.get(key).into_iter().flatten() {
            if let Some(account) = self.account_of.get(session) {
                wakes.push((Work::Account(account.clone()), self.lane(session, if_access)));
            }
        }
        wakes.extend(self.objects_wakes(key));
        // How many databases a role or a rule selects is part of its status.
        let rules = in_namespace(&self.rules, &key.namespace);
        wakes.extend(rules.map(|(rule, _)| (Work::Rule(rule.clone()), Lane::Normal)));
        let roles = in_namespace(&self.roles, &key.namespace);
        wakes.extend(roles.map(|(role, _)| (Work::Role(role.clone()), Lane::Normal)));
        wakes
    }

    /// A rule may concern every database of its namespace; whether there is a rule at all concerns all of them.
    pub(super) fn rule_wakes(&self, key: &ObjectKey) -> Wakes {
        let mut wakes = vec![(Work::Rule(key.clone()), Lane::Normal)];
        for (admin, _) in in_namespace(&self.admins, &key.namespace) {
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

    /// `if_access`: how soon sessions are looked at that may have access.
    pub(super) fn role_wakes(&self, key: &ObjectKey, if_access: Lane) -> Wakes {
        let mut wakes = vec![(Work::Role(key.clone()), Lane::Normal)];
        for user in self.users_of_role.get(key).into_iter().flatten() {
            wakes.push((Work::User(user.clone()), Lane::Normal));
            wakes.extend(self.session_wakes(user, if_access));
        }
        wakes
    }

    /// The sessions of a user. `if_access`: how soon those are looked at that may have access.
    pub(super) fn session_wakes(&self, user: &ObjectKey, if_access: Lane) -> Wakes {
        self.by_user
            .get(user)
            .into_iter()
            .flatten()
            .map(|session| (self.work_of(session), self.lane(session, if_access)))
            .collect()
    }

    fn lane(&self, session: &ObjectKey, if_access: Lane) -> Lane {
        let may_have_access = self.sessions.get(session).is_some_and(|session| may_have_access(session));
        if may_have_access { if_access } else { Lane::Normal }
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
            wakes.extend(self.session_wakes(other, Lane::Normal));
        }
        wakes
    }
}
