//! Carrying out plans: which message when, and what follows from a failure.

use std::collections::BTreeSet;

use rolecall_engine::account::Leftover;
use rolecall_engine::plan::{Activate, Adjust, End, Strays, is_set};
use rolecall_engine::{AccountName, Applied, Class, Error, Owner, Query, Reason};

use crate::Postgres;
use crate::execution::confirmations;
use crate::execution::drain::EndTarget;
use crate::execution::reassign::Given;
use crate::reads::observe::Question;
use crate::reads::preflight;
use crate::statements::activate;
use crate::statements::adjust;
use crate::statements::creators::{Pair, act_as};
use crate::statements::end;
use crate::statements::end::Part;
use crate::statements::guard::Guard;
use crate::statements::rights;
use crate::statements::role;
use crate::transport::message::{Message, Reply};
use crate::transport::server::Place;
use crate::transport::sqlstate::{
    DEPENDENT_OBJECTS, HOLDS_RIGHTS, INSUFFICIENT_PRIVILEGE, LOCK_NOT_AVAILABLE, UNDEFINED_OBJECT,
    is_of_a_rule,
};
use crate::transport::standby;

/// How many of the objects that keep an account from being dropped are named; the others are counted.
const MOST_NAMED: usize = 10;

impl Postgres {
    pub(crate) async fn activate(&self, plan: &Activate) -> Result<Applied, Error> {
        let place = self.server.place(plan.session_database.as_deref());
        if let Some(message) = role::create_roles(&plan.create_roles) {
            self.server.run(&place, &message).await?;
        }
        if let Some(from_uid) = &plan.take_over_from {
            self.take_over(&place, &plan.account, from_uid, &plan.owner).await?;
        }
        if plan.close_first {
            let target =
                EndTarget { place: &place, account: &plan.account, owner_uid: &plan.owner.uid, owned: false };
            self.disable_and_drain(
                &target,
                &query(&plan.account, &plan.owner.uid, plan.session_database.as_deref()),
            )
            .await?;
        }
        self.draining.forget(&plan.account);
        self.confirmations.forget(&plan.account);
        let pair = self.open_pair(&place, plan).await;
        match self.try_activate(&place, plan, pair.as_ref(), true).await {
            Err(error) if error.code == HOLDS_RIGHTS => {
                self.revoke_rights(&place, &plan.account, false).await;
                self.try_activate(&place, plan, None, false).await?;
            }
            // The marker is ensured when a server is checked; somebody may have dropped it since.
            Err(error) if error.code == UNDEFINED_OBJECT => {
                self.server.run(&place, &preflight::ensure_marker()).await?;
                self.try_activate(&place, plan, None, true).await?;
            }
            result => result?,
        }
        Ok(Applied::default())
    }

    /// Writes our record on an account that carries that of a predecessor.
    async fn take_over(
        &self,
        place: &Place,
        account: &AccountName,
        from_uid: &str,
        owner: &Owner,
    ) -> Result<(), Error> {
        let mut message = Message::new();
        Guard::managed(account).owned_by(from_uid).check(&mut message);
        role::record(&mut message, account, owner);
        let message = self.acting(account, message);
        match self.server.run(place, &message).await {
            // An earlier attempt did it.
            Err(error) if error.is_of_changed_account() => {
                let mut message = Message::new();
                Guard::managed(account).owned_by(&owner.uid).check(&mut message);
                self.server.run(place, &message).await.map(drop)
            }
            result => result.map(drop),
        }
    }

    async fn try_activate(
        &self,
        place: &Place,
        plan: &Activate,
        pair: Option<&Pair>,
        strict: bool,
    ) -> Result<(), Error> {
        let dialect = self.server.dialect(place).await?;
        if let Some(pair) = pair {
            let message = match plan.create {
                true => {
                    // Becoming the holder is part of the block; a verifier never is.
                    let message = match plan.verifier {
                        Some(_) => activate::create_apart(plan, dialect),
                        None => activate::message(plan, dialect, strict, false),
                    };
                    act_as(message, &pair.holder)
                }
                false => activate::renewal(plan, dialect, &pair.holder),
            };
            match self.server.run(place, &message).await {
                Ok(reply) => {
                    self.created(place, pair, &reply).await;
                    return Ok(());
                }
                Err(error) if plan.create && plan.verifier.is_none() && is_of_role_or_login(&error.code) => {
                    let apart = act_as(activate::create_apart(plan, dialect), &pair.holder);
                    let reply = self.server.run(place, &apart).await?;
                    self.created(place, pair, &reply).await;
                    return Ok(());
                }
                Err(error) if plan.create || error.class == Class::Unreachable => return Err(error),
                // Something would be lost with it.
                Err(error) => self.creators.note_refusal(&plan.account, &error),
            }
        }
        let send = async |cascade: bool| {
            let message = activate::message(plan, dialect, strict, cascade);
            let message = match plan.create {
                true => message,
                false => self.acting_to_revoke(&plan.account, message, &plan.revoke, dialect, cascade),
            };
            self.server.run(place, &message).await
        };
        match send(false).await {
            Err(error) if error.code == DEPENDENT_OBJECTS => send(true).await.map(drop),
            Err(error) if plan.create && is_of_role_or_login(&error.code) => {
                self.server.run(place, &activate::create_apart(plan, dialect)).await.map(drop)
            }
            result => result.map(drop),
        }
    }

