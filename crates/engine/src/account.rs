//! What an account should be, and what it is.
//!
//! An account is one database user on one server. What it should be follows from the live sessions and the policy;
//! what it is, from the server. Neither is ever cached.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;

use crate::Dialect;
pub use crate::name::{AccountName, MAX_NAME_BYTES};
pub use crate::owner::Owner;

/// What one account should be.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The account.
    pub account: AccountName,
    /// The DatabaseAdmin that asks for it.
    pub owner: Owner,
    /// A logical database of one of the sessions: the admin user connects there when it has no default database.
    pub session_database: Option<String>,
    /// The desired state.
    pub want: Want,
}

/// The states an account can be asked to be in.
#[derive(Clone, Debug)]
pub enum Want {
    /// At least one session is live or wants to start.
    Enabled(Enabled),
    /// No session is live any more.
    Ended {
        /// Drop the account where nothing depends on it (BestEffortDrop); else it is kept, disabled (Keep).
        drop: bool,
        /// Who gets what it owns before it is dropped: see [`End::reassign_to`](crate::plan::End::reassign_to).
        reassign_to: Option<String>,
    },
}

/// An account that works.
#[derive(Clone, Debug, Default)]
pub struct Enabled {
    /// The database roles it is a member of, exactly; beside them only the marker and its permission sets.
    pub roles: BTreeMap<String, WantedRole>,
    /// The permission sets that it is a member of, exactly: their full names, as [`Dialect::set_name`] makes them.
    pub sets: BTreeSet<String>,
    /// The logical databases that its sessions name: it must be able to connect to each.
    pub databases: BTreeSet<String>,
    /// How the user proves itself.
    pub credential: Credential,
    /// A session of this account is Active already: the account may have backends, and its role set stays. False
    /// for the first session: whatever is found is left over and is reset.
    pub in_use: bool,
    /// Roles that the server lacks are created (NOLOGIN, no privileges) instead of refused.
    pub create_missing_roles: bool,
    /// Permission sets whose loss ends the account's connections: they give functions that it would lose, and what a
    /// connection cached of an inlined function outlives the loss of EXECUTE.
    pub disconnecting_sets: BTreeSet<String>,
}

/// One database role that an account should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedRole {
    /// `grantableDbRoles` names this very role. A pattern does not reach roles with LOGIN, SUPERUSER, CREATEROLE,
    /// REPLICATION or BYPASSRLS, nor `pg_*` and `rds_*`.
    pub named_literally: bool,
}

/// How the user of an account proves itself to the server.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// By something that the server does not store: a client certificate, an IAM token, or nothing that is ours.
    #[default]
    External,
    /// By a password. `set` holds the verifier to store now (`SCRAM-SHA-256$...`, never the password itself), and
    /// `Owner::password_generation` says which one it is; `None` leaves the one that is stored, which must not be where
    /// [`plan::lacks_password`](crate::plan::lacks_password).
    Password {
        /// The verifier to store.
        set: Option<SecretString>,
    },
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The account.
    pub account: AccountName,
    /// Whose record counts as our own (`Owner::uid`).
    pub owner_uid: String,
    /// Where the admin user connects when it has no default database.
    pub session_database: Option<String>,
    /// Database roles to look up.
    pub roles: BTreeSet<String>,
    /// Permission sets to look up.
    pub sets: BTreeSet<String>,
    /// Logical databases to look up.
    pub databases: BTreeSet<String>,
    /// Verify that the access is over: logins under way count as connections, and what an account still runs
    /// that does not exist any more is read, too (MongoDB).
    pub to_end: bool,
}

impl Desired {
    /// The query whose answer [`crate::plan::plan`] needs for this.
    pub fn query(&self) -> Query {
        let (roles, sets, databases) = match &self.want {
            Want::Enabled(enabled) => {
                (enabled.roles.keys().cloned().collect(), enabled.sets.clone(), enabled.databases.clone())
            }
            Want::Ended { .. } => Default::default(),
        };
        Query {
            account: self.account.clone(),
            owner_uid: self.owner.uid.clone(),
            session_database: self.session_database.clone(),
            roles,
            sets,
            databases,
            to_end: matches!(self.want, Want::Ended { .. }),
        }
    }
}

