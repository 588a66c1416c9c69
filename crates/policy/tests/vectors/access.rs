//! Kinds that check what a user may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use rolecall_policy::spec::{
    Labels, PermissionSpec, RoleConditions, RoleOptions, RoleSpec, Traits, UserSpec,
};
use rolecall_policy::{
    Database, DbObject, Decision, Effect, Faults, ImportRules, LabelledObjects, Mode, ObjectKind,
    PermissionEntries, PermissionEntry, Protocol, Reason, Roles, User, check_access, compute_permissions,
    decide_access, decide_objects, decide_provisioning, label_objects,
};
use serde::Deserialize;
use serde_json::Value;

use crate::check::{Actual, known_kind, read};
use crate::import::{NamedRule, compile};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedRole {
    name: String,
    #[serde(default)]
    options: RoleOptions,
    #[serde(default)]
    allow: RoleConditions,
    #[serde(default)]
    deny: RoleConditions,
}

/// The stored roles and their names.
fn roles(named: Vec<NamedRole>) -> (Roles, Vec<String>) {
    let mut roles = Roles::new();
    let mut names = Vec::new();
    for NamedRole { name, options, allow, deny } in named {
        roles.insert(&name, &RoleSpec { options, allow, deny });
        names.push(name);
    }
    (roles, names)
}

pub(crate) fn access_check(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Input {
        username: String,
        traits: Traits,
        roles: Vec<NamedRole>,
        database: DatabaseInput,
        database_name: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct DatabaseInput {
        protocol: Protocol,
        labels: Labels,
    }
    let input: Input = read(input)?;
    let (roles, names) = roles(input.roles);
    let spec = UserSpec { username: input.username, traits: input.traits, roles: names };
    let database = Database {
        name: "database".to_owned(),
        protocol: input.database.protocol,
        labels: input.database.labels,
    };
    let access = check_access(&User::resolve(&spec, &roles), &database, input.database_name.as_deref());
    Ok(Actual::new().field("allowed", access.is_ok()))
}

pub(crate) fn role_evaluation(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Input {
        roles: Vec<NamedRole>,
        database: LabelsOnly,
        #[serde(default)]
        requested_db_roles: Vec<String>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct LabelsOnly {
        labels: Labels,
    }
    let input: Input = read(input)?;
    let (roles, names) = roles(input.roles);
    let user = User::resolve(&UserSpec { roles: names, ..UserSpec::default() }, &roles);
    if user.unresolved().is_some_and(|denial| denial.reason == Reason::RoleInvalid) {
        return Ok(Actual::invalid());
    }
    let database =
        Database { name: "database".to_owned(), protocol: Protocol::Postgres, labels: input.database.labels };
    Ok(match decide_provisioning(&user, &database, &input.requested_db_roles) {
        Err(refusal) => Actual::new().field("mode", refusal.mode).field("refused", refusal.denial.reason),
        Ok(provisioning) => Actual::new()
            .field("mode", provisioning.mode)
            .set("dbRoles", provisioning.db_role_names())
            .multiset("allowPermissions", specs(&provisioning.permissions.allow))
            .multiset("denyPermissions", specs(&provisioning.permissions.deny)),
    })
}

/// Entries as written.
fn specs(entries: &[Arc<PermissionEntry>]) -> Vec<&PermissionSpec> {
    entries.iter().map(|entry| &entry.spec).collect()
}

pub(crate) fn permission_computation(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        allow: Vec<PermissionSpec>,
        deny: Vec<PermissionSpec>,
        objects: Vec<Object>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        #[serde(deserialize_with = "known_kind")]
        kind: Option<ObjectKind>,
        name: String,
        labels: Labels,
    }
    let input: Input = read(input)?;
    let entries = |effect, specs: &[PermissionSpec]| {
        let entry = |(i, spec)| Arc::new(PermissionEntry::read("role", effect, i, spec, &mut Faults::new()));
        specs.iter().enumerate().map(entry).collect()
    };
    let entries = PermissionEntries {
        allow: entries(Effect::Allow, &input.allow),
        deny: entries(Effect::Deny, &input.deny),
    };
    let objects = input.objects.into_iter();
    let labelled = LabelledObjects::from_labels(objects.filter_map(|object| {
        Some((DbObject::new(object.kind?, "app", "public", object.name), object.labels))
    }));
    let permissions = compute_permissions(&entries, &Arc::new(labelled), None);
    let named = permissions.iter().map(|(object, privileges)| (object.name.to_string(), privileges));
    Ok(Actual::new().field("permissions", by_privilege(named)))
}

fn by_privilege(
    objects: impl Iterator<Item = (String, rolecall_policy::PrivilegeSet)>,
) -> BTreeMap<&'static str, Vec<String>> {
    let mut by_privilege: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, privileges) in objects {
        for privilege in privileges.iter() {
            by_privilege.entry(privilege.as_str()).or_default().push(name.clone());
        }
    }
    by_privilege.values_mut().for_each(|names| names.sort());
    by_privilege
}

pub(crate) fn decision(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Input {
        user: UserSpec,
        roles: Vec<NamedRole>,
        database: DatabaseInput,
        database_name: Option<String>,
        #[serde(default)]
        requested_db_roles: Vec<String>,
        import_rules: Vec<NamedRule>,
        objects: Vec<Object>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct DatabaseInput {
        name: String,
        protocol: Protocol,
        labels: Labels,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        #[serde(deserialize_with = "known_kind")]
        kind: Option<ObjectKind>,
        database: String,
        schema: String,
        name: String,
    }
    let input: Input = read(input)?;
    let (roles, _) = roles(input.roles);
    let user = User::resolve(&input.user, &roles);
    let DatabaseInput { name, protocol, labels } = input.database;
    let database = Database { name, protocol, labels };
    let database_name = input.database_name.as_deref();
    let Decision { denial, provisioning, .. } =
        decide_access(&user, &database, database_name, &input.requested_db_roles);

    let objects = input.objects.into_iter();
    let objects = objects
        .filter_map(|object| Some(DbObject::new(object.kind?, object.database, object.schema, object.name)));
    let rules = ImportRules::of_namespace(compile(input.import_rules));
    let labelled = Arc::new(label_objects(&rules, &database, objects.collect()));
    let permissions = decide_objects(&rules, &database, database_name, &provisioning.permissions, &labelled)
        .map_err(|denial| denial.to_string())?;
    let named = permissions.iter().map(|(object, privileges)| {
        (format!("{}.{}:{}", object.schema, object.name, object.kind), privileges)
    });
    assert!(
        denial.is_none() || provisioning.mode == Mode::Disabled,
        "nothing is given where access is denied"
    );
    Ok(Actual::new()
        .field("allowed", denial.is_none())
        .field("reason", denial.as_ref().map(|denial| denial.reason))
        .field("mode", provisioning.mode)
        .field("dbRoles", provisioning.db_role_names())
        .field("permissions", by_privilege(named)))
}
