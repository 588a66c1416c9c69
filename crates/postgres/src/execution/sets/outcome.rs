//! The outcome of a set in words: what is missing or too much, and the statement that fixes it.

use std::collections::{BTreeMap, HashMap, HashSet};

use rolecall_engine::objects::{Catalog, ObjectClass, SetState};
use rolecall_engine::sets::{DesiredSet, Excess, MOST_NAMED, Missing, SetPlan, SyncedSet, Why, counts};
use rolecall_engine::{Class, Error, Reason};
use rolecall_policy::{ObjectKind, Privilege, PrivilegeSet};

use super::change::Refused;
use crate::quote::{identifier, identifiers};
use crate::reads::objects::{ObjectId, object_id};
use crate::reads::privileges::Answer;

/// An object's row is full (`program_limit_exceeded`).
const ROW_FULL: &str = "54000";

/// What an outcome follows from.
pub(super) struct Evidence<'a> {
    pub(super) admin: &'a str,
    pub(super) desired: &'a DesiredSet,
    pub(super) catalog: &'a Catalog,
    pub(super) found: &'a SetState,
    pub(super) state: &'a SetState,
    pub(super) left: &'a SetPlan,
    pub(super) effective: &'a BTreeMap<ObjectId, Answer>,
    pub(super) ungrantable: &'a BTreeMap<ObjectId, Answer>,
    pub(super) refused: &'a Refused,
    pub(super) unrevoked: &'a Refused,
    pub(super) busy: &'a Refused,
    pub(super) no_connect: Option<&'a Error>,
    pub(super) foreign_grants: &'a [Excess],
}

/// The outcome of a set that was synced.
pub(super) fn outcome(evidence: &Evidence<'_>) -> SyncedSet {
    let mut outcome = counts::complete(evidence.desired, evidence.catalog, evidence.state.connects);
    let mut lacking: HashMap<usize, PrivilegeSet> = HashMap::new();
    for group in &evidence.left.grants {
        for object in &group.objects {
            let Some(answer) = evidence.effective.get(&object_id(evidence.catalog, *object)) else {
                // It was dropped meanwhile.
                lacking.insert(*object, PrivilegeSet::ALL);
                continue;
            };
            let privileges = answer.lacking.intersection(group.privileges);
            if privileges.is_empty() {
                continue;
            }
            lacking.insert(*object, privileges);
            outcome.missing_objects += 1;
            if outcome.missing.len() < MOST_NAMED {
                outcome.missing.push(evidence.missing(*object, group.class, privileges, answer));
            }
        }
    }
    let closed = evidence.closed_schemas(&lacking);
    outcome.granted = counts::granted(evidence.desired, evidence.catalog, |object| {
        // Without USAGE of its schema, nothing can be done with an object.
        if closed.contains(&*evidence.catalog.objects[object].schema) {
            return PrivilegeSet::ALL;
        }
        lacking.get(&object).copied().unwrap_or_default()
    });
    outcome.revoked = counts::revoked(evidence.found, evidence.state);
    outcome.excess = evidence.excess();
    // An empty set may leave it to the roles of its members whether they can connect.
    if !evidence.state.connects && !evidence.desired.wanted.is_empty() {
        outcome.missing.insert(0, evidence.no_connect());
    }
    let too_much = evidence.left.revokes.iter().flat_map(|group| &group.objects);
    outcome.busy = lacking
        .keys()
        .chain(too_much)
        .any(|object| evidence.busy.contains_key(&object_id(evidence.catalog, *object)));
    outcome
}

/// What to do where the admin user has the right, and the server still refuses.
const NOTHING_LACKING: &str = "the admin user has the right to grant it, so an event trigger or an extension is in the way: let the function of the event trigger name what it uses by schema, or give it a search_path (ALTER FUNCTION ... SET search_path)";

/// What the server said, for people.
fn said(error: &Error) -> String {
    format!("{} (SQLSTATE {})", error.detail, error.code)
}

/// What to do about an object that another transaction has locked.
fn until_free(error: &Error) -> String {
    format!(
        "another transaction has locked it (SQLSTATE {}); it is tried again, and succeeds when that has ended",
        error.code
    )
}

