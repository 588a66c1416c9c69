//! Rights on objects of the current database, and on databases.

use super::{Actor, identity};
use crate::redshift::catalog::{Acl, Catalog, Identity, Kind, Object, ObjectKey, Right};
use crate::redshift::change::{Change, On};
use crate::redshift::error::{SqlError, SqlResult};
use crate::redshift::sql::{Grantee, Privileges, Target};

/// What a target names, as far as it does: objects, or else databases.
pub(super) fn keys(target: &Target) -> Vec<Result<ObjectKey, String>> {
    let schema_of = |schema: &Option<String>| schema.clone().unwrap_or_else(|| "public".to_owned());
    match target {
        Target::Tables(names) => names
            .iter()
            .map(|(schema, name)| Ok(ObjectKey::Relation(schema_of(schema), name.clone())))
            .collect(),
        Target::Schemas(names) | Target::TablesForSchemas(names) | Target::AllTables(names) => {
            names.iter().map(|name| Ok(ObjectKey::Schema(name.clone()))).collect()
        }
        Target::Functions { names, .. } => names
            .iter()
            .map(|((schema, name), arguments)| {
                let arguments = arguments.iter().map(|argument| type_name(argument)).collect();
                Ok(ObjectKey::Function(schema_of(schema), name.clone(), arguments))
            })
            .collect(),
        Target::Databases(names) => names.iter().map(|name| Err(name.clone())).collect(),
    }
}

/// The name under which a type is listed.
pub(crate) fn type_name(name: &str) -> String {
    match name {
        "int" | "int4" => "integer",
        "varchar" => "character varying",
        "bool" => "boolean",
        "int8" => "bigint",
        other => other,
    }
    .to_owned()
}

pub(super) fn grant(
    catalog: &Catalog,
    actor: Actor<'_>,
    privileges: &Privileges,
    on: &Target,
    to: &[Grantee],
    grant_option: bool,
) -> SqlResult<Vec<Change>> {
    if grant_option && !to.iter().all(|grantee| matches!(grantee, Grantee::User(_))) {
        return Err(SqlError::new("0LP01", "grant options can only be granted to individual users"));
    }
    each(catalog, actor, privileges, on, to, |on, right| Change::Grant { on, right, grant_option })
}

pub(super) fn revoke(
    catalog: &Catalog,
    actor: Actor<'_>,
    privileges: &Privileges,
    on: &Target,
    from: &[Grantee],
    grant_option_only: bool,
) -> SqlResult<Vec<Change>> {
    let changes = each(catalog, actor, privileges, on, from, |on, right| Change::Revoke { on, right })?;
    if !grant_option_only {
        return Ok(changes);
    }
    let again = |change: &Change| match change {
        Change::Revoke { on, right } if is_granted(catalog, on, right) => {
            Some(Change::Grant { on: on.clone(), right: right.clone(), grant_option: false })
        }
        _ => None,
    };
    let again: Vec<_> = changes.iter().filter_map(again).collect();
    Ok(changes.into_iter().chain(again).collect())
}

/// As superuser, or as owner who could give it to itself only: nobody becomes a user here.
pub(super) fn set_owner(
    catalog: &Catalog,
    actor: Actor<'_>,
    target: &Target,
    owner: &str,
) -> SqlResult<Vec<Change>> {
    let owner = catalog.user(owner).ok_or_else(|| SqlError::unknown("user", owner))?.id;
    let mut changes = Vec::new();
    for (on, name, before, _, _) in found(catalog, actor, target)? {
        if !catalog.is_superuser(actor.user) && (before != actor.user || owner != actor.user) {
            return Err(SqlError::denied(format!("must be owner of {name}")));
        }
        changes.push(Change::Owner { on, owner });
    }
    Ok(changes)
}

fn is_granted(catalog: &Catalog, on: &On, right: &Right) -> bool {
    let acl = match on {
        On::Database(name) => catalog.databases.get(name).map(|database| &database.acl),
        On::Object(database, key) => catalog
            .databases
            .get(database)
            .and_then(|database| database.objects.get(key))
            .map(|object| &object.acl),
    };
    acl.is_some_and(|acl| acl.contains_key(right))
}

