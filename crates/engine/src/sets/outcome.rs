//! The outcome of syncing a set.

use std::collections::BTreeMap;

use rolecall_policy::{DbObject, Privilege};

use super::SetRecord;
use crate::Error;

/// The privileges of a set after it was synced: read back, not assumed.
#[derive(Clone, Debug, Default)]
pub struct SyncedSet {
    /// Its role.
    pub role: String,
    /// How many objects it has each privilege on; privileges on none are left out.
    pub granted: BTreeMap<Privilege, usize>,
    /// How many objects it lost each privilege on. Whoever lost `EXECUTE` loses it for certain when its backends end.
    pub revoked: BTreeMap<Privilege, usize>,
    /// How many objects it lacks something on that it should have.
    pub missing_objects: usize,
    /// The first of those, with what to do about it.
    pub missing: Vec<Missing>,
    /// The first of what it has and should not, because the admin user cannot take it away, or not now.
    pub excess: Vec<Excess>,
    /// Objects that it concerns whose access list is long because of grants by others, with its number of entries.
    pub near_limit: Vec<(DbObject, u32)>,
    /// Some of what is missing or too much is so only because other transactions were in the way: tried again soon, it
    /// may succeed.
    pub busy: bool,
    /// It can connect to its logical database.
    pub connects: bool,
    /// Why it was not synced at all: its role is not ours, or the server refused to make it, or did not do it this
    /// time (see its class).
    pub failure: Option<Error>,
}

impl SyncedSet {
    /// The outcome of a set that was not synced.
    pub fn failed(role: &str, error: Error) -> Self {
        Self { role: role.to_owned(), failure: Some(error), ..Self::default() }
    }

    /// It has all that it should and nothing else.
    pub fn is_complete(&self) -> bool {
        self.failure.is_none() && self.missing.is_empty() && self.excess.is_empty()
    }
}

/// Something that a set should have and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The object, as SQL: `TABLE app.orders`, `DATABASE shop`.
    pub object: String,
    /// The privileges.
    pub privileges: String,
    /// Why not.
    pub why: Why,
    /// The statement that mends it, or what to do.
    pub statement: String,
}

/// Why a set lacks a privilege.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The admin user may not grant it.
    NotGrantable,
    /// The admin user may not use the schema.
    SchemaClosed,
    /// The object's access list is full (SQLSTATE 54000): nobody can be granted anything on it.
    AccessListFull,
    /// Another transaction has locked the object.
    Busy,
    /// The server refused for another reason: SQLSTATE and text.
    Refused(String),
}

/// Something that a set has and should not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// The object.
    pub object: String,
    /// The privileges.
    pub privileges: String,
    /// Who granted them.
    pub grantor: String,
    /// The statement that takes them away, to be run as the grantor; or what to do.
    pub statement: String,
    /// Another transaction has locked the object: they are revoked when it has ended.
    pub busy: bool,
    /// What the server said when they were to be taken away: SQLSTATE and text; empty where it said nothing.
    pub refused: String,
}

/// A set on a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetEntry {
    /// Its role.
    pub role: String,
    /// Whose it is, in which logical database, and for which permissions; `None` where its record cannot be read.
    pub record: Option<SetRecord>,
    /// How many accounts are members of it.
    pub members: usize,
    /// It has rights on functions or procedures.
    pub executes: bool,
}