    pub(crate) async fn adjust(&self, plan: &Adjust) -> Result<Applied, Error> {
        let place = self.server.place(plan.session_database.as_deref());
        if let Some(message) = role::create_roles(&plan.create_roles) {
            self.server.run(&place, &message).await?;
        }
        if !plan.only_takes_strays() {
            if !plan.grant.is_empty() || !plan.grant_sets.is_empty() {
                self.can_grant(&place, plan.grant.iter().chain(&plan.grant_sets)).await;
            }
            match self.try_adjust(&place, plan).await {
                // Grants that fail must not prevent revocations.
                Err(error) if error.class == Class::Refused && !plan.revoke.is_empty() => {
                    self.try_adjust(&place, &adjust::taking_away(plan)).await?;
                    return Err(error);
                }
                result => drop(result?),
            }
        }
        let not_reset = self.take_strays(&place, plan).await?;
        Ok(Applied { not_reset, ..Applied::default() })
    }

    /// Takes away what somebody stored or granted for a live account, as far as that can be done. What remains, in words.
    async fn take_strays(&self, place: &Place, plan: &Adjust) -> Result<Option<String>, Error> {
        let Strays { settings, limits, expires, rights, attributes } = &plan.strays;
        let mut messages = Vec::new();
        if *limits || *expires || !settings.is_empty() {
            messages.push(adjust::clear_stored(plan));
        }
        messages.extend(attributes.iter().map(|attribute| adjust::take_attribute(plan, attribute)));
        let mut remains = Vec::new();
        for message in &messages {
            let message = self.acting(&plan.account, message.clone());
            match self.server.run_unless_locked(place, &message).await {
                Err(error) if error.class == Class::Unreachable => return Err(error),
                Err(error) => remains.push(error.to_string()),
                Ok(_) => {}
            }
        }
        if *rights {
            self.revoke_rights(place, &plan.account, false).await;
        }
        Ok((!remains.is_empty()).then(|| remains.join("; ")))
    }

    async fn try_adjust(&self, place: &Place, plan: &Adjust) -> Result<Applied, Error> {
        let dialect = self.server.dialect(place).await?;
        let guard = adjust::guard(plan);
        let send = async |cascade: bool| {
            let message = adjust::message(plan, dialect, cascade);
            let message = self.acting_to_revoke(&plan.account, message, &plan.revoke, dialect, cascade);
            match self.server.run_unless_locked(place, &message).await {
                // Losing a role must not depend on the user's cooperation.
                Err(error) if error.code == LOCK_NOT_AVAILABLE && !plan.revoke.is_empty() => {
                    self.run_ending_backends(place, &plan.account, &guard, &message).await
                }
                result => result,
            }
        };
        match send(false).await {
            Err(error) if error.code == DEPENDENT_OBJECTS => drop(send(true).await?),
            result => drop(result?),
        }
        // Where accounts can become permission sets, they keep one that they have become.
        let kept = !dialect.has_grantors() && plan.revoke.iter().any(|role| is_set(role));
        if plan.terminate || kept {
            self.terminate_and_wait(place, &plan.account, &guard).await?;
        }
        Ok(Applied::default())
    }

