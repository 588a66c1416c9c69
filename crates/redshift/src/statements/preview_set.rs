//! What is sent for a permission set, for people who review a change. Nothing here is sent.
//!
//! Left out is what records the set's owner, which only the cluster knows.

use rolecall_engine::objects::Catalog;
use rolecall_engine::sets::{DesiredSet, plan_set};
use rolecall_policy::{Privilege, PrivilegeSet};

use super::object::{Grantee, READABLE, Target, batches, grant, revoke};
use super::role;

/// The statements from what the set has in the catalogue to what it should have. Functions and procedures are named
/// without their arguments, as the catalogue does not contain them.
pub fn preview_set(desired: &DesiredSet, catalog: &Catalog) -> Vec<String> {
    let unknown: PrivilegeSet = Privilege::all().filter(|privilege| !READABLE.contains(privilege)).collect();
    // There is no right to connect.
    let catalog = Catalog { unknown: catalog.unknown.union(unknown), open: true, ..catalog.clone() };
    let (plan, set) = (plan_set(desired, &catalog), desired.role.as_str());
    let batches = |objects: &[usize]| {
        let found = objects.iter().filter_map(|object| catalog.objects.get(*object));
        let targets: Vec<Target> =
            found.map(|object| Target::of(object.kind, &object.schema, &object.name, "")).collect();
        let targets: Vec<&Target> = targets.iter().collect();
        let batches = batches(&targets, |target| target);
        batches.into_iter().map(|batch| batch.into_iter().cloned().collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let mut statements = Vec::new();
    statements.extend(plan.create.then(|| role::create(set)));
    for group in &plan.revokes {
        for batch in batches(&group.objects) {
            let targets: Vec<&Target> = batch.iter().collect();
            statements.push(revoke(group.privileges, &targets, Grantee::Role(set)));
        }
    }
    for group in &plan.grants {
        for batch in batches(&group.objects) {
            let targets: Vec<&Target> = batch.iter().collect();
            statements.push(grant(group.privileges, &targets, Grantee::Role(set)));
        }
    }
    statements.into_iter().map(|statement| statement.sql).collect()
}

#[cfg(test)]
mod tests {
    use rolecall_engine::sets::SetRecord;
    use rolecall_policy::{DbObject, ObjectKind};

    use super::*;

    #[test]
    fn tables_come_in_one_statement_and_what_is_not_shown_is_not_given() {
        let object = |kind, schema: &str, name: &str| DbObject::new(kind, "app", schema, name);
        let objects = [
            object(ObjectKind::Schema, "sales", "sales"),
            object(ObjectKind::Table, "sales", "a"),
            object(ObjectKind::View, "sales", "b"),
            object(ObjectKind::Table, "sales", "c"),
        ];
        let catalog = Catalog {
            database: "app".to_owned(),
            ids: vec![0; objects.len()],
            objects: objects.into(),
            ..Catalog::default()
        };
        let privileges = PrivilegeSet::from_iter([Privilege::Select, Privilege::Truncate]);
        let desired = DesiredSet {
            role: "rolecall_1".to_owned(),
            record: SetRecord::default(),
            wanted: (1..4).map(|object| (object, privileges)).collect(),
        };
        assert_eq!(
            preview_set(&desired, &catalog),
            [
                r#"CREATE ROLE "rolecall_1""#,
                r#"GRANT USAGE ON SCHEMA "sales" TO ROLE "rolecall_1""#,
                r#"GRANT SELECT ON TABLE "sales"."a", "sales"."b", "sales"."c" TO ROLE "rolecall_1""#,
            ]
        );
    }
}
