//! What a statement changes. A transaction collects changes; committing applies them to what everybody sees.

use super::catalog::{Catalog, Identity, ObjectKey, Right, Role, User};

#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Creates a user or replaces what is known of it.
    User(User),
    DropUser(u32),
    Role(Role),
    DropRole(u32),
    Member {
        user: u32,
        role: u32,
        admin_option: bool,
    },
    NoMember {
        user: u32,
        role: u32,
    },
    Nest {
        outer: u32,
        inner: u32,
    },
    NoNest {
        outer: u32,
        inner: u32,
    },
    Grant {
        on: On,
        right: Right,
        grant_option: bool,
    },
    Revoke {
        on: On,
        right: Right,
    },
    Owner {
        on: On,
        owner: u32,
    },
}

/// On what a right is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum On {
    Database(String),
    Object(String, ObjectKey),
}

/// What two transactions must not change at the same time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    User(String),
    Role(String),
    Acl(On),
}

impl Catalog {
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::User(user) => drop(self.users.insert(user.id, user.clone())),
            Change::DropUser(id) => {
                self.users.remove(id);
                self.members.retain(|(user, _), _| user != id);
            }
            Change::Role(role) => drop(self.roles.insert(role.id, role.clone())),
            Change::DropRole(id) => {
                self.roles.remove(id);
                self.members.retain(|(_, role), _| role != id);
                self.nested.retain(|(outer, inner)| outer != id && inner != id);
            }
            Change::Member { user, role, admin_option } => {
                let known = self.members.entry((*user, *role)).or_default();
                *known |= admin_option;
            }
            Change::NoMember { user, role } => drop(self.members.remove(&(*user, *role))),
            Change::Nest { outer, inner } => drop(self.nested.insert((*outer, *inner))),
            Change::NoNest { outer, inner } => drop(self.nested.remove(&(*outer, *inner))),
            Change::Grant { on, right, grant_option } => {
                if let Some(acl) = self.acl_mut(on) {
                    *acl.entry(right.clone()).or_default() |= grant_option;
                }
            }
            Change::Revoke { on, right } => {
                if let Some(acl) = self.acl_mut(on) {
                    acl.remove(right);
                }
            }
            Change::Owner { on: On::Database(name), owner } => {
                if let Some(database) = self.databases.get_mut(name) {
                    database.owner = *owner;
                }
            }
            Change::Owner { on: On::Object(database, key), owner } => {
                let object =
                    self.databases.get_mut(database).and_then(|database| database.objects.get_mut(key));
                if let Some(object) = object {
                    object.owner = *owner;
                }
            }
        }
    }

    fn acl_mut(&mut self, on: &On) -> Option<&mut super::catalog::Acl> {
        match on {
            On::Database(name) => self.databases.get_mut(name).map(|database| &mut database.acl),
            On::Object(database, key) => {
                self.databases.get_mut(database)?.objects.get_mut(key).map(|object| &mut object.acl)
            }
        }
    }

    /// Whether an identity has anything in a database: rights, or as a user objects. What it is, for the message.
    pub(crate) fn dependency(&self, identity: Identity, database: &str) -> Option<&'static str> {
        const HAS: &str = "has a privilege on some object";
        let of_it = |right: &Right| right.who == identity;
        let database = self.databases.get(database)?;
        if database.objects.values().any(|object| Identity::User(object.owner) == identity) {
            return Some("owns some object");
        }
        let granted = database.acl.keys().any(of_it)
            || database.objects.values().any(|object| object.acl.keys().any(of_it))
            || database
                .defaults
                .iter()
                .any(|(owner, _, _, right)| of_it(right) || Identity::User(*owner) == identity);
        granted.then_some(HAS)
    }
}
