//! Giving sets the privileges that they should have: what is sent when.
//!
//! Nothing is taken for done because it was sent. After the changes the set is read back and the plan is made again:
//! what it would still grant is missing, what it would still revoke is too much.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::objects::{Catalog, SetState};
use rolecall_engine::sets::{DesiredSet, GrantGroup, RevokeGroup, SetPlan, SyncedSet, counts, plan_from};
use rolecall_engine::{Class, Error};
use rolecall_policy::PrivilegeSet;

use super::change::{Change, Refused, Verb};
use super::outcome;
use crate::Postgres;
use crate::quote::{identifier, is_possible};
use crate::reads::objects::{Index, ObjectId, Only, Table, grants, index, object_id, state_of};
use crate::reads::privileges::{Answer, Questions, Who};
use crate::statements::set;
use crate::transport::message::Message;
use crate::transport::server::Place;
use crate::transport::version::Dialect;

/// One set that is being synced.
struct Work<'a> {
    engine: &'a Postgres,
    place: &'a Place,
    dialect: Dialect,
    catalog: &'a Catalog,
    index: &'a Index,
    desired: &'a DesiredSet,
    state: SetState,
    /// What the admin user may not grant.
    ungrantable: BTreeMap<ObjectId, Answer>,
    refused: Refused,
    /// What the server did not take away.
    unrevoked: Refused,
    /// Objects that other transactions have locked, for all sets of this call.
    busy: &'a mut Refused,
    /// Something was granted and has not been read back.
    unread: bool,
    /// Why CONNECT was not granted.
    no_connect: Option<Error>,
}

