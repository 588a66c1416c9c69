//! What the sessions of an account ask for together: its database roles and logical databases.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_api::{CreateDbUserMode, MissingDbRoles, reasons};
use rolecall_engine::account::{Credential, Enabled, WantedRole};
use rolecall_engine::{Desired, Observed, Want, plan};

use super::carry_out::Place;
use super::credentials;
use super::gather::Item;
use super::lifecycle::{Ending, Next, Obstacle, Verdict};
use super::round::Round;
use crate::servers::{Issuer, Server};

impl Round {
    /// Sessions of one account hold one set of roles. Those that are live say which; else the oldest.
    pub(super) fn refuse_changed_roles(&mut self, server: &Server) {
        let Some(held) = self.account_roles(server) else { return };
        for index in self.starts() {
            let Some(wanted) = self.roles_of(index, server) else { continue };
            if wanted.keys().ne(held.keys()) {
                let list = |roles: &BTreeMap<String, WantedRole>| {
                    roles.keys().cloned().collect::<Vec<_>>().join(", ")
                };
                let message = format!(
                    "live sessions of this account hold the database roles [{}], this one would hold [{}]; end them first, or ask for the same dbRoles",
                    list(&held),
                    list(&wanted)
                );
                self.fail_start(index, Obstacle::passing(reasons::ROLES_CHANGED, message));
            }
        }
    }

    pub(super) fn account_roles(&self, server: &Server) -> Option<BTreeMap<String, WantedRole>> {
        let lives = self.lives();
        if let Some((first, rest)) = lives.split_first() {
            // After a change of policy they may differ: nobody gets what one of them must not have.
            let mut roles = self.roles_of(*first, server)?;
            for index in rest {
                let other = self.roles_of(*index, server)?;
                roles.retain(|role, _| other.contains_key(role));
            }
            return Some(roles);
        }
        let oldest = self.starts().into_iter().min_by_key(|index| {
            let meta = &self.gathered.sessions[*index].session.metadata;
            (meta.creation_timestamp.clone(), meta.name.clone())
        })?;
        self.roles_of(oldest, server)
    }

    pub(super) fn roles_of(&self, index: usize, server: &Server) -> Option<BTreeMap<String, WantedRole>> {
        let life = self.life(index)?;
        let mut roles: BTreeMap<String, WantedRole> = life
            .grant
            .db_roles
            .iter()
            .map(|(role, literal)| (role.clone(), WantedRole { named_literally: *literal }))
            .collect();
        for role in server.platform_roles {
            roles.insert((*role).to_owned(), WantedRole { named_literally: true });
        }
        Some(roles)
    }

    pub(super) fn desired(&mut self, on: Place<'_>) -> Option<Desired> {
        let Place { server, account, .. } = on;
        let lives = self.lives();
        for index in self.starts() {
            if let Err(obstacle) = credentials::check(&self.gathered.sessions[index].session, server) {
                self.fail_start(index, obstacle);
            }
        }
        let starts = self.starts();
        let desired = |want: Want, databases: &BTreeSet<String>| Desired {
            account: account.clone(),
            owner: server.owner.clone(),
            session_database: databases.first().cloned(),
            want,
        };
        if lives.is_empty() && starts.is_empty() {
            let touched = self.ends();
            if touched.is_empty() {
                return None;
            }
            let drop = touched.iter().filter_map(|index| self.mode_of(*index)).max()
                == Some(CreateDbUserMode::BestEffortDrop);
            return Some(desired(Want::Ended { drop }, &self.databases(&touched)));
        }
        let roles = self.account_roles(server)?;
        // Which password is decided by what the server shows.
        let credential = match server.issuer {
            Issuer::Password => Credential::Password { set: None },
            Issuer::X509 { .. } | Issuer::None | Issuer::Missing(_) => Credential::External,
        };
        let needed: Vec<usize> = lives.iter().chain(&starts).copied().collect();
        let databases = self.databases(&needed);
        let missing = self.gathered.admin.as_ref().map(|admin| admin.spec.missing_db_roles);
        let want = Want::Enabled(Enabled {
            roles,
            sets: self.sets_of(&needed),
            databases: databases.clone(),
            credential,
            in_use: !lives.is_empty(),
            create_missing_roles: missing == Some(MissingDbRoles::Create),
        });
        Some(desired(want, &databases))
    }

    pub(super) fn databases(&self, indexes: &[usize]) -> BTreeSet<String> {
        indexes
            .iter()
            .filter_map(|index| self.gathered.sessions[*index].session.spec.database_name.clone())
            .collect()
    }

    /// Not where a start failed before it was handed anything: it is tried again, and would change the password each
    /// time.
    pub(super) fn may_know_password(&self, on: Place<'_>, index: usize) -> bool {
        let Item { session, verdict, .. } = &self.gathered.sessions[index];
        let failed = matches!(verdict, Verdict::End(Ending { next: Next::Again(_), .. }));
        !failed || on.shared.memory.handed(session.metadata.uid.as_deref().unwrap_or_default()).is_some()
    }

    /// Each start on a logical database that is not there, or lets it not in, fails by itself.
    pub(super) fn refuse_databases(&mut self, desired: &Desired, observed: &Observed) -> bool {
        let mut refused = false;
        for index in self.starts() {
            let Some(database) = self.gathered.sessions[index].session.spec.database_name.clone() else {
                continue;
            };
            if let Err(refusal) = plan::check_database(desired, observed, &database) {
                self.fail_start(index, Obstacle::from(&refusal));
                refused = true;
            }
        }
        refused
    }
}
