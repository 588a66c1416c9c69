//! Permission sets: from the desired privileges to those that a role has.
//!
//! Each statement stands by itself. What was achieved is read back in the end, so that nothing follows from what the
//! server did not complain about.

use std::collections::BTreeMap;

use rolecall_engine::dialect::redshift::record::{database_role, is_record, owner_role};
use rolecall_engine::objects::SetState;
use rolecall_engine::sets::counts::{complete, granted, revoked};
use rolecall_engine::sets::{Excess, MOST_NAMED, Missing, Why, plan_from};
use rolecall_engine::{Catalog, Class, DesiredSet, Dialect, Error, Reason, SyncedSet};
use rolecall_policy::PrivilegeSet;

use super::grants::{Refusals, Verb, remedy};
use crate::Redshift;
use crate::quote::is_possible;
use crate::reads::objects::{Numbered, Objects};
use crate::reads::observe::Seen;
use crate::reads::sets::{Granted, foreign, set_states};
use crate::reads::sight::SERVER_USER;
use crate::statements::object::{Grantee, Target, revoke, revoke_all};
use crate::statements::role;
use crate::transport::server::TargetDatabase;
use crate::transport::sqlstate;

/// What a reading shows of the sets of one database.
struct Reading {
    seen: Seen,
    objects: Objects,
    granted: Granted,
}

impl Redshift {
    pub(crate) async fn sync_all(
        &self,
        desired: &[DesiredSet],
        catalog: &Catalog,
    ) -> Result<Vec<SyncedSet>, Error> {
        let run_in = TargetDatabase::Exactly(catalog.database.clone());
        let reading = self.read_sets(&run_in, desired, catalog).await?;
        let mut refusals: Vec<Result<Refusals, Error>> = Vec::with_capacity(desired.len());
        let mut has_changed = false;
        for set in desired {
            let synced = self.sync_one(&run_in, set, catalog, &reading, &mut has_changed).await;
            match synced {
                Err(error) if error.class == Class::Unreachable => return Err(error),
                synced => refusals.push(synced),
            }
        }
        let after = if has_changed { self.read_sets(&run_in, desired, catalog).await? } else { reading };
        let numbered = after.objects.numbered(&*catalog.objects);
        let names: Vec<&str> = desired.iter().map(|set| set.role.as_str()).collect();
        let states = set_states(&names, &after.seen, &after.granted, &numbered);
        let nothing = SetState::default();
        let outcomes = desired.iter().zip(refusals).map(|(set, refusals)| match refusals {
            Err(error) => SyncedSet::failed(&set.role, error),
            Ok(refusals) => {
                let before = catalog.sets.get(&set.role).unwrap_or(&nothing);
                let state = states.get(&set.role).unwrap_or(&nothing);
                self.outcome(set, catalog, before, state, &refusals, &numbered)
            }
        });
        Ok(outcomes.collect())
    }

    async fn read_sets(
        &self,
        run_in: &TargetDatabase,
        desired: &[DesiredSet],
        catalog: &Catalog,
    ) -> Result<Reading, Error> {
        let admin = self.server.config().admin_user.as_str();
        let names = [admin, SERVER_USER];
        let sets: Vec<&str> = desired.iter().map(|set| set.role.as_str()).collect();
        let mut statements = Seen::statements(Some(&names));
        let accounts = statements.len();
        let objects = Objects::statements(&catalog.database);
        let count = objects.len();
        statements.extend(objects);
        statements.extend(Granted::statements(&sets));
        let answers = self.server.read(run_in, &statements).await?;
        let (seen, rest) = answers.split_at(accounts.min(answers.len()));
        let (objects, granted) = rest.split_at(count.min(rest.len()));
        let seen = Seen::read(seen);
        let sight = seen.sight(admin);
        if !sight.sees_privileges() {
            return Err(sight.error(format!("reading the permission sets of {:?}", catalog.database), admin));
        }
        Ok(Reading {
            seen,
            objects: Objects::read(objects, &catalog.database),
            granted: Granted::read(granted),
        })
    }

