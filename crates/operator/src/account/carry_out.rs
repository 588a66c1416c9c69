//! What the sessions of an account ask for together, done on its server: observe, plan, apply, read back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::{
    AccountPhase, AccountStatus, Connection, CreateDbUserMode, DatabaseAdmin, DatabaseSession, Deletion,
    MissingDbRoles, reasons,
};
use rolecall_engine::account::{Credential, Enabled, Leftover, WantedRole};
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{AccountName, Applied, Class, Desired, Observed, Want};
use rolecall_policy::Mode;
use rolecall_resolve::Grant;
use secrecy::SecretString;
use serde_json::json;

use super::credentials::{self, Failure, Handed};
use super::gather::{Gathered, Item};
use super::lifecycle::{Ending, Life, Next, Obstacle, Verdict, give_up, phase};
use super::memory::Report;
use super::report::{Active, Left, Outcome};
use super::{deadline, outcome_of_end};
use crate::objects::{Severity, is_conflict};
use crate::permissions::{self, Standing, Wanted};
use crate::runtime::Failed;
use crate::servers::{Issuer, Server, State};
use crate::world::{AccountKey, ObjectKey, Work};
use crate::{Lane, Shared};

/// Starts may fail one by one, and each failure can change what the account should be. After so many attempts the
/// rest waits for the next look.
const ATTEMPTS: usize = 8;

/// One look at an account, while it is carried out.
#[derive(Debug)]
pub(super) struct Round {
    gathered: Gathered,
    now: Timestamp,
    outcomes: Vec<Option<Outcome>>,
    /// The permission set of each session that wants one, and how it stands.
    sets: BTreeMap<usize, (String, Standing)>,
    /// Something failed that may work when it is tried again.
    pub(super) retry: bool,
    /// What the status of the DatabaseUser will say.
    pub(super) report: Option<Report>,
}

impl Round {
    pub(super) fn new(gathered: Gathered, now: Timestamp) -> Self {
        let outcomes = gathered.sessions.iter().map(|_| None).collect();
        Self { gathered, now, outcomes, sets: BTreeMap::new(), retry: false, report: None }
    }

    /// What became of each session; those of which nothing is to be said are left out.
    pub(super) fn outcomes(self) -> Vec<(Arc<DatabaseSession>, Option<Outcome>)> {
        self.gathered.sessions.into_iter().map(|item| item.session).zip(self.outcomes).collect()
    }

    pub(super) async fn run(&mut self, shared: &Shared, key: &AccountKey) -> Result<(), Failed> {
        self.settle_without_server();
        if !self.needs_server() {
            return Ok(());
        }
        if self.retained(shared, key).await? {
            return Ok(());
        }
        let state = match self.gathered.server.clone() {
            Some(state) => state,
            None if self.gathered.admin.is_some() => {
                // Its reconciler is on the way and wakes this account when it knows more.
                self.wait_for_first_look();
                return Ok(());
            }
            None => State::default(),
        };
        if let Some(obstacle) = self.obstacle_to_starts(&state) {
            self.fail_starts(&obstacle);
        }
        if let Some(obstacle) = self.obstacle_to_everything(&state) {
            self.hold_ends(shared, key, &obstacle).await?;
            if let Some(server) = &state.server {
                self.want_sets(shared, key, server);
            }
            self.keep_lives(shared, key, state.server.as_deref(), None).await?;
            return Ok(());
        }
        // The obstacle to everything is a server that is missing.
        let (Some(server), Some(account)) = (state.server, self.gathered.account.clone()) else {
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            if self.attempt(shared, key, &server, &account).await? {
                return Ok(());
            }
        }
        self.retry = true;
        Ok(())
    }

    /// What needs no server: waiting, rejected, untouched sessions.
    fn settle_without_server(&mut self) {
        for (index, item) in self.gathered.sessions.iter().enumerate() {
            self.outcomes[index] = match &item.verdict {
                Verdict::Wait(obstacle) => Some(Outcome::Waiting(obstacle.clone())),
                Verdict::Reject(obstacle) => Some(Outcome::Rejected(obstacle.clone())),
                Verdict::Over { .. }
                | Verdict::Untouched
                | Verdict::Live(_)
                | Verdict::Start(_)
                | Verdict::End(_) => None,
            };
        }
    }

