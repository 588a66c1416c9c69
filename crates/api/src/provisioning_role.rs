//! `ProvisioningRole`: who may get what.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::rules::at;
use crate::{GoDuration, Selector, rules, schema};

/// What a role allows and denies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "rolecall.dev",
    version = "v1alpha1",
    kind = "ProvisioningRole",
    plural = "provisioningroles",
    shortname = "prole",
    category = "rolecall",
    namespaced,
    status = "ProvisioningRoleStatus",
    derive = "PartialEq",
    doc = "A ProvisioningRole says which databases a user may reach and with which database roles and object \
           permissions. DatabaseUsers name it in spec.roles.",
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "DATABASES", type_ = "integer", json_path = ".status.databases"),
    printcolumn(name = "USERS", type_ = "integer", json_path = ".status.users"),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningRoleSpec {
    /// How users are provisioned where this role matches.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub options: RoleOptions,

    /// What this role gives. A user reaches a logical database where one single role of theirs matches by
    /// labels, expression and name together.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    #[schemars(schema_with = "allow_rules")]
    pub allow: RoleRules,

    /// What this role takes away from everything that all the user's roles give. `*` is allowed everywhere.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub deny: RoleRules,
}

/// How users are provisioned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = at(".ownedObjects.policy", rules::REASSIGN_BEFORE_A_DROP))]
#[serde(rename_all = "camelCase")]
pub struct RoleOptions {
    /// What becomes of the database user when its last session ends. `Keep`: it stays, disabled and without
    /// roles. `BestEffortDrop`: it is dropped; where something depends on it, as `Keep`. `Disabled`: this
    /// role provisions nobody. Of several roles the strongest wins: Disabled, then Keep, then BestEffortDrop.
    /// Absent: see `createDbUser`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<CreateDbUserMode>")]
    pub create_db_user_mode: Option<CreateDbUserMode>,

    /// Older switch: `true` means `Keep` where `createDbUserMode` is absent. Absent: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_db_user: Option<bool>,

    /// Longest life of a session that this role takes part in, as a duration such as `8h`. Of several roles
    /// the shortest counts. Absent: no limit from this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::positive_duration")]
    pub max_session_ttl: Option<GoDuration>,

    /// What becomes of the objects that the user made in its sessions and owns when it is to be dropped. Absent: as
    /// `Keep`, but where another role of the user says otherwise. Of several roles `Keep` wins, and so it is where they
    /// name different roles. MongoDB has no owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<OwnedObjects>")]
    pub owned_objects: Option<OwnedObjects>,

    /// Sessions that this role takes part in start only when other people have approved them. Of several roles each has
    /// its own say. Absent: this role asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<RoleApproval>,

    /// How many sessions that are not over, waiting ones included, a DatabaseUser may have that this role takes part in.
    /// The oldest count; one beyond is Rejected (`QuotaExceeded`). Absent: no limit from this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_sessions: Option<u32>,
}

/// What becomes of what a user owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = at(".role", rules::ROLE_OF_REASSIGN))]
#[serde(rename_all = "camelCase")]
pub struct OwnedObjects {
    /// `Keep`: the user keeps them, so that it is disabled and not dropped. `ReassignTo`: they go to `role`, in every
    /// logical database of the server, and the user is dropped; needs `createDbUserMode: BestEffortDrop`. What would
    /// run with the rights of its new owner (functions that are SECURITY DEFINER, views, triggers ...) is never given
    /// away: then nothing is, and the user is kept as with `Keep`.
    pub policy: OwnedObjectsPolicy,

    /// The role that gets them; on Redshift, where roles own nothing, a user. The admin user must be a member of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::role_name")]
    pub role: Option<String>,
}

/// Whether a user keeps what it owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OwnedObjectsPolicy {
    /// It does.
    #[default]
    Keep,
    /// Somebody else gets it.
    ReassignTo,
}

/// What approval a role asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleApproval {
    /// How many people have to approve. Whoever asks for the session is never one of them. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10))]
    pub count: u32,

    /// How long a session waits for it, as a duration such as `8h`; then it is Rejected (`ApprovalExpired`). Default: `24h`.
    #[serde(default = "one_day")]
    #[schemars(schema_with = "schema::positive_duration")]
    pub timeout: GoDuration,

    /// Who may approve, of those who have the verb `approve` on this role. Roles for everything (`*`) include that verb: this
    /// keeps out whoever has it for no other reason. Absent: all who have the verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::SOMEBODY)]
    pub who: Option<Approvers>,
}

