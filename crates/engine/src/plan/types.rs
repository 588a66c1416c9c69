//! What a plan says.

use std::collections::BTreeSet;

use secrecy::SecretString;

use crate::{AccountName, Owner};

/// What has to change so that one account is what it should be.
#[derive(Clone, Debug, Default)]
pub enum Plan {
    /// Nothing.
    #[default]
    Nothing,
    /// Enable an account that has no live session: create it, or reset what is found of it.
    Activate(Activate),
    /// Correct a live account, changing no more than necessary.
    Adjust(Adjust),
    /// End the access: no login, no backend, no membership; then drop where that is wanted.
    End(End),
}

/// See [`Plan::Activate`].
#[derive(Clone, Debug)]
pub struct Activate {
    /// The account.
    pub account: AccountName,
    /// The record that it gets.
    pub owner: Owner,
    /// Where the admin user connects when it has no default database.
    pub session_database: Option<String>,
    /// The account does not exist yet.
    pub create: bool,
    /// Roles to create first (NOLOGIN, no privileges).
    pub create_roles: Vec<String>,
    /// It may log in, or has backends, that are left over from before: close it first, as an [`End`] does.
    pub close_first: bool,
    /// What is closed first carries a predecessor's record (`Owner::uid`): it gets ours before anything else.
    pub take_over_from: Option<String>,
    /// Memberships to take away.
    pub revoke: Vec<String>,
    /// Settings to clear: `None` for all databases, else the database.
    pub settings: BTreeSet<Option<String>>,
    /// A time is stored after which its password does not count, to be cleared.
    pub expires: bool,
    /// Roles to grant, sorted, without the marker.
    pub grant: Vec<String>,
    /// Permission sets to grant, sorted: the account has their rights, but cannot become them.
    pub grant_sets: Vec<String>,
    /// The password verifier to store; `None` stores no password.
    pub verifier: Option<SecretString>,
}

/// See [`Plan::Adjust`].
#[derive(Clone, Debug)]
pub struct Adjust {
    /// The account.
    pub account: AccountName,
    /// Whose it is (`Owner::uid`).
    pub owner_uid: String,
    /// Its record was lost, or names another password than the one that is stored now: it gets this one. Else it must
    /// have that of `owner_uid`.
    pub record: Option<Owner>,
    /// Where the admin user connects when it has no default database.
    pub session_database: Option<String>,
    /// Roles to create first (NOLOGIN, no privileges).
    pub create_roles: Vec<String>,
    /// Memberships to take away.
    pub revoke: Vec<String>,
    /// Roles to grant, sorted.
    pub grant: Vec<String>,
    /// Permission sets to grant, sorted: the account has their rights, but cannot become them.
    pub grant_sets: Vec<String>,
    /// Somebody took its login away: give it back.
    pub enable: bool,
    /// End its backends: a session that ran SET ROLE keeps a revoked role until then. (A server where accounts can
    /// become permission sets, PostgreSQL 15, ends them for a revoked set as well.)
    pub terminate: bool,
    /// The password verifier to store; `None` leaves the one that is stored.
    pub verifier: Option<SecretString>,
    /// What somebody stored or granted for it by hand, to be taken away as far as the server lets the admin user.
    pub strays: Strays,
}

/// What somebody stored or granted for a live account by hand. Nothing that a session needs is among it, so that a part
/// that cannot be taken away stops nothing: it is tried again when the account is looked at next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// Settings to clear: `None` for all databases, else the database.
    pub settings: BTreeSet<Option<String>>,
    /// It has limits: a CONNECTION LIMIT, NOINHERIT, addresses that it must come from.
    pub limits: bool,
    /// A time is stored after which its password does not count.
    pub expires: bool,
    /// Rights on objects were granted to it itself.
    pub rights: bool,
    /// Attributes that somebody added, as in ALTER ROLE.
    pub attributes: Vec<String>,
}

impl Strays {
    /// Is there nothing?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Adjust {
    /// Is all that sessions need in place, and nothing left to do but to take away what somebody stored or granted?
    pub fn only_takes_strays(&self) -> bool {
        self.record.is_none()
            && self.revoke.is_empty()
            && self.grant.is_empty()
            && self.grant_sets.is_empty()
            && !self.enable
            && !self.terminate
            && self.verifier.is_none()
    }
}

/// See [`Plan::End`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The account.
    pub account: AccountName,
    /// Whose it is (`Owner::uid`), or will be where it is taken over first.
    pub owner_uid: String,
    /// It carries a predecessor's record: it gets ours before anything else, so that it is ended as ours whatever
    /// happens.
    pub take_over: Option<TakeOver>,
    /// Where the admin user connects when it has no default database.
    pub session_database: Option<String>,
    /// Memberships to take away.
    pub revoke: Vec<String>,
    /// Settings to clear: `None` for all databases, else the database.
    pub settings: BTreeSet<Option<String>>,
    /// A time is stored after which its password does not count, to be cleared.
    pub expires: bool,
    /// Drop it afterwards, when nothing depends on it.
    pub drop: bool,
    /// Before it is dropped, what it owns goes to this role of the server (Redshift: to this user), in all logical
    /// databases. All of it or, as far as that can be told before, nothing: not where code of the account would run with
    /// the rights of its new owner, and not to a role that is powerful. It is kept then.
    pub reassign_to: Option<String>,
}

/// Whose record an account carries, and the one that it gets instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// `Owner::uid` of the record that it carries.
    pub from_uid: String,
    /// The record that it gets.
    pub owner: Owner,
}

impl Plan {
    /// Is there nothing to do?
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}
