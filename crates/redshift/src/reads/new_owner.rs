//! Who may get what accounts own before they are dropped.

use rolecall_engine::{Finding, MARKER, Reason};

use super::sight::SERVER_USER;
use super::users::Users;
use crate::quote::identifier;

/// Why a user must not get what accounts own. `account`: the one that is dropped.
pub(crate) fn new_owner_fault(users: &Users, to: &str, account: &str) -> Option<Finding> {
    let Some(user) = users.users.get(to) else {
        return Some(Finding::fixed_by(
            Reason::CannotReassign,
            to,
            &format!(
                "the user {to:?}, to whom options.ownedObjects gives what users own, does not exist (roles own nothing on Redshift)"
            ),
            vec![format!("CREATE USER {} PASSWORD DISABLE", identifier(to))],
        ));
    };
    let is_superuser = user.is_superuser || users.info.get(to).is_some_and(|info| info.is_superuser);
    let why = if is_superuser || to == SERVER_USER {
        "is a superuser, and gets nothing that users made"
    } else if to == account || users.roles_of(to).any(|role| role == MARKER) {
        "is an account itself"
    } else {
        return None;
    };
    let message = format!("the user {to:?} {why}: name another one in options.ownedObjects");
    Some(Finding::new(Reason::CannotReassign, to, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rows::tests::row;

    #[test]
    fn neither_superusers_nor_accounts_get_what_users_made() {
        let user = |name: &str, superuser: &str| row([name, "7", superuser, "", ""]);
        let users = Users::read(
            &[user("grave", "f"), user("dba", "t"), user("bob", "f")],
            &[],
            &[row(["bob", MARKER, "f"])],
        );
        assert_eq!(new_owner_fault(&users, "grave", "alice"), None);
        for to in ["dba", "bob", "nobody"] {
            let fault = new_owner_fault(&users, to, "alice").unwrap();
            assert!(fault.message.contains("options.ownedObjects"), "{fault:?}");
            assert_eq!(fault.fix.is_empty(), to != "nobody", "{fault:?}");
        }
        assert!(new_owner_fault(&users, "grave", "grave").is_some());
    }
}