    fn needs_server(&self) -> bool {
        self.gathered
            .sessions
            .iter()
            .any(|item| matches!(item.verdict, Verdict::Live(_) | Verdict::Start(_) | Verdict::End(_)))
    }

    fn wait_for_first_look(&mut self) {
        let obstacle = Obstacle::passing(reasons::PENDING, "the DatabaseAdmin has not been looked at yet");
        for index in self.starts() {
            if phase(&self.gathered.sessions[index].session) != rolecall_api::SessionPhase::Active {
                self.outcomes[index] = Some(Outcome::Waiting(obstacle.clone()));
            }
        }
        self.retry = true;
    }

    fn obstacle_to_starts(&self, state: &State) -> Option<Obstacle> {
        if let Some(obstacle) = self.suspended() {
            return Some(obstacle);
        }
        state.obstacle.clone()
    }

    fn obstacle_to_everything(&self, state: &State) -> Option<Obstacle> {
        if let Some(obstacle) = self.suspended() {
            return Some(obstacle);
        }
        if state.unreachable || state.server.is_none() {
            return Some(state.obstacle.clone().unwrap_or_else(|| {
                Obstacle::stalled(
                    reasons::DATABASE_NOT_FOUND,
                    "there is no DatabaseAdmin to reach the server with",
                )
            }));
        }
        None
    }

    fn suspended(&self) -> Option<Obstacle> {
        let admin = self.gathered.admin.as_ref().filter(|admin| admin.spec.suspend)?;
        Some(Obstacle::stalled(
            reasons::DATABASE_SUSPENDED,
            format!(
                "the DatabaseAdmin {:?} is suspended: nothing on its server is touched",
                admin.metadata.name.as_deref().unwrap_or_default()
            ),
        ))
    }

    fn starts(&self) -> Vec<usize> {
        self.indexes(|item| matches!(item.verdict, Verdict::Start(_)))
    }

    fn lives(&self) -> Vec<usize> {
        self.indexes(|item| matches!(item.verdict, Verdict::Live(_)))
    }

    fn ends(&self) -> Vec<usize> {
        self.indexes(|item| matches!(item.verdict, Verdict::End(_)))
    }

    fn indexes(&self, is: impl Fn(&Item) -> bool) -> Vec<usize> {
        let items = self.gathered.sessions.iter().enumerate();
        items.filter(|(_, item)| is(item)).map(|(index, _)| index).collect()
    }

    fn fail_starts(&mut self, obstacle: &Obstacle) {
        for index in self.starts() {
            self.fail_start(index, obstacle.clone());
        }
    }

    /// A start that did not come off: it waits, is rejected, or has to be ended first.
    fn fail_start(&mut self, index: usize, obstacle: Obstacle) {
        let item = &mut self.gathered.sessions[index];
        let verdict = give_up(&item.session, item.timed, obstacle, self.now);
        let verdict = match verdict {
            // Something may have been done for it in this very look.
            Verdict::Reject(obstacle) if item.touched => {
                Verdict::End(Ending { reason: None, next: Next::Rejected(obstacle) })
            }
            Verdict::Wait(obstacle) if item.touched => {
                Verdict::End(Ending { reason: None, next: Next::Again(obstacle) })
            }
            other => other,
        };
        self.outcomes[index] = match &verdict {
            Verdict::Wait(obstacle) => Some(Outcome::Waiting(obstacle.clone())),
            Verdict::Reject(obstacle) => Some(Outcome::Rejected(obstacle.clone())),
            _ => None,
        };
        self.retry |= matches!(verdict, Verdict::Wait(_) | Verdict::End(_));
        item.verdict = verdict;
    }

