//! What is compared.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser};
use rolecall_policy::DbObject;
use rolecall_resolve::Blocked;

use crate::access::{Access, Policy};
use crate::input::Namespace;

/// Two states of a namespace, and what is known beside them.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The namespace as it is.
    pub before: &'a Namespace,
    /// The namespace as it would be.
    pub after: &'a Namespace,
    /// Its sessions.
    pub sessions: &'a [DatabaseSession],
    /// Objects of its servers.
    pub objects: &'a [KnownObjects],
    /// The time.
    pub now: Timestamp,
}

/// What a user gets on a database, or all that keeps it from it.
pub(super) type Decided = Result<Access, Vec<Blocked>>;

/// Objects of a server.
#[derive(Clone, Debug)]
pub struct KnownObjects {
    /// The DatabaseAdmin; `None`: any.
    pub database: Option<String>,
    /// The objects.
    pub list: Arc<[DbObject]>,
}

impl KnownObjects {
    /// Those of one server.
    pub(super) fn of_server<'a>(known: &'a [Self], database: &'a str) -> impl Iterator<Item = &'a Self> {
        known.iter().filter(move |known| known.database.as_deref().is_none_or(|name| name == database))
    }
}

/// A user and a database in both states.
pub(super) struct Pair<'a> {
    pub(super) before: (&'a Policy<'a>, Option<&'a DatabaseUser>, Option<&'a DatabaseAdmin>),
    pub(super) after: (&'a Policy<'a>, Option<&'a DatabaseUser>, Option<&'a DatabaseAdmin>),
    pub(super) user: &'a str,
    pub(super) database: &'a str,
}

impl<'a> Pair<'a> {
    pub(super) fn of(
        before: &'a Policy<'a>,
        after: &'a Policy<'a>,
        user: &'a str,
        database: &'a str,
    ) -> Self {
        let side = |policy: &'a Policy<'a>| {
            (policy, policy.users().get(user).copied(), policy.admins().get(database).copied())
        };
        Self { before: side(before), after: side(after), user, database }
    }

    pub(super) fn decide(
        &self,
        side: (&'a Policy<'a>, Option<&'a DatabaseUser>, Option<&'a DatabaseAdmin>),
    ) -> Decided {
        let gone = |kind: &str, name: &str| {
            let reason = match kind {
                "DatabaseUser" => rolecall_api::reasons::USER_NOT_FOUND,
                _ => rolecall_api::reasons::DATABASE_NOT_FOUND,
            };
            Err(vec![Blocked::new(reason, format!("there is no {kind} {name:?}"))])
        };
        match side {
            (_, None, _) => gone("DatabaseUser", self.user),
            (_, _, None) => gone("DatabaseAdmin", self.database),
            (policy, Some(user), Some(admin)) => policy.access(user, admin),
        }
    }
}
