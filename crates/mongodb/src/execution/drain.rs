//! Waiting until nothing of a disabled account runs any more, on any member.
//!
//! A disabled account loses its rights on each member as soon as the member hears of it, and its open connections with
//! it. But a command that runs goes on to its end. So an end is complete when
//!
//! - a majority has confirmed, in its journals, that the account is disabled, and
//! - every member was asked, had heard of it by then, and runs nothing of the account any more.
//!
//! Idle connections do not count: they have lost their rights, though a member shows them until their user tries.
//!
//! A member that cannot be asked is judged by what the rest of the set knows. One that follows the primary is alive
//! and only we cannot reach it: what it runs is not known, so the end is not complete. One that does not follow either
//! is down or cut off: what is done there sees no change from then on and makes none that lasts. It does not delay the
//! end, and is named. As it may come back at any time, that is checked again for each end, a few seconds apart.
//!
//! Hidden members cannot be seen with the admin user's privileges. They hear of the change like any other, and are not
//! asked. But where the set counts who follows it counts them too: beside a hidden member that follows, one that is
//! down cannot be distinguished from one that is alive, and delays the end until it answers or is removed from the set.
//!
//! An account that somebody dropped meanwhile is waited for in the same way, on the members that answer: there is no user
//! any more by which to find out about the others.
//!
//! A member that lags delays the end until it has made the change. The moment of the change is remembered meanwhile, as
//! one that is made again and again would stay out of such a member's reach.

use std::time::{Duration, Instant};

use mongodb::bson::Timestamp;
use mongodb::options::ServerAddress;
use rolecall_engine::account::Leftover;
use rolecall_engine::dialect::mongodb::remedy;
use rolecall_engine::{AccountName, Class, Error, Reason};

use crate::Mongodb;
use crate::execution::apply::changed;
use crate::reads::members::{Hello, MemberQuery, MembersSeen};
use crate::statements::change::Change;
use crate::statements::operation::Operation;
use crate::statements::user::{LoginAccess, User};
use crate::transport::code;
use crate::transport::request::Request;

/// How long one call waits. The next call goes on where this one stopped.
const TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// How long a member that is alive may take to follow.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(2);
/// How far those that answer may lag where another is judged to be away: they count among those that follow.
const KEEPS_UP_WITHIN: Duration = Duration::from_secs(1);

/// That an account was disabled, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locked {
    at: Option<Timestamp>,
}

impl Mongodb {
    /// Takes everything from an account that was found to be ours to change.
    pub(crate) async fn lock(&self, account: &AccountName) -> Result<Locked, Error> {
        self.locks.forget(account);
        let answer = self.server.run(&self.change().lock(account)).await?;
        let at = answer.get_timestamp("operationTime").ok();
        if let Some(at) = at {
            self.locks.remember(account, at);
        }
        Ok(Locked { at })
    }

    /// The same for a user that was just read. What has been done is not done again, so that a member that lags can catch
    /// up with it.
    pub(crate) async fn lock_once(&self, user: &User) -> Result<Locked, Error> {
        let done = user.access == LoginAccess::Locked && user.roles.is_empty();
        match self.locks.of(&user.account).filter(|_| done) {
            Some(at) => Ok(Locked { at: Some(at) }),
            None => self.lock(&user.account).await,
        }
    }

    /// Waits until nothing of a locked account runs any more. The members that are away are returned.
    pub(crate) async fn drain(&self, account: &AccountName, locked: Locked) -> Result<Vec<Leftover>, Error> {
        let seen = self.until_idle(account, locked.at).await?;
        self.check_members_that_are_away(account, &seen).await?;
        Ok(seen.unasked.into_iter().map(|member| Leftover::Unasked { member }).collect())
    }