    /// Accesses that should end and cannot: because the server is gone for good they are let go, otherwise they stay.
    async fn hold_ends(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        obstacle: &Obstacle,
    ) -> Result<(), Failed> {
        let given_up = given_up(self.gathered.admin.as_deref(), shared.settings.teardown_deadline, self.now);
        for index in self.ends() {
            let Verdict::End(ending) = self.gathered.sessions[index].verdict.clone() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            match given_up {
                GivenUp::No => {
                    let reason = ending.reason;
                    self.outcomes[index] = Some(match ending.next {
                        // It never became Active: it keeps waiting, and what may be there is closed later.
                        Next::Pending(obstacle) | Next::Again(obstacle) if reason.is_none() => {
                            Outcome::Waiting(obstacle)
                        }
                        _ => Outcome::Ending { reason, obstacle: obstacle.clone() },
                    });
                    self.retry = true;
                }
                GivenUp::Abandoned => {
                    let note = format!(
                        "the access of {} on {} could not be taken away: {}. Disable the account on the server by hand",
                        key.username, key.admin, obstacle.message
                    );
                    shared
                        .objects
                        .event(&*session, Severity::Warning, reasons::ABANDONED, "End", &note)
                        .await;
                    tracing::warn!(account = %key, session = %ObjectKey::of(&*session), "abandoned");
                    // Whoever has no other copy of the credentials has no access any more.
                    take_back(shared, &session).await?;
                    self.outcomes[index] = Some(outcome_of_end(&ending, Some(Left::Abandoned)));
                }
            }
        }
        Ok(())
    }