    /// What the server refused, object by object.
    async fn sync_one(
        &self,
        run_in: &TargetDatabase,
        desired: &DesiredSet,
        catalog: &Catalog,
        reading: &Reading,
        has_changed: &mut bool,
    ) -> Result<Refusals, Error> {
        let set = desired.role.as_str();
        let numbered = reading.objects.numbered(&*catalog.objects);
        let states = set_states(&[set], &reading.seen, &reading.granted, &numbered);
        let state = states.get(set);
        check(desired, state)?;
        let mut refusals = Refusals::new();
        let plan = plan_from(desired, catalog, state);
        if plan.is_nothing() {
            return Ok(refusals);
        }
        *has_changed = true;
        if plan.create || plan.record {
            self.record_set(run_in, desired, &reading.seen, plan.create).await?;
        }
        if plan.sweep {
            let roles: Vec<String> = reading.seen.roles.foreign_in(set).map(str::to_owned).collect();
            self.take_roles(run_in, set, &roles).await?;
            for target in foreign(set, &reading.granted, &numbered) {
                match self.run_again(run_in, &revoke_all(&target, Grantee::Role(set))).await {
                    Err(error) if error.class == Class::Unreachable => return Err(error),
                    // What is left shows when it is read back.
                    Err(error) => drop(numbered.number(&target).map(|number| refusals.insert(number, error))),
                    Ok(()) => {}
                }
            }
        }
        // What was swept is given again where it should be there.
        let swept: Vec<Target> = foreign(set, &reading.granted, &numbered).filter(|_| plan.sweep).collect();
        let state = state.map(|state| without(state, &swept, &numbered));
        let plan = plan_from(desired, catalog, state.as_ref());
        for group in &plan.revokes {
            let targets = targets(&group.objects, &numbered);
            self.change_privileges(run_in, set, Verb::Revoke, group.privileges, &targets, &mut refusals)
                .await?;
        }
        for group in &plan.grants {
            let targets = targets(&group.objects, &numbered);
            self.change_privileges(run_in, set, Verb::Grant, group.privileges, &targets, &mut refusals)
                .await?;
        }
        Ok(refusals)
    }

    /// Makes the role of a set, and what it says of itself.
    async fn record_set(
        &self,
        run_in: &TargetDatabase,
        desired: &DesiredSet,
        seen: &Seen,
        create: bool,
    ) -> Result<(), Error> {
        let set = desired.role.as_str();
        let database = database_role(&desired.record.database);
        self.ensure_record(run_in, &desired.record.owner()).await?;
        self.ensure_role(run_in, &database).await?;
        let wanted = [owner_role(&desired.record.uid), database];
        let mut retries = self.server.retries();
        loop {
            let stale = seen.roles.nested_in(set).filter(|role| is_record(role));
            let mut statements: Vec<_> = create.then(|| role::create(set)).into_iter().collect();
            let stale = stale.filter(|role| !wanted.iter().any(|wanted| wanted == role));
            statements.extend(stale.map(|stale| role::revoke_from_role(stale, set)));
            let missing =
                wanted.iter().filter(|wanted| !seen.roles.nested_in(set).any(|role| role == *wanted));
            statements.extend(missing.map(|missing| role::grant_to_role(missing, set)));
            let made = async {
                let _changing = self.changing.lock().await;
                let mut transaction = self.server.begin(run_in).await?;
                for statement in &statements {
                    transaction.run(statement).await?;
                }
                transaction.commit().await
            };
            match made.await {
                Err(error) if retries.again(&error).await => {}
                Err(error) if error.reason == Reason::DbRoleNotFound => {
                    self.forget_record();
                    return Err(Error { class: Class::Transient, ..error });
                }
                result => return result,
            }
        }
    }

