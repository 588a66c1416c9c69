//! Which account a session belongs to, and which DatabaseUser owns a name: the indexes, updated with every change.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rolecall_api::DatabaseUser;

use crate::cache::Cache;
use crate::model::{
    AccountKey, ObjectKey, Priority, ReconcileKey, SmallSet, Triggers, session::recorded_username,
};

impl Cache {
    pub(super) fn take_user(&mut self, key: ObjectKey, user: DatabaseUser) -> Triggers {
        for role in &user.spec.roles {
            self.users_of_role.entry(key.sibling(role)).or_default().insert(key.clone());
        }
        let mut triggers = self.claim_triggers(&key, &user);
        self.claims
            .entry((Arc::clone(&key.namespace), self.username_of(&user)))
            .or_default()
            .insert(key.clone());
        let roles: Vec<_> = user
            .spec
            .roles
            .iter()
            .map(|role| (ReconcileKey::Role(key.sibling(role)), Priority::Normal))
            .collect();
        self.users.insert(key.clone(), Arc::new(user));
        self.rebind_sessions(&key);
        triggers.push((ReconcileKey::User(key.clone()), Priority::Normal));
        triggers.extend(roles);
        triggers.extend(self.session_triggers(&key, Priority::Normal));
        triggers
    }

    /// Indexes the accounts that the status of a DatabaseUser says can be used, in place of what it said before.
    pub(super) fn index_reported(
        &mut self,
        key: &ObjectKey,
        before: Option<&DatabaseUser>,
        after: Option<&DatabaseUser>,
    ) {
        let servers = |user: Option<&DatabaseUser>| -> BTreeSet<ObjectKey> {
            let accounts =
                user.and_then(|user| user.status.as_ref()).into_iter().flat_map(|status| &status.accounts);
            accounts
                .filter(|account| account.phase.is_usable())
                .map(|account| key.sibling(&account.database))
                .collect()
        };
        let (before, after) = (servers(before), servers(after));
        for server in before.difference(&after) {
            remove_from(&mut self.reported_usable, server, key);
        }
        for server in after.difference(&before) {
            self.reported_usable.entry(server.clone()).or_default().insert(key.clone());
        }
    }

    pub(super) fn drop_user(&mut self, key: &ObjectKey, user: &DatabaseUser) -> Triggers {
        for role in &user.spec.roles {
            remove_from(&mut self.users_of_role, &key.sibling(role), key);
        }
        let claim = (Arc::clone(&key.namespace), self.username_of(user));
        remove_from(&mut self.claims, &claim, key);
        // Access that it granted may have to end.
        let mut triggers = self.session_triggers(key, Priority::Urgent);
        self.users.remove(key);
        self.rebind_sessions(key);
        triggers.extend(self.session_triggers(key, Priority::Urgent));
        triggers.push((ReconcileKey::User(key.clone()), Priority::Normal));
        triggers.extend(
            user.spec.roles.iter().map(|role| (ReconcileKey::Role(key.sibling(role)), Priority::Normal)),
        );
        triggers.extend(self.claim_triggers(key, user));
        triggers
    }

    fn rebind_sessions(&mut self, user: &ObjectKey) {
        let sessions: Vec<ObjectKey> = self.by_user.get(user).into_iter().flatten().cloned().collect();
        for session in sessions {
            self.unbind(&session);
            self.bind(&session);
        }
    }

    pub(super) fn bind(&mut self, key: &ObjectKey) -> Triggers {
        let Some(session) = self.sessions.get(key).cloned() else { return Vec::new() };
        let user = key.sibling(&session.spec.user);
        let admin = key.sibling(&session.spec.database);
        self.by_user.entry(user.clone()).or_default().insert(key.clone());
        self.by_admin.entry(admin.clone()).or_default().insert(key.clone());
        let username = recorded_username(&session)
            .map(str::to_owned)
            .or_else(|| self.users.get(&user).map(|user| self.username_of(user)));
        if let Some(username) = username {
            let account = AccountKey { admin, username: username.into() };
            self.by_account.entry(account.clone()).or_default().insert(key.clone());
            self.account_of.insert(key.clone(), account);
        }
        vec![(self.key_of_session(key), Priority::Normal)]
    }

    pub(super) fn unbind(&mut self, key: &ObjectKey) -> Triggers {
        let Some(session) = self.sessions.get(key).cloned() else { return Vec::new() };
        let work = self.key_of_session(key);
        remove_from(&mut self.by_user, &key.sibling(&session.spec.user), key);
        remove_from(&mut self.by_admin, &key.sibling(&session.spec.database), key);
        if let Some(account) = self.account_of.remove(key)
            && let Some(sessions) = self.by_account.get_mut(&account)
        {
            sessions.remove(key);
            if sessions.is_empty() {
                self.by_account.remove(&account);
            }
        }
        vec![(work, Priority::Normal)]
    }
}

/// A set of keys in an index.
trait Keys {
    fn take_out(&mut self, key: &ObjectKey);
    fn has_none(&self) -> bool;
}

impl Keys for BTreeSet<ObjectKey> {
    fn take_out(&mut self, key: &ObjectKey) {
        self.remove(key);
    }

    fn has_none(&self) -> bool {
        self.is_empty()
    }
}

impl Keys for SmallSet<ObjectKey> {
    fn take_out(&mut self, key: &ObjectKey) {
        self.remove(key);
    }

    fn has_none(&self) -> bool {
        self.is_empty()
    }
}

fn remove_from<K: std::hash::Hash + Eq, S: Keys>(index: &mut HashMap<K, S>, key: &K, value: &ObjectKey) {
    if let Some(set) = index.get_mut(key) {
        set.take_out(value);
        if set.has_none() {
            index.remove(key);
        }
    }
}
