//! The permission sets of an account: which it wants, and which it may have.

use std::collections::BTreeSet;

use rolecall_api::reasons;
use rolecall_engine::{Desired, Observed, Want};

use super::lifecycle::{Obstacle, Verdict};
use super::report::Active;
use super::round::Round;
use crate::permissions::{self, Standing, Wanted};
use crate::servers::Server;
use crate::world::{AccountKey, Work};
use crate::{Lane, Shared};

impl Round {
    /// Tells which permission sets the account wants now. A start waits until its set stands; where it cannot be made,
    /// the start fails.
    pub(super) fn want_sets(&mut self, shared: &Shared, key: &AccountKey, server: &Server) {
        let needed: Vec<usize> = self.lives().into_iter().chain(self.starts()).collect();
        let wanted: Vec<(usize, Wanted)> = needed
            .into_iter()
            .filter_map(|index| {
                let session = &self.gathered.sessions[index].session;
                let wanted = permissions::wanted(&key.admin, server, session, &self.life(index)?.grant)?;
                Some((index, wanted))
            })
            .collect();
        let list: Vec<Wanted> = wanted.iter().map(|(_, wanted)| wanted.clone()).collect();
        let (standings, to_look_at) = shared.sets.want(key, &list);
        for objects in to_look_at {
            shared.queue.add(Work::Objects(objects), Lane::Normal);
        }
        self.sets.clear();
        for (index, wanted) in wanted {
            let standing = standings.get(&wanted.role).cloned().unwrap_or_default();
            let starts = matches!(self.gathered.sessions[index].verdict, Verdict::Start(_));
            match &standing {
                // Whoever looks at the objects wakes this account; nothing is said until then.
                Standing::NotYet if starts => {
                    let preparing = "the object permissions are being prepared";
                    self.gathered.sessions[index].verdict =
                        Verdict::Wait(Obstacle::passing(reasons::STARTING, preparing));
                    self.retry = true;
                }
                Standing::Failed(obstacle) if starts => self.fail_start(index, obstacle.clone()),
                _ => {}
            }
            self.sets.insert(index, (wanted.role, standing));
        }
    }

    /// A live account keeps a set that it has while nobody can tell how the set stands (after a restart, say), and
    /// gets none that does not stand.
    pub(super) fn keep_only_sets_that_may_be(&self, desired: &mut Desired, observed: &Observed) {
        let Want::Enabled(enabled) = &mut desired.want else { return };
        let held: BTreeSet<&str> = observed
            .account
            .iter()
            .flat_map(|account| &account.memberships)
            .map(|m| m.role.as_str())
            .collect();
        enabled.sets.retain(|role| {
            let stands = self
                .sets
                .values()
                .any(|(set, standing)| set == role && matches!(standing, Standing::Stands(_)));
            stands || held.contains(role.as_str())
        });
    }

    /// The permission sets that the account may have: all but those that are withheld.
    pub(super) fn sets_of(&self, indexes: &[usize]) -> BTreeSet<String> {
        let sets = indexes.iter().filter_map(|index| self.sets.get(index));
        sets.filter(|(_, standing)| !matches!(standing, Standing::Withheld(_)))
            .map(|(role, _)| role.clone())
            .collect()
    }

    /// What the session's permission set gives it.
    pub(super) fn add_permissions(&self, index: usize, active: &mut Active) {
        match self.sets.get(&index) {
            None if self.life(index).is_some_and(|life| life.grant.has_permissions()) => {
                let why = "object permissions are given on one logical database; create the session anew with spec.databaseName";
                active.incomplete = Some(Obstacle::stalled(reasons::DATABASE_NAME_REQUIRED, why));
            }
            None => {}
            Some((_, Standing::Stands(holding))) => {
                active.permissions = holding.counts.clone();
                active.incomplete = holding.incomplete.clone();
                active.complete = holding.incomplete.is_none();
            }
            Some((_, Standing::Withheld(obstacle) | Standing::Failed(obstacle))) => {
                active.incomplete = Some(obstacle.clone());
            }
            Some((_, Standing::NotYet)) => {
                active.incomplete =
                    Some(Obstacle::passing(reasons::STARTING, "the object permissions are being looked at"));
            }
        }
    }
}
