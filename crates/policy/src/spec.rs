//! What people write: plain structs with the field names of the custom resources.
//!
//! They check nothing themselves. [`Role::compile`](crate::Role::compile) and
//! [`ImportRule::compile`](crate::ImportRule::compile) say what is wrong with them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration;
use crate::mode::Mode;
use crate::owned_objects::OwnedObjects;

/// A label selector as written: label key to patterns.
pub type SelectorSpec = BTreeMap<String, Vec<String>>;

/// Spec of a ProvisioningRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleSpec {
    /// Whether and how users are provisioned.
    #[serde(default)]
    pub options: RoleOptions,
    /// What the role gives.
    #[serde(default)]
    pub allow: RoleConditions,
    /// What the role takes away, from whatever role it comes.
    #[serde(default)]
    pub deny: RoleConditions,
}

/// `options` of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleOptions {
    /// The provisioning mode; decides alone where it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_db_user_mode: Option<Mode>,
    /// The older switch: true means [`Mode::Keep`] where no mode is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_db_user: Option<bool>,
    /// How long a session may last, written like `8h` or `1h30m`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional")]
    pub max_session_ttl: Option<Duration>,
    /// What becomes of what the user owns when it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_objects: Option<OwnedObjects>,
    /// The approval that sessions need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalSpec>,
    /// How many sessions that are not over a user may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
}

/// `options.approval` of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalSpec {
    /// How many people have to approve.
    pub count: u32,
    /// How long a session waits for it.
    #[serde(with = "duration::text")]
    pub timeout: Duration,
    /// Users who may approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups whose members may approve. Neither users nor groups: all who have the right to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl RoleOptions {
    /// The mode that the options ask for: the explicit mode wins over the older switch; neither is
    /// [`Mode::Disabled`].
    #[must_use]
    pub fn mode(&self) -> Mode {
        match (self.create_db_user_mode, self.create_db_user) {
            (Some(mode), _) => mode,
            (None, Some(true)) => Mode::Keep,
            (None, _) => Mode::Disabled,
        }
    }
}

/// `allow` or `deny` of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleConditions {
    /// Databases by their labels; keys and values may be trait templates.
    #[serde(default)]
    pub db_labels: SelectorSpec,
    /// Databases by a CEL expression over `labels` and `traits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_labels_expression: Option<String>,
    /// Logical databases: exact names or `*`.
    #[serde(default)]
    pub db_names: Vec<String>,
    /// Database users. Checked for faults, otherwise without effect.
    #[serde(default)]
    pub db_users: Vec<String>,
    /// Database roles.
    #[serde(default)]
    pub db_roles: Vec<String>,
    /// Privileges on objects, by the labels of the objects.
    #[serde(default)]
    pub db_permissions: Vec<PermissionSpec>,
}

/// An entry of `dbPermissions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionSpec {
    /// Which objects, by their labels. Not templated.
    #[serde(default, rename = "match")]
    pub matching: SelectorSpec,
    /// Privileges; `*` only in deny.
    #[serde(default)]
    pub permissions: Vec<String>,
}

/// Spec of a DbObjectImportRule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportRuleSpec {
    /// Rules apply in ascending order; a later one overwrites the label values of an earlier one.
    #[serde(default)]
    pub priority: i64,
    /// Databases by their labels. Required; `{}` selects none, on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_labels: Option<SelectorSpec>,
    /// What to import and how to label it.
    #[serde(default)]
    pub mappings: Vec<MappingSpec>,
}

/// A mapping of an import rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MappingSpec {
    /// Which objects, by kind and name.
    #[serde(default, rename = "match")]
    pub matching: MatchSpec,
    /// Where.
    #[serde(default)]
    pub scope: ScopeSpec,
    /// Labels that matching objects get; values may be templates over `obj`.
    #[serde(default)]
    pub add_labels: BTreeMap<String, String>,
}

/// `match` of a mapping: patterns of names per kind of object. An empty list matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchSpec {
    /// Tables, partitioned ones included.
    #[serde(default)]
    pub table_names: Vec<String>,
    /// Views.
    #[serde(default)]
    pub view_names: Vec<String>,
    /// Materialised views.
    #[serde(default)]
    pub materialized_view_names: Vec<String>,
    /// Foreign tables.
    #[serde(default)]
    pub foreign_table_names: Vec<String>,
    /// Sequences.
    #[serde(default)]
    pub sequence_names: Vec<String>,
    /// Functions.
    #[serde(default)]
    pub function_names: Vec<String>,
    /// Procedures.
    #[serde(default)]
    pub procedure_names: Vec<String>,
    /// Schemas.
    #[serde(default)]
    pub schema_names: Vec<String>,
    /// MongoDB collections.
    #[serde(default)]
    pub collection_names: Vec<String>,
}

/// `scope` of a mapping: an empty list means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeSpec {
    /// Patterns of logical databases.
    #[serde(default)]
    pub database_names: Vec<String>,
    /// Patterns of schemas.
    #[serde(default)]
    pub schema_names: Vec<String>,
}

/// Who asks: the parts of a DatabaseUser that decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserSpec {
    /// The database user's name, for messages.
    #[serde(default)]
    pub username: String,
    /// Values for `internal.*` and `external.*` in templates, and `traits` in expressions.
    #[serde(default)]
    pub traits: Traits,
    /// Names of ProvisioningRoles.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// Trait name to values.
pub type Traits = BTreeMap<String, Vec<String>>;

/// The labels of a database or an object.
pub type Labels = BTreeMap<String, String>;
