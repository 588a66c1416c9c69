//! What differs between kinds of servers in decisions and messages: names, and the statements that fix things.
//!
//! Everything here is pure. Statements that run are built by the engines, not from this.

pub mod mongodb;
pub mod redshift;
pub mod sql;

use mongodb::RoleName;
use rolecall_policy::CanonicalPermissions;
use sql::{identifier, literal};

use crate::name::{AccountName, MAX_NAME_BYTES};
use crate::sets::{SetRecord, set_role_name};
use crate::{MARKER, OWN_ROLE_PREFIX, Owner, Reason};

/// A kind of server, as far as names and remedies go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Roles belong to the whole server, and remedies are SQL.
    #[default]
    PostgreSql,
    /// Roles belong to a logical database (`role@database`), and remedies are commands for mongosh.
    MongoDb,
    /// Amazon Redshift: users are no roles, roles belong to the whole cluster, and remedies are its SQL.
    Redshift,
}

impl Dialect {
    /// The full name of the permission set for these permissions in a logical database, for one
    /// DatabaseAdmin, as accounts are members of it: `rolecall:<hash>`; where roles belong to a logical database,
    /// `rolecall:<hash>@<database>`; on Redshift, where a name has no colon, `rolecall_<hash>`.
    pub fn set_name(self, admin_uid: &str, database: &str, permissions: &CanonicalPermissions) -> String {
        let role = set_role_name(admin_uid, database, permissions);
        match self {
            Self::PostgreSql => role,
            Self::MongoDb => format!("{role}@{database}"),
            Self::Redshift => role.replacen(OWN_ROLE_PREFIX, redshift::OWN_PREFIX, 1),
        }
    }

    /// Is a membership one in a permission set, by the role's name?
    pub fn is_set(self, role: &str) -> bool {
        match self {
            Self::PostgreSql | Self::MongoDb => role.starts_with(OWN_ROLE_PREFIX),
            Self::Redshift => redshift::record::is_set(role),
        }
    }

    /// Does a role belong to Rolecall itself, by its name? No `ProvisioningRole` can give one.
    pub fn is_own_role(self, role: &str) -> bool {
        match self {
            Self::PostgreSql | Self::MongoDb => role.starts_with(OWN_ROLE_PREFIX),
            Self::Redshift => role.starts_with(redshift::OWN_PREFIX),
        }
    }

    /// Does the record of an account say which of its passwords the server has (`Owner::password_generation`)?
    pub fn records_passwords(self) -> bool {
        match self {
            Self::PostgreSql | Self::MongoDb => true,
            // There is no room for it.
            Self::Redshift => false,
        }
    }

    /// What a server of this kind can keep of the record of a permission set.
    pub fn kept_record(self, record: SetRecord) -> SetRecord {
        match self {
            Self::PostgreSql | Self::MongoDb => record,
            Self::Redshift => SetRecord { permissions: String::new(), ..record },
        }
    }

    /// What an account is called when it logs in.
    pub fn login_name(self, account: &AccountName) -> String {
        match self {
            Self::PostgreSql | Self::Redshift => account.to_string(),
            Self::MongoDb => mongodb::user_name(account),
        }
    }

    /// Why nobody can be a user of this name on a server of this kind. What applies to every server is checked by
    /// [`AccountName`].
    pub fn user_fault(self, account: &AccountName) -> Option<String> {
        let name = account.as_str();
        match self {
            // SQLSTATE 42939.
            Self::PostgreSql if name.starts_with("pg_") || matches!(name, "none" | "public") => {
                Some("the name is reserved by PostgreSQL".to_owned())
            }
            Self::PostgreSql => None,
            Self::MongoDb => mongodb::name_fault(name),
            Self::Redshift => redshift::name::user_fault(name),
        }
    }

    /// Why no server of this kind can have a role of this name.
    pub fn role_fault(self, role: &str) -> Option<String> {
        match self {
            Self::PostgreSql => {
                let fault = role.is_empty() || role.len() > MAX_NAME_BYTES || role.contains('\0');
                fault.then(|| {
                    format!(
                        "no server can have a role {role:?}: names have 1 to {MAX_NAME_BYTES} bytes and no NUL; correct dbRoles"
                    )
                })
            }
            Self::MongoDb => RoleName::parse(role)
                .err()
                .map(|why| format!("{role:?} is no role: {why}; write role@database in dbRoles")),
            Self::Redshift => redshift::name::role_fault(role),
        }
    }

    /// Does the name belong to the server or its platform, which alone makes such roles?
    pub fn is_servers_own(self, role: &str) -> bool {
        match self {
            Self::PostgreSql => role.starts_with("pg_") || role.starts_with("rds_"),
            Self::Redshift => role.starts_with("sys:"),
            Self::MongoDb => false,
        }
    }