impl Postgres {
    pub(crate) async fn sync_all(
        &self,
        desired: &[DesiredSet],
        catalog: &Catalog,
    ) -> Result<Vec<SyncedSet>, Error> {
        let place = Place::Exactly(catalog.database.clone());
        let mut outcomes = Vec::with_capacity(desired.len());
        let (mut known, mut busy) = (None, Refused::new());
        for desired in desired {
            let plan = plan_from(desired, catalog, catalog.sets.get(&desired.role));
            if plan.is_nothing() {
                let connects = catalog.sets.get(&desired.role).is_some_and(|state| state.connects);
                outcomes.push(counts::complete(desired, catalog, connects));
                continue;
            }
            let index = known.get_or_insert_with(|| index(catalog));
            let outcome = match self.sync_one(&place, desired, catalog, index, plan, &mut busy).await {
                Err(error) if error.class == Class::Unreachable => return Err(error),
                result => result.unwrap_or_else(|error| SyncedSet::failed(&desired.role, error)),
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn sync_one(
        &self,
        place: &Place,
        desired: &DesiredSet,
        catalog: &Catalog,
        index: &Index,
        mut plan: SetPlan,
        busy: &mut Refused,
    ) -> Result<SyncedSet, Error> {
        if !is_possible(&desired.role) || !rolecall_engine::plan::is_set(&desired.role) {
            return Err(outcome::no_set(&desired.role));
        }
        let dialect = self.server.dialect(place).await?;
        let mut work = Work {
            engine: self,
            place,
            dialect,
            catalog,
            index,
            desired,
            state: catalog.sets.get(&desired.role).cloned().unwrap_or_default(),
            ungrantable: BTreeMap::new(),
            refused: Refused::new(),
            unrevoked: Refused::new(),
            busy,
            unread: false,
            no_connect: None,
        };
        let found = work.state.clone();
        let is_new = (plan.create || plan.record) && self.make_set(place, desired).await?;
        if plan.sweep {
            self.sweep(place, dialect, &desired.role, &catalog.database).await?;
        }
        if is_new {
            let record = Some(desired.record.clone());
            work.state = SetState { record, connects: catalog.open, ..SetState::default() };
        } else if plan.create || plan.sweep {
            // A set may have been created since the catalogue was read, and sweeping takes more than was planned.
            work.read_back(&Only::Everything).await?;
        }
        if is_new || plan.create || plan.sweep {
            plan = work.plan();
        }
        if plan.connect {
            work.connect().await?;
        }
        work.carry_out(&plan).await?;
        let left = work.plan();
        let effective = work.effective(&left).await?;
        let foreign_grants = match work.state.foreign_grants {
            true => self.foreign_grants(place, dialect, &desired.role, &catalog.database).await?,
            false => Vec::new(),
        };
        Ok(outcome::outcome(&outcome::Evidence {
            admin: self.server.config().admin_user.as_str(),
            desired,
            catalog,
            found: &found,
            state: &work.state,
            left: &left,
            effective: &effective,
            ungrantable: &work.ungrantable,
            refused: &work.refused,
            unrevoked: &work.unrevoked,
            busy: work.busy,
            no_connect: work.no_connect.as_ref(),
            foreign_grants: &foreign_grants,
        }))
    }
}

impl Work<'_> {
    fn plan(&self) -> SetPlan {
        plan_from(self.desired, self.catalog, Some(&self.state))
    }

    /// Carries out a plan and reads back what it touched.
    async fn carry_out(&mut self, plan: &SetPlan) -> Result<(), Error> {
        self.ungrantable =
            self.engine.read_privileges(self.place, Who::Admin, &self.questions(&plan.grants)).await?;
        for group in &plan.revokes {
            self.revoke(group).await?;
        }
        self.grant(&plan.grants, &plan.revokes).await?;
        // Grant options of several grantors cannot be used in one statement: the server takes those of one, and leaves
        // the rest out. One privilege at a time, it finds the grantor of each.
        let several = plan.grants.iter().filter(|group| group.privileges.len() > 1);
        let several: BTreeSet<usize> = several.flat_map(|group| group.objects.iter().copied()).collect();
        let again: Vec<GrantGroup> =
            self.plan().grants.into_iter().flat_map(|group| singly(group, &several)).collect();
        if self.grantable(&again).is_empty() {
            return Ok(());
        }
        self.grant(&again, &[]).await
    }

    async fn grant(&mut self, groups: &[GrantGroup], touched_before: &[RevokeGroup]) -> Result<(), Error> {
        let grantable = self.grantable(groups);
        for ((class, privileges), ids) in &grantable {
            let change = Change {
                class: *class,
                table: Table::of_class(*class),
                privileges: privileges.to_string(),
                set: &self.desired.role,
                verb: Verb::Grant,
            };
            for ids in ids.chunks(rolecall_engine::sets::MOST_OBJECTS) {
                let refused = self.engine.change(self.place, self.dialect, &change, ids, self.busy).await?;
                self.refused.extend(refused);
            }
        }
        let granted = grantable
            .iter()
            .flat_map(|((class, _), ids)| ids.iter().map(|id| (Table::of_class(*class), *id)));
        let revoked =
            touched_before.iter().flat_map(|group| &group.objects).map(|o| object_id(self.catalog, *o));
        let touched: Vec<ObjectId> = granted.chain(revoked).collect::<BTreeSet<_>>().into_iter().collect();
        if touched.is_empty() && !self.unread {
            return Ok(());
        }
        // Reading each of many objects costs more than reading all.
        let only = if touched.len() > self.catalog.objects.len() / 4 {
            Only::Everything
        } else {
            Only::These(&touched)
        };
        self.read_back(&only).await
    }

    /// What of these grants the admin user may make and the server has not refused.
    fn grantable(&self, groups: &[GrantGroup]) -> Questions {
        let mut grantable = Questions::new();
        for group in groups {
            for object in &group.objects {
                let id = object_id(self.catalog, *object);
                let lacking = match self.ungrantable.get(&id) {
                    Some(answer) if answer.closed => PrivilegeSet::ALL,
                    Some(answer) => answer.lacking,
                    None => PrivilegeSet::EMPTY,
                };
                let privileges = group.privileges.difference(lacking);
                let is_tried = self.refused.contains_key(&id) || self.busy.contains_key(&id);
                if !privileges.is_empty() && !is_tried {
                    grantable.entry((group.class, privileges)).or_default().push(id.1);
                }
            }
        }
        grantable
    }

    async fn revoke(&mut self, group: &RevokeGroup) -> Result<(), Error> {
        let verb = Verb::Revoke { grantor: &group.grantor, option_only: group.option_only };
        let change = Change {
            class: group.class,
            table: Table::of_class(group.class),
            privileges: group.privileges.to_string(),
            set: &self.desired.role,
            verb,
        };
        let ids: Vec<u32> = group.objects.iter().map(|object| self.catalog.ids[*object]).collect();
        // What is refused is still there when the set is read back, and is reported then.
        let refused = self.engine.change(self.place, self.dialect, &change, &ids, self.busy).await?;
        self.unrevoked.extend(refused);
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let (database, set) = (identifier(&self.catalog.database), identifier(&self.desired.role));
        let message = Message::one(
            format!("granting CONNECT on the database {database} to {set}"),
            set::connect(&self.catalog.database, &self.desired.role),
        );
        match self.engine.server.run(self.place, &message).await {
            Err(error) if error.class == Class::Refused => self.no_connect = Some(error),
            result => {
                result?;
                self.unread = true;
            }
        }
        Ok(())
    }

    fn questions(&self, groups: &[GrantGroup]) -> Questions {
        let mut questions = Questions::new();
        for group in groups {
            let ids = group.objects.iter().map(|object| self.catalog.ids[*object]);
            questions.entry((group.class, group.privileges)).or_default().extend(ids);
        }
        questions
    }

    /// What the set can do in effect with the objects that a plan still concerns, and how they are called now.
    async fn effective(&self, left: &SetPlan) -> Result<BTreeMap<ObjectId, Answer>, Error> {
        let mut questions = self.questions(&left.grants);
        for group in
            left.revokes.iter().filter(|group| !left.grants.iter().any(|g| g.objects == group.objects))
        {
            let ids = group.objects.iter().map(|object| self.catalog.ids[*object]);
            questions.entry((group.class, group.privileges)).or_default().extend(ids);
        }
        self.engine.read_privileges(self.place, Who::Set(&self.desired.role), &questions).await
    }

    /// Reads the set again: all of it, or its grants on some objects.
    async fn read_back(&mut self, only: &Only<'_>) -> Result<(), Error> {
        // Of a few objects among many, these are all that counts.
        let all: Vec<ObjectId>;
        let only = match only {
            Only::Everything if self.catalog.elsewhere.is_some() => {
                all = self.index.keys().copied().collect();
                &Only::These(&all)
            }
            only => only,
        };
        let role = self.desired.role.as_str();
        let what = format!("reading back the grants of {}", identifier(role));
        let statement = grants([role].into_iter(), self.dialect, only);
        let reply = self.engine.server.run(self.place, &Message::one(what, statement)).await?;
        let mut state = state_of(reply.rows(), self.index).pop().map(|set| set.state).unwrap_or_default();
        if let Only::These(these) = only {
            let touched: BTreeSet<usize> =
                these.iter().filter_map(|id| self.index.get(id).copied()).collect();
            let before = std::mem::take(&mut self.state.grants).into_iter();
            state.grants.extend(before.filter(|grant| !touched.contains(&grant.object)));
            state.foreign_grants = self.state.foreign_grants;
        }
        (self.state, self.unread) = (state, false);
        Ok(())
    }
}

/// One group for each privilege, with those of its objects that are among these.
fn singly(group: GrantGroup, among: &BTreeSet<usize>) -> impl Iterator<Item = GrantGroup> {
    let GrantGroup { class, privileges, mut objects } = group;
    objects.retain(|object| among.contains(object));
    privileges.iter().map(move |one| GrantGroup {
        class,
        privileges: PrivilegeSet::from_iter([one]),
        objects: objects.clone(),
    })
}
