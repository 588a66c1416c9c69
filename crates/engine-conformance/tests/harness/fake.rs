//! The server in memory.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use rolecall_engine::Engine;
use rolecall_engine::account::Leftover;
use rolecall_engine_conformance::fake::{Database, Fake, Object, Role, ServerState};
use rolecall_engine_conformance::{Harness, Objects, SetPrivileges, Sort, State, Trace};
use rolecall_policy::{DbObject, ObjectKind, Privilege, PrivilegeSet};

use super::vectors::Server;

#[derive(Default)]
pub(crate) struct FakeServer {
    fake: Fake,
    names: AtomicU32,
}

#[async_trait]
impl Server for FakeServer {
    fn is_fake(&self) -> bool {
        true
    }

    async fn named_role(&self, name: &str) {
        self.fake.state().add_roles([name]);
    }

    async fn admin_database(&self) -> Option<String> {
        None
    }
}

#[async_trait]
impl Harness for FakeServer {
    fn engine(&self) -> &dyn Engine {
        &self.fake
    }

    fn unreachable(&self) -> Box<dyn Engine> {
        let fake = Fake::new();
        fake.set_down(true);
        Box::new(fake)
    }

    fn name(&self, base: &str) -> String {
        format!("{base}{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    fn database(&self) -> String {
        "postgres".to_owned()
    }

    async fn role(&self, base: &str, attribute: Option<&str>) -> String {
        let name = self.name(base);
        let attributes = attribute.into_iter().map(str::to_owned).collect();
        self.fake.state().roles.insert(name.clone(), Role { attributes, ..Role::default() });
        name
    }

    async fn foreign_role(&self, base: &str) -> Option<String> {
        let name = self.name(base);
        self.fake.state().roles.insert(name.clone(), Role { grantable: false, ..Role::default() });
        Some(name)
    }

    async fn closed_database(&self, base: &str, grantee: Option<&str>) -> Option<String> {
        let name = self.name(base);
        let connect = grantee.into_iter().map(str::to_owned).collect();
        let database = Database { public: false, connect, ..Database::default() };
        self.fake.state().databases.insert(name.clone(), database);
        Some(name)
    }

    async fn put(&self, user: &str, state: &State) {
        let mut server = self.fake.state();
        let admin = server.admin_user.clone();
        let user = server.users.entry(user.to_owned()).or_default();
        user.managed = state.managed;
        user.login = state.login;
        user.owner = state.owner.clone();
        user.backends = state.backends;
        user.memberships.extend(state.memberships.iter().map(|role| (role.clone(), admin.clone())));
    }

    async fn user_state(&self, user: &str) -> Option<State> {
        let server = self.fake.state();
        let user = server.users.get(user)?;
        Some(State {
            managed: user.managed,
            login: user.login,
            memberships: user.memberships.iter().map(|(role, _)| role.clone()).collect::<BTreeSet<_>>(),
            owner: user.owner.clone(),
            backends: user.backends,
            settings: !user.settings.is_empty(),
            password: user.password.is_some(),
            limits: user.limits,
        })
    }

    async fn role_exists(&self, role: &str) -> bool {
        self.fake.state().roles.contains_key(role)
    }

    async fn log_in(&self, user: &str) -> bool {
        let mut server = self.fake.state();
        match server.users.get_mut(user).filter(|user| user.login) {
            Some(user) => {
                user.backends += 1;
                true
            }
            None => false,
        }
    }

    async fn new_owner(&self, base: &str) -> Option<String> {
        Some(self.role(base, None).await)
    }

    async fn owns_something(&self, role: &str) -> bool {
        self.fake.state().roles.get(role).is_some_and(|role| !role.owns.is_empty())
    }

    async fn leave(&self, user: &str, what: &Trace) -> bool {
        let mut server = self.fake.state();
        let Some(user) = server.users.get_mut(user) else { return false };
        match what {
            Trace::OwnedObject => user.blocks_drop = Some("it owns 1 object (SQLSTATE 2BP01)".to_owned()),
            Trace::Right => drop(user.rights.insert("other".to_owned())),
            Trace::Membership(role) => drop(user.memberships.insert((role.clone(), "postgres".to_owned()))),
            Trace::Member => drop(user.leftovers.insert(Leftover::Member { member: "bob".to_owned() })),
            Trace::Attribute => {
                user.leftovers.insert(Leftover::Attribute { attribute: "CREATEROLE".to_owned() });
            }
            Trace::Prepared => {
                let (gid, database) = ("gid".to_owned(), "postgres".to_owned());
                user.leftovers.insert(Leftover::Prepared { gid, database });
            }
            Trace::Setting { in_database } => {
                user.settings.insert(in_database.then(|| "postgres".to_owned()));
            }
            Trace::Password => user.password = Some("x".to_owned()),
            Trace::Limit => user.limits = true,
        }
        true
    }

    fn objects(&self) -> &dyn Objects {
        self
    }
}

/// An object by its name.
fn named<'a>(server: &'a mut ServerState, database: &str, name: &str) -> &'a mut Object {
    let objects = server.databases.get_mut(database).unwrap().objects.values_mut();
    objects.into_iter().find(|object| &*object.object.name == name).unwrap()
}

