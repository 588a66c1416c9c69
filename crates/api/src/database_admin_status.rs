//! Status of a `DatabaseAdmin`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What Rolecall observed on a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseAdminStatus {
    /// The `metadata.generation` that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`; `Reachable` (the admin user can log in); `Capable` (the admin user has the rights that live
    /// and waiting sessions need; its message carries the statements to run); `Reconciling` and `Stalled`
    /// while they apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Version of the server, for example `17.10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Identifies this server, whatever its address (PostgreSQL: the system identifier).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_identity: Option<String>,

    /// Which branch of the server's history Rolecall saw last: it changes with a failover, while `serverIdentity` stays
    /// (PostgreSQL: `timeline 2`; MongoDB: `term 7`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_history: Option<String>,

    /// The last `uri` and admin user name that Rolecall used. They differ from the spec only while `Stalled` says
    /// `LiveAccounts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,

    /// Accounts that Rolecall manages on the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<AccountCounts>,

    /// Objects with labels, in the logical databases where sessions use object permissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectCounts>,
}

/// The address and admin user that Rolecall uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The server's address, as in `spec.uri`.
    #[serde(default)]
    pub uri: String,
    /// The admin user's name.
    #[serde(default)]
    pub admin_user: String,
}

/// Accounts on a server, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountCounts {
    /// Accounts that can log in, because a session is live.
    #[serde(default)]
    pub enabled: u32,
    /// Accounts that exist without login, kept for later sessions.
    #[serde(default)]
    pub disabled: u32,
    /// Accounts that Rolecall created and that can be used without a live session.
    #[serde(default)]
    pub orphaned: u32,
}

/// Objects of a server, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectCounts {
    /// Logical databases that were read.
    #[serde(default)]
    pub databases: u32,
    /// Objects that import rules labelled.
    #[serde(default)]
    pub imported: u32,
}