    fn outcome(
        &self,
        desired: &DesiredSet,
        catalog: &Catalog,
        before: &SetState,
        state: &SetState,
        refusals: &Refusals,
        numbered: &Numbered<'_>,
    ) -> SyncedSet {
        // What is gone by now is missed by nobody.
        let is_there =
            |object: usize| numbered.targets.get(object).is_some_and(|targets| !targets.is_empty());
        let left = plan_from(desired, catalog, Some(state));
        let mut lacking: BTreeMap<usize, PrivilegeSet> = BTreeMap::new();
        for group in &left.grants {
            for object in group.objects.iter().filter(|object| is_there(**object)) {
                let entry = lacking.entry(*object).or_insert(PrivilegeSet::EMPTY);
                *entry = entry.union(group.privileges);
            }
        }
        let gone = |object: usize| if is_there(object) { PrivilegeSet::EMPTY } else { PrivilegeSet::ALL };
        let admin = self.server.config().admin_user.as_str();
        let missing = lacking.iter().take(MOST_NAMED).filter_map(|(object, privileges)| {
            let target = *numbered.targets.get(*object)?.first()?;
            let refused = refusals.get(object);
            Some(Missing {
                object: target.sql(),
                privileges: privileges.to_string(),
                why: why(refused),
                statement: remedy(*privileges, target, admin),
            })
        });
        let mut outcome = SyncedSet {
            granted: granted(desired, catalog, |object| {
                lacking.get(&object).copied().unwrap_or(PrivilegeSet::EMPTY).union(gone(object))
            }),
            revoked: revoked(before, state),
            missing_objects: lacking.len(),
            missing: missing.collect(),
            busy: refusals.values().any(|error| error.class == Class::Transient),
            ..complete(desired, catalog, true)
        };
        for group in &left.revokes {
            for object in group.objects.iter().filter(|object| is_there(**object)) {
                let Some(target) = numbered.targets[*object].first() else { continue };
                let set = Grantee::Role(&desired.role);
                outcome.excess.push(Excess {
                    object: target.sql(),
                    privileges: group.privileges.to_string(),
                    statement: revoke(group.privileges, &[target], set).sql,
                    busy: refusals.get(object).is_some_and(|error| error.class == Class::Transient),
                    refused: refusals.get(object).map(ToString::to_string).unwrap_or_default(),
                    ..Excess::default()
                });
            }
        }
        outcome.excess.truncate(MOST_NAMED);
        outcome
    }
}

/// Is it a set of ours, or a role that may become one?
fn check(desired: &DesiredSet, state: Option<&SetState>) -> Result<(), Error> {
    let set = desired.role.as_str();
    let refused = |reason, detail: &str, remedy: String| Error {
        class: Class::Refused,
        reason,
        attempted: format!("syncing the permission set {set:?}"),
        code: String::new(),
        detail: detail.to_owned(),
        remedy,
    };
    if !Dialect::Redshift.is_set(set) || !is_possible(set) {
        return Err(refused(
            Reason::DbRoleInvalid,
            "its name is not that of a permission set",
            String::new(),
        ));
    }
    let is_ours =
        |state: &SetState| state.record.as_ref().is_some_and(|record| record.uid == desired.record.uid);
    if state.is_some_and(|state| !is_ours(state)) {
        let remedy = Dialect::Redshift.drop_set(set);
        return Err(refused(
            Reason::DbRoleNotGrantable,
            "a role of that name exists that does not carry our record",
            remedy,
        ));
    }
    Ok(())
}

/// What is left of a state when everything on these objects was taken away.
fn without(state: &SetState, swept: &[Target], numbered: &Numbered<'_>) -> SetState {
    let swept: Vec<usize> = swept.iter().filter_map(|target| numbered.number(target)).collect();
    let mut state = state.clone();
    state.grants.retain(|grant| !swept.contains(&grant.object));
    state
}

/// The objects of a group, as they are named in a GRANT; those that are gone are left out.
fn targets<'a>(objects: &[usize], numbered: &'a Numbered<'_>) -> Vec<(usize, &'a Target)> {
    let named = |object: &usize| {
        let object = *object;
        numbered.targets.get(object).into_iter().flatten().map(move |target| (object, *target))
    };
    objects.iter().flat_map(named).collect()
}

fn why(refused: Option<&Error>) -> Why {
    match refused {
        Some(error) if error.class == Class::Transient => Why::Busy,
        Some(error) if error.code != sqlstate::INSUFFICIENT_PRIVILEGE => Why::Refused(error.to_string()),
        _ => Why::NotGrantable,
    }
}
