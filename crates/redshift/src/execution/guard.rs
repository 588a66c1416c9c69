//! What must hold in the transaction that changes an account.
//!
//! There are no locks to take. The transaction changes the user first: then another one that does so too fails, one of
//! them. What is read after that is what holds when it commits.

use rolecall_engine::{AccountName, Class, Error, Reason};

use crate::reads::observe::read_in;
use crate::reads::roles::Roles;
use crate::reads::users::Users;
use crate::statements::Statement;
use crate::transport::server::Transaction;
use crate::transport::sqlstate;

/// Whose record an account may carry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// That of this DatabaseAdmin.
    Ours(&'a str),
    /// That of this DatabaseAdmin, or none.
    OursOrNone(&'a str),
    /// That of either.
    OursOr(&'a str, &'a str),
    /// Anybody's, if it is closed.
    ClosedOfAnybody,
}

/// What an account was found to be.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) users: Users,
    pub(crate) roles: Roles,
    /// Whose record it carries.
    pub(crate) owner_uid: Option<String>,
}

/// Changes the user, and checks that it is what the plan took it for.
pub(crate) async fn claim(
    transaction: &mut Transaction<'_>,
    account: &AccountName,
    change: &Statement,
    whose: Whose<'_>,
) -> Result<Found, Error> {
    match transaction.run(change).await {
        Err(error) if error.code == sqlstate::UNDEFINED_OBJECT => return Err(changed(account, &error.code)),
        result => drop(result?),
    }
    let (users, roles) = read_in(transaction, account).await?;
    let ours = match whose {
        Whose::Ours(uid) | Whose::OursOrNone(uid) | Whose::OursOr(uid, _) => uid,
        Whose::ClosedOfAnybody => "",
    };
    let owner_uid = users.owner_uid(account, ours);
    let is_closed = users.is_open(account) == Some(false);
    if !users.is_managed(account) || !whose.allows(owner_uid.as_deref(), is_closed) {
        return Err(changed(account, ""));
    }
    Ok(Found { users, roles, owner_uid })
}

impl Whose<'_> {
    fn allows(self, owner: Option<&str>, is_closed: bool) -> bool {
        match self {
            Self::Ours(uid) => owner == Some(uid),
            Self::OursOrNone(uid) => owner.is_none_or(|owner| owner == uid),
            Self::OursOr(uid, other) => owner.is_some_and(|owner| owner == uid || owner == other),
            Self::ClosedOfAnybody => is_closed,
        }
    }
}

/// An account is not any more what the plan took it for.
pub(crate) fn changed(account: &AccountName, code: &str) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::AccountInUse,
        attempted: format!("checking {:?}", account.as_str()),
        code: code.to_owned(),
        detail: "it has changed since it was read".to_owned(),
        remedy: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_plan_is_about_may_be_changed() {
        let allowed =
            |whose: Whose<'_>| [Some("us"), Some("them"), None].map(|owner| whose.allows(owner, false));
        assert_eq!(allowed(Whose::Ours("us")), [true, false, false]);
        assert_eq!(allowed(Whose::OursOrNone("us")), [true, false, true]);
        assert_eq!(allowed(Whose::OursOr("us", "them")), [true, true, false]);
        assert_eq!(allowed(Whose::ClosedOfAnybody), [false; 3]);
        assert!(Whose::ClosedOfAnybody.allows(Some("them"), true));
    }
}
