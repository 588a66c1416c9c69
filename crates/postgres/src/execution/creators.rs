//! Creating accounts through creator roles, and acting as the one that holds an account.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rolecall_engine::plan::Activate;
use rolecall_engine::{AccountName, Class, Error, MARKER};

use crate::Postgres;
use crate::execution::rotation::{Rotation, decide};
use crate::reads::observe::Reading;
use crate::statements::activate;
use crate::statements::creators::{self, Pair};
use crate::statements::membership;
use crate::transport::message::{Message, Reply};
use crate::transport::server::Place;
use crate::transport::sqlstate::CHANGED;
use crate::transport::version::Dialect;

/// After how many accounts it is looked again whether the admin user can have creator roles.
const LOOKED_AGAIN_AFTER: usize = 100;

/// For how long accounts are moved at a time, and how many at most.
const MOVING_TIME: Duration = Duration::from_secs(2);
const MOST_MOVED: usize = 200;

/// What is known of them. All of it can be read again.
#[derive(Debug, Default)]
pub(crate) struct CreatorState {
    known: Mutex<State>,
    /// One call makes roles at a time.
    rotating: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The admin user can become some: messages about accounts look for the one to become.
    in_use: bool,
    /// Where accounts are created, and about how many it holds.
    open: Option<(Pair, usize)>,
    group: String,
    /// Roles that the group has been allowed to grant.
    grantable: BTreeSet<String>,
    /// Roles that it cannot grant.
    ungrantable: BTreeSet<String>,
    /// How many roles the admin user holds itself, as far as they were counted.
    held_by_admin_user: usize,
    /// There is nothing to look for: how many accounts the admin user creates itself before it looks again.
    until_look: usize,
    /// Accounts that the admin user holds itself, as they were read last.
    direct: BTreeSet<AccountName>,
    /// Accounts that could not be moved.
    immovable: BTreeSet<AccountName>,
}

impl State {
    /// Does the admin user hold so many roles itself that others should?
    fn has_many(&self, size: usize) -> bool {
        self.held_by_admin_user >= size.min(creators::MOST_COUNTED)
    }

    fn forget_grants(&mut self) {
        self.grantable.clear();
        self.ungrantable.clear();
    }
}

impl CreatorState {
    fn state(&self) -> MutexGuard<'_, State> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a reading says of the account that it was about.
    pub(crate) fn note(&self, account: &AccountName, reading: &Reading) {
        let mut state = self.state();
        state.in_use = reading.creators;
        state.held_by_admin_user = reading.held_by_admin_user;
        // Before there are creators, all of them are.
        if reading.creators && reading.direct {
            state.direct.insert(account.clone());
        } else {
            state.direct.remove(account);
        }
    }

    /// May a creator hold an account?
    pub(crate) fn in_use(&self) -> bool {
        self.state().in_use
    }

    /// Does the admin user hold an account itself that may be made anew?
    fn can_move(&self, account: &AccountName) -> bool {
        let state = self.state();
        state.direct.contains(account) && !state.immovable.contains(account)
    }

    /// Making this account anew was refused. It is not tried again, but where somebody was about to log in.
    pub(crate) fn note_refusal(&self, account: &AccountName, error: &Error) {
        tracing::debug!(account = account.as_str(), %error, "it stays with the admin user");
        if error.code != CHANGED {
            self.state().immovable.insert(account.clone());
        }
    }
}

impl Postgres {
    /// The message, run as the creator of the account where it has one.
    pub(crate) fn acting(&self, account: &AccountName, message: Message) -> Message {
        if self.creators.in_use() { creators::act_for(message, account) } else { message }
    }

    /// As [`Postgres::acting`], for a message that takes these roles away. What the admin user itself granted, it takes away itself.
    pub(crate) fn acting_to_revoke(
        &self,
        account: &AccountName,
        message: Message,
        roles: &[String],
        dialect: Dialect,
        cascade: bool,
    ) -> Message {
        let mut message = self.acting(account, message);
        if message.acts() && !roles.is_empty() {
            let mut revoke = Message::new();
            membership::revoke(&mut revoke, account, roles, dialect, cascade);
            let attempted = revoke.attempted(0).to_owned();
            message.insert_after(
                &attempted,
                creators::as_admin_user(revoke.clone(), account),
                creators::as_creator(revoke, account),
            );
        }
        message
    }

    /// The pair that a new account is created in; `None` where the admin user creates it itself. An account that the admin user
    /// holds counts as new.
    pub(crate) async fn open_pair(&self, place: &Place, plan: &Activate) -> Option<Pair> {
        let can_grant = self.can_grant(place, plan.grant.iter().chain(&plan.grant_sets)).await;
        // What has to be taken from it first keeps it from being made anew.
        let is_bare = plan.revoke.is_empty() && plan.settings.is_empty();
        if !can_grant || !(plan.create || is_bare && self.creators.can_move(&plan.account)) {
            return None;
        }
        self.creators.state().open.as_ref().map(|(pair, _)| pair.clone())
    }

