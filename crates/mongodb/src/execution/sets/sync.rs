//! Giving sets the privileges that they should have: one command for a set that differs, then a read of the result.

use mongodb::bson::Document;
use rolecall_engine::dialect::mongodb::{RoleName, remedy};
use rolecall_engine::objects::{Catalog, SetState};
use rolecall_engine::sets::{DesiredSet, SyncedSet, counts, plan_from};
use rolecall_engine::{Class, Error, Reason};

use crate::Mongodb;
use crate::reads::objects::Numbers;
use crate::statements::set;
use crate::transport::code::{self, ROLE_EXISTS, ROLE_NOT_FOUND};

/// How often a set is written when somebody else keeps changing it.
const TRIES: usize = 3;

impl Mongodb {
    pub(crate) async fn sync_all(
        &self,
        desired: &[DesiredSet],
        catalog: &Catalog,
    ) -> Result<Vec<SyncedSet>, Error> {
        let numbers = crate::reads::objects::numbers(catalog);
        let mut outcomes = Vec::with_capacity(desired.len());
        for desired in desired {
            let outcome = match self.sync_one(desired, catalog, &numbers).await {
                Err(error) if error.class == Class::Unreachable => return Err(error),
                // One failure does not delay the others.
                result => result.unwrap_or_else(|error| SyncedSet::failed(&desired.role, error)),
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn sync_one(
        &self,
        desired: &DesiredSet,
        catalog: &Catalog,
        numbers: &Numbers<'_>,
    ) -> Result<SyncedSet, Error> {
        let name = set_name(desired, catalog)?;
        let found = catalog.sets.get(&desired.role);
        let differs = |state: Option<&SetState>| !plan_from(desired, catalog, state).is_nothing();
        let mut state = found.cloned();
        if differs(found) {
            let privileges = match set::wanted(desired, catalog) {
                Ok(privileges) => privileges,
                Err(error) => {
                    // More cannot be granted. What it has in excess is still revoked.
                    let plan = plan_from(desired, catalog, found);
                    let has_too_much = plan.record || plan.sweep || !plan.revokes.is_empty();
                    if let Some(state) = found.filter(|_| has_too_much) {
                        let less = set::narrowed(desired, catalog, state);
                        self.write_set(desired, &name, Some(state), &less).await?;
                    }
                    return Err(error);
                }
            };
            for _ in 0..TRIES {
                self.write_set(desired, &name, state.as_ref(), &privileges).await?;
                state = self.read_set(&name).await?.map(|role| role.state(numbers));
                if !differs(state.as_ref()) {
                    break;
                }
            }
        }
        let mut outcome = counts::complete(desired, catalog, true);
        if let (Some(found), Some(state)) = (found, &state) {
            outcome.revoked = counts::revoked(found, state);
        }
        if differs(state.as_ref()) {
            outcome.granted.clear();
            outcome.failure = Some(contended(desired));
        }
        Ok(outcome)
    }

    /// Makes the role of a set, or replaces all that it has. Where it came or went meanwhile nothing is done: the next
    /// reading shows it.
    async fn write_set(
        &self,
        desired: &DesiredSet,
        name: &RoleName,
        state: Option<&SetState>,
        privileges: &[Document],
    ) -> Result<(), Error> {
        if state.is_some_and(|state| is_foreign(state, desired)) {
            return Err(not_ours(desired));
        }
        let command = set::command(&name.role, state.is_some(), privileges);
        let what = format!("making the permission set {:?}", desired.role);
        let request = self.change().request(what, &name.database, command);
        match self.run_for_sets(&name.database, request).await {
            Err(error) if [ROLE_EXISTS, ROLE_NOT_FOUND].map(code::text).contains(&error.code) => Ok(()),
            result => result.map(drop),
        }
    }
}

/// Somebody else's record is in it. One that lost its record is corrected: the name is ours.
fn is_foreign(state: &SetState, desired: &DesiredSet) -> bool {
    state.record.as_ref().is_some_and(|record| record.uid != desired.record.uid)
}

/// The role of a set, which belongs to the logical database that the set is for.
fn set_name(desired: &DesiredSet, catalog: &Catalog) -> Result<RoleName, Error> {
    let name = RoleName::parse(&desired.role).ok().filter(|name| name.database == catalog.database);
    name.filter(|name| rolecall_engine::plan::is_set(&name.role)).ok_or_else(|| Error {
        class: Class::Refused,
        reason: Reason::DbRoleInvalid,
        attempted: format!("making the permission set {:?}", desired.role),
        code: String::new(),
        detail: format!("it is not the name of a permission set of the database {:?}", catalog.database),
        remedy: String::new(),
    })
}

fn not_ours(desired: &DesiredSet) -> Error {
    Error {
        class: Class::Refused,
        reason: Reason::DbRoleNotGrantable,
        attempted: format!("making the permission set {:?}", desired.role),
        code: String::new(),
        detail: "a role of that name exists that does not carry our record".to_owned(),
        remedy: format!("run {}", remedy::drop_role(&desired.role)),
    }
}

fn contended(desired: &DesiredSet) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: format!("making the permission set {:?}", desired.role),
        code: String::new(),
        detail: "somebody else changes the role at the same time".to_owned(),
        remedy: "find out who does, and leave it to the operator".to_owned(),
    }
}
