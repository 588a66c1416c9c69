//! Roles.

use anyhow::bail;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rolecall_api::{
    CreateDbUserMode, DbPermission, GoDuration, ProvisioningRole, ProvisioningRoleSpec, RoleOptions,
    RoleRules,
};
use rolecall_policy::{Privilege, Role, Template};
use rolecall_resolve::role_spec;
use serde_json::Value;

use super::fields::Field;
use super::resource::is_off;
use super::{Fields, Object, Reporter, Resource, expression};

/// Options that keep people out under some condition, which nothing here would check.
const GUARDS: [&str; 9] = [
    "require_session_mfa",
    "mfa_verification_interval",
    "device_trust_mode",
    "pin_source_ip",
    "request_access",
    "disconnect_expired_cert",
    "client_idle_timeout",
    "max_sessions",
    "max_connections",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Allow,
    Deny,
}

/// Converts a role.
///
/// # Errors
///
/// A field with an unexpected value.
pub(super) fn convert(
    mut resource: Resource<'_>,
    metadata: ObjectMeta,
    reporter: &mut Reporter<'_>,
) -> anyhow::Result<Vec<Object>> {
    let mut other = Vec::new();
    let options = options(resource.spec.fields("options")?, reporter, &mut other)?;
    let mut allow_fields = resource.spec.fields("allow")?;
    // Before v4 a role that said nothing about labels meant every database.
    let labels_written = allow_fields.clone().take("db_labels").is_some();
    let mut allow = rules(&mut allow_fields, Side::Allow, reporter)?;
    if !labels_written && resource.version.as_deref() == Some("v3") {
        allow.db_labels.insert("*".to_owned(), vec!["*".to_owned()]);
        reporter.note(
            "spec.allow.db_labels",
            "a role of version v3 without it means every database, which is written out",
        );
    }
    let mut deny_fields = resource.spec.fields("deny")?;
    let deny = rules(&mut deny_fields, Side::Deny, reporter)?;
    let provisions = options
        .create_db_user_mode
        .map_or(options.create_db_user == Some(true), |mode| mode != CreateDbUserMode::Disabled);
    let trims = !deny.db_roles.is_empty() || !deny.db_permissions.is_empty();
    if trims && (!provisions || (deny.db_labels.is_empty() && deny.db_labels_expression.is_none())) {
        reporter.note(
            "spec.deny",
            "takes database roles and permissions away here, where Teleport in practice does not",
        );
    }
    for fields in [allow_fields, deny_fields, resource.spec] {
        other.extend(fields.rest().into_iter().map(|field| field.path));
    }
    if !other.is_empty() {
        reporter.note("", format!("not about databases and left out: {}", other.join(", ")));
    }
    let spec = ProvisioningRoleSpec { options, allow, deny };
    let name = metadata.name.clone().unwrap_or_default();
    if let Err(faults) = Role::compile(&name, &role_spec(&spec)) {
        for fault in faults {
            reporter.lost("", format!("the ProvisioningRole is not valid until this is fixed: {fault}"));
        }
    }
    Ok(vec![Object::Role(Box::new(ProvisioningRole { metadata, spec, status: None }))])
}

fn options(
    mut fields: Fields<'_>,
    reporter: &mut Reporter<'_>,
    other: &mut Vec<String>,
) -> anyhow::Result<RoleOptions> {
    let mode = fields.take("create_db_user_mode").map(|field| mode(&field, reporter)).transpose()?.flatten();
    let options = RoleOptions {
        create_db_user_mode: mode,
        create_db_user: fields.truth("create_db_user")?,
        max_session_ttl: fields.take("max_session_ttl").and_then(|field| ttl(&field, reporter)),
        owned_objects: None,
        approval: None,
        max_sessions: None,
    };
    for guard in GUARDS {
        if let Some(field) = fields.take(guard).filter(|field| !is_off(field.value)) {
            reporter.lost(field.path, "Rolecall does not check it; the role applies without it");
        }
    }
    other.extend(fields.rest().into_iter().filter(|field| !is_off(field.value)).map(|field| field.path));
    Ok(options)
}

fn mode(field: &Field<'_>, reporter: &mut Reporter<'_>) -> anyhow::Result<Option<CreateDbUserMode>> {
    let expected = "off, keep or best_effort_drop";
    Ok(match field.value {
        // YAML reads an unquoted off as false.
        Value::Bool(false) => Some(CreateDbUserMode::Disabled),
        Value::Number(number) => match number.as_u64() {
            Some(0) => None,
            Some(1) => Some(CreateDbUserMode::Disabled),
            Some(2) => Some(CreateDbUserMode::Keep),
            Some(3) => Some(CreateDbUserMode::BestEffortDrop),
            _ => return field.refuse(expected),
        },
        Value::String(text) => match text.as_str() {
            "" => None,
            "off" => Some(CreateDbUserMode::Disabled),
            "keep" => Some(CreateDbUserMode::Keep),
            "best_effort_drop" => Some(CreateDbUserMode::BestEffortDrop),
            "best_effort_reassign_and_drop" => {
                reporter.lost(&field.path, "BestEffortDrop keeps a user that owns something: name the role that gets it in options.ownedObjects");
                Some(CreateDbUserMode::BestEffortDrop)
            }
            other => {
                bail!("{}: {}: {other:?} is not known; there are {expected}", reporter.place, field.path)
            }
        },
        _ => return field.refuse(expected),
    })
}