#[async_trait]
impl Objects for FakeServer {
    fn sort(&self) -> Sort {
        Sort { kind: ObjectKind::Table, read: Privilege::Select, write: Privilege::Insert }
    }

    async fn database(&self, base: &str) -> String {
        self.closed_database(base, None).await.unwrap()
    }

    async fn create(&self, database: &str, object: &str) {
        self.fake.state().add_object(DbObject::new(ObjectKind::Table, database, "app", object), true);
    }

    async fn create_foreign(&self, database: &str, object: &str) -> bool {
        self.fake.state().add_object(DbObject::new(ObjectKind::Table, database, "app", object), false);
        true
    }

    async fn rename(&self, database: &str, from: &str, to: &str) {
        named(&mut self.fake.state(), database, from).object.name = to.into();
    }

    async fn drop(&self, database: &str, object: &str) {
        let mut server = self.fake.state();
        server.databases.get_mut(database).unwrap().objects.retain(|_, one| &*one.object.name != object);
    }

    async fn grant(&self, database: &str, object: &str, privilege: Privilege, set: &str) {
        let mut server = self.fake.state();
        let granted = named(&mut server, database, object).granted.entry(set.to_owned()).or_default();
        *granted = granted.union(PrivilegeSet::from_iter([privilege]));
    }

    async fn revoke(&self, database: &str, object: &str, privilege: Privilege, set: &str) {
        let mut server = self.fake.state();
        let granted = named(&mut server, database, object).granted.entry(set.to_owned()).or_default();
        *granted = granted.difference(PrivilegeSet::from_iter([privilege]));
    }

    async fn privileges_of(&self, database: &str, set: &str) -> SetPrivileges {
        let server = self.fake.state();
        let objects = server.databases[database].objects.values();
        let granted = objects.flat_map(|object| {
            let privileges = object.granted.get(set).copied().unwrap_or_default();
            privileges.iter().map(|one| (object.object.name.to_string(), one)).collect::<Vec<_>>()
        });
        granted.collect()
    }

    async fn can(&self, user: &str, database: &str, object: &str, privilege: Privilege) -> bool {
        let mut server = self.fake.state();
        let Some(user) = server.users.get(user).filter(|user| user.login) else { return false };
        let sets: Vec<String> = user.memberships.iter().map(|(role, _)| role.clone()).collect();
        let connects = sets.iter().any(|set| server.databases[database].connect.contains(set));
        let object = named(&mut server, database, object);
        let mut granted = sets.iter().filter_map(|set| object.granted.get(set));
        connects && granted.any(|privileges| privileges.contains(privilege))
    }
}
