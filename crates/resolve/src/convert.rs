//! Field by field from the API's types to the policy's. Structs are taken apart without `..`, so that a field that
//! is added to the API and not decided upon does not compile.

use rolecall_api::{
    Approvers, CreateDbUserMode, DatabaseUser, DbObjectImportRuleSpec, DbPermission, OwnedObjectsPolicy,
    ProvisioningRoleSpec, RoleApproval, RoleOptions, RoleRules,
};
use rolecall_policy::{Mode, OwnedObjects, spec};

/// What policy needs of a ProvisioningRole.
pub fn role_spec(role: &ProvisioningRoleSpec) -> spec::RoleSpec {
    let ProvisioningRoleSpec { options, allow, deny } = role;
    let RoleOptions {
        create_db_user_mode,
        create_db_user,
        max_session_ttl,
        owned_objects,
        approval,
        max_sessions,
    } = options;
    spec::RoleSpec {
        options: spec::RoleOptions {
            create_db_user_mode: create_db_user_mode.map(mode),
            create_db_user: *create_db_user,
            max_session_ttl: max_session_ttl.map(rolecall_api::GoDuration::get),
            owned_objects: owned_objects.as_ref().map(self::owned_objects),
            approval: approval.as_ref().map(approval_spec),
            max_sessions: *max_sessions,
        },
        allow: conditions(allow),
        deny: conditions(deny),
    }
}

/// What policy needs of a DatabaseUser. `username` is the database user name, remote form included.
pub fn user_spec(user: &DatabaseUser, username: &str) -> spec::UserSpec {
    spec::UserSpec {
        username: username.to_owned(),
        traits: user.spec.traits.clone(),
        roles: user.spec.roles.clone(),
    }
}

/// What policy needs of a DbObjectImportRule.
pub fn rule_spec(rule: &DbObjectImportRuleSpec) -> spec::ImportRuleSpec {
    let DbObjectImportRuleSpec { priority, database_labels, mappings } = rule;
    spec::ImportRuleSpec {
        priority: *priority,
        database_labels: Some(database_labels.clone()),
        mappings: mappings.iter().map(mapping).collect(),
    }
}

/// The database user name of a DatabaseUser: `spec.username`, else its own name; of a user from another cluster
/// than `this_cluster` the remote form.
pub fn database_username(user: &DatabaseUser, this_cluster: &str) -> String {
    let name = user.spec.username.as_deref().or(user.metadata.name.as_deref()).unwrap_or_default();
    let origin = user.spec.origin_cluster.as_deref().unwrap_or_default();
    rolecall_policy::remote_username(name, origin, this_cluster)
}

fn mapping(mapping: &rolecall_api::ImportMapping) -> spec::MappingSpec {
    let rolecall_api::ImportMapping { matching, scope, add_labels } = mapping;
    let rolecall_api::ObjectMatch {
        table_names,
        view_names,
        materialized_view_names,
        foreign_table_names,
        sequence_names,
        function_names,
        procedure_names,
        schema_names,
        collection_names,
    } = matching;
    spec::MappingSpec {
        matching: spec::MatchSpec {
            table_names: table_names.clone(),
            view_names: view_names.clone(),
            materialized_view_names: materialized_view_names.clone(),
            foreign_table_names: foreign_table_names.clone(),
            sequence_names: sequence_names.clone(),
            function_names: function_names.clone(),
            procedure_names: procedure_names.clone(),
            schema_names: schema_names.clone(),
            collection_names: collection_names.clone(),
        },
        scope: spec::ScopeSpec {
            database_names: scope.database_names.clone(),
            schema_names: scope.schema_names.clone(),
        },
        add_labels: add_labels.clone(),
    }
}

fn conditions(rules: &RoleRules) -> spec::RoleConditions {
    let RoleRules { db_labels, db_labels_expression, db_names, db_users, db_roles, db_permissions } = rules;
    spec::RoleConditions {
        db_labels: db_labels.clone(),
        db_labels_expression: db_labels_expression.clone(),
        db_names: db_names.clone(),
        db_users: db_users.clone(),
        db_roles: db_roles.clone(),
        db_permissions: db_permissions
            .iter()
            .map(|DbPermission { matching, permissions }| spec::PermissionSpec {
                matching: matching.clone(),
                permissions: permissions.clone(),
            })
            .collect(),
    }
}

fn owned_objects(owned: &rolecall_api::OwnedObjects) -> OwnedObjects {
    let rolecall_api::OwnedObjects { policy, role } = owned;
    match policy {
        OwnedObjectsPolicy::Keep => OwnedObjects::Keep {},
        OwnedObjectsPolicy::ReassignTo => OwnedObjects::ReassignTo { role: role.clone().unwrap_or_default() },
    }
}

fn approval_spec(approval: &RoleApproval) -> spec::ApprovalSpec {
    let RoleApproval { count, timeout, who } = approval;
    let Approvers { users, groups } = who.clone().unwrap_or_default();
    spec::ApprovalSpec { count: *count, timeout: timeout.get(), users, groups }
}

fn mode(mode: CreateDbUserMode) -> Mode {
    match mode {
        CreateDbUserMode::Disabled => Mode::Disabled,
        CreateDbUserMode::Keep => Mode::Keep,
        CreateDbUserMode::BestEffortDrop => Mode::BestEffortDrop,
    }
}