fn each(
    catalog: &Catalog,
    actor: Actor<'_>,
    privileges: &Privileges,
    target: &Target,
    grantees: &[Grantee],
    change: impl Fn(On, Right) -> Change,
) -> SqlResult<Vec<Change>> {
    let identities: Vec<_> =
        grantees.iter().map(|grantee| identity(catalog, grantee)).collect::<SqlResult<_>>()?;
    let mut changes = Vec::new();
    for (on, name, owner, acl, known) in found(catalog, actor, target)? {
        let wanted: Vec<&str> = match privileges {
            Privileges::All => known.clone(),
            Privileges::Some(wanted) => wanted.iter().map(String::as_str).collect(),
        };
        for privilege in wanted {
            if !known.contains(&privilege) {
                return Err(SqlError::new("0LP01", format!("invalid privilege type {privilege} for {name}")));
            }
            let privilege = stored(target, privilege);
            may_give(catalog, actor, &name, owner, acl, &privilege)?;
            for who in &identities {
                changes.push(change(on.clone(), Right { who: *who, privilege: privilege.clone() }));
            }
        }
    }
    Ok(changes)
}

/// Rights on the tables of a schema are kept with the schema.
fn stored(target: &Target, privilege: &str) -> String {
    match target {
        Target::TablesForSchemas(_) => format!("{privilege} FOR TABLES"),
        _ => privilege.to_owned(),
    }
}

/// An object that a target names: what it is, its name, its owner, its rights, and which rights there are on it.
type Found<'a> = (On, String, u32, &'a Acl, Vec<&'static str>);

fn found<'a>(catalog: &'a Catalog, actor: Actor<'_>, target: &Target) -> SqlResult<Vec<Found<'a>>> {
    let missing = |what: &str, name: &str| SqlError::unknown(what, name);
    if let Target::Databases(names) = target {
        let one = |name: &String| {
            let database = catalog
                .databases
                .get(name)
                .ok_or_else(|| SqlError::new("3D000", format!("database \"{name}\" does not exist")))?;
            let known = vec!["CREATE", "TEMP", "USAGE"];
            Ok((On::Database(name.clone()), name.clone(), database.owner, &database.acl, known))
        };
        return names.iter().map(one).collect();
    }
    let database =
        catalog.databases.get(actor.database).ok_or_else(|| missing("database", actor.database))?;
    let entry = |key: &ObjectKey, name: String, object: &'a Object| {
        let known = object.kind.privileges().to_vec();
        (On::Object(actor.database.to_owned(), key.clone()), name, object.owner, &object.acl, known)
    };
    let mut all = Vec::new();
    for key in keys(target).into_iter().filter_map(Result::ok) {
        if !database.objects.contains_key(&ObjectKey::Schema(key.schema().to_owned())) {
            return Err(SqlError::new("3F000", format!("schema \"{}\" does not exist", key.schema())));
        }
        if let Target::AllTables(_) = target {
            let inside = database.objects.iter().filter(|(other, _)| {
                matches!(other, ObjectKey::Relation(..)) && other.schema() == key.schema()
            });
            all.extend(inside.map(|(key, object)| entry(key, shown(key), object)));
            continue;
        }
        let object = database.objects.get(&key).filter(|object| fits(target, object.kind));
        let object = object.ok_or_else(|| match &key {
            ObjectKey::Relation(_, name) => {
                SqlError::new("42P01", format!("relation \"{name}\" does not exist"))
            }
            ObjectKey::Function(_, name, _) => {
                SqlError::new("42883", format!("function {name} does not exist"))
            }
            ObjectKey::Schema(name) => SqlError::new("3F000", format!("schema \"{name}\" does not exist")),
        })?;
        let mut one = entry(&key, shown(&key), object);
        if let Target::TablesForSchemas(_) = target {
            one.4 = Kind::Table.privileges().to_vec();
        }
        all.push(one);
    }
    Ok(all)
}

fn fits(target: &Target, kind: Kind) -> bool {
    match target {
        Target::Functions { procedures, .. } => (kind == Kind::Procedure) == *procedures,
        _ => true,
    }
}

fn shown(key: &ObjectKey) -> String {
    match key {
        ObjectKey::Schema(name) => format!("schema {name}"),
        ObjectKey::Relation(schema, name) => format!("relation {schema}.{name}"),
        ObjectKey::Function(schema, name, _) => format!("function {schema}.{name}"),
    }
}

/// As owner, as superuser, or with the grant option. `sys:superuser` does not count.
fn may_give(
    catalog: &Catalog,
    actor: Actor<'_>,
    name: &str,
    owner: u32,
    acl: &Acl,
    privilege: &str,
) -> SqlResult<()> {
    let own = Right { who: Identity::User(actor.user), privilege: privilege.to_owned() };
    if owner == actor.user || catalog.is_superuser(actor.user) || acl.get(&own) == Some(&true) {
        return Ok(());
    }
    Err(SqlError::denied(format!("permission denied for {name}")))
}
