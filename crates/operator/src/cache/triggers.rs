//! Which keys a change triggers.

use std::collections::BTreeSet;
use std::sync::Arc;

use rolecall_api::DatabaseUser;

use crate::cache::{Cache, in_namespace};
use crate::model::{
    DatabaseKey, ObjectKey, Priority, ReconcileKey, Triggers,
    session::{is_over, may_have_access},
};

impl Cache {
    /// `if_access`: how soon sessions that may have access are reconciled.
    pub(super) fn admin_triggers(&self, key: &ObjectKey, if_access: Priority) -> Triggers {
        let mut triggers = vec![(ReconcileKey::Admin(key.clone()), Priority::Normal)];
        for session in self.by_admin.get(key).into_iter().flatten() {
            if let Some(account) = self.account_of.get(session) {
                triggers.push((ReconcileKey::Account(account.clone()), self.priority(session, if_access)));
            }
        }
        triggers.extend(self.database_triggers(key));
        // How many databases a role or a rule selects is part of its status.
        let rules = in_namespace(&self.rules, &key.namespace);
        triggers.extend(rules.map(|(rule, _)| (ReconcileKey::Rule(rule.clone()), Priority::Normal)));
        let roles = in_namespace(&self.roles, &key.namespace);
        triggers.extend(roles.map(|(role, _)| (ReconcileKey::Role(role.clone()), Priority::Normal)));
        triggers
    }

    /// A rule may concern every database of its namespace; whether there is a rule at all concerns all of them. Whoever asks for
    /// approval, or was approved, is so for objects with the labels that rules gave them then.
    pub(super) fn rule_triggers(&self, key: &ObjectKey) -> Triggers {
        let mut triggers = vec![(ReconcileKey::Rule(key.clone()), Priority::Normal)];
        let sessions = in_namespace(&self.sessions, &key.namespace);
        let asking = sessions.filter(|(_, session)| {
            let request = session.status.as_ref().and_then(|status| status.request.as_ref());
            request.is_some_and(|request| request.permissions.is_some()) && !is_over(session)
        });
        triggers
            .extend(asking.map(|(session, _)| {
                (self.key_of_session(session), self.priority(session, Priority::Urgent))
            }));
        for (admin, _) in in_namespace(&self.admins, &key.namespace) {
            triggers.extend(self.database_triggers(admin));
        }
        triggers
    }

    /// The logical databases that sessions name on a DatabaseAdmin.
    pub fn database_triggers(&self, admin: &ObjectKey) -> Triggers {
        let databases: BTreeSet<&str> = self
            .sessions_of_admin(admin)
            .filter_map(|session| session.spec.database_name.as_deref())
            .collect();
        databases
            .into_iter()
            .map(|name| {
                (
                    ReconcileKey::PermissionSets(DatabaseKey { admin: admin.clone(), database: name.into() }),
                    Priority::Normal,
                )
            })
            .collect()
    }

    /// `if_access`: how soon sessions that may have access are reconciled.
    pub(super) fn role_triggers(&self, key: &ObjectKey, if_access: Priority) -> Triggers {
        let mut triggers = vec![(ReconcileKey::Role(key.clone()), Priority::Normal)];
        for user in self.users_of_role.get(key).into_iter().flatten() {
            triggers.push((ReconcileKey::User(user.clone()), Priority::Normal));
            triggers.extend(self.session_triggers(user, if_access));
        }
        triggers
    }

    /// The session that a decision is about.
    pub(super) fn decision_triggers(&self, about: &ObjectKey) -> Triggers {
        let session = self.sessions.contains_key(about);
        session.then(|| (self.key_of_session(about), Priority::Normal)).into_iter().collect()
    }

    /// Every account. `if_access`: how soon those with sessions that may have access are reconciled.
    pub fn account_triggers(&self, if_access: Priority) -> Triggers {
        self.sessions
            .keys()
            .map(|session| (self.key_of_session(session), self.priority(session, if_access)))
            .collect()
    }

    /// The sessions of a user. `if_access`: how soon those that may have access are reconciled.
    pub(super) fn session_triggers(&self, user: &ObjectKey, if_access: Priority) -> Triggers {
        self.by_user
            .get(user)
            .into_iter()
            .flatten()
            .map(|session| (self.key_of_session(session), self.priority(session, if_access)))
            .collect()
    }

    fn priority(&self, session: &ObjectKey, if_access: Priority) -> Priority {
        let may_have_access = self.sessions.get(session).is_some_and(|session| may_have_access(session));
        if may_have_access { if_access } else { Priority::Normal }
    }

    pub(super) fn key_of_session(&self, session: &ObjectKey) -> ReconcileKey {
        match self.account_of.get(session) {
            Some(account) => ReconcileKey::Account(account.clone()),
            None => ReconcileKey::Session(session.clone()),
        }
    }

    /// The other users with this user's database user name, and their sessions: one of them may own the name now.
    pub(super) fn claim_triggers(&self, key: &ObjectKey, user: &DatabaseUser) -> Triggers {
        let claims = self.claims.get(&(Arc::clone(&key.namespace), self.username_of(user)));
        let mut triggers = Vec::new();
        for other in claims.into_iter().flatten().filter(|other| *other != key) {
            triggers.push((ReconcileKey::User(other.clone()), Priority::Normal));
            triggers.extend(self.session_triggers(other, Priority::Normal));
        }
        triggers
    }
}