    /// Why a role may be handed out only where it is named literally, going by its name alone.
    pub fn why_literally(self, role: &str) -> Option<&'static str> {
        match self {
            _ if self.is_servers_own(role) => Some(
                "roles of the server's own must be named literally in spec.grantableDbRoles of the DatabaseAdmin",
            ),
            Self::MongoDb if RoleName::parse(role).is_ok_and(|role| role.is_powerful()) => Some(
                "it has power over users or the whole server; name it literally in spec.grantableDbRoles of the DatabaseAdmin if that is meant",
            ),
            _ => None,
        }
    }

    /// What an unmanaged user lacks.
    pub fn no_marker(self) -> String {
        match self {
            Self::PostgreSql => format!("it is no member of {MARKER:?}"),
            Self::MongoDb => format!("its customData has no {MARKER:?}: true"),
            Self::Redshift => format!("the role {MARKER:?} is not granted to it"),
        }
    }

    /// What to do with an account of ours that somebody took the marker from.
    pub fn decide_account(self, account: &AccountName) -> String {
        match self {
            Self::PostgreSql => {
                let user = identifier(account.as_str());
                format!(
                    "run GRANT {} TO {user} to have it ended, or COMMENT ON ROLE {user} IS NULL to have it forgotten",
                    identifier(MARKER)
                )
            }
            Self::MongoDb => format!(
                "run {} to end it by hand, or {} to have it forgotten",
                mongodb::remedy::drop_user(account),
                mongodb::remedy::forget_user(account)
            ),
            Self::Redshift => format!(
                "run {} to have it ended, or {} to have it forgotten",
                redshift::remedy::mark_user(account),
                redshift::remedy::forget_user(account)
            ),
        }
    }

    /// How to let the admin user change accounts again that it may not change.
    pub fn manage_accounts(self, accounts: &[&AccountName], admin_user: &str) -> String {
        match self {
            Self::PostgreSql => {
                let names: Vec<String> =
                    accounts.iter().map(|account| identifier(account.as_str())).collect();
                format!("run GRANT {} TO {} WITH ADMIN OPTION", names.join(", "), identifier(admin_user))
            }
            // Who may change one user of $external may change all.
            Self::MongoDb => format!("give {admin_user:?} the rights on $external that an admin user needs"),
            Self::Redshift => format!("run {}", redshift::remedy::manage(admin_user)),
        }
    }

    /// How to close an account by hand.
    pub fn close_account(self, account: &AccountName) -> String {
        match self {
            Self::PostgreSql => format!(
                "run ALTER ROLE {} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}",
                identifier(account.as_str()),
                literal(account.as_str())
            ),
            Self::MongoDb => format!("run {}", mongodb::remedy::lock_user(account)),
            Self::Redshift => format!("run {}", redshift::remedy::close_user(account)),
        }
    }

    /// What to do with an account that we enabled and that somebody took the record from.
    pub fn restore_record(self, account: &AccountName, owner: &Owner) -> String {
        match self {
            Self::PostgreSql => {
                let user = identifier(account.as_str());
                // A struct of strings always has a JSON form.
                let record = literal(serde_json::to_string(owner).unwrap_or_default());
                format!(
                    "run COMMENT ON ROLE {user} IS {record} to have it back, or ALTER ROLE {user} NOLOGIN and end its connections to end it by hand"
                )
            }
            Self::MongoDb => format!(
                "run {} to have it back, or {} to end it by hand",
                mongodb::remedy::own_user(account, owner),
                mongodb::remedy::drop_user(account)
            ),
            Self::Redshift => format!(
                "run {} to have it back, or {} to end it by hand",
                redshift::remedy::own_user(account, owner),
                redshift::remedy::close_user(account)
            ),
        }
    }

    /// How to create a role that does not exist; follows `the database has no role ...`.
    pub fn create_role(self, role: &str) -> String {
        match self {
            Self::PostgreSql => format!(
                "run CREATE ROLE {} NOLOGIN, or set missingDbRoles: Create on the DatabaseAdmin",
                identifier(role)
            ),
            Self::MongoDb => format!("run {}, or correct dbRoles", mongodb::remedy::create_role(role)),
            Self::Redshift => format!(
                "run CREATE ROLE {}, or set missingDbRoles: Create on the DatabaseAdmin",
                identifier(role)
            ),
        }
    }

    /// Why the admin user cannot grant a role, and how to fix that.
    pub fn not_grantable(self, role: &str, admin_user: &str) -> (Reason, String) {
        match self {
            Self::PostgreSql => {
                let reason =
                    if role == "rds_iam" { Reason::MissingRdsIam } else { Reason::MissingAdminOption };
                let statement =
                    format!("GRANT {} TO {} WITH ADMIN OPTION", identifier(role), identifier(admin_user));
                (reason, format!("run {statement}"))
            }
            Self::MongoDb => {
                (Reason::MissingMongoPrivileges, mongodb::remedy::may_grant(role, admin_user, None))
            }
            Self::Redshift => (
                Reason::MissingAdminOption,
                format!(
                    "run GRANT ROLE {} TO {} WITH ADMIN OPTION",
                    identifier(role),
                    identifier(admin_user)
                ),
            ),
        }
    }

    /// How to get rid of a role that has the name of a permission set and is not ours.
    pub fn drop_set(self, set: &str) -> String {
        match self {
            Self::PostgreSql => format!("run DROP ROLE {}", identifier(set)),
            Self::MongoDb => format!("run {}", mongodb::remedy::drop_role(set)),
            Self::Redshift => format!("run DROP ROLE {} FORCE", identifier(set)),
        }
    }

    /// How to take away what somebody added to a permission set.
    pub fn strip_set(self, set: &str, attributes: &[String]) -> String {
        match self {
            Self::PostgreSql => {
                let without: Vec<String> =
                    attributes.iter().map(|attribute| format!("NO{attribute}")).collect();
                format!("run ALTER ROLE {} {}", identifier(set), without.join(" "))
            }
            Self::MongoDb => self.drop_set(set),
            Self::Redshift => {
                let from = identifier(set);
                let revokes: Vec<String> = attributes
                    .iter()
                    .map(|role| format!("REVOKE ROLE {} FROM ROLE {from}", identifier(role)))
                    .collect();
                format!("run {}", revokes.join("; "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_belongs_to_the_server_or_to_its_database() {
        let permissions = CanonicalPermissions { allow: vec![], deny: vec![] };
        let name = Dialect::PostgreSql.set_name("uid", "shop", &permissions);
        assert_eq!(name, set_role_name("uid", "shop", &permissions));
        assert_eq!(Dialect::MongoDb.set_name("uid", "shop", &permissions), format!("{name}@shop"));
        let redshift = Dialect::Redshift.set_name("uid", "shop", &permissions);
        assert_eq!(redshift, name.replace(':', "_"));
        assert!(Dialect::Redshift.is_set(&redshift) && !Dialect::Redshift.is_set(&name));
        assert!(Dialect::PostgreSql.is_set(&name) && !Dialect::PostgreSql.is_set(&redshift));
    }

    #[test]
    fn each_kind_of_server_reserves_names_of_its_own() {
        let fault = |dialect: Dialect, name: &str| dialect.user_fault(&AccountName::new(name).unwrap());
        for name in ["pg_monitor", "none", "public"] {
            assert!(fault(Dialect::PostgreSql, name).is_some(), "{name}");
            assert_eq!(fault(Dialect::MongoDb, name), None, "{name}");
        }
        assert!(fault(Dialect::Redshift, "public").is_some() && fault(Dialect::Redshift, "none").is_none());
        assert_eq!(fault(Dialect::PostgreSql, "🦀"), None);
        assert!(fault(Dialect::MongoDb, "🦀").is_some());
    }

    #[test]
    fn remedies_can_be_pasted() {
        let owner = Owner {
            uid: "1-2".into(),
            admin: "shop/o'hara".into(),
            cluster: String::new(),
            ..Owner::default()
        };
        let dialects = [
            (Dialect::PostgreSql, "re\"ader"),
            (Dialect::MongoDb, "re\"ader@shop"),
            (Dialect::Redshift, "re\"ader"),
        ];
        let remedies: Vec<String> = dialects
            .into_iter()
            .flat_map(|(dialect, role)| {
                [
                    format!("{dialect:?}"),
                    dialect.no_marker(),
                    dialect.decide_account(&AccountName::new("o\"brien, jr").unwrap()),
                    dialect.restore_record(&AccountName::new("o\"brien, jr").unwrap(), &owner),
                    dialect.close_account(&AccountName::new("o\"brien, jr").unwrap()),
                    dialect.manage_accounts(&[&AccountName::new("o\"brien, jr").unwrap()], "ad, min"),
                    dialect.create_role(role),
                    dialect.not_grantable(role, "ad, min").1,
                    dialect.drop_set(role),
                    dialect.strip_set(role, &["LOGIN".to_owned()]),
                    dialect.role_fault("").unwrap_or_default(),
                    dialect.why_literally("pg_monitor").unwrap_or_default().to_owned(),
                    dialect.why_literally("dbOwner@shop").unwrap_or_default().to_owned(),
                ]
            })
            .collect();
        insta::assert_snapshot!(remedies.join("\n"));
    }
}
