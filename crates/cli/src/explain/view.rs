//! What `explain` answers. Its JSON is stable: within `cli.rolecall.dev/v1` fields are added, never changed or
//! removed. `docs/explain-json.md` describes it.

use std::collections::BTreeMap;

use rolecall_policy::{
    Contribution, DatabaseNames, Denial, GivenRole, Mode, ObjectExplanation, Origin, OwnedObjectsDecision,
    PermissionEntries, Privilege, SessionLimit, WithheldRole,
};
use rolecall_resolve::Blocked;
use serde::Serialize;

/// The version of everything that this program prints for programs.
pub const API_VERSION: &str = "cli.rolecall.dev/v1";

/// The answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `Explanation`.
    pub kind: &'static str,
    /// Who.
    pub user: WhoView,
    /// Where.
    pub database: WhereView,
    /// The logical database asked about; `null`: any that the user may reach.
    pub database_name: Option<String>,
    /// The logical databases that the user may connect to.
    pub database_names: NamesView,
    /// Whether a session could start, as far as policy and the objects show.
    pub allowed: bool,
    /// All that keeps a session from starting; the first is what the session would say.
    pub blocked: Vec<BlockedView>,
    /// What in the roles denies access.
    pub denied_by: Vec<Origin>,
    /// The roles that let the user in.
    pub allowed_by: Vec<Origin>,
    /// How the user is provisioned.
    pub mode: Mode,
    /// The roles that provision.
    pub contributing: Vec<Contribution>,
    /// The longest that a session may last.
    pub max_session_ttl: Option<SessionLimit>,
    /// What becomes of what the user owns when it is dropped, where a role says so.
    pub owned_objects: Option<OwnedObjectsDecision>,
    /// Every role that the user names.
    pub roles: Vec<RoleView>,
    /// Database roles that the user gets.
    pub db_roles: Vec<GivenRoleView>,
    /// Database roles that some role gives and that the user does not get.
    pub withheld_db_roles: Vec<WithheldRole>,
    /// The entries of `dbPermissions` in force.
    pub permission_entries: PermissionEntries,
    /// Labels and permissions of the objects that were named, or that the server has; `null` if none were requested.
    pub objects: Option<ObjectsView>,
    /// What else a reader should know.
    pub notices: Vec<String>,
}

/// The user.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoView {
    /// Name of the DatabaseUser.
    pub name: String,
    /// Its name in databases.
    pub username: String,
    /// The cluster that it comes from, where that makes its name a remote one.
    pub origin_cluster: Option<String>,
    /// Whether it is suspended.
    pub suspended: bool,
}

/// The database.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhereView {
    /// Name of the DatabaseAdmin.
    pub name: String,
    /// What it speaks.
    pub protocol: rolecall_policy::Protocol,
    /// The labels that roles and import rules see.
    pub labels: BTreeMap<String, String>,
    /// The admin user.
    pub admin_user: Option<String>,
    /// Whether it is suspended.
    pub suspended: bool,
}

/// Logical databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NamesView {
    /// All but these.
    AllExcept(Vec<String>),
    /// These.
    Only(Vec<String>),
}

/// What keeps a session from starting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockedView {
    /// The reason as conditions spell it.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A role of the user, on its own.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleView {
    /// Name of the ProvisioningRole.
    pub name: String,
    /// Whether it exists and is valid.
    pub state: RoleState,
    /// Whether its `allow` selects the database by labels and expression.
    pub selects: bool,
    /// Why it does, or does not; for a role that is not valid, its faults.
    pub why: Vec<String>,
    /// The logical databases that it alone would let the user connect to.
    pub database_names: NamesView,
    /// Its own mode.
    pub mode: Mode,
    /// What in it denies access.
    pub denies: Vec<Origin>,
}

/// Whether a role is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RoleState {
    /// It exists and is valid.
    Valid,
    /// It does not exist.
    NotFound,
    /// It is not valid.
    Invalid,
}

/// A database role that the user gets.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenRoleView {
    /// The database role, and the entries that give it.
    #[serde(flatten)]
    pub role: GivenRole,
    /// Whether `grantableDbRoles` lets it be given.
    pub grantable: bool,
}

/// Where objects come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ObjectsSource {
    /// From a file: `--objects`.
    File,
    /// From the server: `--live`.
    Server,
}

/// Objects with labels and permissions.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectsView {
    /// Where they come from.
    pub source: ObjectsSource,
    /// Why there are no permissions at all, whatever the entries say.
    pub problem: Option<Denial>,
    /// How many objects each privilege is given on.
    pub counts: BTreeMap<Privilege, usize>,
    /// How many of the objects some import rule imports.
    pub imported: usize,
    /// The objects of the logical database asked about, in the order of the file or of the server: by kind, schema and
    /// name.
    pub items: Vec<ObjectView>,
}

/// An object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectView {
    /// What it is.
    pub kind: rolecall_policy::ObjectKind,
    /// The logical database that it is in.
    pub database: String,
    /// The schema that it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its labels and privileges, each with what gave or took it.
    #[serde(flatten)]
    pub explanation: ObjectExplanation,
}

impl From<DatabaseNames> for NamesView {
    fn from(names: DatabaseNames) -> Self {
        match names {
            DatabaseNames::AllExcept(names) => Self::AllExcept(names),
            DatabaseNames::Only(names) => Self::Only(names),
        }
    }
}

impl From<&DatabaseNames> for NamesView {
    fn from(names: &DatabaseNames) -> Self {
        names.clone().into()
    }
}

impl std::fmt::Display for NamesView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AllExcept(names) if names.is_empty() => f.write_str("all"),
            Self::AllExcept(names) => write!(f, "all except {}", names.join(", ")),
            Self::Only(names) if names.is_empty() => f.write_str("none"),
            Self::Only(names) => f.write_str(&names.join(", ")),
        }
    }
}

impl From<Blocked> for BlockedView {
    fn from(blocked: Blocked) -> Self {
        Self { reason: blocked.reason.to_owned(), message: blocked.message }
    }
}
