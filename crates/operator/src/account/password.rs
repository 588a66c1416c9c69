//! The password of an account: which one it is, and when another one is due.
//!
//! Passwords are numbered. The number stands beside the password in the Secret of each session, and in the ownership
//! record on the server, which is written in one transaction with the verifier. So whoever comes later can tell which of
//! the two is newer: after a crash between two writes, and after the server has lost its last changes.

use rolecall_engine::{Desired, Observed, Want, plan};
use secrecy::{ExposeSecret, SecretString};

use super::carry_out::Place;
use super::credentials;
use super::round::Round;
use crate::Shared;
use crate::api_writer::Severity;
use crate::model::{AccountKey, Priority, ReconcileError};
use crate::servers::Issuer;

/// Below this, two numbers may belong to the same place in the order: so two passwords never have the same number.
const CHANCE: u64 = 1 << 20;

/// A password of an account.
#[derive(Clone, Debug)]
pub struct AccountPassword {
    /// What users log in with.
    pub text: SecretString,
    /// Its number; 0 where an operator before this one did not number it.
    pub generation: u64,
}

/// The password of an account in one look.
#[derive(Debug, Default)]
pub(super) enum Password {
    /// There is none, or it plays no part.
    #[default]
    Unchanged,
    /// The one that the sessions have.
    Known(AccountPassword),
    /// One that they are to get.
    New(AccountPassword),
}

impl AccountPassword {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.generation == other.generation && self.text.expose_secret() == other.text.expose_secret()
    }
}

impl Password {
    pub(super) fn get(&self) -> Option<&AccountPassword> {
        match self {
            Self::Unchanged => None,
            Self::Known(password) | Self::New(password) => Some(password),
        }
    }

    pub(super) fn keep(&self, shared: &Shared, key: &AccountKey) {
        if let Self::New(password) = self {
            shared.memory.set_password(key, Some(password.clone()));
        }
    }
}

/// What is to be done about a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The one that is known stays, and is stored again where the server has lost it.
    Keep,
    /// The one that is known stays, and gets a number.
    Number,
    /// Another one is made.
    Change,
}

/// `known`: the number of the one that all sessions have; `recorded`: the one that the server's record tells of.
fn due(known: Option<u64>, recorded: u64, somebody_leaves: bool) -> Due {
    match known {
        _ if somebody_leaves => Due::Change,
        None => Due::Change,
        Some(0) if recorded == 0 => Due::Number,
        // The sessions missed one: who has an older one may have left.
        Some(known) if known < recorded => Due::Change,
        Some(_) => Due::Keep,
    }
}

/// The number of the next password, after all those that are in use.
fn next(highest: u64) -> u64 {
    (highest / CHANCE + 1) * CHANCE + rand::random_range(0..CHANCE)
}

impl Round {
    /// Decides on the password, by what the server shows of the account, and takes it into the wish.
    pub(super) async fn choose_password(
        &self,
        on: Place<'_>,
        desired: &mut Desired,
        observed: &Observed,
    ) -> Result<Password, ReconcileError> {
        let Place { shared, key, server, .. } = on;
        if !matches!(server.issuer, Issuer::Password) || !matches!(desired.want, Want::Enabled(_)) {
            return Ok(Password::Unchanged);
        }
        let ours = |owner: &&rolecall_engine::Owner| owner.uid == server.owner.uid;
        let owner = observed.account.as_ref().and_then(|account| account.owner.as_ref()).filter(ours);
        let recorded = owner.map_or(0, |owner| owner.password_generation);
        let in_use = !self.lives().is_empty();
        let one_ends = self.ends().into_iter().any(|index| self.may_know_password(on, index));
        let (known, highest) = self.known_password(on).await?;
        let highest = highest.max(recorded);
        let password = match due(known.as_ref().map(|known| known.generation), recorded, one_ends || !in_use)
        {
            Due::Keep => known.map(Password::Known),
            Due::Number => {
                known.map(|known| Password::New(AccountPassword { generation: next(highest), ..known }))
            }
            Due::Change => None,
        };
        let password = match password {
            Some(password) => password,
            None => {
                let text = rolecall_pki::credentials::password::generate()?;
                Password::New(AccountPassword { text, generation: next(highest) })
            }
        };
        if let Password::Known(known) = &password {
            shared.memory.set_password(key, Some(known.clone()));
        }
        take_into(desired, observed, &password);
        Ok(password)
    }

