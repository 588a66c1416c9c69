//! What the sessions of an account ask for together: its database roles, logical databases and password.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_api::{CreateDbUserMode, MissingDbRoles, reasons};
use rolecall_engine::account::{Credential, Enabled, WantedRole};
use rolecall_engine::{Desired, Observed, Want, plan};
use secrecy::{ExposeSecret, SecretString};

use super::carry_out::Place;
use super::credentials;
use super::gather::Item;
use super::lifecycle::{Ending, Next, Obstacle, Verdict};
use super::round::Round;
use crate::Shared;
use crate::runtime::Failed;
use crate::servers::{Issuer, Server};
use crate::world::AccountKey;

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

    pub(super) async fn desired(
        &mut self,
        on: Place<'_>,
        password: &mut Password,
    ) -> Result<Option<Desired>, Failed> {
        let Place { server, account, .. } = on;
        let (lives, ends) = (self.lives(), self.ends());
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
                return Ok(None);
            }
            let drop = touched.iter().filter_map(|index| self.mode_of(*index)).max()
                == Some(CreateDbUserMode::BestEffortDrop);
            return Ok(Some(desired(Want::Ended { drop }, &self.databases(&touched))));
        }
        let Some(roles) = self.account_roles(server) else { return Ok(None) };
        let mut credential = Credential::External;
        if matches!(server.issuer, Issuer::Password) {
            let one_ends = ends.into_iter().any(|index| self.may_know_password(on, index));
            *password = self.password(on, !lives.is_empty(), one_ends).await?;
            credential = Credential::Password { set: password.verifier() };
        }
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
        Ok(Some(desired(want, &databases)))
    }

    pub(super) fn databases(&self, indexes: &[usize]) -> BTreeSet<String> {
        indexes
            .iter()
            .filter_map(|index| self.gathered.sessions[*index].session.spec.database_name.clone())
            .collect()
    }

    /// Not where a start failed before it was handed anything: it is tried again, and would change the password each
    /// time.
    fn may_know_password(&self, on: Place<'_>, index: usize) -> bool {
        let Item { session, verdict, .. } = &self.gathered.sessions[index];
        let failed = matches!(verdict, Verdict::End(Ending { next: Next::Again(_), .. }));
        !failed || on.shared.memory.handed(session.metadata.uid.as_deref().unwrap_or_default()).is_some()
    }

    /// The password of the account: new for a new account, whenever one of its sessions ends, and where the Secrets of
    /// those that live do not agree.
    async fn password(&self, on: Place<'_>, in_use: bool, one_ends: bool) -> Result<Password, Failed> {
        let Place { shared, key, server, .. } = on;
        if in_use && !one_ends {
            if let Some(known) = shared.memory.password(key) {
                return Ok(Password::Known(known));
            }
            let mut told: Option<SecretString> = None;
            let mut agree = true;
            for index in self.lives() {
                let session = &self.gathered.sessions[index].session;
                if let Some((_, Some(text))) = credentials::recall(shared, session, server, self.now).await? {
                    agree &= told.as_ref().is_none_or(|told| told.expose_secret() == text.expose_secret());
                    told = Some(text);
                }
            }
            if let Some(known) = told.filter(|_| agree) {
                shared.memory.set_password(key, Some(known.clone()));
                return Ok(Password::Known(known));
            }
        }
        Ok(Password::New(rolecall_engine::credentials::password::generate()?))
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

/// The password of an account in one look.
#[derive(Debug)]
pub(super) enum Password {
    /// There is none, or it plays no part.
    Unchanged,
    /// The one that is set.
    Known(SecretString),
    /// One to be set.
    New(SecretString),
}

impl Password {
    pub(super) fn text(&self) -> Option<&SecretString> {
        match self {
            Self::Unchanged => None,
            Self::Known(text) | Self::New(text) => Some(text),
        }
    }

    fn verifier(&self) -> Option<SecretString> {
        match self {
            Self::New(text) => Some(rolecall_engine::credentials::password::verifier(text)),
            Self::Unchanged | Self::Known(_) => None,
        }
    }

    pub(super) fn keep(&self, shared: &Shared, key: &AccountKey) {
        if let Self::New(text) = self {
            shared.memory.set_password(key, Some(text.clone()));
        }
    }
}
