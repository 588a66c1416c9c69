//! What a session asks for where that takes an approval, and how far that has come: parts of a session's status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{Approvers, GoDuration, Selector, Verdict};

/// What exactly a session asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRequest {
    /// The session, so that no approval of another one can be used for it.
    pub session: RequestingSession,

    /// Who asks.
    pub requested_by: String,

    /// Why, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// Whose access it is.
    pub user: RequestedUser,

    /// To what.
    pub server: RequestedServer,

    /// What becomes of the account at the end: `Keep` or `BestEffortDrop`.
    pub mode: String,

    /// The database role that gets what the account owns before it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassign_to: Option<String>,

    /// The database roles, by name.
    #[serde(default)]
    pub db_roles: Vec<String>,

    /// The entries of object permissions in force, in the form in which equal effects are written equally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<RequestedPermissions>,

    /// How long, from the start. Absent: until the session is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub duration: Option<GoDuration>,

    /// `sha256:` and the SHA-256 of everything above, written as RFC 8785 says. docs/approvals.md shows how to compute it.
    #[serde(default)]
    pub hash: String,
}

/// The session that asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestingSession {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Whose access it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestedUser {
    /// The DatabaseUser.
    pub name: String,
    /// Its name in the database.
    pub username: String,
}

/// To what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestedServer {
    /// The DatabaseAdmin.
    pub name: String,
    /// Its uid: one of the same name that is made later is another one.
    pub uid: String,
    /// What it speaks.
    pub protocol: String,
    /// Where it is.
    pub uri: String,
    /// The name in its certificate, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The logical database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_name: Option<String>,
}

/// Entries of object permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestedPermissions {
    /// What is given.
    #[serde(default)]
    pub allow: Vec<RequestedPermission>,
    /// What is taken away from it.
    #[serde(default)]
    pub deny: Vec<RequestedPermission>,
    /// The DbObjectImportRules that say which labels objects have; none: the built-in one.
    #[serde(default)]
    pub import_rules: Vec<RequestedRule>,
}

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestedPermission {
    /// Objects by their labels.
    #[serde(default, rename = "match")]
    pub matching: Selector,
    /// Privileges on them; `*`: all.
    #[serde(default)]
    pub privileges: Vec<String>,
}

/// A DbObjectImportRule as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestedRule {
    /// Its name.
    pub name: String,
    /// `sha256:` and the SHA-256 of its spec.
    pub hash: String,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalProgress {
    /// Since when exactly this is asked for.
    pub requested_at: Time,
    /// When it is given up, if it has not been approved by then.
    pub expires_at: Time,
    /// What it takes: each role that asks for approval has its own say.
    #[serde(default)]
    pub needs: Vec<ApprovalNeed>,
}

/// What one role asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalNeed {
    /// The ProvisioningRole.
    pub role: String,
    /// How many people have to approve.
    pub count: u32,
    /// How many have.
    pub given: u32,
    /// Who may, of those with the verb `approve` on the role. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Approvers>,
}

/// A decision that counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedDecision {
    /// Name of the DatabaseSessionDecision.
    pub name: String,
    /// Who decided.
    pub by: String,
    /// `Approve` or `Deny`.
    #[schemars(with = "String")]
    pub decision: Verdict,
    /// On behalf of which ProvisioningRoles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// When.
    pub time: Time,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