/// The error for a name that no set has.
pub(super) fn no_set(role: &str) -> Error {
    Error {
        class: Class::Refused,
        reason: Reason::DbRoleInvalid,
        attempted: format!("making the permission set {role:?}"),
        code: String::new(),
        detail: "it is not the name of a permission set".to_owned(),
        remedy: String::new(),
    }
}

impl<'a> Evidence<'a> {
    /// The schemas that the set should be able to use and cannot.
    fn closed_schemas(&self, lacking: &HashMap<usize, PrivilegeSet>) -> HashSet<&'a str> {
        let usage = lacking.iter().filter(|(_, privileges)| privileges.contains(Privilege::Usage));
        let objects = usage.filter_map(|(object, _)| self.catalog.objects.get(*object));
        objects.filter(|object| object.kind == ObjectKind::Schema).map(|object| &*object.schema).collect()
    }

    fn missing(
        &self,
        object: usize,
        class: ObjectClass,
        privileges: PrivilegeSet,
        answer: &Answer,
    ) -> Missing {
        let id = object_id(self.catalog, object);
        let (name, admin) = (&answer.name, identifier(self.admin));
        let grant = format!("GRANT {privileges} ON {class} {name} TO {admin} WITH GRANT OPTION");
        let refused = self.busy.get(&id).or_else(|| self.refused.get(&id));
        let (why, statement) = match (refused, self.ungrantable.get(&id)) {
            (_, Some(asked)) if asked.closed => {
                let usage = format!("GRANT USAGE ON SCHEMA {} TO {admin}", answer.schema);
                let also = asked.lacking.intersection(privileges);
                let statement = if also.is_empty() { usage } else { format!("{usage}; {grant}") };
                (Why::SchemaClosed, statement)
            }
            (Some(error), _) if error.code == ROW_FULL => (
                Why::AccessListFull,
                format!(
                    "REVOKE ALL ON {class} {name} FROM roles that do not need it: its access list is full"
                ),
            ),
            (Some(error), _) if self.busy.contains_key(&id) => (Why::Busy, until_free(error)),
            (Some(error), Some(asked)) if !asked.lacking.intersection(privileges).is_empty() => {
                (Why::Refused(said(error)), grant)
            }
            (Some(error), _) => (Why::Refused(said(error)), NOTHING_LACKING.to_owned()),
            (None, _) => (Why::NotGrantable, grant),
        };
        Missing { object: format!("{class} {name}"), privileges: privileges.to_string(), why, statement }
    }

    fn no_connect(&self) -> Missing {
        let database = identifier(&self.catalog.database);
        let why = match self.no_connect {
            Some(error) if error.code == ROW_FULL => Why::AccessListFull,
            Some(error) => Why::Refused(said(error)),
            None => Why::NotGrantable,
        };
        Missing {
            object: format!("DATABASE {database}"),
            privileges: "CONNECT".to_owned(),
            why,
            statement: format!(
                "GRANT CONNECT ON DATABASE {database} TO {} WITH GRANT OPTION",
                identifier(self.admin)
            ),
        }
    }

    fn excess(&self) -> Vec<Excess> {
        let set = identifier(&self.desired.role);
        let mut excess = Vec::new();
        for group in &self.left.revokes {
            let (class, privileges, grantor) = (group.class, group.privileges, &group.grantor);
            let option = if group.option_only { "GRANT OPTION FOR " } else { "" };
            for object in &group.objects {
                let id = object_id(self.catalog, *object);
                let Some(answer) = self.effective.get(&id) else { continue };
                let revoke =
                    format!("REVOKE {option}{privileges} ON {class} {} FROM {set} CASCADE", answer.name);
                let busy = self.busy.get(&id);
                excess.push(Excess {
                    object: format!("{class} {}", answer.name),
                    privileges: format!("{option}{privileges}"),
                    grantor: grantor.to_string(),
                    statement: busy
                        .map_or_else(|| format!("SET ROLE {}; {revoke}", identifiers([grantor])), until_free),
                    busy: busy.is_some(),
                    refused: self.unrevoked.get(&id).map(said).unwrap_or_default(),
                });
                if excess.len() == MOST_NAMED {
                    return excess;
                }
            }
        }
        excess.extend(self.foreign_grants.iter().take(MOST_NAMED - excess.len()).cloned());
        excess
    }
}