    /// Tries everything once. False: a start failed, so that the account should be something else now.
    async fn attempt(
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
        self.keep_only_sets_that_may_be(&mut desired, &observed);
        if self.refuse_databases(&desired, &observed) {
            return Ok(false);
        }
        let plan = match plan::plan(&desired, &observed) {
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
        let ends_account = matches!(desired.want, Want::Ended { .. });
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
        self.finish_ends(shared, server, &applied, key).await?;
        self.renew_shared_password(shared, server, account, &password).await?;
        self.keep_lives(shared, key, Some(&**server), None).await?;
        self.finish_starts(shared, key, server, account);
        Ok(true)
    }

    /// With `deletion: Retain` the database stays as it is, whether it answers or not.
    async fn retained(&mut self, shared: &Shared, key: &AccountKey) -> Result<bool, Failed> {
        let retained = self.gathered.admin.as_ref().is_some_and(|admin| {
            admin.metadata.deletion_timestamp.is_some() && admin.spec.deletion == Deletion::Retain
        });
        if !retained {
            return Ok(false);
        }
        for index in self.ends() {
            let Verdict::End(ending) = self.gathered.sessions[index].verdict.clone() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            take_back(shared, &session).await?;
            let note = format!(
                "{} on {} stays as it is: the DatabaseAdmin is being deleted with deletion: Retain",
                key.username, key.admin
            );
            shared.objects.event(&*session, Severity::Warning, reasons::DATABASE_REMOVED, "End", &note).await;
            self.outcomes[index] = Some(outcome_of_end(&ending, Some(Left::Retained)));
        }
        Ok(true)
    }

    /// Sessions of one account hold one set of roles. Those that are live say which; else the oldest.
    fn refuse_changed_roles(&mut self, server: &Server) {
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

    /// Tells which permission sets the account wants now. A start waits until its set stands; where it cannot be made,
    /// the start fails.
    fn want_sets(&mut self, shared: &Shared, key: &AccountKey, server: &Server) {
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
    fn keep_only_sets_that_may_be(&self, desired: &mut Desired, observed: &Observed) {
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
    fn sets_of(&self, indexes: &[usize]) -> BTreeSet<String> {
        let sets = indexes.iter().filter_map(|index| self.sets.get(index));
        sets.filter(|(_, standing)| !matches!(standing, Standing::Withheld(_)))
            .map(|(role, _)| role.clone())
            .collect()
    }

    fn account_roles(&self, server: &Server) -> Option<BTreeMap<String, WantedRole>> {
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

    fn roles_of(&self, index: usize, server: &Server) -> Option<BTreeMap<String, WantedRole>> {
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

    fn life(&self, index: usize) -> Option<&Life> {
        match &self.gathered.sessions[index].verdict {
            Verdict::Live(life) | Verdict::Start(life) => Some(life),
            _ => None,
        }
    }

    async fn desired(
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

    fn databases(&self, indexes: &[usize]) -> BTreeSet<String> {
        indexes
            .iter()
            .filter_map(|index| self.gathered.sessions[*index].session.spec.database_name.clone())
            .collect()
    }

    /// What becomes of the account when this session ends: as policy says now, else as it said last.
    fn mode_of(&self, index: usize) -> Option<CreateDbUserMode> {
        let item = &self.gathered.sessions[index];
        match &item.grant {
            Ok(grant) => api_mode(grant),
            Err(_) => item.session.status.as_ref().and_then(|status| status.mode),
        }
    }

    /// The password of the account: new for a new account and whenever one of its sessions ends.
    async fn password(
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
    fn refuse_databases(&mut self, desired: &Desired, observed: &Observed) -> bool {
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

    /// Before anything is done on the server: the finalizer, with the account's name beside it, and the credentials.
    /// False: a start failed.
    async fn prepare_starts(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        server: &Server,
        account: &AccountName,
        password: Option<&SecretString>,
    ) -> Result<bool, Failed> {
        let starts = self.starts();
        let untouched: Vec<usize> =
            starts.iter().copied().filter(|index| !self.gathered.sessions[*index].touched).collect();
        let annotations = json!({ USERNAME_ANNOTATION: &*key.username });
        let patched = join_all(untouched.iter().map(|index| {
            let session = &self.gathered.sessions[*index].session;
            shared.objects.add_finalizer(shared, &**session, ACCOUNT_FINALIZER, annotations.clone())
        }))
        .await;
        for (index, patched) in untouched.into_iter().zip(patched) {
            match patched {
                Ok(Some(session)) => {
                    let item = &mut self.gathered.sessions[index];
                    item.session = Arc::new(session);
                    item.touched = true;
                }
                // It is gone, or somebody changed it: nothing was done, the next look decides anew.
                Ok(None) => self.gathered.sessions[index].verdict = Verdict::Untouched,
                Err(error) if is_conflict(&error) => return Err(error.into()),
                Err(error) => return Err(error.into()),
            }
        }
        let now = self.now;
        let starts = self.starts();
        let handed = join_all(starts.iter().map(|index| {
            let item = &self.gathered.sessions[*index];
            let expires_at = self.life(*index).and_then(|life| life.expires_at);
            credentials::hand_out(shared, &item.session, server, account, password, expires_at, now)
        }))
        .await;
        let mut all = !starts.is_empty() || !self.lives().is_empty();
        for (index, handed) in starts.into_iter().zip(handed) {
            match handed {
                Ok(handed) => self.keep_handed(shared, index, handed),
                Err(Failure::Obstacle(obstacle)) => {
                    self.fail_start(index, obstacle);
                    all = false;
                }
                Err(Failure::Api(error)) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    fn keep_handed(&self, shared: &Shared, index: usize, handed: Handed) {
        let uid = self.gathered.sessions[index].session.metadata.uid.clone().unwrap_or_default();
        shared.memory.set_handed(&uid, Some(handed));
    }

    fn finish_starts(&mut self, shared: &Shared, key: &AccountKey, server: &Server, account: &AccountName) {
        let roles: Vec<String> = self.account_roles(server).unwrap_or_default().into_keys().collect();
        for index in self.starts() {
            let Some(life) = self.life(index).cloned() else { continue };
            let started = Timestamp::now();
            let expires_at = life.ttl.and_then(|ttl| super::lifecycle::plus(started, ttl));
            let session = Arc::clone(&self.gathered.sessions[index].session);
            let mut active =
                active(shared, &session, server, account, &life, &roles, Some(started), expires_at);
            self.add_permissions(index, &mut active);
            self.outcomes[index] = Some(Outcome::Active(active));
        }
        self.note_account(key, AccountPhase::Enabled, &roles, None);
    }

    /// Live sessions: their credentials are renewed when it is time, and their status follows.
    async fn keep_lives(
        &mut self,
        shared: &Shared,
        key: &AccountKey,
        server: Option<&Server>,
        trouble: Option<&Obstacle>,
    ) -> Result<(), Failed> {
        let (Some(server), Some(account)) = (server, self.gathered.account.clone()) else { return Ok(()) };
        let roles: Vec<String> = self.account_roles(server).unwrap_or_default().into_keys().collect();
        for index in self.lives() {
            let Some(life) = self.life(index).cloned() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            let uid = session.metadata.uid.clone().unwrap_or_default();
            if trouble.is_none() {
                let mut handed = shared.memory.handed(&uid);
                if handed.is_none()
                    && let Some((known, _)) = credentials::recall(shared, &session, server, self.now).await?
                {
                    shared.memory.set_handed(&uid, Some(known.clone()));
                    handed = Some(known);
                }
                let due = handed
                    .as_ref()
                    .is_none_or(|handed| handed.renew_at(life.expires_at).is_some_and(|at| at <= self.now));
                if due {
                    let password = shared.memory.password(key);
                    let made = credentials::hand_out(
                        shared,
                        &session,
                        server,
                        &account,
                        password.as_ref(),
                        life.expires_at,
                        self.now,
                    )
                    .await;
                    match made {
                        Ok(handed) => self.keep_handed(shared, index, handed),
                        Err(Failure::Api(error)) => return Err(error.into()),
                        Err(Failure::Obstacle(obstacle)) => {
                            self.outcomes[index] = Some(self.still_active(
                                index,
                                shared,
                                &session,
                                server,
                                &account,
                                &life,
                                &roles,
                                Some(&obstacle),
                            ));
                            self.retry = true;
                            continue;
                        }
                    }
                }
            }
            self.outcomes[index] =
                Some(self.still_active(index, shared, &session, server, &account, &life, &roles, trouble));
        }
        if !self.lives().is_empty() && trouble.is_none() {
            self.note_account(key, AccountPhase::Enabled, &roles, None);
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one sentence about one session")]
    fn still_active(
        &self,
        index: usize,
        shared: &Shared,
        session: &DatabaseSession,
        server: &Server,
        account: &AccountName,
        life: &Life,
        roles: &[String],
        trouble: Option<&Obstacle>,
    ) -> Outcome {
        let started = session.status.as_ref().and_then(|status| status.started_at.as_ref()).map(|at| at.0);
        let mut active = active(shared, session, server, account, life, roles, started, life.expires_at);
        self.add_permissions(index, &mut active);
        active.trouble = trouble.cloned();
        Outcome::Active(active)
    }

    /// What the session's permission set gives it.
    fn add_permissions(&self, index: usize, active: &mut Active) {
        match self.sets.get(&index) {
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

    /// One password serves all sessions of an account: the Secrets of those that stay follow its change.
    async fn renew_shared_password(
        &mut self,
        shared: &Shared,
        server: &Server,
        account: &AccountName,
        password: &Password,
    ) -> Result<(), Failed> {
        let Password::New(new) = password else { return Ok(()) };
        for index in self.lives() {
            let session = Arc::clone(&self.gathered.sessions[index].session);
            match credentials::hand_out(shared, &session, server, account, Some(new), None, self.now).await {
                Ok(handed) => self.keep_handed(shared, index, handed),
                Err(Failure::Api(error)) => return Err(error.into()),
                // The session keeps its access and is told when it is looked at again.
                Err(Failure::Obstacle(_)) => self.retry = true,
            }
        }
        Ok(())
    }

    /// The access of these sessions is gone: their credentials follow.
    async fn finish_ends(
        &mut self,
        shared: &Shared,
        server: &Server,
        applied: &Applied,
        key: &AccountKey,
    ) -> Result<(), Failed> {
        for index in self.ends() {
            let Verdict::End(ending) = self.gathered.sessions[index].verdict.clone() else { continue };
            let session = Arc::clone(&self.gathered.sessions[index].session);
            let listed =
                session.status.as_ref().is_some_and(|status| status.credentials_secret_ref.is_some());
            if listed || !matches!(server.issuer, Issuer::None) {
                take_back(shared, &session).await?;
            } else {
                shared.memory.set_handed(session.metadata.uid.as_deref().unwrap_or_default(), None);
            }
            if let Some(why) = &applied.kept_because {
                let note = format!("{} on {} is disabled, not dropped: {why}", key.username, key.admin);
                shared.objects.event(&*session, Severity::Warning, "AccountKept", "Drop", &note).await;
            }
            self.outcomes[index] = Some(outcome_of_end(&ending, None));
        }
        Ok(())
    }

    fn note_ended(
        &mut self,
        key: &AccountKey,
        account: &AccountName,
        phase: AccountPhase,
        applied: &Applied,
        leftovers: &[Leftover],
    ) {
        let told: Vec<String> = leftovers
            .iter()
            .chain(&applied.leftovers)
            .map(|leftover| leftover.told(account))
            .chain(applied.kept_because.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let message = (!told.is_empty()).then(|| told.join("; "));
        self.note_account(key, phase, &[], message.as_deref());
    }

    fn note_account(
        &mut self,
        key: &AccountKey,
        phase: AccountPhase,
        roles: &[String],
        message: Option<&str>,
    ) {
        let Some(first) = self.gathered.sessions.first() else { return };
        let enabled = phase == AccountPhase::Enabled;
        let live = if enabled { self.lives().len() + self.starts().len() } else { 0 };
        let mode = self.indexes(|_| true).into_iter().filter_map(|index| self.mode_of(index)).max();
        self.report = Some(Report {
            user: key.admin.sibling(&first.session.spec.user),
            account: AccountStatus {
                database: key.admin.name.to_string(),
                username: key.username.to_string(),
                phase,
                sessions: u32::try_from(live).unwrap_or(u32::MAX),
                db_roles: roles.to_vec(),
                mode,
                message: message.map(str::to_owned),
            },
        });
    }

    /// The server did not do it. False: the account should be something else now, try that.
    async fn engine_failed(
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
}

/// Takes the credentials of a session back, and forgets them.
async fn take_back(shared: &Shared, session: &DatabaseSession) -> Result<(), Failed> {
    let uid = session.metadata.uid.as_deref().unwrap_or_default();
    credentials::take_back(shared, session, shared.memory.handed(uid).as_ref()).await?;
    shared.memory.set_handed(uid, None);
    Ok(())
}

/// The password of an account in one look.
#[derive(Debug)]
enum Password {
    /// There is none, or it plays no part.
    Unchanged,
    /// The one that is set.
    Known(SecretString),
    /// One to be set.
    New(SecretString),
}

impl Password {
    fn text(&self) -> Option<&SecretString> {
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

/// Is ending accesses on a server given up?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenUp {
    /// Never, while its DatabaseAdmin is declared.
    No,
    /// Its DatabaseAdmin is gone, or is being deleted for longer than the deadline.
    Abandoned,
}

fn given_up(admin: Option<&DatabaseAdmin>, deadline: std::time::Duration, now: Timestamp) -> GivenUp {
    let Some(admin) = admin else { return GivenUp::Abandoned };
    let Some(deleted) = &admin.metadata.deletion_timestamp else { return GivenUp::No };
    match super::lifecycle::plus(deleted.0, deadline) {
        Some(end) if end <= now => GivenUp::Abandoned,
        _ => GivenUp::No,
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

#[allow(clippy::too_many_arguments, reason = "one sentence about one session")]
fn active(
    shared: &Shared,
    session: &DatabaseSession,
    server: &Server,
    account: &AccountName,
    life: &Life,
    roles: &[String],
    started_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
) -> Active {
    let handed =
        session.metadata.uid.as_deref().and_then(|uid| shared.memory.handed(uid)).unwrap_or_default();
    Active {
        username: account.to_string(),
        db_roles: roles.to_vec(),
        mode: api_mode(&life.grant),
        started_at,
        expires_at,
        secret: handed.secret,
        certificate: handed.certificate,
        connection: Some(Connection {
            host: server.host.clone(),
            port: server.port,
            database: session.spec.database_name.clone(),
        }),
        permissions: BTreeMap::new(),
        complete: false,
        trouble: None,
        incomplete: None,
    }
}

fn api_mode(grant: &Grant) -> Option<CreateDbUserMode> {
    match grant.mode {
        Mode::Disabled => None,
        Mode::Keep => Some(CreateDbUserMode::Keep),
        Mode::BestEffortDrop => Some(CreateDbUserMode::BestEffortDrop),
    }
}

fn account_phase(observed: &Observed) -> AccountPhase {
    match &observed.account {
        None => AccountPhase::Dropped,
        Some(account) if !account.managed => AccountPhase::Conflict,
        Some(account) if account.enabled => AccountPhase::Enabled,
        Some(_) => AccountPhase::Disabled,
    }
}

/// When a session is looked at again by itself.
pub(super) fn next_look(
    shared: &Shared,
    session: &DatabaseSession,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<(Timestamp, Lane)> {
    match outcome {
        Outcome::Active(active) => {
            let expiry = active.expires_at.map(|at| (at, Lane::Urgent));
            let renewal = session
                .metadata
                .uid
                .as_deref()
                .and_then(|uid| shared.memory.handed(uid))
                .and_then(|handed| handed.renew_at(active.expires_at))
                .map(|at| (at, Lane::Normal));
            [expiry, renewal].into_iter().flatten().min()
        }
        Outcome::Waiting(_) => {
            deadline(session, session.spec.ttl.is_some(), now).map(|at| (at, Lane::Normal))
        }
        _ => None,
    }
}
