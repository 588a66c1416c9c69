//! What the API server holds, as far as the watches told, with the indexes that the reconcilers need.
//!
//! Each change of an object answers with the work that it wakes, so that "who must look again" stands in one place.
//! There is no I/O here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use kube::ResourceExt;
use rolecall_api::names::USERNAME_ANNOTATION;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use rolecall_policy::{ImportRule, ImportRules};
use rolecall_resolve::RoleState;

use crate::queue::Lane;

/// The name of an object of a kind that the context tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// An account: one database user name on one DatabaseAdmin. The unit of work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// The DatabaseAdmin.
    pub admin: ObjectKey,
    /// The database user name.
    pub username: Arc<str>,
}

/// Something that has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// An account with its sessions.
    Account(AccountKey),
    /// A session that belongs to no account yet: its DatabaseUser does not exist.
    Unbound(ObjectKey),
    /// A DatabaseAdmin.
    Admin(ObjectKey),
    /// A DatabaseUser.
    User(ObjectKey),
    /// A ProvisioningRole.
    Role(ObjectKey),
    /// A DbObjectImportRule.
    Rule(ObjectKey),
    /// The objects of a logical database, with the permission sets on them.
    Objects(ObjectsKey),
}

/// A logical database on one DatabaseAdmin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectsKey {
    /// The DatabaseAdmin.
    pub admin: ObjectKey,
    /// The logical database.
    pub database: Arc<str>,
}

/// Work that a change wakes.
pub type Wakes = Vec<(Work, Lane)>;

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
    /// Compiled as far as it goes, with its faults.
    pub compiled: Arc<ImportRule>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct World {
    cluster_name: String,
    admins: BTreeMap<ObjectKey, Arc<DatabaseAdmin>>,
    unreadable_admins: BTreeSet<ObjectKey>,
    users: BTreeMap<ObjectKey, Arc<DatabaseUser>>,
    roles: BTreeMap<ObjectKey, RoleEntry>,
    rules: BTreeMap<ObjectKey, RuleEntry>,
    sessions: BTreeMap<ObjectKey, Arc<DatabaseSession>>,
    // Which sessions belong to an account, and back.
    by_account: BTreeMap<AccountKey, BTreeSet<ObjectKey>>,
    account_of: HashMap<ObjectKey, AccountKey>,
    by_user: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    by_admin: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    users_of_role: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    // (namespace, database user name) -> DatabaseUsers that claim it.
    claims: HashMap<(Arc<str>, String), BTreeSet<ObjectKey>>,
}

impl World {
    /// An empty world of a cluster of that name (for the names of users from other clusters).
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
        let rules = self.rules.iter().filter(|(key, _)| &*key.namespace == namespace);
        ImportRules::of_namespace(rules.map(|(_, rule)| Arc::clone(&rule.compiled)))
    }

    /// The DatabaseSession of that name.
    pub fn session(&self, key: &ObjectKey) -> Option<Arc<DatabaseSession>> {
        self.sessions.get(key).cloned()
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

    /// The DatabaseAdmins of a namespace.
    pub fn admins_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<DatabaseAdmin>> {
        self.admins.iter().filter(move |(key, _)| &*key.namespace == namespace).map(|(_, admin)| admin)
    }

    /// The DbObjectImportRules of a namespace.
    pub fn rules_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = ObjectKey> + 'a {
        self.rules.keys().filter(move |key| &*key.namespace == namespace).cloned()
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

    /// Of several DatabaseUsers with one database user name the oldest holds it; the answer is that one, when it is
    /// not the user asked about.
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

/// A kind that the world holds. The watches are written once, over this.
pub trait Held: kube::Resource<DynamicType = ()> + Clone + fmt::Debug + Sized {
    /// Takes in a new or changed object. An object that is older than what is held changes nothing.
    fn apply(world: &mut World, object: Self) -> Wakes;
    /// Forgets an object.
    fn forget(world: &mut World, key: &ObjectKey) -> Wakes;
    /// Takes note of an object that cannot be read. It counts as missing: policy that cannot be read allows nothing.
    fn unreadable(world: &mut World, key: &ObjectKey) -> Wakes {
        Self::forget(world, key)
    }
    /// What is held of this kind.
    fn keys(world: &World) -> Vec<ObjectKey>;
    /// Is an object of that name held?
    fn is_held(world: &World, key: &ObjectKey) -> bool;
}

impl Held for DatabaseAdmin {
    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        let before = world.admins.get(&key);
        if before.is_some_and(|before| is_older(&object, &**before)) {
            return Vec::new();
        }
        let woken = before
            .is_none_or(|before| is_changed(before.as_ref(), &object) || labels_differ(&**before, &object));
        world.unreadable_admins.remove(&key);
        world.admins.insert(key.clone(), Arc::new(object));
        if woken { world.admin_wakes(&key) } else { Vec::new() }
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        let unreadable = world.unreadable_admins.remove(key);
        if world.admins.remove(key).is_none() && !unreadable {
            return Vec::new();
        }
        world.admin_wakes(key)
    }

    /// What was known of it holds: one that is missing lets its accesses go, and they would be lost.
    fn unreadable(world: &mut World, key: &ObjectKey) -> Wakes {
        world.unreadable_admins.insert(key.clone());
        Vec::new()
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.admins.keys().chain(&world.unreadable_admins).cloned().collect()
    }

    fn is_held(world: &World, key: &ObjectKey) -> bool {
        world.admins.contains_key(key)
    }
}

