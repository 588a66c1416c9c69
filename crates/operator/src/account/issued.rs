//! The credentials that sessions have, known to this operator process: what was issued, and when that was last seen.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rolecall_pki::credentials::CLOCK_SKEW;
use tokio::time::Instant;

use crate::model::plus;

/// Certificates have whole seconds only.
const SAME_END: Duration = Duration::from_secs(2);

/// No certificate is renewed sooner than this after it was made.
const MIN_LIFE: Duration = Duration::from_secs(1);

/// The credentials that a session has.
#[derive(Clone, Debug, Default)]
pub struct Issued {
    /// The name of the Secret.
    pub secret: Option<String>,
    /// Its uid.
    pub secret_uid: Option<String>,
    /// The answer to the certificate request, in PEM.
    pub certificate: Option<String>,
    /// From when and until when its certificate is valid, where it has one.
    pub valid: Option<(Timestamp, Timestamp)>,
    /// What it was made from ([`crate::servers::Server::credentials`]); `None`: from something else than there is now.
    pub made_from: Option<u64>,
}

impl Issued {
    /// Can it be used at that time? A certificate that was made while this machine's clock was ahead cannot yet.
    pub fn is_usable_at(&self, now: Timestamp) -> bool {
        self.valid.is_none_or(|valid| is_valid_at(valid, now))
    }

    /// When it has to be renewed, for a session that ends at `expires_at`: at two thirds of a certificate's life, at once
    /// where the certificate would outlive the session, never where both end together.
    pub fn renew_at(&self, expires_at: Option<Timestamp>) -> Option<Timestamp> {
        let (not_before, not_after) = self.valid?;
        if let Some(end) = expires_at {
            let (earliest, latest) = (minus(end, SAME_END), plus(end, SAME_END).unwrap_or(end));
            if not_after > latest {
                return Some(not_before);
            }
            if not_after >= earliest {
                return None;
            }
        }
        // A certificate is valid from before it was made; for a short one that would be most of its life.
        let made = plus(not_before, CLOCK_SKEW).unwrap_or(not_before).min(not_after);
        let life = not_after.duration_since(made).unsigned_abs();
        // One that the authority's own end cuts short is not renewed over and over.
        plus(made, (life * 2 / 3).max(MIN_LIFE))
    }
}

/// Is a certificate with this validity valid at that time?
pub fn is_valid_at((not_before, not_after): (Timestamp, Timestamp), now: Timestamp) -> bool {
    not_before <= now && now < not_after
}

fn minus(at: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|d| at.checked_sub(d).ok()).unwrap_or(Timestamp::MIN)
}

/// What was issued to each session, by its uid, with when it was last seen to be there. It can be restored: from the
/// Secrets, or by issuing anew.
#[derive(Debug, Default)]
pub struct IssuedStore(Mutex<HashMap<String, (Issued, Instant)>>);

impl IssuedStore {
    /// What a session has.
    pub fn get(&self, uid: &str) -> Option<Issued> {
        self.locked().get(uid).map(|(issued, _)| issued.clone())
    }

    /// When what a session has was last seen to be there.
    pub fn confirmed(&self, uid: &str) -> Option<Instant> {
        self.locked().get(uid).map(|(_, at)| *at)
    }

    /// It is there.
    pub fn confirm(&self, uid: &str) {
        if let Some((_, at)) = self.locked().get_mut(uid) {
            *at = Instant::now();
        }
    }

    /// Keeps or forgets what a session has.
    pub fn set(&self, uid: &str, issued: Option<Issued>) {
        match issued {
            Some(issued) => self.locked().insert(uid.to_owned(), (issued, Instant::now())),
            None => self.locked().remove(uid),
        };
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what they hold is whole.
    fn locked(&self) -> MutexGuard<'_, HashMap<String, (Issued, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn valid(from: i64, to: i64) -> Issued {
        Issued { valid: Some((at(from), at(to))), ..Issued::default() }
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        assert_eq!(valid(-60, 3_000).renew_at(None), Some(at(2_000)));
        assert_eq!(valid(-60, 3_000).renew_at(Some(at(9_000))), Some(at(2_000)));
    }

    #[test]
    fn a_certificate_of_seconds_is_renewed_before_it_runs_out_and_not_at_once() {
        assert_eq!(valid(-60, 6).renew_at(None), Some(at(4)));
    }

    #[test]
    fn a_certificate_that_ends_with_its_session_stays() {
        assert_eq!(valid(0, 3_000).renew_at(Some(at(3_000))), None);
        assert_eq!(valid(0, 3_000).renew_at(Some(at(3_001))), None);
    }

    #[test]
    fn a_certificate_that_would_outlive_its_session_is_renewed_at_once() {
        assert_eq!(valid(0, 3_000).renew_at(Some(at(1_000))), Some(at(0)));
    }

    #[test]
    fn an_authority_about_to_end_causes_no_hot_loop() {
        assert_eq!(valid(-60, 1).renew_at(None), Some(at(1)));
        assert_eq!(valid(-60, -10).renew_at(None), Some(at(-9)));
    }

    #[test]
    fn a_certificate_from_a_clock_that_was_ahead_cannot_be_used_yet() {
        let ahead = valid(300, 3_000);
        assert!(
            !ahead.is_usable_at(at(299)) && ahead.is_usable_at(at(300)) && !ahead.is_usable_at(at(3_000))
        );
        assert!(Issued::default().is_usable_at(at(0)), "a password has no such times");
    }

    #[test]
    fn what_was_issued_is_kept_with_when_it_was_last_seen() {
        let store = IssuedStore::default();
        assert!(store.get("uid").is_none() && store.confirmed("uid").is_none());
        store.confirm("uid");
        assert!(store.confirmed("uid").is_none(), "nothing was issued");
        store.set("uid", Some(Issued { secret: Some("alice".into()), ..Issued::default() }));
        let first = store.confirmed("uid");
        store.confirm("uid");
        assert!(store.confirmed("uid") >= first);
        assert_eq!(store.get("uid").and_then(|issued| issued.secret).as_deref(), Some("alice"));
        store.set("uid", None);
        assert!(store.get("uid").is_none());
    }
}
