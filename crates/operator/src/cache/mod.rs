//! The objects of the API server as the watches reported them, with the indexes that the reconcilers need.
//!
//! Each change of an object returns the keys that it triggers, so that what depends on what is decided in one place.
//! There is no I/O here.

mod begun;
mod index;
mod store;
mod triggers;
mod versions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::ResourceExt;
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionDecision, DatabaseUser, DbObjectImportRule,
    ProvisioningRole, RequestedRule, SessionPhase,
};
use rolecall_policy::{ImportRule, ImportRules};
use rolecall_resolve::RoleState;

use crate::model::session::{is_touched, phase};
use crate::model::{AccountKey, DatabaseKey, ObjectKey, SmallSet};
use begun::Begun;
use versions::Versions;

pub use store::Cached;
pub use versions::{ClockReading, Source};

/// A ProvisioningRole with what the policy makes of it. Compiled once, when it is read.
#[derive(Clone, Debug)]
pub struct RoleEntry {
    /// The object.
    pub object: Arc<ProvisioningRole>,
    /// Compiled, or why it is not valid.
    pub state: Arc<RoleState>,
}

/// A DbObjectImportRule with what the policy makes of it. Compiled once, when it is read.
#[derive(Clone, Debug)]
pub struct RuleEntry {
    /// The object.
    pub object: Arc<DbObjectImportRule>,
    /// The valid parts compiled, with the errors.
    pub compiled: Arc<ImportRule>,
    /// The hash of its spec.
    pub hash: Arc<str>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Cache {
    cluster_name: String,
    admins: BTreeMap<ObjectKey, Arc<DatabaseAdmin>>,
    unreadable_admins: BTreeSet<ObjectKey>,
    users: BTreeMap<ObjectKey, Arc<DatabaseUser>>,
    roles: BTreeMap<ObjectKey, RoleEntry>,
    rules: BTreeMap<ObjectKey, RuleEntry>,
    sessions: BTreeMap<ObjectKey, Arc<DatabaseSession>>,
    decisions: BTreeMap<ObjectKey, Arc<DatabaseSessionDecision>>,
    // By the name of the session that they are about.
    decisions_by_session: HashMap<ObjectKey, SmallSet<ObjectKey>>,
    // Which sessions belong to an account, and back.
    by_account: BTreeMap<AccountKey, SmallSet<ObjectKey>>,
    account_of: HashMap<ObjectKey, AccountKey>,
    by_user: HashMap<ObjectKey, SmallSet<ObjectKey>>,
    by_admin: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    users_of_role: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    // (namespace, database user name) -> DatabaseUsers that claim it.
    claims: HashMap<(Arc<str>, String), SmallSet<ObjectKey>>,
    // DatabaseAdmin -> DatabaseUsers whose status says that an account there can be used.
    reported_usable: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    epoch: u64,
    versions: Versions,
    begun: Begun,
    /// What this machine's clock showed at the last event.
    now: jiff::Timestamp,
}

impl Cache {
    /// An empty cache of a cluster of that name (for the names of users from other clusters).
    pub fn new(cluster_name: impl Into<String>) -> Self {
        Self { cluster_name: cluster_name.into(), ..Self::default() }
    }

    /// The DatabaseAdmin of that name.
    pub fn admin(&self, key: &ObjectKey) -> Option<Arc<DatabaseAdmin>> {
        self.admins.get(key).cloned()
    }

    /// Is there a DatabaseAdmin of that name that cannot be read, so that nothing is known of it?
    pub fn is_unreadable(&self, admin: &ObjectKey) -> bool {
        self.unreadable_admins.contains(admin) && !self.admins.contains_key(admin)
    }

    /// The DatabaseUser of that name.
    pub fn user(&self, key: &ObjectKey) -> Option<Arc<DatabaseUser>> {
        self.users.get(key).cloned()
    }

    /// The ProvisioningRole of that name.
    pub fn role(&self, key: &ObjectKey) -> Option<&RoleEntry> {
        self.roles.get(key)
    }

    /// The DbObjectImportRule of that name.
    pub fn rule(&self, key: &ObjectKey) -> Option<&RuleEntry> {
        self.rules.get(key)
    }

    /// The import rules of a namespace; where there is none, the built-in one.
    pub fn import_rules(&self, namespace: &str) -> ImportRules {
        let rules = in_namespace(&self.rules, namespace);
        ImportRules::of_namespace(rules.map(|(_, rule)| Arc::clone(&rule.compiled)))
    }

    /// The DatabaseSession of that name.
    pub fn session(&self, key: &ObjectKey) -> Option<Arc<DatabaseSession>> {
        self.sessions.get(key).cloned()
    }

    /// The decisions that name this session, by its uid, each with when it was first seen.
    pub fn decisions_about(
        &self,
        session: &DatabaseSession,
    ) -> Vec<(Arc<DatabaseSessionDecision>, jiff::Timestamp)> {
        let keys = self.decisions_by_session.get(&ObjectKey::of(session)).into_iter().flatten();
        let found = keys.filter_map(|key| self.decisions.get(key));
        found
            .filter(|decision| Some(&decision.spec.session_ref.uid) == session.metadata.uid.as_ref())
            .map(|decision| (Arc::clone(decision), self.first_seen_at(&**decision)))
            .collect()
    }

    /// The DbObjectImportRules that may label objects of a server, as requests name them.
    pub fn requested_rules(&self, namespace: &str, admin: &DatabaseAdmin) -> Vec<RequestedRule> {
        let database = rolecall_resolve::database(admin);
        let rules = in_namespace(&self.rules, namespace);
        rules
            .filter(|(_, rule)| !rule.compiled.faults().is_empty() || rule.compiled.applies_to(&database))
            .map(|(key, rule)| RequestedRule { name: key.name.to_string(), hash: rule.hash.to_string() })
            .collect()
    }

