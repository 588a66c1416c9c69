//! Objects and permission sets of the server in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rolecall_engine::account::SetFacts;
use rolecall_engine::objects::{
    Catalog, CatalogQuery, Elsewhere, ObjectClass, ObjectGrant, SetState, SomeObjects,
};
use rolecall_engine::sets::{
    DesiredSet, MOST_NAMED, Missing, SetEntry, SetPlan, SyncedSet, Why, counts, plan_from,
};
use rolecall_engine::{Applied, Class, Error, ObjectRef, Reason};
use rolecall_policy::{DbObject, ObjectKind, Privilege, PrivilegeSet};

use super::refused;
use super::state::{Object, PermissionSet, ServerState};

impl ServerState {
    /// Adds an object to its logical database. Its number is never given again.
    pub fn add_object(&mut self, object: DbObject, grantable: bool) -> u32 {
        self.last_object += 1;
        let database = self.databases.entry(object.database.to_string()).or_default();
        database.objects.insert(self.last_object, Object { object, grantable, granted: BTreeMap::new() });
        self.last_object
    }

    /// The catalogue of all objects, or of some.
    pub(super) fn catalog(&self, query: &CatalogQuery, only: Option<&SomeObjects>) -> Result<Catalog, Error> {
        let Some(database) = self.databases.get(&query.database).filter(|found| found.allows_connections)
        else {
            let what = format!("reading the objects of the database {:?}", query.database);
            return Err(refused(
                Class::Refused,
                Reason::DatabaseNameNotFound,
                what,
                "3D000",
                "no such database",
            ));
        };
        let mut found: Vec<(&DbObject, u32)> =
            database.objects.iter().map(|(id, object)| (&object.object, *id)).collect();
        if let Some(some) = only {
            let is_named = |object: &DbObject, id: u32| {
                let class = match ObjectClass::of(object.kind) {
                    ObjectClass::Sequence => ObjectClass::Table,
                    class => class,
                };
                some.objects.contains(&ObjectRef { class, id })
            };
            let named = found.iter().filter(|(object, id)| is_named(object, *id));
            let mut schemas: BTreeSet<&str> = named.map(|(object, _)| &*object.schema).collect();
            schemas.extend(some.schemas.iter().map(|schema| &**schema));
            found.retain(|(object, id)| {
                is_named(object, *id)
                    || (object.kind == ObjectKind::Schema && schemas.contains(&*object.schema))
            });
        }
        found.sort_unstable();
        let mut catalog = Catalog {
            database: query.database.clone(),
            objects: found.iter().map(|(object, _)| (*object).clone()).collect(),
            ids: found.into_iter().map(|(_, id)| id).collect(),
            open: database.public,
            announced: database.announces,
            elsewhere: only.map(|_| Elsewhere::default()),
            ..Catalog::default()
        };
        let sets = query.sets.iter();
        catalog.sets = sets.filter_map(|role| Some((role.clone(), self.state(role, &catalog)?))).collect();
        Ok(catalog)
    }

    /// A set as it is, with the numbers of a catalogue.
    fn state(&self, role: &str, catalog: &Catalog) -> Option<SetState> {
        let set = self.sets.get(role)?;
        let database = self.databases.get(&catalog.database)?;
        let numbers: HashMap<u32, usize> = catalog.ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let grantor: Arc<str> = self.admin_user.as_str().into();
        let granted = database.objects.iter().filter_map(|(id, object)| {
            let privileges = object.granted.get(role).copied().filter(|privileges| !privileges.is_empty())?;
            let (object, grantor) = (*numbers.get(id)?, Arc::clone(&grantor));
            Some(ObjectGrant { object, grantor, privileges, grantable: PrivilegeSet::EMPTY })
        });
        Some(SetState {
            record: set.record.clone(),
            connects: database.public || database.connect.contains(role),
            grants: granted.collect(),
            foreign_grants: !set.attributes.is_empty(),
        })
    }