    pub(crate) async fn end(&self, plan: &End) -> Result<Applied, Error> {
        let place = self.server.place(plan.session_database.as_deref());
        let target =
            EndTarget { place: &place, account: &plan.account, owner_uid: &plan.owner_uid, owned: true };
        let query = query(&plan.account, &plan.owner_uid, plan.session_database.as_deref());
        if let Some(take_over) = &plan.take_over {
            self.take_over(&place, &plan.account, &take_over.from_uid, &take_over.owner).await?;
        }
        let disabled = match self.disable(&target).await {
            Ok(disabled) => disabled,
            Err(error) => return Err(self.with_remedy(&place, &query, error).await),
        };
        let may_drop = plan.drop && !disabled.inside && !disabled.synchronous;
        if may_drop && self.drop_at_once(&place, plan).await {
            return Ok(Applied { dropped: true, ..Applied::default() });
        }
        // From here on no failure keeps the rest from being tried.
        let stripped = self.strip(&place, plan).await;
        let drained = self.drain(&target, &query).await?;
        let Stripped { confirmed, not_reset } = stripped?;
        self.confirmations.note(&plan.account, confirmed);
        if !confirmed {
            return Err(confirmations::waits(&plan.account));
        }
        let Some(account) = drained.observed.account else {
            return Ok(Applied { dropped: true, ..Applied::default() });
        };
        if drained.holds_rights {
            self.revoke_rights(&place, &plan.account, plan.drop).await;
        }
        let mut applied = Applied { leftovers: account.leftovers, not_reset, ..Applied::default() };
        let prepared = applied.leftovers.iter().find(|left| matches!(left, Leftover::Prepared { .. }));
        if let Some(prepared) = prepared.filter(|_| plan.drop) {
            // It would outlive the account, and nothing would show any more whose it is.
            applied.kept_because = Some(prepared.message(&plan.account));
        } else if plan.drop {
            let Given { reassigned, kept_because } = self.give_away(&place, plan).await?;
            applied.reassigned = reassigned;
            if let Some(why) = kept_because {
                applied.kept_because = Some(self.why_kept(&place, &plan.account, &why).await);
                return Ok(applied);
            }
            match self.drop_account(&place, plan).await {
                Ok(()) => {
                    let reassigned = applied.reassigned.take();
                    applied = Applied { dropped: true, reassigned, ..Applied::default() };
                }
                Err(error) if error.class == Class::Refused => {
                    let why = error.to_string();
                    applied.kept_because = Some(self.why_kept(&place, &plan.account, &why).await);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(applied)
    }

    /// Drops an account that may not log in any more, where nobody is inside or on the way in: what it had goes with it.
    /// False: it has to be taken away piece by piece, as it may take time until the account can be dropped, or for ever. So
    /// it is where a standby has to confirm the end: an account that is gone could not be asked for it again.
    ///
    /// Whether somebody is on the way in can be seen only once the login is gone for everybody. So this is another transaction.
    async fn drop_at_once(&self, place: &Place, plan: &End) -> bool {
        let message = self.acting(&plan.account, end::drop_at_once(plan));
        match self.server.run(place, &message).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(account = plan.account.as_str(), %error, "it is not dropped at once");
                false
            }
        }
    }

    /// Where an account cannot be changed because somebody gave it an attribute, that has to go first.
    async fn with_remedy(&self, place: &Place, query: &Query, error: Error) -> Error {
        if error.code != INSUFFICIENT_PRIVILEGE {
            return error;
        }
        let question = Question { query: query.clone(), to_verify: false };
        let reading = self.batcher.read(&self.server, place, question).await.unwrap_or_default();
        let leftovers = reading.observed.account.map(|account| account.leftovers).unwrap_or_default();
        let attribute = leftovers.iter().find(|left| matches!(left, Leftover::Attribute { .. }));
        match attribute {
            Some(attribute) => Error {
                reason: Reason::LeftoverMembership,
                remedy: attribute.message(&query.account),
                ..error
            },
            None => error,
        }
    }

    async fn strip(&self, place: &Place, plan: &End) -> Result<Stripped, Error> {
        let (reply, not_reset) = match self.try_strip(place, plan, Part::All).await {
            // What stays stored for an account that may not log in gives nobody anything; memberships go on their own.
            Err(error) if error.class == Class::Refused => {
                let revoked = self.try_strip(place, plan, Part::Memberships).await;
                let reset = self.try_strip(place, plan, Part::Stored).await;
                let not_reset = reset.err().map(|error| error.to_string());
                if let Some(why) = &not_reset {
                    tracing::warn!(
                        account = plan.account.as_str(),
                        why,
                        "settings and limits stored for it remain"
                    );
                }
                (revoked?, not_reset)
            }
            result => (result?, None),
        };
        let confirmed = match reply {
            reply if reply.unconfirmed => false,
            // The warning is not identified: it may be that the wait for the standby was cancelled.
            reply if reply.warned => {
                let confirm = self.acting(&plan.account, end::confirm(plan));
                !standby::is_doubtful(&self.server.run(place, &confirm).await?)
            }
            _ => true,
        };
        Ok(Stripped { confirmed, not_reset })
    }

    async fn try_strip(&self, place: &Place, plan: &End, part: Part) -> Result<Reply, Error> {
        let dialect = self.server.dialect(place).await?;
        let message = |cascade| {
            let revoked: &[String] = if part == Part::Stored { &[] } else { &plan.revoke };
            let message = end::strip(plan, part, dialect, cascade);
            self.acting_to_revoke(&plan.account, message, revoked, dialect, cascade)
        };
        match self.server.run(place, &message(false)).await {
            // It passed a role on. Whoever has it from this account has it no longer.
            Err(error) if error.code == DEPENDENT_OBJECTS => {
                tracing::warn!(
                    account = plan.account.as_str(),
                    "revoking what the account passed on as well"
                );
                self.server.run(place, &message(true)).await
            }
            result => result,
        }
    }

    async fn drop_account(&self, place: &Place, plan: &End) -> Result<(), Error> {
        match self.try_drop(place, plan).await {
            Err(error) if error.code == DEPENDENT_OBJECTS => {
                self.revoke_rights(place, &plan.account, true).await;
                self.try_drop(place, plan).await
            }
            result => result,
        }
    }

    async fn try_drop(&self, place: &Place, plan: &End) -> Result<(), Error> {
        let message = self.acting(&plan.account, end::drop_account(plan));
        self.server.run(place, &message).await.map(drop)
    }

    /// Takes away what the account itself was granted, in each database where the admin user can. Best effort: what
    /// is left shows as a dependency, and only prevents a drop.
    async fn revoke_rights(&self, place: &Place, account: &AccountName, connect_too: bool) {
        let attempt = async {
            let dialect = self.server.dialect(place).await?;
            let message = rights::revoke(account, dialect, connect_too);
            for database in rights::databases(&self.dependencies(place, account).await?) {
                let place = database.map_or_else(|| place.clone(), Place::Exactly);
                if let Err(error) = self.server.run(&place, &message).await {
                    tracing::info!(account = account.as_str(), %error, "rights granted to the account itself remain");
                }
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = attempt.await {
            tracing::info!(account = account.as_str(), %error, "rights granted to the account itself remain");
        }
    }

    async fn dependencies(
        &self,
        place: &Place,
        account: &AccountName,
    ) -> Result<Vec<rights::Dependency>, Error> {
        self.dependencies_of(place, account.as_str()).await
    }

    pub(crate) async fn dependencies_of(
        &self,
        place: &Place,
        role: &str,
    ) -> Result<Vec<rights::Dependency>, Error> {
        let message = rights::dependencies(role);
        let reply = self.server.run(place, &message).await?;
        crate::reads::observe::parse(&reply, || message.attempted(0).to_owned())
    }

    async fn why_kept(&self, place: &Place, account: &AccountName, why: &str) -> String {
        match self.what_depends_on(place, account.as_str()).await {
            Some(dependents) => format!("{why}: {dependents}"),
            None => why.to_owned(),
        }
    }

    /// What depends on a role, for people, with the names of some of it where the admin user can connect.
    pub(crate) async fn what_depends_on(&self, place: &Place, role: &str) -> Option<String> {
        let mut dependencies = self.dependencies_of(place, role).await.ok()?;
        // What it owns comes first: only a person can decide about that.
        dependencies.sort_by_key(|one| one.kind != "o");
        self.name(place, role, &mut dependencies).await;
        (!dependencies.is_empty()).then(|| rights::described(&dependencies))
    }

    /// Adds the names of some of it, where the admin user can connect.
    pub(crate) async fn name(&self, place: &Place, role: &str, dependencies: &mut [rights::Dependency]) {
        let mut left = MOST_NAMED;
        for one in dependencies.iter_mut().take(MOST_NAMED) {
            if left == 0 {
                break;
            }
            let place = one.database.clone().map_or_else(|| place.clone(), Place::Exactly);
            let message = rights::dependent_names(role, &one.kind, one.database.is_none(), left);
            match self.server.run(&place, &message).await {
                Ok(reply) => {
                    one.names = reply.rows().iter().filter_map(|row| row.get(0).map(str::to_owned)).collect();
                    left -= one.names.len();
                }
                Err(error) => tracing::debug!(role, %error, "what depends on it cannot be named"),
            }
        }
    }
}

/// May the server have refused a role for itself, or for its login and password?
fn is_of_role_or_login(code: &str) -> bool {
    code == INSUFFICIENT_PRIVILEGE || is_of_a_rule(code)
}

/// Whether what an account had was taken away.
struct Stripped {
    /// A synchronous standby knows that it is gone, or there is none.
    confirmed: bool,
    /// Why limits and settings are still stored for it.
    not_reset: Option<String>,
}

/// The query that reads all about an account and nothing else.
fn query(account: &AccountName, owner_uid: &str, session_database: Option<&str>) -> Query {
    Query {
        account: account.clone(),
        owner_uid: owner_uid.to_owned(),
        session_database: session_database.map(str::to_owned),
        roles: BTreeSet::new(),
        sets: BTreeSet::new(),
        databases: BTreeSet::new(),
        to_end: true,
    }
}