fn ttl(field: &Field<'_>, reporter: &mut Reporter<'_>) -> Option<GoDuration> {
    if is_off(field.value) {
        return None;
    }
    let ttl =
        field.text().ok().and_then(|text| text.parse::<GoDuration>().ok()).filter(|ttl| !ttl.get().is_zero());
    if ttl.is_none() {
        reporter.lost(
            &field.path,
            "it is not a duration such as 8h or 1h30m; sessions are not limited by this role",
        );
    }
    ttl
}

fn rules(fields: &mut Fields<'_>, side: Side, reporter: &mut Reporter<'_>) -> anyhow::Result<RoleRules> {
    let db_labels = fields.take("db_labels").map(Field::selector).transpose()?.unwrap_or_default();
    let db_labels_expression =
        fields.take("db_labels_expression").map(|field| labels_expression(&field, side, reporter));
    let mut list = |key: &str| templates(fields.take(key), side, reporter);
    let (db_names, db_users, db_roles) = (list("db_names")?, list("db_users")?, list("db_roles")?);
    let mut db_permissions = Vec::new();
    for field in fields.take("db_permissions").into_iter().flat_map(Field::items) {
        db_permissions.extend(permission(field, side, reporter)?);
    }
    Ok(RoleRules {
        db_labels,
        db_labels_expression: db_labels_expression.transpose()?.flatten(),
        db_names,
        db_users,
        db_roles,
        db_permissions,
    })
}

/// The expression in CEL. One that has no equal closes what it guards.
fn labels_expression(
    field: &Field<'_>,
    side: Side,
    reporter: &mut Reporter<'_>,
) -> anyhow::Result<Option<String>> {
    let source = field.text()?;
    if source.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(expression::to_cel(&source).unwrap_or_else(|why| {
        let (closed, effect) = match side {
            Side::Allow => ("false", "allow selects no database"),
            Side::Deny => ("true", "deny denies every database"),
        };
        reporter.lost(&field.path, format!("{why}; write it in CEL: until then {effect} ({source})"));
        closed.to_owned()
    })))
}

/// A list of names or templates. Teleport passes over entries that it cannot read, so they are left out.
fn templates(
    field: Option<Field<'_>>,
    side: Side,
    reporter: &mut Reporter<'_>,
) -> anyhow::Result<Vec<String>> {
    let mut entries = Vec::new();
    for field in field.into_iter().flat_map(Field::items) {
        let text = field.text()?;
        if text.is_empty() {
            reporter.note(&field.path, "an empty entry means nothing and is left out");
        } else if let Err(error) = Template::parse(&text) {
            reporter.lost(&field.path, format!("{text:?} has no effect in Teleport and none here: {error}"));
        } else if text == "*" && side == Side::Allow && field.path.contains("db_roles") {
            reporter.lost(&field.path, "* means every database role only in deny; name the roles");
        } else {
            entries.push(text);
        }
    }
    Ok(entries)
}

fn permission(
    field: Field<'_>,
    side: Side,
    reporter: &mut Reporter<'_>,
) -> anyhow::Result<Option<DbPermission>> {
    let path = field.path.clone();
    let mut fields = field.fields()?;
    let matching = fields.take("match").map(Field::selector).transpose()?.unwrap_or_default();
    let mut permissions = Vec::new();
    for field in fields.take("permissions").into_iter().flat_map(Field::items) {
        let text = field.text()?;
        let everything = text.trim() == "*";
        if everything && side == Side::Allow {
            reporter.lost(&field.path, "* means every privilege only in deny; name the privileges");
        } else if everything || Privilege::parse(&text).is_some() {
            permissions.push(text);
        } else {
            reporter.lost(
                &field.path,
                format!("{text:?} is no privilege, such as SELECT; write one entry for each"),
            );
        }
    }
    for field in fields.rest() {
        reporter.lost(field.path, "there is no such field in an entry of dbPermissions");
    }
    if permissions.is_empty() {
        reporter.lost(path, "no privilege is left; the entry is left out");
        return Ok(None);
    }
    Ok(Some(DbPermission { matching, permissions }))
}
