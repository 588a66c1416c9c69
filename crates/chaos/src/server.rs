//! The servers of the world, and what there is on each.

/// The logical database of all sessions.
pub const DATABASE: &str = "app";
/// The admin user on every server.
pub const ADMIN: &str = "teleport-admin";
/// The role that policy gives.
pub const ROLE: &str = "reader";

/// A server of the world, by the name of its DatabaseAdmins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// PostgreSQL 17 with certificates and a standby.
    Orders,
    /// PostgreSQL 16 with passwords.
    Ledger,
    /// PostgreSQL 18 with certificates, whose answers are late now and then.
    Archive,
    /// A replica set of three.
    Events,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Orders, Self::Ledger, Self::Archive, Self::Events];
    /// Those that are PostgreSQL.
    pub const POSTGRES: [Self; 3] = [Self::Orders, Self::Ledger, Self::Archive];

    /// The name of its DatabaseAdmin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Ledger => "ledger",
            Self::Archive => "archive",
            Self::Events => "events",
        }
    }

    /// The server of a DatabaseAdmin.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.name() == name)
    }
}