    /// Waits until nothing of an account runs any more on the members that answer, and until those have made a change.
    pub(crate) async fn until_idle(
        &self,
        account: &AccountName,
        after: Option<Timestamp>,
    ) -> Result<MembersSeen, Error> {
        let begun = Instant::now();
        let mut pause = FIRST_LOOK;
        let mut refused = None;
        loop {
            let hello = self.server.hello().await?;
            let query = MemberQuery { account: Some(account), after: after.filter(|_| hello.set.is_some()) };
            let seen = self.server.ask_members(&hello, query, &self.away).await?;
            let running: Vec<&(String, Operation)> = seen.running(account).collect();
            if running.is_empty() && seen.behind.is_empty() {
                return Ok(seen);
            }
            if begun.elapsed() > TIMEOUT {
                if running.is_empty() {
                    return Err(unknown(
                        account,
                        &seen.behind,
                        "they have not heard yet that it is disabled or gone",
                    ));
                }
                return Err(still_running(account, &running, refused, &self.server.config().admin_user));
            }
            refused = refused.or(self.kill(&hello, &running).await);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    /// Waits until these operations have ended, and ends them where the admin user may.
    pub(crate) async fn outlast(
        &self,
        account: &AccountName,
        begun_before: &[(String, Operation)],
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let mut pause = FIRST_LOOK;
        let mut refused = None;
        while !begun_before.is_empty() {
            let hello = self.server.hello().await?;
            let query = MemberQuery { account: Some(account), after: None };
            let seen = self.server.ask_members(&hello, query, &self.away).await?;
            let is_old = |(member, operation): &(String, Operation)| {
                begun_before.iter().any(|(other, old)| other == member && old.opid == operation.opid)
            };
            let running: Vec<&(String, Operation)> =
                seen.running(account).filter(|one| is_old(one)).collect();
            if running.is_empty() {
                break;
            }
            if begun.elapsed() > TIMEOUT {
                return Err(still_running(account, &running, refused, &self.server.config().admin_user));
            }
            refused = refused.or(self.kill(&hello, &running).await);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
        Ok(())
    }

    /// Ends operations, where the admin user may. Why not, otherwise.
    async fn kill(&self, hello: &Hello, running: &[&(String, Operation)]) -> Option<Error> {
        let mut refused = None;
        for (member, operation) in running {
            let what = format!("ending the operation {} on {member}", operation.opid);
            let request = Request::new(what, "admin", operation.kill());
            let result = match hello.members.iter().flatten().find(|one| one.to_string() == *member) {
                Some(address) => self.server.run_on(address, &request).await,
                None => self.server.run(&request).await,
            };
            refused = refused.or(result.err());
        }
        refused
    }

    /// Decides about the members that did not answer.
    ///
    /// # Errors
    ///
    /// When one of them follows the primary, or that is not known.
    async fn check_members_that_are_away(
        &self,
        account: &AccountName,
        seen: &MembersSeen,
    ) -> Result<(), Error> {
        let silent: Vec<String> =
            seen.unasked.iter().filter(|member| !self.away.is_certain(member)).cloned().collect();
        if silent.is_empty() {
            return Ok(());
        }
        if !self.all_keep_up(account, &seen.asked).await? {
            let why =
                "they do not answer us, and while others lag it is not known whether they follow the primary";
            return Err(unknown(account, &silent, why));
        }
        // Time has passed: it may be somebody else's by now.
        let user = self.user(account).await?.user;
        if user.is_none_or(|user| !user.is_managed() || user.access != LoginAccess::Locked) {
            return Err(changed(account, ""));
        }
        // One more than those that have answered, all of which keep up: then one of the others must have it.
        let request = self.change().lock_confirmed_by(account, seen.asked.len() + 1, FOLLOWS_WITHIN);
        match self.server.run(&request).await {
            Ok(_) => {
                let why = "they do not answer us, but they or hidden members, which are counted with them, follow the primary";
                return Err(unknown(account, &silent, why));
            }
            Err(error) if error.code == code::text(code::WRITE_CONCERN_FAILED) => {}
            Err(error) => return Err(error),
        }
        tracing::warn!(account = account.as_str(), members = ?silent, "members are away from their replica set");
        self.away.add(&silent);
        Ok(())
    }

    /// Do these members soon have what the primary has now?
    async fn all_keep_up(&self, account: &AccountName, members: &[ServerAddress]) -> Result<bool, Error> {
        let Some(at) = self.user(account).await?.at else { return Ok(false) };
        let begun = Instant::now();
        for member in members {
            while self.server.latest_of(member).await?.is_none_or(|latest| latest < at) {
                if begun.elapsed() > KEEPS_UP_WITHIN {
                    return Ok(false);
                }
                tokio::time::sleep(FIRST_LOOK).await;
            }
        }
        Ok(true)
    }

    pub(crate) fn change(&self) -> Change {
        Change { confirmed_within: self.server.config().command_timeout / 2 }
    }
}

fn unknown(account: &AccountName, members: &[String], why: &str) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: format!("ending the access of {:?}", account.as_str()),
        code: String::new(),
        detail: format!("what it can do or still runs on {} is not known: {why}", members.join(", ")),
        remedy:
            "let the operator reach every member of the replica set, and take those that are gone out of it"
                .to_owned(),
    }
}

/// The most operations that a message names.
const LISTED: usize = 3;

fn still_running(
    account: &AccountName,
    running: &[&(String, Operation)],
    refused: Option<Error>,
    admin_user: &str,
) -> Error {
    let named: Vec<String> = running
        .iter()
        .take(LISTED)
        .map(|(member, operation)| {
            let Operation { opid, command, namespace, time, .. } = operation;
            format!("{command} on {namespace} for {} s (on {member}, opid {opid})", time.as_secs())
        })
        .collect();
    let more = running.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let kill = running.first().map_or_else(String::new, |(member, operation)| {
        format!(
            "on {member} run db.getSiblingDB(\"admin\").runCommand({{\"killOp\":1,\"op\":{}}})",
            operation.opid
        )
    });
    let (code, remedy) = match refused {
        Some(error) if error.code == code::text(code::UNAUTHORIZED) => {
            let resource = serde_json::json!({"cluster": true});
            let give = remedy::give(&[(resource, &["killop"])], admin_user, None);
            (error.code, format!("wait until it ends, or {kill}; so that the operator can: run {give}"))
        }
        _ => (String::new(), format!("wait until it ends, or {kill}")),
    };
    Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: format!("ending the access of {:?}", account.as_str()),
        code,
        detail: format!("it can do nothing new, but still runs {}{more}", named.join(", ")),
        remedy,
    }
}
