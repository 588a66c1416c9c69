//! `DatabaseSessionDecision`: what one person decided about one request.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, schema};

/// Who decided what, about which request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "rolecall.dev",
    version = "v1alpha1",
    kind = "DatabaseSessionDecision",
    plural = "databasesessiondecisions",
    shortname = "dbsd",
    category = "rolecall",
    namespaced,
    derive = "PartialEq",
    doc = "A DatabaseSessionDecision is what one person decided about a DatabaseSession that waits for approval. It \
           never changes, and goes with its session. kubectl rolecall approve and deny create it.",
    printcolumn(name = "SESSION", type_ = "string", json_path = ".spec.sessionRef.name"),
    printcolumn(name = "DECISION", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "BY", type_ = "string", json_path = ".spec.decidedBy"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = rules::SAME_DECISION)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSessionDecisionSpec {
    /// The session that is decided about: this one, and none that has its name later.
    pub session_ref: DecidedSession,

    /// The `status.request.hash` of the session that whoever decides has read. A decision about another request does not
    /// count.
    #[schemars(schema_with = "schema::request_hash")]
    pub request_hash: String,

    /// The `spec.requestedBy` of the session. Whoever asks never decides.
    #[schemars(length(min = 1, max = 1024))]
    pub requested_by: String,

    /// The ProvisioningRoles on whose behalf this is decided: those that ask for approval, and on which whoever decides
    /// has the verb `approve`.
    #[schemars(schema_with = "schema::role_names")]
    pub roles: Vec<String>,

    /// `Approve`, or `Deny`, which is final for the session.
    #[schemars(schema_with = "schema::of::<Verdict>")]
    pub decision: Verdict,

    /// Who decides, as the API server calls them: it writes this itself where it has MutatingAdmissionPolicies, and refuses
    /// another name than that of whoever sends the request.
    #[schemars(length(min = 1, max = 1024))]
    pub decided_by: String,

    /// Groups of whoever decides, where a role names some in `approval.who`. The API server refuses those that they are not in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::group_names")]
    pub groups: Vec<String>,

    /// Why, for the reader and the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// One session and no other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecidedSession {
    /// Name of the DatabaseSession, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Its `metadata.uid`.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// The session may start.
    Approve,
    /// It may not, ever.
    Deny,
    /// What a newer version knows. It approves nothing.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl Verdict {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "Approve",
            Self::Deny => "Deny",
            Self::Unknown => "Unknown",
        }
    }
}
