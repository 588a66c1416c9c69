//! What the sessions of an account ask for together, done on its server: observe, plan, apply, read back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rolecall_api::{AccountPhase, CreateDbUserMode, MissingDbRoles, reasons};
use rolecall_engine::account::{Credential, Enabled, WantedRole};
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{AccountName, Applied, Class, Desired, OWN_ROLE_PREFIX, Observed, Want};
use secrecy::SecretString;

use super::credentials::{self};
use super::lifecycle::Obstacle;
use super::note::account_phase;
use super::round::Round;
use crate::runtime::Failed;
use crate::servers::{Issuer, Server};
use crate::world::{AccountKey, Work};
use crate::{Lane, Shared};

impl Round {
    /// Tries everything once. False: a start failed, so that the account should be something else now.
    pub(super) async fn attempt(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        server: &Arc<Server>,
        account: &AccountName,
    ) -> Result<bool, Failed> {
        self.refuse_changed_roles(server);
        self.want_sets(shared, key, server);
        let mut password = Password::Unchanged;
        let mut desired = match self.desired(shared, key, server, account, &mut password).await? {
            Some(desired) => desired,
            None => return Ok(true),
        };
        let observed = match server.engine.observe(&desired.query()).await {
            Ok(observed) => observed,
            Err(error) => return self.engine_failed(shared, key, &error).await,
        };
        if self.notice_missing_sets(shared, key, &desired, &observed) {
            return Ok(false);
        }
        self.keep_only_sets_that_may_be(&mut desired, &observed);
        if self.refuse_databases(&desired, &observed) {
            return Ok(false);
        }
        let mut plan = match plan::plan(&desired, &observed) {
            Ok(plan) => plan,
            Err(refusal) => {
                let obstacle = Obstacle::stalled(refusal.reason.as_str(), refusal.message.clone());
                if !self.starts().is_empty() {
                    self.fail_starts(&obstacle);
                    self.note_account(key, account_phase(&observed), &[], Some(&obstacle.message));
                    return Ok(false);
                }
                // Live sessions on an account that somebody took: it is not ours to touch any more.
                self.finish_ends(shared, server, &Applied::default(), key).await?;
                self.note_account(key, account_phase(&observed), &[], Some(&obstacle.message));
                self.retry = true;
                self.keep_lives(shared, key, Some(&**server), Some(&obstacle)).await?;
                return Ok(true);
            }
        };
        if let Plan::Adjust(adjust) = &mut plan {
            // What connections cached of an inlined function outlives the loss of EXECUTE.
            let wanted = || self.sets.values().map(|(role, _)| role.as_str());
            adjust.terminate |= adjust
                .revoke
                .iter()
                .filter(|role| role.starts_with(OWN_ROLE_PREFIX))
                .any(|role| shared.sets.loses_functions(&key.admin, role, wanted()));
        }
        let ends_account = matches!(desired.want, Want::Ended { .. });
        if ends_account && let Err(refusal) = plan::check_ended(&desired, &observed) {
            let obstacle = Obstacle::stalled(refusal.reason.as_str(), refusal.message);
            self.note_account(key, AccountPhase::Conflict, &[], Some(&obstacle.message));
            self.hold_ends(shared, key, &obstacle).await?;
            return Ok(true);
        }
        if !ends_account && !self.prepare_starts(shared, key, server, account, password.text()).await? {
            return Ok(false);
        }
        if !plan.is_nothing() {
            tracing::debug!(account = %key, %plan, "applying");
        }
        let applied = match server.engine.apply(&plan).await {
            Ok(applied) => applied,
            Err(error) => return self.engine_failed(shared, key, &error).await,
        };
        password.keep(shared, key);
        if ends_account {
            let phase = match (&observed.account, applied.dropped) {
                (None, _) | (_, true) => AccountPhase::Dropped,
                (Some(account), _) if !account.managed => AccountPhase::Conflict,
                _ => AccountPhase::Disabled,
            };
            let leftovers = observed.account.map(|account| account.leftovers).unwrap_or_default();
            self.note_ended(key, account, phase, &applied, &leftovers);
            self.finish_ends(shared, server, &applied, key).await?;
            shared.memory.set_password(key, None);
            shared.memory.leave(key, None);
            return Ok(true);
        }
        if !plan.is_nothing()
            && let Err(obstacle) = verify(server, &desired).await
        {
            self.fail_starts(&obstacle);
            self.retry = true;
            if self.lives().is_empty() {
                return Ok(false);
            }
            self.keep_lives(shared, key, Some(&**server), Some(&obstacle)).await?;
            return Ok(true);
        }
        if let Want::Enabled(enabled) = &desired.want {
            let memberships = enabled.roles.keys().chain(&enabled.sets).cloned().collect();
            shared.memory.leave(key, Some(&memberships));
        }
        self.finish_ends(shared, server, &applied, key).await?;
        self.renew_shared_password(shared, server, account, &password).await?;
        self.keep_lives(shared, key, Some(&**server), None).await?;
        self.finish_starts(shared, key, server, account);
        Ok(true)
    }

