//! Names of database roles: `role@database`.

use std::fmt;

/// Built-in roles that give power over users, their passwords, or the whole server. (`readAnyDatabase` and the like
/// give data and nothing else.)
const POWERFUL: [&str; 13] = [
    "__system",
    "__queryableBackup",
    "root",
    "userAdmin",
    "userAdminAnyDatabase",
    "dbOwner",
    "clusterAdmin",
    "clusterManager",
    "hostManager",
    "backup",
    "restore",
    "directShardOperations",
    "searchCoordinator",
];

/// Built-in roles of `admin` that are not powerful.
const OF_ADMIN: [&str; 8] = [
    "read",
    "readWrite",
    "dbAdmin",
    "readAnyDatabase",
    "readWriteAnyDatabase",
    "dbAdminAnyDatabase",
    "clusterMonitor",
    "enableSharding",
];

/// Built-in roles that every logical database has.
const EVERYWHERE: [&str; 6] = ["read", "readWrite", "dbAdmin", "dbOwner", "userAdmin", "enableSharding"];

/// The longest name of a logical database, in bytes.
const MAX_DATABASE_BYTES: usize = 63;

/// A database role: its name, and the logical database that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName {
    /// The logical database.
    pub database: String,
    /// The role.
    pub role: String,
}

impl RoleName {
    /// Parses `role@database`, split at the first `@`.
    ///
    /// # Errors
    ///
    /// Why no server can have such a role.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Some((role, database)) = text.split_once('@') else { return Err("it names no database") };
        if role.is_empty() {
            return Err("the part before the @ is empty");
        }
        if role.contains('\0') {
            return Err("it contains a NUL");
        }
        if let Some(fault) = database_fault(database) {
            return Err(fault);
        }
        Ok(Self { database: database.to_owned(), role: role.to_owned() })
    }

    /// Can it be a custom role with rights beyond a single logical database? Only roles of `admin` can have such
    /// rights.
    pub fn may_reach_far(&self) -> bool {
        self.database == "admin" && !OF_ADMIN.contains(&self.role.as_str()) && !self.is_powerful()
    }

    /// Is it one of the server's own roles with power over users or the whole server?
    pub fn is_powerful(&self) -> bool {
        POWERFUL.contains(&self.role.as_str())
    }

    /// Does every server have it?
    pub fn is_built_in(&self) -> bool {
        let role = self.role.as_str();
        EVERYWHERE.contains(&role)
            || self.database == "admin" && (POWERFUL.contains(&role) || OF_ADMIN.contains(&role))
    }
}

impl fmt::Display for RoleName {
    /// `role@database`. A role whose own name contains an `@`, which [`RoleName::parse`] never returns, is written in a
    /// way that no wanted role is written in, so that the two are never confused.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.role.contains('@') {
            write!(f, "@{:?}@{}", self.role, self.database)
        } else {
            write!(f, "{}@{}", self.role, self.database)
        }
    }
}

/// Why no server can have a logical database of this name.
pub fn database_fault(database: &str) -> Option<&'static str> {
    if database.is_empty() {
        Some("the name of the database is empty")
    } else if database.len() > MAX_DATABASE_BYTES {
        Some("the name of the database has over 63 bytes")
    } else if database.contains(['/', '\\', '.', ' ', '"', '$', '\0']) {
        Some("the name of the database contains one of / \\ . \" $, a space or NUL")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_split_at_the_first_at() {
        let role = RoleName::parse("r@a@b").unwrap();
        assert_eq!((role.role.as_str(), role.database.as_str()), ("r", "a@b"));
        assert_eq!(role.to_string(), "r@a@b");
        // A role that is really called so is another one.
        let other = RoleName { role: "r@a".into(), database: "b".into() };
        assert_ne!(other.to_string(), role.to_string());
        assert!(RoleName::parse(&other.to_string()).is_err());
    }

    #[test]
    fn what_no_server_can_have_is_refused() {
        let long = format!("r@{}", "x".repeat(64));
        for text in ["", "reader", "@shop", "r@", "r\0@shop", "r@a b", "r@$external", "r@a.b", &long] {
            assert!(RoleName::parse(text).is_err(), "{text}");
        }
    }
}
