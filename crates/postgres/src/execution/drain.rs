//! Disabling an account, and waiting until no backend of it and no login under way is left.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rolecall_engine::account::Account;
use rolecall_engine::{AccountName, Class, Error, Observed, Query, Reason};

use crate::Postgres;
use crate::reads::observe::{Question, Reading, parse};
use crate::statements::creators;
use crate::statements::end;
use crate::statements::guard::Guard;
use crate::statements::logins;
use crate::transport::message::{Message, Reply};
use crate::transport::platform::Platform;
use crate::transport::server::Place;
use crate::transport::sqlstate::{INSUFFICIENT_PRIVILEGE, LOCK_NOT_AVAILABLE, is_of_a_rule};

/// How long one call waits. The next call goes on where this one stopped.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Between two readings: at first a backend is gone within a millisecond or two.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// A login that takes longer than this may never finish: more than one call waits for it.
const LONGEST_LOGIN: Duration = Duration::from_secs(6);
/// An end that nobody has tried again for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it is remembered that no login is under way any more: until whoever ended the access has read again.
const DRAINED: Duration = Duration::from_secs(60);

/// The account that is disabled, and the owner that its record must name.
pub(crate) struct EndTarget<'a> {
    pub(crate) place: &'a Place,
    pub(crate) account: &'a AccountName,
    pub(crate) owner_uid: &'a str,
    /// An account without an ownership record is left alone, too.
    pub(crate) owned: bool,
}

impl EndTarget<'_> {
    fn guard(&self) -> Guard<'_> {
        let guard = Guard::managed(self.account);
        if self.owned { guard.owned_by(self.owner_uid) } else { guard.not_foreign_to(self.owner_uid) }
    }
}

/// An account that may not log in any more.
pub(crate) struct Disabled {
    /// It had backends, which may have ended since.
    pub(crate) inside: bool,
    /// Commits wait for standbys.
    pub(crate) synchronous: bool,
}

/// The logins that were under way when accounts were disabled, kept until they are decided.
///
/// Not state of an account, but of a wait: whoever comes later meets a closed target, so a new call must not count
/// them. Otherwise somebody who keeps opening connections (no login is needed for that) could delay every end
/// forever. Forgetting an entry costs no more than another wait.
#[derive(Debug, Default)]
pub(crate) struct Draining(Mutex<HashMap<AccountName, Wait>>);

#[derive(Debug)]
struct Wait {
    /// When it began; once the wait is over, when that was seen.
    since: Instant,
    logins: BTreeSet<String>,
}

impl Draining {
    /// The account is enabled, or will be: logins from now on are others.
    pub(crate) fn forget(&self, account: &AccountName) {
        self.entries().remove(account);
    }

    /// Is an end of this account waiting for logins?
    fn knows(&self, account: &AccountName) -> bool {
        self.entries().get(account).is_some_and(|wait| !wait.logins.is_empty())
    }

    /// How many of the first logins under way are still among those found now.
    fn remaining(&self, account: &AccountName, starting: &BTreeSet<String>) -> u32 {
        let mut entries = self.entries();
        entries.retain(|_, wait| {
            wait.since.elapsed() < if wait.logins.is_empty() { DRAINED } else { FORGOTTEN }
        });
        let wait = entries
            .entry(account.clone())
            .or_insert_with(|| Wait { since: Instant::now(), logins: starting.clone() });
        if !wait.logins.is_empty() {
            wait.logins.retain(|login| starting.contains(login));
            if wait.logins.is_empty() {
                wait.since = Instant::now();
            }
        }
        u32::try_from(wait.logins.len()).unwrap_or(u32::MAX)
    }

    /// The logins that an end of this account has waited for too long.
    fn stuck(&self, account: &AccountName) -> BTreeSet<String> {
        let entries = self.entries();
        let wait = entries.get(account).filter(|wait| wait.since.elapsed() > LONGEST_LOGIN);
        wait.map(|wait| wait.logins.clone()).unwrap_or_default()
    }

