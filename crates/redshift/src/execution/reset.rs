//! What takes everything from an account that it should not have.

use std::collections::BTreeSet;

use rolecall_engine::dialect::redshift::record::owner_role;
use rolecall_engine::{AccountName, MARKER};

use crate::reads::users::Users;
use crate::statements::{Statement, role, user};

/// Takes away every role but the marker and the record of this owner.
pub(crate) fn strip(users: &Users, account: &AccountName, owner_uid: &str) -> Vec<Statement> {
    let own = owner_role(owner_uid);
    let roles = users.roles_of(account.as_str()).filter(|role| *role != MARKER && *role != own);
    roles.map(|role| role::revoke(role, account)).collect()
}

/// Gives the record of this owner, where it is not there.
pub(crate) fn own(users: &Users, account: &AccountName, owner_uid: &str) -> Option<Statement> {
    let own = owner_role(owner_uid);
    let has = users.roles_of(account.as_str()).any(|role| role == own);
    (!has).then(|| role::grant(&own, account))
}

/// Takes away attributes and settings that somebody stored, and the password in any case, which nobody can see.
pub(crate) fn clear(users: &Users, account: &AccountName) -> Vec<Statement> {
    let (user, info) = (users.users.get(account.as_str()), users.info.get(account.as_str()));
    let settings: BTreeSet<&String> = user.iter().flat_map(|user| &user.settings).collect();
    let is_superuser =
        user.is_some_and(|user| user.is_superuser) || info.is_some_and(|info| info.is_superuser);
    let mut statements = Vec::new();
    // First, as the password of a superuser cannot be disabled. (CREATEDB goes with each change.)
    statements.extend(is_superuser.then(|| user::no_superuser(account)));
    let expires = user.is_some_and(|user| user.expires);
    statements.push(match expires {
        true => user::disable_password_and_expiry(account),
        false => user::disable_password(account),
    });
    statements.extend(info.is_some_and(|info| info.sees_others).then(|| user::restrict_syslog(account)));
    statements.extend(info.is_some_and(|info| info.has_timeout).then(|| user::no_session_timeout(account)));
    statements.extend(settings.into_iter().map(|setting| user::reset(account, setting)));
    statements
}

#[cfg(test)]
mod tests {
    use crate::reads::users::tests::account;
    use crate::transport::rows::tests::row;

    use super::*;

    fn sql(statements: impl IntoIterator<Item = Statement>) -> Vec<String> {
        statements.into_iter().map(|statement| statement.sql.replace("\"alice\"", "a")).collect()
    }

    #[test]
    fn everything_but_marker_and_record_is_taken() {
        let (ours, theirs) = (owner_role("us"), owner_role("them"));
        let grants = [MARKER, "reader", &ours, &theirs].map(|role| row(["alice", role, "f"]));
        let users = Users::read(&[], &[], &grants);
        assert_eq!(
            sql(strip(&users, &account(), "us")),
            ["REVOKE ROLE \"reader\" FROM a", "REVOKE ROLE \"rolecall_owner_them\" FROM a"]
        );
        assert_eq!(own(&users, &account(), "us"), None);
        assert_eq!(sql(own(&users, &account(), "new")), ["GRANT ROLE \"rolecall_owner_new\" TO a"]);
    }

    #[test]
    fn only_the_password_is_cleared_where_nothing_is_stored() {
        let plain = Users::read(
            &[row(["alice", "1", "f", "", ""])],
            &[row(["alice", "f", "f", "0", "RESTRICTED", "0"])],
            &[],
        );
        assert_eq!(sql(clear(&plain, &account())), ["ALTER USER a PASSWORD DISABLE"]);
        let all = Users::read(
            &[row(["alice", "1", "t", "2030-01-01 00:00:00+00", "{search_path=app}"])],
            &[row(["alice", "t", "t", "0", "UNRESTRICTED", "60"])],
            &[],
        );
        assert_eq!(
            sql(clear(&all, &account())),
            [
                "ALTER USER a NOCREATEUSER",
                "ALTER USER a PASSWORD DISABLE VALID UNTIL 'infinity'",
                "ALTER USER a SYSLOG ACCESS RESTRICTED",
                "ALTER USER a RESET SESSION TIMEOUT",
                "ALTER USER a RESET search_path"
            ]
        );
    }
}