    /// The password that all live sessions have, with the highest number that any of them has.
    async fn known_password(&self, on: Place<'_>) -> Result<(Option<AccountPassword>, u64), ReconcileError> {
        let Place { shared, key, server, .. } = on;
        if let Some(known) = shared.memory.password(key) {
            let generation = known.generation;
            return Ok((Some(known), generation));
        }
        let (mut told, mut agree, mut highest) = (None::<AccountPassword>, true, 0);
        for index in self.lives() {
            let session = &self.gathered.sessions[index].session;
            if let Some((_, Some(password))) =
                credentials::recall(shared, session, server, on.account, self.now).await?
            {
                agree &= told.as_ref().is_none_or(|told| told.is_same(&password));
                highest = highest.max(password.generation);
                told = Some(password);
            }
        }
        Ok((told.filter(|_| agree), highest))
    }

    /// Tells live sessions that the server did not have their password any more.
    pub(super) fn tell_of_lost_password(&self, on: Place<'_>, password: &Password) {
        let what = match password {
            Password::Known(_) => "it was stored again, and works as before",
            Password::New(_) => "another one is in the session's Secret",
            Password::Unchanged => return,
        };
        let note = format!(
            "the server did not have the password of {} any more, or may not have had it (a failover or a restore that lost changes, or somebody changed the account): {what}",
            on.key.username
        );
        tracing::warn!(account = %on.key, "the server had lost the password of a live account");
        for index in self.lives() {
            let session = &self.gathered.sessions[index].session;
            let reason = rolecall_api::reasons::PASSWORD_RESTORED;
            on.shared.api.event(&**session, Severity::Warning, reason, "Keep", &note);
        }
        on.shared.queue.add(crate::model::ReconcileKey::Admin(on.key.admin.clone()), Priority::Normal);
    }
}

/// Takes a password into a wish: it is stored where the server lacks it.
fn take_into(desired: &mut Desired, observed: &Observed, password: &Password) {
    let Some(wanted) = password.get() else { return };
    desired.owner.password_generation = wanted.generation;
    if !plan::lacks_password(desired, observed) {
        return;
    }
    if let Want::Enabled(enabled) = &mut desired.want {
        let set = Some(rolecall_pki::credentials::password::verifier(&wanted.text));
        enabled.credential = rolecall_engine::account::Credential::Password { set };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_the_server_lost_is_stored_again_and_one_that_sessions_missed_is_changed() {
        let (older, newer) = (next(0), next(next(0)));
        assert!(older < newer && older > 0);
        assert_eq!(due(Some(newer), newer, false), Due::Keep);
        assert_eq!(due(Some(newer), older, false), Due::Keep, "a failover lost the newer one");
        assert_eq!(due(Some(newer), 0, false), Due::Keep, "the account was made anew, or its record is gone");
        assert_eq!(due(Some(older), newer, false), Due::Change, "who left knows the older one");
        assert_eq!(due(None, newer, false), Due::Change, "they do not agree, or there is no Secret");
        assert_eq!(due(Some(newer), newer, true), Due::Change);
        assert_eq!(due(Some(0), 0, false), Due::Number, "an operator before this one did not number it");
        assert_eq!(due(Some(0), newer, false), Due::Change);
    }

    #[test]
    fn numbers_follow_one_another_and_do_not_repeat() {
        let mut before = 0;
        for _ in 0..100 {
            let number = next(before);
            assert!(number > before);
            before = number;
        }
        // Two that are made from the same state, neither of which knows of the other.
        assert_ne!((next(before), next(before), next(before)), (next(before), next(before), next(before)));
    }
}