    /// The sessions of a DatabaseUser, by name.
    pub fn sessions_of_user(&self, key: &ObjectKey) -> Vec<Arc<DatabaseSession>> {
        self.by_user.get(key).into_iter().flatten().filter_map(|s| self.session(s)).collect()
    }

    /// The sessions of an account, by name.
    pub fn sessions_of_account(&self, key: &AccountKey) -> Vec<Arc<DatabaseSession>> {
        self.by_account.get(key).into_iter().flatten().filter_map(|s| self.session(s)).collect()
    }

    /// The sessions on a DatabaseAdmin, by name.
    pub fn sessions_of_admin(&self, key: &ObjectKey) -> impl Iterator<Item = &Arc<DatabaseSession>> {
        self.by_admin.get(key).into_iter().flatten().filter_map(|s| self.sessions.get(s))
    }

    /// The account that a session belongs to.
    pub fn account_of_session(&self, key: &ObjectKey) -> Option<&AccountKey> {
        self.account_of.get(key)
    }

    /// The accounts with sessions on a DatabaseAdmin.
    pub fn accounts_of_admin(&self, key: &ObjectKey) -> BTreeSet<AccountKey> {
        self.by_admin.get(key).into_iter().flatten().filter_map(|s| self.account_of.get(s)).cloned().collect()
    }

    /// The names of a server's accounts that the status of a DatabaseUser says can be used.
    pub fn reported_usable(&self, admin: &ObjectKey) -> impl Iterator<Item = Arc<str>> {
        let users = self.reported_usable.get(admin).into_iter().flatten();
        let accounts = users
            .filter_map(|user| self.users.get(user)?.status.as_ref())
            .flat_map(|status| &status.accounts);
        accounts
            .filter(|account| account.database == *admin.name && account.phase.is_usable())
            .map(|account| account.username.as_str().into())
    }

    /// A number that is another one whenever something has changed that decides what sessions may get: a spec, a label,
    /// the phase or the account of a session, or that an object is there.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many sessions name a DatabaseAdmin.
    pub fn sessions_on(&self, admin: &ObjectKey) -> usize {
        self.by_admin.get(admin).map_or(0, BTreeSet::len)
    }

    /// The DatabaseUser that owns a database user name.
    pub fn user_named(&self, namespace: &Arc<str>, username: &str) -> Option<Arc<DatabaseUser>> {
        let claims = self.claims.get(&(Arc::clone(namespace), username.to_owned()))?;
        let users = claims.iter().filter_map(|claim| self.users.get(claim));
        users.min_by_key(|user| (user.creation_timestamp(), user.uid())).cloned()
    }

    /// Does a session that is not over name this logical database?
    pub fn uses_database(&self, key: &DatabaseKey) -> bool {
        self.sessions_of_admin(&key.admin).any(|session| {
            let over = matches!(phase(session), SessionPhase::Ended | SessionPhase::Rejected);
            let released = session.metadata.deletion_timestamp.is_some();
            session.spec.database_name.as_deref() == Some(&*key.database)
                && (is_touched(session) || !(over || released))
        })
    }

    /// Has an account sessions that are not over?
    pub fn waits_or_lives(&self, key: &AccountKey) -> bool {
        self.sessions_of_account(key)
            .iter()
            .any(|session| !matches!(phase(session), SessionPhase::Ended | SessionPhase::Rejected))
    }

    /// The DatabaseAdmins that sessions name and that are not there.
    pub fn missing_admins(&self) -> Vec<ObjectKey> {
        let missing = |key: &&ObjectKey| !self.admins.contains_key(*key) && !self.is_unreadable(key);
        self.by_admin.keys().filter(missing).cloned().collect()
    }

    /// The DatabaseAdmins of a namespace.
    pub fn admins_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<DatabaseAdmin>> {
        in_namespace(&self.admins, namespace).map(|(_, admin)| admin)
    }

    /// The DbObjectImportRules of a namespace.
    pub fn rules_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = ObjectKey> + 'a {
        in_namespace(&self.rules, namespace).map(|(key, _)| key.clone())
    }

    /// The DatabaseUsers that name a role.
    pub fn users_with_role(&self, key: &ObjectKey) -> usize {
        self.users_of_role.get(key).map_or(0, BTreeSet::len)
    }

    /// Every session, for counting.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<DatabaseSession>> {
        self.sessions.values()
    }

    /// The database user name of a DatabaseUser, remote form included.
    pub fn username_of(&self, user: &DatabaseUser) -> String {
        rolecall_resolve::database_username(user, &self.cluster_name)
    }

    /// Of several DatabaseUsers with one database user name the oldest owns it; returns that one, unless it is the user
    /// asked about.
    pub fn username_taken_by(&self, user: &DatabaseUser) -> Option<Arc<DatabaseUser>> {
        let key = ObjectKey::of(user);
        let claims = self.claims.get(&(Arc::clone(&key.namespace), self.username_of(user)))?;
        let holder = claims
            .iter()
            .filter_map(|claim| self.users.get(claim))
            .min_by_key(|user| (user.creation_timestamp(), user.uid()))?;
        (ObjectKey::of(&**holder) != key).then(|| Arc::clone(holder))
    }
}

/// The objects of one namespace, without visiting the others.
fn in_namespace<'a, T>(
    objects: &'a BTreeMap<ObjectKey, T>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a ObjectKey, &'a T)> {
    let first = ObjectKey { namespace: namespace.into(), name: "".into() };
    objects.range(first..).take_while(move |(key, _)| &*key.namespace == namespace)
}

#[cfg(test)]
mod tests;