impl Held for DatabaseUser {
    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        if let Some(before) = world.users.get(&key).cloned() {
            if is_older(&object, &*before) {
                return Vec::new();
            }
            if !is_changed(&*before, &object) {
                world.users.insert(key, Arc::new(object));
                return Vec::new();
            }
            let mut wakes = world.drop_user(&key, &before);
            wakes.extend(world.take_user(key, object));
            return wakes;
        }
        world.take_user(key, object)
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        match world.users.get(key).cloned() {
            Some(before) => world.drop_user(key, &before),
            None => Vec::new(),
        }
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.users.keys().cloned().collect()
    }

    fn is_held(world: &World, key: &ObjectKey) -> bool {
        world.users.contains_key(key)
    }
}

impl Held for ProvisioningRole {
    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        if let Some(before) = world.roles.get_mut(&key) {
            if is_older(&object, &*before.object) {
                return Vec::new();
            }
            if !is_changed(&*before.object, &object) {
                before.object = Arc::new(object);
                return Vec::new();
            }
        }
        let state = Arc::new(rolecall_resolve::compile_role(&object));
        world.roles.insert(key.clone(), RoleEntry { object: Arc::new(object), state });
        world.role_wakes(&key)
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        if world.roles.remove(key).is_none() {
            return Vec::new();
        }
        world.role_wakes(key)
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.roles.keys().cloned().collect()
    }

    fn is_held(world: &World, key: &ObjectKey) -> bool {
        world.roles.contains_key(key)
    }
}

impl Held for DbObjectImportRule {
    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        if let Some(before) = world.rules.get_mut(&key) {
            if is_older(&object, &*before.object) {
                return Vec::new();
            }
            if !is_changed(&*before.object, &object) {
                before.object = Arc::new(object);
                return Vec::new();
            }
        }
        let compiled = Arc::new(ImportRule::read(&key.name, &rolecall_resolve::rule_spec(&object.spec)));
        world.rules.insert(key.clone(), RuleEntry { object: Arc::new(object), compiled });
        world.rule_wakes(&key)
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        if world.rules.remove(key).is_none() {
            return Vec::new();
        }
        world.rule_wakes(key)
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.rules.keys().cloned().collect()
    }

    fn is_held(world: &World, key: &ObjectKey) -> bool {
        world.rules.contains_key(key)
    }
}

impl Held for DatabaseSession {
    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        let before = world.sessions.get(&key).cloned();
        if before.as_ref().is_some_and(|before| is_older(&object, &**before)) {
            return Vec::new();
        }
        let changed = before.as_ref().is_none_or(|before| is_changed(&**before, &object));
        let deleted = object.metadata.deletion_timestamp.is_some();
        let account = world.account_of.get(&key).cloned();
        // The name recorded on the object decides which account it belongs to, so that binding follows every write.
        let mut wakes = world.unbind(&key);
        world.sessions.insert(key.clone(), Arc::new(object));
        wakes.extend(world.bind(&key));
        if !changed && world.account_of.get(&key) == account.as_ref() {
            return Vec::new();
        }
        if deleted {
            wakes.iter_mut().for_each(|(_, lane)| *lane = Lane::Urgent);
        }
        wakes
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        let mut wakes = world.unbind(key);
        world.sessions.remove(key);
        wakes.retain(|(work, _)| !matches!(work, Work::Unbound(_)));
        wakes
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.sessions.keys().cloned().collect()
    }

    fn is_held(world: &World, key: &ObjectKey) -> bool {
        world.sessions.contains_key(key)
    }
}

