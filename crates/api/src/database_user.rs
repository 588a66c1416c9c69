//! `DatabaseUser`: a person or a workload.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{self, at};
use crate::{CreateDbUserMode, schema};

/// Annotation of a DatabaseUser: who uses it from the cluster, as the API server names them, separated by commas. It is
/// what `kubectl rolecall` goes by where no user is named. It gives nobody any right.
pub const KUBERNETES_USERS: &str = "rolecall.dev/kubernetes-users";

/// A user, its roles and traits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "rolecall.dev",
    version = "v1alpha1",
    kind = "DatabaseUser",
    plural = "databaseusers",
    shortname = "dbu",
    category = "rolecall",
    namespaced,
    status = "DatabaseUserStatus",
    derive = "PartialEq",
    doc = "A DatabaseUser is a person or a workload that can have sessions on databases. It does nothing by \
           itself: a DatabaseSession starts an access.",
    validation = at(".spec.username", rules::USERNAME_OR_SHORT_NAME),
    printcolumn(name = "USERNAME", type_ = "string", json_path = ".spec.username"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = at(".username", rules::SAME_USERNAME),
    validation = at(".originCluster", rules::SAME_ORIGIN_CLUSTER),
)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseUserSpec {
    /// Name of the user in the databases, for example `alice@example.com`: at most 63 bytes, no control
    /// characters. Immutable. Absent: `metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::database_name")]
    pub username: Option<String>,

    /// Cluster that the user comes from. Where it is set and is not this cluster's name, the database user is
    /// called `remote-<username>-<originCluster>`. Immutable. Absent or empty: this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::database_name", extend("minLength" = 0))]
    pub origin_cluster: Option<String>,

    /// ProvisioningRoles of the same namespace, by name. One that does not exist or is not valid keeps the
    /// user from starting sessions, because what it denies is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub roles: Vec<String>,

    /// Facts about the user that the templates of roles use, as `internal.<name>` and `external.<name>`: name
    /// to values, for example `{db_roles: [reader], team: [blue, green]}`.
    #[serde(default, skip_serializing_if = "schema::is_empty")]
    #[schemars(schema_with = "schema::traits")]
    pub traits: BTreeMap<String, Vec<String>>,

    /// `true`: every session of the user ends now, and none starts. Default: `false`.
    #[serde(default)]
    pub suspend: bool,
}

/// What Rolecall found out about a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseUserStatus {
    /// The `metadata.generation` that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, False with `UsernameTaken` where an older DatabaseUser has the same database user name;
    /// `RolesResolved`, False while a role of the user is missing or not valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The user's accounts: one entry per DatabaseAdmin where the account exists or existed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["database".into()]))]
    pub accounts: Vec<AccountStatus>,
}

/// A user's account on one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// Name of the DatabaseAdmin.
    pub database: String,

    /// Name of the database user.
    pub username: String,

    /// What the account is now. `Enabled`: it can log in. `Disabled`: it exists without login, roles and
    /// connections. `Dropped`: it is gone. `Conflict`: a user of that name exists that is not managed, or that
    /// another DatabaseAdmin works with, and is not touched. `Orphaned`: it can log in though no live session explains it.
    pub phase: AccountPhase,

    /// Live sessions of the account.
    pub sessions: u32,

    /// Database roles that the account is a member of now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub db_roles: Vec<String>,

    /// What becomes of the account when its last session ends: `Keep` or `BestEffortDrop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<CreateDbUserMode>")]
    pub mode: Option<CreateDbUserMode>,

    /// The role that gets what the account owns before it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassign_to: Option<String>,

    /// What a person should know or do, for example the membership that Rolecall cannot revoke, who granted
    /// it and the statement to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What an account is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AccountPhase {
    /// It can log in.
    Enabled,
    /// It exists without login, roles and connections.
    Disabled,
    /// It is gone.
    Dropped,
    /// A user of that name exists that is not managed, or that another DatabaseAdmin works with.
    Conflict,
    /// It can log in though no live session explains it.
    Orphaned,
    /// A phase that a newer version wrote.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl AccountPhase {
    /// Can somebody use the account, so that its access is still to be ended?
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Enabled | Self::Orphaned)
    }
}