    pub(super) fn sync(&mut self, desired: &DesiredSet, catalog: &Catalog) -> SyncedSet {
        let failure = |reason, detail: &str| {
            let what = format!("making the permission set {:?}", desired.role);
            let failure = Some(refused(Class::Refused, reason, what, "", detail));
            SyncedSet { role: desired.role.clone(), failure, ..SyncedSet::default() }
        };
        if !rolecall_engine::plan::is_set(&desired.role) {
            return failure(Reason::DbRoleInvalid, "it is not the name of a permission set");
        }
        let owner = self.sets.get(&desired.role).map(|set| set.record.as_ref().map(|record| &record.uid));
        if owner.is_some_and(|owner| owner != Some(&desired.record.uid)) {
            return failure(Reason::DbRoleNotGrantable, "it does not carry our record");
        }
        let found = self.state(&desired.role, catalog).unwrap_or_default();
        let plan = plan_from(desired, catalog, self.state(&desired.role, catalog).as_ref());
        let record = Some(desired.record.clone());
        self.sets.insert(desired.role.clone(), PermissionSet { record, ..PermissionSet::default() });
        if let Some(database) = self.databases.get_mut(&catalog.database).filter(|_| plan.connect) {
            database.connect.insert(desired.role.clone());
        }
        self.carry_out(&plan, desired, catalog);
        let state = self.state(&desired.role, catalog).unwrap_or_default();
        let left = plan_from(desired, catalog, Some(&state));
        let mut outcome = counts::complete(desired, catalog, state.connects);
        let mut lacking = HashMap::new();
        for (class, privileges, object) in left
            .grants
            .iter()
            .flat_map(|group| group.objects.iter().map(|o| (group.class, group.privileges, *o)))
        {
            lacking.insert(object, privileges);
            if self.object(catalog, object).is_some() {
                outcome.missing_objects += 1;
                outcome.missing.push(self.missing(class, privileges, &catalog.objects[object]));
            }
        }
        outcome.missing.truncate(MOST_NAMED);
        outcome.granted =
            counts::granted(desired, catalog, |object| lacking.get(&object).copied().unwrap_or_default());
        outcome.revoked = counts::revoked(&found, &state);
        outcome
    }

    fn carry_out(&mut self, plan: &SetPlan, desired: &DesiredSet, catalog: &Catalog) {
        for group in &plan.revokes {
            for object in &group.objects {
                if let Some(object) = self.object(catalog, *object) {
                    let granted = object.granted.entry(desired.role.clone()).or_default();
                    *granted = granted.difference(group.privileges);
                }
            }
        }
        for group in &plan.grants {
            for object in &group.objects {
                if let Some(object) = self.object(catalog, *object).filter(|object| object.grantable) {
                    let granted = object.granted.entry(desired.role.clone()).or_default();
                    *granted = granted.union(group.privileges);
                }
            }
        }
    }

    /// What a catalogue calls so, unless it was dropped.
    fn object(&mut self, catalog: &Catalog, object: usize) -> Option<&mut Object> {
        let id = catalog.ids.get(object)?;
        self.databases.get_mut(&catalog.database)?.objects.get_mut(id)
    }

    fn missing(&self, class: ObjectClass, privileges: PrivilegeSet, object: &DbObject) -> Missing {
        let object = format!("{class} {}.{}", object.schema, object.name);
        Missing {
            statement: format!("GRANT {privileges} ON {object} TO {:?} WITH GRANT OPTION", self.admin_user),
            object,
            privileges: privileges.to_string(),
            why: Why::NotGrantable,
        }
    }

    pub(super) fn set_facts(&self, role: &str) -> Option<SetFacts> {
        let set = self.sets.get(role)?;
        let owner_uid = set.record.as_ref().map(|record| record.uid.clone());
        Some(SetFacts { owner_uid, attributes: set.attributes.clone(), grantable: true, unseen: None })
    }

    pub(super) fn set_entries(&self) -> Vec<SetEntry> {
        let entries = self.sets.iter().map(|(role, set)| SetEntry {
            role: role.clone(),
            record: set.record.clone(),
            members: self.members(role),
            executes: self.databases.values().flat_map(|database| database.objects.values()).any(|object| {
                object.granted.get(role).is_some_and(|granted| granted.contains(Privilege::Execute))
            }),
        });
        entries.collect()
    }

    pub(super) fn drop_set(&mut self, role: &str, owner_uid: &str) -> Applied {
        let kept =
            |why: &str| Applied { kept_because: Some(format!("{role:?} {why}")), ..Applied::default() };
        if !rolecall_engine::plan::is_set(role) {
            return kept("is not the name of a permission set");
        }
        if let Some(set) = self.sets.get(role) {
            if set.record.as_ref().is_none_or(|record| record.uid != owner_uid) {
                return kept("does not carry our record");
            }
            if self.members(role) > 0 {
                return kept("has members");
            }
        }
        self.sets.remove(role);
        for database in self.databases.values_mut() {
            database.connect.remove(role);
            for object in database.objects.values_mut() {
                object.granted.remove(role);
            }
        }
        Applied { dropped: true, ..Applied::default() }
    }

    fn members(&self, role: &str) -> usize {
        self.users.values().filter(|user| user.memberships.iter().any(|(of, _)| of == role)).count()
    }
}
