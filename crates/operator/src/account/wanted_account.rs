//! What the sessions of an account ask for together: its database roles and logical databases.

use std::collections::BTreeSet;

use rolecall_api::{CreateDbUserMode, MissingDbRoles};
use rolecall_engine::account::{Credential, Enabled};
use rolecall_engine::{Desired, Observed, Want, plan};

use super::carry_out::Place;
use super::credentials;
use super::gather::Item;
use super::lifecycle::{Blocker, Ending, Next, Verdict};
use super::round::Round;
use crate::servers::Issuer;

impl Round {
    pub(super) fn desired(&mut self, on: Place<'_>) -> Option<Desired> {
        let Place { server, account, .. } = on;
        let lives = self.lives();
        for index in self.starts() {
            if let Err(blocker) = credentials::check(&self.gathered.sessions[index].session, server) {
                self.fail_start(index, blocker);
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
                self.fail_start(index, Blocker::from(&refusal));
                refused = true;
            }
        }
        refused
    }
}
