//! What access policy says about one user and one database, and why.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::mode::Mode;
use crate::one_line::{Join, OneLine};
use crate::origin::Origin;
use crate::owned_objects::OwnedObjectsDecision;
use crate::permission::PermissionEntries;
use crate::spec::ApprovalSpec;

/// The answer for one user, one database server and one logical database.
///
/// Where access is denied nothing is given: [`Decision::provisioning`] is empty.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Why nothing is given; `None`: access is allowed and users are provisioned.
    pub denial: Option<Denial>,
    /// The roles that let the user in: in each of them labels, expression and logical database match together.
    /// Filled too where provisioning or the requested database roles are what denies.
    pub allowed_by: Vec<Origin>,
    /// What the user gets.
    #[serde(flatten)]
    pub provisioning: Provisioning,
}

impl Decision {
    /// Whether the user gets in and is provisioned.
    pub fn is_allowed(&self) -> bool {
        self.denial.is_none()
    }
}

/// What a user gets on a database, supposing that access is allowed.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioning {
    /// How the user is provisioned.
    pub mode: Mode,
    /// The roles that provision, with the mode of each.
    pub contributing: Vec<Contribution>,
    /// The smallest `maxSessionTtl` of the contributing roles.
    pub max_session_ttl: Option<SessionLimit>,
    /// What becomes of what the user owns when it is dropped, by the contributing roles.
    #[serde(skip_serializing_if = "OwnedObjectsDecision::is_silent")]
    pub owned_objects: OwnedObjectsDecision,
    /// The database roles that the user gets, sorted by name.
    pub db_roles: Vec<GivenRole>,
    /// The database roles that some contributing role gives and that the user does not get, sorted by name.
    pub withheld_db_roles: Vec<WithheldRole>,
    /// The `dbPermissions` entries in force.
    pub permissions: PermissionEntries,
    /// The approvals that sessions need: of each role whose allow selects the database and that asks for some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<RequiredApproval>,
    /// How many sessions the user may have at once: of each role whose allow selects the database and that says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub session_quotas: Vec<SessionQuota>,
}

/// The approval that one role asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredApproval {
    /// The role.
    pub role: String,
    /// What it asks for.
    #[serde(flatten)]
    pub approval: ApprovalSpec,
}

/// How many sessions that are not over a user may have by one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionQuota {
    /// The role.
    pub role: String,
    /// How many.
    pub sessions: u32,
}

impl Provisioning {
    /// Names of the database roles, sorted, each once.
    pub fn db_role_names(&self) -> Vec<&str> {
        self.db_roles.iter().map(|role| role.name.as_str()).collect()
    }
}

/// Why access is denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    /// The reason as conditions spell it.
    pub reason: Reason,
    /// A sentence for people; it names role and entry.
    pub message: String,
    /// What in the roles denies, all of it; empty where nothing allows.
    pub denied_by: Vec<Origin>,
}

impl Denial {
    /// The message is kept in one line, whatever names and texts of other people it quotes.
    pub(crate) fn new(reason: Reason, message: &str, denied_by: Vec<Origin>) -> Self {
        Self { reason, message: OneLine(message).to_string(), denied_by }
    }
}

impl std::error::Error for Denial {}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// Reasons that policy can have, spelled as in conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Reason {
    /// A role denies, none allows, or a requested database role is not among the allowed ones.
    AccessDenied,
    /// Access passes, but no contributing role provisions users.
    ProvisioningDisabled,
    /// The user names a role that does not exist, whose denies are therefore unknown.
    RoleNotFound,
    /// The user names a role that is stored but not valid, whose denies are therefore unknown.
    RoleInvalid,
    /// The protocol connects to one logical database and none is named.
    DatabaseNameRequired,
    /// An import rule that may concern the database is not valid: no object permissions.
    ImportRuleInvalid,
}

impl Reason {
    /// The reason as conditions spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::ProvisioningDisabled => "ProvisioningDisabled",
            Self::RoleNotFound => "RoleNotFound",
            Self::RoleInvalid => "RoleInvalid",
            Self::DatabaseNameRequired => "DatabaseNameRequired",
            Self::ImportRuleInvalid => "ImportRuleInvalid",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role that provisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contribution {
    /// The role's name.
    pub role: String,
    /// Its mode.
    pub mode: Mode,
}

impl fmt::Display for Contribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role {} provisions with mode {}", self.role, self.mode)
    }
}

/// The limit of a session's length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionLimit {
    /// How long a session may last.
    #[serde(serialize_with = "crate::duration::serialize")]
    pub ttl: Duration,
    /// The role that says so.
    pub role: String,
}

impl fmt::Display for SessionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role {} options.maxSessionTtl = {}", self.role, crate::duration::format(self.ttl))
    }
}

/// A database role that the user gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenRole {
    /// The database role.
    pub name: String,
    /// The entries that give it.
    pub given_by: Vec<Origin>,
}

impl fmt::Display for GivenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} given by {}", OneLine(&self.name), Join(&self.given_by))
    }
}

/// A database role that some role gives and that the user does not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WithheldRole {
    /// The database role.
    pub name: String,
    /// The entries that give it.
    pub given_by: Vec<Origin>,
    /// The deny entries that take it away; none: the session did not ask for it.
    pub taken_by: Vec<Origin>,
}

impl fmt::Display for WithheldRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} given by {}, ", OneLine(&self.name), Join(&self.given_by))?;
        match self.taken_by.as_slice() {
            [] => f.write_str("not requested"),
            taken_by => write!(f, "taken by {}", Join(taken_by)),
        }
    }
}