impl World {
    fn admin_wakes(&self, key: &ObjectKey) -> Wakes {
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
    fn rule_wakes(&self, key: &ObjectKey) -> Wakes {
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

    fn role_wakes(&self, key: &ObjectKey) -> Wakes {
        let mut wakes = vec![(Work::Role(key.clone()), Lane::Normal)];
        for user in self.users_of_role.get(key).into_iter().flatten() {
            wakes.push((Work::User(user.clone()), Lane::Normal));
            wakes.extend(self.session_wakes(user));
        }
        wakes
    }

    fn session_wakes(&self, user: &ObjectKey) -> Wakes {
        self.by_user
            .get(user)
            .into_iter()
            .flatten()
            .map(|session| (self.work_of(session), Lane::Normal))
            .collect()
    }

    fn work_of(&self, session: &ObjectKey) -> Work {
        match self.account_of.get(session) {
            Some(account) => Work::Account(account.clone()),
            None => Work::Unbound(session.clone()),
        }
    }

    fn take_user(&mut self, key: ObjectKey, user: DatabaseUser) -> Wakes {
        for role in &user.spec.roles {
            self.users_of_role.entry(key.sibling(role)).or_default().insert(key.clone());
        }
        let mut wakes = self.claim_wakes(&key, &user);
        self.claims
            .entry((Arc::clone(&key.namespace), self.username_of(&user)))
            .or_default()
            .insert(key.clone());
        let roles: Vec<_> =
            user.spec.roles.iter().map(|role| (Work::Role(key.sibling(role)), Lane::Normal)).collect();
        self.users.insert(key.clone(), Arc::new(user));
        self.rebind_sessions(&key);
        wakes.push((Work::User(key.clone()), Lane::Normal));
        wakes.extend(roles);
        wakes.extend(self.session_wakes(&key));
        wakes
    }

    fn drop_user(&mut self, key: &ObjectKey, user: &DatabaseUser) -> Wakes {
        for role in &user.spec.roles {
            remove_from(&mut self.users_of_role, &key.sibling(role), key);
        }
        let claim = (Arc::clone(&key.namespace), self.username_of(user));
        remove_from(&mut self.claims, &claim, key);
        let mut wakes = self.session_wakes(key);
        self.users.remove(key);
        self.rebind_sessions(key);
        wakes.extend(self.session_wakes(key));
        wakes.extend(user.spec.roles.iter().map(|role| (Work::Role(key.sibling(role)), Lane::Normal)));
        wakes.extend(self.claim_wakes(key, user));
        wakes
    }

    /// The other users with this user's database user name, and their sessions: one of them may hold the name now.
    fn claim_wakes(&self, key: &ObjectKey, user: &DatabaseUser) -> Wakes {
        let claims = self.claims.get(&(Arc::clone(&key.namespace), self.username_of(user)));
        let mut wakes = Vec::new();
        for other in claims.into_iter().flatten().filter(|other| *other != key) {
            wakes.push((Work::User(other.clone()), Lane::Normal));
            wakes.extend(self.session_wakes(other));
        }
        wakes
    }

    fn rebind_sessions(&mut self, user: &ObjectKey) {
        let sessions: Vec<ObjectKey> = self.by_user.get(user).into_iter().flatten().cloned().collect();
        for session in sessions {
            self.unbind(&session);
            self.bind(&session);
        }
    }

    fn bind(&mut self, key: &ObjectKey) -> Wakes {
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
        vec![(self.work_of(key), Lane::Normal)]
    }

    fn unbind(&mut self, key: &ObjectKey) -> Wakes {
        let Some(session) = self.sessions.get(key).cloned() else { return Vec::new() };
        let work = self.work_of(key);
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
        vec![(work, Lane::Normal)]
    }
}

/// The database user name that was written on a session before anything was done for it. It outlives the
/// DatabaseUser, so that an access can be ended whatever became of that.
pub fn recorded_username(session: &DatabaseSession) -> Option<&str> {
    session
        .status
        .as_ref()
        .and_then(|status| status.username.as_deref())
        .or_else(|| session.annotations().get(USERNAME_ANNOTATION).map(String::as_str))
}

impl ObjectKey {
    /// The key of an object. Every kind here is namespaced; an object without a namespace comes from no API server.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self { namespace: object.namespace().unwrap_or_default().into(), name: object.name_any().into() }
    }

    /// Another name in the same namespace.
    pub fn sibling(&self, name: &str) -> Self {
        Self { namespace: Arc::clone(&self.namespace), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.username, self.admin)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(key) => write!(f, "account {key}"),
            Self::Unbound(key) => write!(f, "session {key}"),
            Self::Admin(key) => write!(f, "admin {key}"),
            Self::User(key) => write!(f, "user {key}"),
            Self::Role(key) => write!(f, "role {key}"),
            Self::Rule(key) => write!(f, "rule {key}"),
            Self::Objects(key) => write!(f, "objects of {} on {}", key.database, key.admin),
        }
    }
}

