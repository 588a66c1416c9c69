//! The suite that every engine passes, the [`fake`] and each real database alike.
//!
//! A [`Harness`] sets up a server by hand, as a superuser would, and inspects it without the engine; the engine under
//! test is used through the contract only. [`all`] lists what is checked.
//!
//! The suite may run against a server that others use: all its names are new.

mod desired;
mod ending;
pub mod fake;
mod live;
mod members;
mod objects;
mod reading;
mod sets;
mod starting;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;

pub use desired::{DesiredAccount, Stopped, bring};
pub use objects::{Objects, SetPrivileges, Sort};

use rolecall_engine::{Engine, Owner};

/// A server and an engine on it.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The engine under test.
    fn engine(&self) -> &dyn Engine;

    /// Another engine of the same kind, for a server that is not there.
    fn unreachable(&self) -> Box<dyn Engine>;

    /// A name that nobody has used yet.
    fn name(&self, base: &str) -> String;

    /// A logical database that exists, to which everybody may connect, and where the admin user may do so.
    fn database(&self) -> String;

    /// Creates a database role that the admin user may hand out, with this attribute (`LOGIN`, `CREATEROLE`) or none.
    async fn role(&self, base: &str, attribute: Option<&str>) -> String;

    /// The name of a role that nobody has created yet.
    fn missing_role(&self, base: &str) -> String {
        self.name(base)
    }

    /// How many bytes the name of a user can have.
    fn longest_name(&self) -> usize {
        63
    }

    /// Can a user have this name? One that cannot is refused.
    fn takes_name(&self, name: &str) -> bool {
        let _ = name;
        true
    }

    /// Does a connection keep a role that its user has lost, so that it must end?
    fn keeps_lost_roles(&self) -> bool {
        true
    }

    /// The role that a user is; `None` where users are no roles.
    fn role_of(&self, user: &str) -> Option<String> {
        Some(user.to_owned())
    }

    /// May the admin user create roles?
    fn creates_roles(&self) -> bool {
        true
    }

    /// Can users have passwords?
    fn has_passwords(&self) -> bool {
        true
    }

    /// Creates a role that the admin user may not hand out; `None` where there is no such thing.
    async fn foreign_role(&self, base: &str) -> Option<String>;

    /// The name of a logical database where no session can be.
    fn missing_database(&self) -> String {
        self.name("dropped")
    }

    /// Creates a logical database to which only `grantee` may connect; `None` where there is no such thing.
    async fn closed_database(&self, base: &str, grantee: Option<&str>) -> Option<String>;

    /// Creates a user, or brings it into this state. Its backends stay open.
    async fn put(&self, user: &str, state: &State);

    /// What a user is, read without the engine.
    async fn user_state(&self, user: &str) -> Option<State>;

    /// Does a role exist?
    async fn role_exists(&self, role: &str) -> bool;

    /// Logs in as the user and keeps the connection. False when the server says no.
    async fn log_in(&self, user: &str) -> bool;

    /// Creates a role (where roles own nothing: a user) that can get what users own; `None` where there is no such thing, or
    /// the admin user may not give it anything.
    async fn new_owner(&self, base: &str) -> Option<String> {
        let _ = base;
        None
    }

    /// Does a role (or user) own something?
    async fn owns_something(&self, role: &str) -> bool {
        let _ = role;
        false
    }

    /// Does something to a user that outlives a session. False where there is no such thing.
    async fn leave(&self, user: &str, what: &Trace) -> bool;

    /// The objects of its logical databases.
    fn objects(&self) -> &dyn Objects;
}

/// A user, seen from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// It carries the marker.
    pub managed: bool,
    /// It may log in.
    pub login: bool,
    /// Its direct memberships without the marker.
    pub memberships: BTreeSet<String>,
    /// Its ownership record.
    pub owner: Option<Owner>,
    /// Its open connections.
    pub backends: u32,
    /// Settings are stored for it.
    pub settings: bool,
    /// A password is stored for it.
    pub password: bool,
    /// A VALID UNTIL or CONNECTION LIMIT is stored for it.
    pub limits: bool,
}

/// What can be left of a session, or be done by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// It owns something, so that it cannot be dropped.
    OwnedObject,
    /// It has a right of its own, in a logical database other than [`Harness::database`]. The admin user may revoke it.
    Right,
    /// Somebody else made it a member of this role.
    Membership(String),
    /// Somebody is a member of it.
    Member,
    /// Somebody gave it CREATEROLE.
    Attribute,
    /// It has a prepared transaction.
    Prepared,
    /// It changed a setting of its own, in all databases or in [`Harness::database`].
    Setting {
        /// In that database only.
        in_database: bool,
    },
    /// It has a password.
    Password,
    /// It has a connection limit.
    Limit,
}

/// The result of a case: nothing, or what is wrong.
pub type Outcome = Result<(), String>;

/// A case under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A case: its name, and what runs it.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it shows, as a sentence.
    pub name: &'static str,
    /// Runs it.
    pub run: for<'a> fn(&'a dyn Harness) -> Running<'a>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every case. They do not touch each other and may run at the same time.
pub fn all() -> Vec<Case> {
    [accounts(), permission_sets()].concat()
}

/// The cases about accounts.
pub fn accounts() -> Vec<Case> {
    [starting::CASES, live::CASES, ending::CASES, reading::CASES].concat()
}

/// The cases about objects and permission sets.
pub fn permission_sets() -> Vec<Case> {
    [sets::CASES, members::CASES].concat()
}

/// Names functions as cases.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[$crate::Case] = &[$($crate::Case {
            name: stringify!($name),
            run: |harness| Box::pin($name(harness)),
        }),*];
    };
}

/// Ends the case with what is wrong, unless the condition is true.
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!("{}: {}", stringify!($condition), format!($($message)+)));
        }
    };
}

/// Ends the case unless both are equal.
macro_rules! check_eq {
    ($left:expr, $right:expr) => {{
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err(format!("{} is\n  {left:?}\nand not\n  {right:?}", stringify!($left)));
        }
    }};
}

use {cases, check, check_eq};