    /// These are somebody else's.
    fn pass_over(&self, account: &AccountName, others: &[String]) {
        if let Some(wait) = self.entries().get_mut(account) {
            wait.logins.retain(|login| !others.contains(login));
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<AccountName, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Postgres {
    /// Reads an account. Of one that is disabled the logins count that may have passed before: those that an end is
    /// waiting for; of one that is ours to end and of which nothing is known (the end may have been begun by an operator
    /// before this one), all that are under way.
    pub(crate) async fn observe_account(&self, query: &Query) -> Result<Observed, Error> {
        let place = self.server.place(query.session_database.as_deref());
        let waits = self.draining.knows(&query.account);
        let to_verify = query.to_end || waits;
        let is_ours = |account: &Account| {
            account.managed && account.owner.as_ref().is_some_and(|owner| owner.uid == query.owner_uid)
        };
        let question = Question { query: query.clone(), to_verify };
        let mut reading = self.batcher.read(&self.server, &place, question.clone()).await?;
        if reading.lost && !self.server.config().read_only {
            match self.server.run(&place, &creators::regain(&query.account)).await {
                Ok(_) => reading = self.batcher.read(&self.server, &place, question).await?,
                Err(error) if error.class == Class::Unreachable => return Err(error),
                // The admin user itself can still do most.
                Err(error) => {
                    tracing::warn!(account = query.account.as_str(), %error, "the way through its creator is not restored");
                }
            }
        }
        self.creators.note(&query.account, &reading);
        let Reading { mut observed, starting, synchronous, .. } = reading;
        match &mut observed.account {
            Some(account) if account.enabled => {
                self.draining.forget(&query.account);
                self.confirmations.forget(&query.account);
            }
            Some(account) if waits || query.to_end && is_ours(account) => {
                account.unconfirmed =
                    query.to_end && synchronous && !self.confirmations.has_confirmed(&query.account);
                let starting = self.draining.remaining(&query.account, &starting);
                account.backends = account.backends.saturating_add(starting);
            }
            _ => {}
        }
        Ok(observed)
    }

    /// Closes the target, ends the backends, and waits until both are so.
    pub(crate) async fn disable_and_drain(
        &self,
        target: &EndTarget<'_>,
        query: &Query,
    ) -> Result<Reading, Error> {
        self.disable(target).await?;
        self.drain(target, query).await
    }

    /// Disables the account and ends its backends. When this returns an error it may still be enabled.
    pub(crate) async fn disable(&self, target: &EndTarget<'_>) -> Result<Disabled, Error> {
        let guard = target.guard();
        let acts = self.creators.in_use();
        let short = end::disable(&guard, target.account, acts, end::SHORT_LOCK_TIMEOUT_MS);
        let closed = match self.server.run_unless_locked(target.place, &short).await {
            Err(error) if error.code == LOCK_NOT_AVAILABLE => {
                let long = end::disable(&guard, target.account, acts, end::LONG_LOCK_TIMEOUT_MS);
                self.run_ending_backends(target.place, target.account, &guard, &long).await
            }
            result => result,
        };
        let reply = match closed {
            // Without its login the account has no use of the password either.
            Err(error) if is_of_a_rule(&error.code) || self.may_keep_passwords(&error) => {
                let alone = end::disable_keeping_password(&guard, target.account, acts);
                self.run_ending_backends(target.place, target.account, &guard, &alone).await?
            }
            result => result?,
        };
        let row = reply.rows().first();
        let was_open = row.and_then(|row| row.get(0)) != Some("f");
        let inside = row.and_then(|row| row.get(1)) != Some("0");
        let synchronous = row.and_then(|row| row.get(2)) != Some("f");
        if was_open {
            // The logins under way are not those of the last time that the account was disabled.
            self.draining.forget(target.account);
        }
        if inside && let Err(error) = self.terminate(target.place, target.account, &guard).await {
            // The reading that follows shows whether it matters.
            tracing::debug!(account = target.account.as_str(), %error, "backends are not ended yet");
        }
        Ok(Disabled { inside, synchronous })
    }

    /// Has RDS refused it for the password? Only its role rds_password may set one while rds.restrict_password_commands is
    /// on, also to NULL.
    fn may_keep_passwords(&self, error: &Error) -> bool {
        self.server.config().platform == Platform::Rds && error.code == INSUFFICIENT_PRIVILEGE
    }

    /// Waits until no backend is left and no login is under way that began before the account was disabled.
    pub(crate) async fn drain(&self, target: &EndTarget<'_>, query: &Query) -> Result<Reading, Error> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut refused = None;
        loop {
            let (reading, starting) = self.read_closed(target, query).await?;
            let Some(account) =
                reading.observed.account.as_ref().filter(|one| one.backends > 0 || starting > 0)
            else {
                return Ok(reading);
            };
            if begun.elapsed() > TIMEOUT {
                return Err(still_there(target.account, account.backends, starting, refused));
            }
            if account.backends > 0 {
                refused = self.terminate(target.place, target.account, &target.guard().closed()).await.err();
            }
            let stuck = self.draining.stuck(target.account);
            if !stuck.is_empty()
                && let Err(error) = self.end_logins(target, &stuck).await
            {
                tracing::debug!(account = target.account.as_str(), %error, "logins under way are not ended");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads an account that is disabled, and how many of the logins are left that may have passed before.
    async fn read_closed(&self, target: &EndTarget<'_>, query: &Query) -> Result<(Reading, u32), Error> {
        let question = Question { query: query.clone(), to_verify: true };
        let reading = self.batcher.read(&self.server, target.place, question).await?;
        let Some(account) = &reading.observed.account else { return Ok((reading, 0)) };
        if account.enabled {
            return Err(reopened(target.account));
        }
        // Within a reading the logins are read first: one that has succeeded by then is a backend.
        let starting = self.draining.remaining(target.account, &reading.starting);
        Ok((reading, starting))
    }

    /// Ends those of these logins that are the account's, and stops waiting for those that are known to be somebody
    /// else's.
    async fn end_logins(&self, target: &EndTarget<'_>, stuck: &BTreeSet<String>) -> Result<(), Error> {
        let dialect = self.server.dialect(target.place).await?;
        let message = logins::end(&target.guard().closed(), target.account, stuck, dialect);
        let message = self.acting(target.account, message);
        let reply = self.server.run(target.place, &message).await?;
        let others: Vec<String> = parse(&reply, || message.attempted(0).to_owned())?;
        self.draining.pass_over(target.account, &others);
        Ok(())
    }

    /// Ends the account's backends: returns those that were asked to end.
    async fn terminate(
        &self,
        place: &Place,
        account: &AccountName,
        guard: &Guard<'_>,
    ) -> Result<Vec<i32>, Error> {
        let dialect = self.server.dialect(place).await?;
        let message = self.acting(account, end::terminate(guard, account, dialect));
        let reply = self.server.run(place, &message).await?;
        Ok(reply.rows().iter().filter_map(|row| row.get(0)?.parse().ok()).collect())
    }

    /// Ends the backends that an account has now, and waits for them. New ones may come.
    pub(crate) async fn terminate_and_wait(
        &self,
        place: &Place,
        account: &AccountName,
        guard: &Guard<'_>,
    ) -> Result<(), Error> {
        let pids = self.terminate(place, account, guard).await?;
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        while !pids.is_empty() {
            let reply = self.server.run(place, &end::remaining(account, &pids)).await?;
            let left = reply.value().and_then(|count| count.parse().ok()).unwrap_or(0);
            if left == 0 {
                break;
            }
            if begun.elapsed() > TIMEOUT {
                return Err(still_there(account, left, 0, None));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Sends a message that needs the account's row while its user may have it locked; nobody else does for long. So
    /// while the message waits, the user's backends are ended.
    pub(crate) async fn run_ending_backends(
        &self,
        place: &Place,
        account: &AccountName,
        guard: &Guard<'_>,
        message: &Message,
    ) -> Result<Reply, Error> {
        let mut sent = pin!(self.server.run(place, message));
        loop {
            let ended = async {
                tokio::time::sleep(LONGEST_PAUSE).await;
                self.terminate(place, account, guard).await
            };
            tokio::select! {
                biased;
                result = &mut sent => return result,
                // Where that fails, the message ends by itself.
                _ = ended => {}
            }
        }
    }
}

fn reopened(account: &AccountName) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::AccountInUse,
        attempted: format!("ending the access of {:?}", account.as_str()),
        code: String::new(),
        detail: "somebody let it log in again meanwhile".to_owned(),
        remedy: String::new(),
    }
}

fn still_there(account: &AccountName, backends: u32, starting: u32, refused: Option<Error>) -> Error {
    let detail = format!("{backends} backends and {starting} logins under way are still there");
    let (code, detail, remedy) = match refused {
        Some(refused) => {
            (refused.code, format!("{detail}; {}: {}", refused.attempted, refused.detail), refused.remedy)
        }
        None => (String::new(), detail, String::new()),
    };
    Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: format!("ending the access of {:?}", account.as_str()),
        code,
        detail,
        remedy,
    }
}