    /// Lets creators grant these roles, where there are creators, or have to be. Can they?
    pub(crate) async fn can_grant(&self, place: &Place, roles: impl Iterator<Item = &String>) -> bool {
        let size = self.server.config().accounts_per_creator;
        let look = {
            let mut state = self.creators.state();
            if size == 0 || !(state.in_use || state.has_many(size)) {
                return false;
            }
            let look = state.open.is_none() && state.until_look == 0;
            state.until_look = state.until_look.saturating_sub(1);
            look
        };
        let attempt = async {
            if look {
                let _rotating = self.creators.rotating.lock().await;
                // Somebody else may have done it.
                if self.creators.state().open.is_none() {
                    self.rotate(place).await?;
                }
            }
            if self.creators.state().open.is_none() {
                return Ok(false);
            }
            self.equip(place, roles).await
        };
        match attempt.await {
            Ok(can_grant) => can_grant,
            Err(error) => {
                tracing::info!(%error, "the admin user itself creates accounts");
                if error.class == Class::Refused {
                    self.creators.state().until_look = LOOKED_AGAIN_AFTER;
                }
                false
            }
        }
    }

    /// An account was created in the open pair. Where that is full now, the next one is made, for others.
    pub(crate) async fn created(&self, place: &Place, pair: &Pair, reply: &Reply) {
        let full = {
            let mut state = self.creators.state();
            if reply.as_admin_user {
                // Somebody has changed these roles.
                state.forget_grants();
                state.open = None;
                state.until_look = 0;
                return;
            }
            let size = self.server.config().accounts_per_creator;
            state.open.as_mut().filter(|(open, _)| open == pair).is_some_and(|(_, held)| {
                *held += 1;
                *held >= size
            })
        };
        if full
            && let Ok(_rotating) = self.creators.rotating.try_lock()
            && let Err(error) = self.rotate(place).await
        {
            tracing::info!(%error, "no further creator role could be made");
            // This one takes as many again before the next attempt.
            if let Some((_, held)) = &mut self.creators.state().open {
                *held = 0;
            }
        }
    }

    /// Reads the creator roles, and makes, closes and drops them.
    async fn rotate(&self, place: &Place) -> Result<(), Error> {
        let size = self.server.config().accounts_per_creator;
        let found = self.read_creators(place).await?;
        let Rotation { open, make, make_group, close, drop } = decide(&found, size);
        if let Some((pair, _)) = open.as_ref().filter(|_| make) {
            self.server.run(place, &creators::make(&found.group, make_group, pair)).await?;
            tracing::info!(creator = pair.creator, "accounts are created through another role");
        }
        {
            let mut state = self.creators.state();
            state.in_use |= open.is_some();
            state.until_look = if open.is_none() { LOOKED_AGAIN_AFTER } else { 0 };
            // Roles may have become grantable.
            state.ungrantable.clear();
            if state.group != found.group {
                state.forget_grants();
            }
            (state.open, state.group) = (open, found.group);
        }
        for message in close.iter().map(creators::close).chain(drop.iter().map(creators::drop_pair)) {
            if let Err(error) = self.server.run(place, &message).await {
                tracing::debug!(%error, "a creator role stays as it is");
            }
        }
        Ok(())
    }

    /// Moves accounts that the admin user created itself, while there are many: idle ones of this owner, one after the other.
    pub(crate) async fn move_accounts(&self, owner_uid: &str) -> Result<(), Error> {
        let (begun, size) = (Instant::now(), self.server.config().accounts_per_creator);
        let many = || self.creators.state().has_many(size);
        if size == 0 || self.server.config().read_only || !many() {
            return Ok(());
        }
        let place = self.server.place(None);
        if !self.can_grant(&place, std::iter::empty()).await {
            return Ok(());
        }
        let immovable = self.creators.state().immovable.clone();
        for (account, record) in self.read_direct(&place, owner_uid, &immovable, MOST_MOVED).await? {
            let open = self.creators.state().open.clone();
            let Some((pair, _)) = open.filter(|_| begun.elapsed() < MOVING_TIME) else { break };
            let message = activate::renewal_of_kept(&account, owner_uid, &record, &pair.holder);
            match self.server.run(&place, &message).await {
                Ok(reply) => self.created(&place, &pair, &reply).await,
                Err(error) if error.class == Class::Unreachable => return Err(error),
                Err(error) => {
                    self.creators.note_refusal(&account, &error);
                    if error.code == CHANGED {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets the group grant what an account gets. False where the admin user itself may grant some of it as a member of others only.
    async fn equip<'a>(&self, place: &Place, roles: impl Iterator<Item = &'a String>) -> Result<bool, Error> {
        let wanted: BTreeSet<&str> = roles.map(String::as_str).chain([MARKER]).collect();
        let (group, missing) = {
            let state = self.creators.state();
            if wanted.iter().any(|role| state.ungrantable.contains(*role)) {
                return Ok(false);
            }
            let missing: Vec<&str> =
                wanted.iter().copied().filter(|role| !state.grantable.contains(*role)).collect();
            (state.group.clone(), missing)
        };
        if missing.is_empty() {
            return Ok(true);
        }
        let reply = self.server.run(place, &creators::equip(&group, missing.iter().copied())).await?;
        let grantable: BTreeSet<String> =
            reply.rows().iter().filter_map(|row| row.get(0).map(str::to_owned)).collect();
        let mut state = self.creators.state();
        let ungrantable: Vec<String> = missing
            .iter()
            .filter(|role| !grantable.contains(**role))
            .map(|role| (*role).to_owned())
            .collect();
        let all = ungrantable.is_empty();
        state.ungrantable.extend(ungrantable);
        state.grantable.extend(grantable);
        Ok(all)
    }
}
