//! Plans and leftovers in words.

use std::fmt;

use super::Plan;
use crate::AccountName;
use crate::account::Leftover;
use crate::dialect::sql::{identifier, literal};

impl Leftover {
    /// One sentence that names what is left over on `account`, and the statement that clears it.
    pub fn message(&self, account: &AccountName) -> String {
        let account_sql = identifier(account.as_str());
        match self {
            Self::Membership { role, grantor } => format!(
                "{account} is still a member of {role:?}, granted by {grantor:?}: as that role or a superuser run REVOKE {} FROM {account_sql} GRANTED BY {}",
                identifier(role),
                identifier(grantor)
            ),
            Self::Member { member } => format!(
                "{member:?} is a member of {account} and has its rights: run REVOKE {account_sql} FROM {}",
                identifier(member)
            ),
            Self::Attribute { attribute } => {
                format!("{account} has the attribute {attribute}: run ALTER ROLE {account_sql} NO{attribute}")
            }
            Self::Unasked { member } => format!(
                "the member {member} of the replica set cannot be asked what {account} still runs there, and the set cannot reach it either: make it answer, or take it out of the set"
            ),
            Self::Prepared { gid, database } => format!(
                "{account} has a prepared transaction: in the database {database:?} run ROLLBACK PREPARED {}",
                literal(gid)
            ),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing to do"),
            Self::Activate(a) => {
                let verb = if a.create { "create" } else { "reset and enable" };
                write!(f, "{verb} {}, member of [{}]", a.account, both(&a.grant, &a.grant_sets))
            }
            Self::Adjust(a) => {
                let record = if a.record.is_some() { "record the owner, " } else { "" };
                write!(
                    f,
                    "adjust {}: {record}grant [{}], revoke [{}]",
                    a.account,
                    both(&a.grant, &a.grant_sets),
                    a.revoke.join(", ")
                )
            }
            Self::End(e) => {
                let verb = if e.drop { "drop" } else { "disable" };
                write!(f, "{verb} {}, revoke [{}]", e.account, e.revoke.join(", "))
            }
        }
    }
}

fn both(roles: &[String], sets: &[String]) -> String {
    let all: Vec<&str> = roles.iter().chain(sets).map(String::as_str).collect();
    all.join(", ")
}