impl Default for RoleApproval {
    fn default() -> Self {
        Self { count: one(), timeout: one_day(), who: None }
    }
}

/// People: whoever is named, or is in a group that is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approvers {
    /// Users, as the API server calls them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub users: Vec<String>,

    /// Groups, as the API server calls them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub groups: Vec<String>,
}

fn one() -> u32 {
    1
}

fn one_day() -> GoDuration {
    GoDuration::from_secs(86_400)
}

/// What becomes of a database user, from the weakest to the strongest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum CreateDbUserMode {
    /// Nobody is provisioned.
    #[default]
    Disabled,
    /// The user stays, disabled.
    Keep,
    /// The user is dropped where nothing depends on it.
    BestEffortDrop,
}

/// One side of a role: what it allows, or what it denies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleRules {
    /// Databases by their labels: key to patterns, for example `{env: [staging, "prod-*"]}`. Every key must
    /// match with one of its patterns. `*` in a pattern stands for any run of characters; a pattern `^...$`
    /// is a regular expression. `{"*": ["*"]}` matches every database; empty matches none. Keys and values
    /// may hold templates.
    #[serde(default, skip_serializing_if = "schema::is_empty")]
    #[schemars(schema_with = "schema::templated_selector")]
    pub db_labels: Selector,

    /// Databases by a CEL expression over `labels` (map of string to string) and `traits` (map of string to
    /// list of string), for example `labels["env"] == "prod"`. Where `dbLabels` is set as well, both must
    /// match in allow, and either denies in deny. A missing label reads as `""`, a missing trait as `[]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub db_labels_expression: Option<String>,

    /// Logical databases: exact names, or `*` for all. Entries may hold templates. In deny a name is denied
    /// on every server, whatever its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::templates")]
    pub db_names: Vec<String>,

    /// Database users: exact names, or `*`. Ignored where users are provisioned, because a user is then
    /// always called by its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::templates")]
    pub db_users: Vec<String>,

    /// Database roles that the user becomes a member of, for example `reader`, `{{internal.db_roles}}` or
    /// `team-{{external.team}}`; on MongoDB `readWrite@db`. In allow `*` is refused; in deny it takes all
    /// roles away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::templates")]
    pub db_roles: Vec<String>,

    /// Permissions on objects such as tables, selected by the labels that DbObjectImportRules give.
    ///
    /// On PostgreSQL the admin user must hold the privileges WITH GRANT OPTION, or own the objects; on MongoDB it must
    /// be able to make roles in the logical database; what it may not grant is named in
    /// the session's condition PermissionsComplete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub db_permissions: Vec<DbPermission>,
}

/// Permissions on the objects that carry certain labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DbPermission {
    /// Objects by their labels, for example `{object_kind: [table], dept: [hr]}`. `{"*": ["*"]}` selects
    /// every object; empty selects none. Templates are not expanded here.
    #[serde(default, rename = "match", skip_serializing_if = "schema::is_empty")]
    #[schemars(schema_with = "schema::selector")]
    pub matching: Selector,

    /// Privileges on these objects, for example `SELECT`; case and outer blanks do not matter. One that does
    /// not fit an object's kind is left out there. `*` (every privilege) is allowed in deny only.
    #[schemars(schema_with = "schema::privileges")]
    pub permissions: Vec<String>,
}

/// What Rolecall found out about a role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningRoleStatus {
    /// The `metadata.generation` that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`; `Valid`, False with one message per bad template, pattern or expression. A role that is not
    /// valid keeps everybody who carries it from starting sessions, because what it denies is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// DatabaseAdmins that `allow` selects by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databases: Option<u32>,

    /// DatabaseUsers that carry the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
}

/// What a role allows: as what it denies, without the wildcards that only deny has.
fn allow_rules(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = RoleRules::json_schema(generator);
    schema::add_rule(&mut schema, "/properties/dbRoles/items", rules::NO_ROLE_WILDCARD);
    let privileges = "/properties/dbPermissions/items/properties/permissions/items";
    schema::add_rule(&mut schema, privileges, rules::NO_PRIVILEGE_WILDCARD);
    schema
}