/// What was read: one moment of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The account; `None` when no user of that name exists.
    pub account: Option<Account>,
    /// What still runs of an account that does not exist any more, where that was asked for (`Query::to_end`).
    pub still_running: u32,
    /// The roles asked for; one that does not exist is absent.
    pub roles: BTreeMap<String, RoleFacts>,
    /// The permission sets asked for; one that does not exist is absent.
    pub sets: BTreeMap<String, SetFacts>,
    /// The logical databases asked for; one that does not exist is absent.
    pub databases: BTreeMap<String, DatabaseFacts>,
    /// The name of the admin user, as a `DatabaseUser` would be called.
    pub admin_user: String,
    /// Why this server can have no user of the account's name, beside what [`Dialect::user_fault`] says.
    pub user_fault: Option<String>,
    /// What kind of server it is: the names that it takes, and the remedies that refusals carry.
    pub dialect: Dialect,
}

/// A database user as the server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// It carries the marker.
    pub managed: bool,
    /// Its ownership record, when it has one that can be read.
    pub owner: Option<Owner>,
    /// It may log in.
    pub enabled: bool,
    /// Its direct memberships without the marker, whatever granted them.
    pub memberships: Vec<Membership>,
    /// What outlives a session and hinders the next one: members of the account, added attributes, prepared
    /// transactions, memberships that the admin user cannot revoke.
    pub leftovers: Vec<Leftover>,
    /// Settings that somebody stored for it: `None` for all databases, else the database.
    pub settings: BTreeSet<Option<String>>,
    /// Limits that somebody stored for it: VALID UNTIL, a CONNECTION LIMIT, addresses that it must come from.
    pub limits: bool,
    /// A time is stored after which its password does not count: one of the limits.
    pub expires: bool,
    /// The settings and limits in words, as in ALTER ROLE, without the values of settings: `CONNECTION LIMIT 3`, `SET
    /// search_path`. For people.
    pub stored: Vec<String>,
    /// It has rights on objects that were granted to it itself, and not to a role or a permission set.
    pub rights: bool,
    /// It is closed, but a failover may undo that: no synchronous standby is known to have confirmed it. Only where the
    /// account should end.
    pub unconfirmed: bool,
    /// Open connections; where the account should end, also logins that were under way when it could still log in.
    pub backends: u32,
}

/// One direct membership of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    /// The role it is a member of.
    pub role: String,
    /// Who granted it; empty where the server does not say.
    pub grantor: String,
    /// The admin user's REVOKE takes it away. (PostgreSQL 16+: not when somebody else granted it.)
    pub revocable: bool,
}

/// Something that outlives a session. It does not delay an end, but it keeps the account from starting again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A membership granted by somebody else.
    Membership {
        /// The role.
        role: String,
        /// Who granted it and can revoke it.
        grantor: String,
    },
    /// Somebody else is a member of the account and has its rights.
    Member {
        /// The member.
        member: String,
    },
    /// An attribute that somebody added: `SUPERUSER`, `CREATEROLE`, ...
    Attribute {
        /// As in ALTER ROLE.
        attribute: String,
    },
    /// A prepared transaction that can still be committed with the rights of then.
    Prepared {
        /// Its global identifier.
        gid: String,
        /// Where ROLLBACK PREPARED has to be run.
        database: String,
    },
    /// A member of a replica set that could not be asked what the account still runs there.
    Unasked {
        /// Its `host:port`.
        member: String,
    },
}

/// A database role, as far as handing it out goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleFacts {
    /// Attributes that only a role named literally may have: `LOGIN`, `SUPERUSER`, `CREATEROLE`, `REPLICATION`,
    /// `BYPASSRLS`.
    pub attributes: Vec<String>,
    /// It is a managed account itself.
    pub managed: bool,
    /// The admin user may grant it.
    pub grantable: bool,
    /// The admin user may not see whether it exists, and may create it.
    pub unseen: bool,
}

/// A permission set, as far as making somebody a member goes. Its privileges are another matter: see
/// [`Engine::sync_sets`](crate::Engine::sync_sets).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetFacts {
    /// `metadata.uid` of the DatabaseAdmin in its record; `None` where it has no record that can be read.
    pub owner_uid: Option<String>,
    /// Attributes that somebody added; a set has none.
    pub attributes: Vec<String>,
    /// The admin user may grant it.
    pub grantable: bool,
    /// Why it could not be read. Nothing else is known of it then.
    pub unseen: Option<String>,
}

/// A logical database, as far as connecting to it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// It takes connections at all (`datallowconn`).
    pub allows_connections: bool,
    /// An account that has the roles and sets of the query can connect: through PUBLIC, through one of them, or by
    /// itself.
    pub connect: bool,
}
