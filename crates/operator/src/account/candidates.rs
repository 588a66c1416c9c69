//! Which database roles an account has, where its sessions ask for different ones.
//!
//! Sessions of one account hold one set of roles. Those that are live say which. Where none is, the oldest that can
//! start does: one that only waits holds nothing, and stands in nobody's way.

use std::collections::BTreeMap;

use rolecall_api::reasons;
use rolecall_engine::account::WantedRole;

use super::lifecycle::{Blocker, Verdict};
use super::report::Outcome;
use super::round::Round;
use crate::servers::Server;

type Roles = BTreeMap<String, WantedRole>;

impl Round {
    /// Chooses who may start in this attempt: whoever would hold what live sessions hold; where there is none, whoever
    /// would hold what the oldest would. The others are refused, or wait for what becomes of it.
    pub(super) fn choose_candidates(&mut self, server: &Server) {
        self.set_aside.clear();
        if !self.lives().is_empty() {
            self.refuse_other_roles(server);
            return;
        }
        let oldest = self.starts().into_iter().min_by_key(|index| {
            let meta = &self.gathered.sessions[*index].session.metadata;
            (meta.creation_timestamp.clone(), meta.name.clone())
        });
        let Some(wanted) = oldest.and_then(|oldest| self.roles_of(oldest, server)) else { return };
        let others =
            |index: &usize| self.roles_of(*index, server).is_some_and(|roles| differ(&roles, &wanted));
        self.set_aside = self.starts().into_iter().filter(others).collect();
    }

    /// After an attempt: is there somebody else to be tried? Where somebody holds the account by now, the others are
    /// told so.
    pub(super) fn has_more_candidates(&mut self, server: &Server) -> bool {
        if self.set_aside.is_empty() {
            return false;
        }
        let started = |index: &usize| matches!(self.outcomes[*index], Some(Outcome::Active(_)));
        if !self.lives().is_empty() || self.starts().iter().any(started) {
            let held = self.account_roles(server).unwrap_or_default();
            for index in std::mem::take(&mut self.set_aside) {
                self.refuse_roles(index, &held, server);
            }
            return false;
        }
        // Whoever waits for its permission set most often starts in a moment, and triggers the account.
        !self.prepares_set
    }

    /// The roles of the account: of its live sessions, else of those that may start.
    pub(super) fn account_roles(&self, server: &Server) -> Option<Roles> {
        let lives = self.lives();
        let Some((first, rest)) = lives.split_first() else {
            return self.roles_of(*self.starts().first()?, server);
        };
        // After a change of policy they may differ: nobody gets what one of them must not have.
        let mut roles = self.roles_of(*first, server)?;
        for index in rest {
            let other = self.roles_of(*index, server)?;
            roles.retain(|role, _| other.contains_key(role));
        }
        Some(roles)
    }

    fn roles_of(&self, index: usize, server: &Server) -> Option<Roles> {
        let life = self.life(index)?;
        let granted = life.grant.db_roles.iter();
        let mut roles: Roles =
            granted.map(|(role, literal)| (role.clone(), WantedRole { named_literally: *literal })).collect();
        for role in server.platform_roles {
            roles.insert((*role).to_owned(), WantedRole { named_literally: true });
        }
        Some(roles)
    }

    fn refuse_other_roles(&mut self, server: &Server) {
        let Some(held) = self.account_roles(server) else { return };
        for index in self.starts() {
            if let Some(wanted) = self.roles_of(index, server).filter(|wanted| differ(wanted, &held)) {
                self.fail_start(index, roles_changed(&held, &wanted));
            }
        }
    }

    /// As a start that fails; but what was done for it before is undone by the next look: this one is over.
    fn refuse_roles(&mut self, index: usize, held: &Roles, server: &Server) {
        let Some(wanted) = self.roles_of(index, server) else { return };
        let blocker = roles_changed(held, &wanted);
        if !self.gathered.sessions[index].touched {
            return self.fail_start(index, blocker);
        }
        self.outcomes[index] = Some(Outcome::Waiting(blocker.clone()));
        self.gathered.sessions[index].verdict = Verdict::Wait(blocker);
        self.retry = true;
    }
}

fn differ(one: &Roles, other: &Roles) -> bool {
    one.keys().ne(other.keys())
}

fn roles_changed(held: &Roles, wanted: &Roles) -> Blocker {
    let list = |roles: &Roles| roles.keys().cloned().collect::<Vec<_>>().join(", ");
    let message = format!(
        "live sessions of this account hold the database roles [{}], this one would hold [{}]; end them first, or ask for the same dbRoles",
        list(held),
        list(wanted)
    );
    Blocker::passing(reasons::ROLES_CHANGED, message)
}