    /// The server did not do it. False: the account should be something else now, try that.
    pub(super) async fn engine_failed(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        error: &rolecall_engine::Error,
    ) -> Result<bool, Failed> {
        let message = error.to_string();
        let obstacle = match error.class {
            Class::Unreachable | Class::Transient => Obstacle::passing(error.reason.as_str(), message),
            Class::Invalid | Class::Refused => Obstacle::stalled(error.reason.as_str(), message),
        };
        tracing::warn!(account = %key, %error, "the server did not do it");
        self.retry = true;
        let had_starts = !self.starts().is_empty();
        self.fail_starts(&obstacle);
        if error.class == Class::Unreachable {
            shared.servers.mark_unreachable(&key.admin, obstacle.clone());
            shared.queue.add(Work::Admin(key.admin.clone()), Lane::Normal);
            self.hold_ends(shared, key, &obstacle).await?;
            return Ok(true);
        }
        if had_starts && error.class != Class::Transient {
            return Ok(false);
        }
        self.hold_ends(shared, key, &obstacle).await?;
        Ok(true)
    }

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
        shared: &Shared,
        key: &AccountKey,
        server: &Server,
        account: &AccountName,
        password: &mut Password,
    ) -> Result<Option<Desired>, Failed> {
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
            *password = self.password(shared, key, server, !lives.is_empty(), !ends.is_empty()).await?;
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

    /// The password of the account: new for a new account and whenever one of its sessions ends.
    pub(super) async fn password(
        &self,
        shared: &Shared,
        key: &AccountKey,
        server: &Server,
        in_use: bool,
        one_ends: bool,
    ) -> Result<Password, Failed> {
        if in_use && !one_ends {
            if let Some(known) = shared.memory.password(key) {
                return Ok(Password::Known(known));
            }
            for index in self.lives() {
                let session = &self.gathered.sessions[index].session;
                if let Some((_, Some(known))) = credentials::recall(shared, session, server, self.now).await?
                {
                    shared.memory.set_password(key, Some(known.clone()));
                    return Ok(Password::Known(known));
                }
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
                self.fail_start(index, Obstacle::stalled(refusal.reason.as_str(), refusal.message));
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

    fn keep(&self, shared: &Shared, key: &AccountKey) {
        if let Self::New(text) = self {
            shared.memory.set_password(key, Some(text.clone()));
        }
    }
}

/// Reads the account again: a plan on what is seen now must find nothing to do.
async fn verify(server: &Server, desired: &Desired) -> Result<(), Obstacle> {
    let settled = plan::settled(desired);
    let observed = match server.engine.observe(&settled.query()).await {
        Ok(observed) => observed,
        Err(error) => return Err(Obstacle::passing(error.reason.as_str(), error.to_string())),
    };
    match plan::plan(&settled, &observed) {
        Ok(Plan::Nothing) => Ok(()),
        Ok(plan) => Err(Obstacle::passing(
            reasons::NOT_VERIFIED,
            format!("what the server shows is not what was asked for: it would take to {plan}"),
        )),
        Err(refusal) => Err(Obstacle::stalled(refusal.reason.as_str(), refusal.message)),
    }
}