fn remove_from<K: std::hash::Hash + Eq, V: Ord>(index: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = index.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            index.remove(key);
        }
    }
}

/// Did anything change that a person or another controller did? Our own writes of status, finalizers and annotations
/// change neither the generation nor these.
fn is_changed(before: &impl ResourceExt, after: &impl ResourceExt) -> bool {
    let (before, after) = (before.meta(), after.meta());
    before.uid != after.uid
        || before.generation != after.generation
        || before.deletion_timestamp.is_some() != after.deletion_timestamp.is_some()
}

fn labels_differ(before: &impl ResourceExt, after: &impl ResourceExt) -> bool {
    before.labels() != after.labels()
}

/// Resource versions of one resource are integers that grow; a watch may deliver what a write already returned.
fn is_older(new: &impl ResourceExt, held: &impl ResourceExt) -> bool {
    let number = |version: Option<String>| version.and_then(|v| v.parse::<u64>().ok());
    match (number(new.resource_version()), number(held.resource_version())) {
        (Some(new), Some(held)) => new < held,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rolecall_api::{
        DatabaseAdminSpec, DatabaseSessionSpec, DatabaseUserSpec, ProvisioningRoleSpec, Time,
    };

    use super::*;

    fn stamped<K: kube::Resource>(mut object: K, version: u64) -> K {
        let meta = object.meta_mut();
        meta.namespace = Some("shop".into());
        meta.uid = Some(format!("uid-{}", meta.name.as_deref().unwrap_or_default()));
        meta.resource_version = Some(version.to_string());
        meta.generation = Some(1);
        meta.creation_timestamp = Some(Time(jiff::Timestamp::from_second(1_000).unwrap()));
        object
    }

    fn user(name: &str, username: Option<&str>, roles: &[&str]) -> DatabaseUser {
        let spec = DatabaseUserSpec {
            username: username.map(str::to_owned),
            roles: roles.iter().map(|&role| role.into()).collect(),
            ..DatabaseUserSpec::default()
        };
        stamped(DatabaseUser::new(name, spec), 1)
    }

    fn session(name: &str, user: &str) -> DatabaseSession {
        let spec = DatabaseSessionSpec {
            user: user.into(),
            database: "orders".into(),
            ..DatabaseSessionSpec::default()
        };
        stamped(DatabaseSession::new(name, spec), 1)
    }

    fn admin() -> DatabaseAdmin {
        let spec: DatabaseAdminSpec =
            serde_json::from_value(serde_json::json!({"protocol": "postgres", "uri": "db:5432", "auth": {}}))
                .unwrap();
        stamped(DatabaseAdmin::new("orders", spec), 1)
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: name.into() }
    }

    fn account(username: &str) -> AccountKey {
        AccountKey { admin: key("orders"), username: username.into() }
    }

    fn woken(wakes: &Wakes) -> BTreeSet<Work> {
        wakes.iter().map(|(work, _)| work.clone()).collect()
    }

    fn apply<K: Held>(world: &mut World, object: K) -> BTreeSet<Work> {
        woken(&K::apply(world, object))
    }

    #[test]
    fn a_session_finds_its_account_in_whatever_order_objects_come() {
        let mut world = World::new("here");
        assert!(apply(&mut world, session("s", "alice")).contains(&Work::Unbound(key("s"))));
        let wakes = apply(&mut world, user("alice", Some("alice@example.com"), &[]));
        assert!(wakes.contains(&Work::Account(account("alice@example.com"))));
        assert_eq!(world.sessions_of_account(&account("alice@example.com")).len(), 1);
    }

    #[test]
    fn a_session_stays_with_the_account_that_was_recorded_when_its_user_goes() {
        let mut world = World::new("here");
        apply(&mut world, user("alice", None, &[]));
        let mut recorded = session("s", "alice");
        recorded.metadata.annotations = Some([(USERNAME_ANNOTATION.to_owned(), "alice".to_owned())].into());
        apply(&mut world, recorded);
        let wakes = woken(&DatabaseUser::forget(&mut world, &key("alice")));
        assert!(wakes.contains(&Work::Account(account("alice"))));
        assert_eq!(world.sessions_of_account(&account("alice")).len(), 1);
    }

    #[test]
    fn a_changed_role_wakes_the_accounts_of_its_users() {
        let mut world = World::new("here");
        apply(&mut world, admin());
        apply(&mut world, user("alice", None, &["reader"]));
        apply(&mut world, user("bob", None, &["writer"]));
        apply(&mut world, session("a", "alice"));
        apply(&mut world, session("b", "bob"));
        let role = stamped(ProvisioningRole::new("reader", ProvisioningRoleSpec::default()), 2);
        let wakes = apply(&mut world, role);
        assert!(
            wakes.contains(&Work::Account(account("alice"))) && wakes.contains(&Work::User(key("alice")))
        );
        assert!(!wakes.contains(&Work::Account(account("bob"))));
        assert_eq!(world.users_with_role(&key("reader")), 1);
    }

    #[test]
    fn a_changed_database_wakes_every_account_on_it() {
        let mut world = World::new("here");
        apply(&mut world, user("alice", None, &[]));
        apply(&mut world, session("a", "alice"));
        assert!(apply(&mut world, admin()).contains(&Work::Account(account("alice"))));
        let mut relabelled = admin();
        relabelled.metadata.resource_version = Some("9".into());
        relabelled.metadata.labels = Some([("env".to_owned(), "prod".to_owned())].into());
        assert!(apply(&mut world, relabelled).contains(&Work::Account(account("alice"))));
    }

    #[test]
    fn what_the_operator_writes_itself_wakes_nobody() {
        let mut world = World::new("here");
        apply(&mut world, user("alice", None, &[]));
        apply(&mut world, session("a", "alice"));
        let mut written = session("a", "alice");
        written.metadata.resource_version = Some("2".into());
        written.metadata.finalizers = Some(vec!["rolecall.dev/account".into()]);
        assert_eq!(apply(&mut world, written), BTreeSet::new());
        assert_eq!(world.session(&key("a")).unwrap().finalizers().len(), 1, "and is held all the same");
    }

    #[test]
    fn an_event_that_is_older_than_what_is_held_changes_nothing() {
        let mut world = World::new("here");
        let mut newer = session("a", "alice");
        newer.metadata.resource_version = Some("10".into());
        newer.metadata.finalizers = Some(vec!["rolecall.dev/account".into()]);
        apply(&mut world, newer);
        apply(&mut world, session("a", "alice"));
        assert_eq!(world.session(&key("a")).unwrap().finalizers().len(), 1);
    }

    #[test]
    fn a_database_admin_that_cannot_be_read_is_not_missing() {
        let mut world = World::new("here");
        apply(&mut world, admin());
        DatabaseAdmin::unreadable(&mut world, &key("orders"));
        assert!(
            world.admin(&key("orders")).is_some() && !world.is_unreadable(&key("orders")),
            "it was read before"
        );

        let mut started = World::new("here");
        apply(&mut started, user("alice", None, &[]));
        apply(&mut started, session("a", "alice"));
        DatabaseAdmin::unreadable(&mut started, &key("orders"));
        assert!(started.is_unreadable(&key("orders")));
        let wakes = woken(&DatabaseAdmin::forget(&mut started, &key("orders")));
        assert!(wakes.contains(&Work::Account(account("alice"))), "now it is missing");
        assert!(!started.is_unreadable(&key("orders")));
    }

    #[test]
    fn a_deletion_is_urgent() {
        let mut world = World::new("here");
        apply(&mut world, user("alice", None, &[]));
        apply(&mut world, session("a", "alice"));
        let mut deleted = session("a", "alice");
        deleted.metadata.resource_version = Some("2".into());
        deleted.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::from_second(2_000).unwrap()));
        let wakes = DatabaseSession::apply(&mut world, deleted);
        assert!(wakes.iter().all(|(_, lane)| *lane == Lane::Urgent) && !wakes.is_empty());
    }

    #[test]
    fn the_oldest_user_holds_a_name_and_the_next_one_takes_it_over() {
        let mut world = World::new("here");
        let older = user("alice", Some("al"), &[]);
        let mut younger = user("albert", Some("al"), &[]);
        younger.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(2_000).unwrap()));
        apply(&mut world, older);
        apply(&mut world, younger.clone());
        assert_eq!(world.username_taken_by(&younger).unwrap().name_any(), "alice");
        let wakes = woken(&DatabaseUser::forget(&mut world, &key("alice")));
        assert!(wakes.contains(&Work::User(key("albert"))));
        assert!(world.username_taken_by(&younger).is_none());
    }
}
