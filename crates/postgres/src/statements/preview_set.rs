//! What is sent for a permission set, for people who review a change. Nothing here is sent.
//!
//! The statements are those that are sent, with the names of objects in them where the server puts them in itself.

use rolecall_engine::objects::Catalog;
use rolecall_engine::sets::{DesiredSet, plan_set};
use rolecall_policy::{DbObject, ObjectKind};

use crate::quote::identifier;
use crate::statements::set::{self, AroundNames};

/// The statements from what the set has in the catalogue to what it should have. Routines are named without their
/// arguments, as the catalogue does not contain them.
pub fn preview_set(desired: &DesiredSet, catalog: &Catalog) -> Vec<String> {
    let (plan, role) = (plan_set(desired, catalog), desired.role.as_str());
    let mut statements = Vec::new();
    statements.extend(plan.create.then(|| format!("CREATE ROLE {} NOLOGIN", identifier(role))));
    statements.extend(plan.record.then(|| set::record(role, &desired.record)));
    statements.extend(plan.connect.then(|| set::connect(&catalog.database, role)));
    let on = |around: AroundNames, objects: &[usize]| {
        let names: Vec<String> =
            objects.iter().filter_map(|object| catalog.objects.get(*object)).map(name).collect();
        around.on(&names.join(", "))
    };
    for group in &plan.revokes {
        let privileges = group.privileges.to_string();
        let revoke = set::revoke(&privileges, group.class, role, group.option_only);
        statements.push(on(revoke, &group.objects));
    }
    for group in &plan.grants {
        let grant = set::grant(&group.privileges.to_string(), group.class, role);
        statements.push(on(grant, &group.objects));
    }
    statements
}

fn name(object: &DbObject) -> String {
    let schema = identifier(&*object.schema);
    match object.kind {
        ObjectKind::Schema => schema,
        _ => format!("{schema}.{}", identifier(&*object.name)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rolecall_engine::objects::{ObjectGrant, SetState};
    use rolecall_engine::sets::SetRecord;
    use rolecall_policy::{Privilege, PrivilegeSet};

    use super::*;

    fn object(kind: ObjectKind, schema: &str, name: &str) -> DbObject {
        DbObject::new(kind, "app", schema, name)
    }

    fn catalog() -> Catalog {
        let objects = [
            object(ObjectKind::Table, "public", "a"),
            object(ObjectKind::Table, "sales", "b\"c"),
            object(ObjectKind::Function, "sales", "f"),
            object(ObjectKind::Schema, "public", ""),
            object(ObjectKind::Schema, "sales", ""),
        ];
        Catalog {
            database: "app".to_owned(),
            ids: vec![0; objects.len()],
            objects: objects.into(),
            open_schemas: HashSet::from([3]),
            ..Catalog::default()
        }
    }

    fn desired() -> DesiredSet {
        let select = PrivilegeSet::from_iter([Privilege::Select]);
        let execute = PrivilegeSet::from_iter([Privilege::Execute]);
        let record = SetRecord { uid: "u".to_owned(), ..SetRecord::default() };
        DesiredSet {
            role: "rolecall:1".to_owned(),
            record,
            wanted: vec![(0, select), (1, select), (2, execute)],
        }
    }

    #[test]
    fn a_set_that_is_new_and_one_that_has_too_much() {
        let (desired, mut catalog) = (desired(), catalog());
        let new = preview_set(&desired, &catalog);
        assert!(new[1].starts_with(r#"COMMENT ON ROLE "rolecall:1" IS '{"uid":"u""#), "{new:?}");
        assert_eq!(
            [&new[..1], &new[2..]].concat(),
            [
                r#"CREATE ROLE "rolecall:1" NOLOGIN"#,
                r#"GRANT CONNECT ON DATABASE "app" TO "rolecall:1""#,
                r#"GRANT USAGE ON SCHEMA "sales" TO "rolecall:1""#,
                r#"GRANT SELECT ON TABLE "public"."a", "sales"."b""c" TO "rolecall:1""#,
                r#"GRANT EXECUTE ON ROUTINE "sales"."f" TO "rolecall:1""#,
            ]
        );
        let both = PrivilegeSet::from_iter([Privilege::Select, Privilege::Update]);
        let grant = |object: usize, privileges: PrivilegeSet| ObjectGrant {
            object,
            grantor: "teleport-admin".into(),
            privileges,
            grantable: PrivilegeSet::EMPTY,
        };
        let state = SetState {
            record: Some(desired.record.clone()),
            connects: true,
            grants: vec![grant(0, both), grant(4, PrivilegeSet::from_iter([Privilege::Usage]))],
            foreign_grants: false,
        };
        catalog.sets.insert(desired.role.clone(), state);
        assert_eq!(
            preview_set(&desired, &catalog),
            [
                r#"REVOKE UPDATE ON TABLE "public"."a" FROM "rolecall:1" CASCADE"#,
                r#"GRANT SELECT ON TABLE "sales"."b""c" TO "rolecall:1""#,
                r#"GRANT EXECUTE ON ROUTINE "sales"."f" TO "rolecall:1""#,
            ]
        );
    }
}
