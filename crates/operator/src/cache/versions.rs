//! Which of two states of an object counts, and since when objects are known.
//!
//! An object is reported by the watch, by a list, and in the answers to our own writes, and these overtake each other:
//!
//! - The answer to a write changes only what is cached, with the same uid. It may arrive after the watch has reported that the
//!   object is gone, and must not bring it back: a role that nobody can see any more would go on granting.
//! - A watch and the list before it are one ordered sequence, so what they say counts. Only an answer to a write of
//!   ours may be ahead of them; until they have caught up with it, what is older is skipped.
//! - A list says what is, also where that is older than what is cached: somebody restored the API server's database.
//!   Only a write that was answered after the list had begun may be ahead of it.
//!
//! Deadlines count from when an object was first seen, by this machine's clock. The API server's may be another one. What
//! is listed was made at some time before, known only by the API server's clock; it is read as what this machine's
//! clock showed then.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use tokio::time::Instant;

use crate::cache::{Cache, Cached};
use crate::model::{ObjectKey, Triggers};

/// Where an object was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The watch, as it happens.
    Watched,
    /// A list that began then.
    Listed(Instant),
}

/// This machine's clock beside the API server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReading {
    /// What this machine's clock shows.
    pub now: Timestamp,
    /// By how much it is ahead of the API server's, where that is known.
    pub ahead: SignedDuration,
}

impl ClockReading {
    /// What this machine's clock showed at a time by the API server's; at the latest now.
    pub fn here(&self, there: Timestamp) -> Timestamp {
        there.checked_add(self.ahead).unwrap_or(there).min(self.now)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// By uid: the last write that the watch has not reported yet.
    written: HashMap<String, Written>,
    /// By uid.
    seen: HashMap<String, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    version: u64,
    answered: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    created: Timestamp,
    deleted: Option<Timestamp>,
}

impl Cache {
    /// Accepts or skips an object from a watch or a list.
    pub fn observe_event<K: Cached>(&mut self, object: K, source: Source, clock: ClockReading) -> Triggers {
        self.now = clock.now;
        let key = ObjectKey::of(&object);
        let (uid, new) = (object.uid().unwrap_or_default(), version(object.meta()));
        if let Some(written) = self.versions.written.get(&uid) {
            let may_be_ahead = match source {
                Source::Watched => true,
                Source::Listed(begun) => written.answered >= begun,
            };
            if may_be_ahead && new.is_some_and(|new| new < written.version) {
                return Triggers::new();
            }
            self.versions.written.remove(&uid);
        }
        let cached = K::cached(self, &key);
        let cached_uid = cached.and_then(|cached| cached.uid.clone()).filter(|cached| *cached != uid);
        let is_back = matches!(source, Source::Listed(_))
            && cached.is_some_and(|cached| {
                version(cached).is_some_and(|cached| new.is_some_and(|new| new < cached))
            });
        let known = cached.is_some() && cached_uid.is_none() && !is_back;
        if let Some(replaced) = cached_uid {
            self.versions.forget(&replaced);
            K::gone(self, &replaced);
        }
        K::see(self, &object, !known && matches!(source, Source::Listed(_)));
        if K::HAS_DEADLINES {
            self.versions.see(&uid, object.meta(), source, clock);
        }
        let mut triggers = Triggers::new();
        if is_back {
            // What was done since is known only to the servers: everything that depends on it is reconciled.
            tracing::warn!(kind = %K::kind(&()), %key, "the API server lists an earlier state of the object: its database was restored");
            triggers.extend(K::forget(self, &key));
        }
        triggers.extend(K::apply(self, object));
        triggers
    }

    /// Accepts or skips the answer to a write.
    pub fn observe_written<K: Cached>(&mut self, object: K) -> Triggers {
        let key = ObjectKey::of(&object);
        let Some(cached) = K::cached(self, &key).filter(|cached| cached.uid == object.meta().uid) else {
            return Triggers::new();
        };
        if let (Some(new), Some(cached)) = (version(object.meta()), version(cached)) {
            if new < cached {
                return Triggers::new();
            }
            // The watch may have been first.
            if new > cached {
                let written = Written { version: new, answered: Instant::now() };
                self.versions.written.insert(object.uid().unwrap_or_default(), written);
            }
        }
        K::apply(self, object)
    }

    /// Forgets an object that is gone.
    pub fn forget<K: Cached>(&mut self, key: &ObjectKey) -> Triggers {
        if let Some(uid) = K::cached(self, key).and_then(|cached| cached.uid.clone()) {
            self.versions.forget(&uid);
            K::gone(self, &uid);
        }
        K::forget(self, key)
    }

    /// When an object was first seen, by this machine's clock. For one that was never seen: when it was created.
    pub fn first_seen_at(&self, object: &impl ResourceExt) -> Timestamp {
        let seen = object.meta().uid.as_ref().and_then(|uid| self.versions.seen.get(uid));
        let created = || object.meta().creation_timestamp.as_ref().map(|at| at.0);
        seen.map(|seen| seen.created).or_else(created).unwrap_or_default()
    }

    /// When an object was first seen to be deleted, by this machine's clock; `None` where it is not.
    pub fn deleted_at(&self, object: &impl ResourceExt) -> Option<Timestamp> {
        let deleted = object.meta().deletion_timestamp.as_ref()?.0;
        let seen = object.meta().uid.as_ref().and_then(|uid| self.versions.seen.get(uid));
        Some(seen.and_then(|seen| seen.deleted).unwrap_or(deleted))
    }
}

impl Versions {
    fn see(&mut self, uid: &str, metadata: &ObjectMeta, source: Source, clock: ClockReading) {
        let moment = |there: Option<Timestamp>| match (source, there) {
            (Source::Watched, _) | (_, None) => clock.now,
            // Times are cut to seconds: without the one that it may lack, a deadline of a second could be over before
            // any reconcile had begun.
            (Source::Listed(_), Some(there)) => {
                let latest = there.checked_add(SignedDuration::from_secs(1)).unwrap_or(there);
                clock.here(latest)
            }
        };
        let seen = self.seen.entry(uid.to_owned()).or_insert_with(|| Seen {
            created: moment(metadata.creation_timestamp.as_ref().map(|at| at.0)),
            deleted: None,
        });
        if let Some(deleted) = &metadata.deletion_timestamp {
            seen.deleted.get_or_insert_with(|| moment(Some(deleted.0)));
        }
    }

    fn forget(&mut self, uid: &str) {
        self.written.remove(uid);
        self.seen.remove(uid);
    }
}

/// Resource versions of one resource are integers that grow.
fn version(metadata: &ObjectMeta) -> Option<u64> {
    metadata.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use rolecall_api::{DatabaseSession, DatabaseSessionSpec, ProvisioningRole, ProvisioningRoleSpec};

    use super::*;
    use crate::model::ReconcileKey;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn clock(now: i64, ahead: i64) -> ClockReading {
        ClockReading { now: at(now), ahead: SignedDuration::from_secs(ahead) }
    }

    fn stamped<K: ResourceExt>(mut object: K, uid: &str, version: u64) -> K {
        let meta = object.meta_mut();
        meta.namespace = Some("shop".into());
        meta.uid = Some(uid.into());
        meta.resource_version = Some(version.to_string());
        meta.generation = Some(1);
        meta.creation_timestamp = Some(Time(at(1_000)));
        object
    }

    fn role(uid: &str, version: u64) -> ProvisioningRole {
        stamped(ProvisioningRole::new("reader", ProvisioningRoleSpec::default()), uid, version)
    }

    fn session(uid: &str, version: u64) -> DatabaseSession {
        let spec = DatabaseSessionSpec { user: "alice".into(), ..DatabaseSessionSpec::default() };
        stamped(DatabaseSession::new("s", spec), uid, version)
    }

    fn key() -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: "reader".into() }
    }

    fn watch(cache: &mut Cache, object: ProvisioningRole) -> Triggers {
        cache.observe_event(object, Source::Watched, ClockReading::default())
    }

    fn cached(cache: &Cache) -> Option<String> {
        cache.role(&key()).and_then(|role| role.object.resource_version())
    }

    #[test]
    fn the_answer_to_a_write_does_not_bring_back_what_is_gone() {
        let mut cache = Cache::new("here");
        watch(&mut cache, role("one", 1));
        // Its status is written, it is deleted, the watch reports that, and then the answer to the write arrives.
        cache.forget::<ProvisioningRole>(&key());
        assert!(cache.observe_written(role("one", 2)).is_empty());
        assert_eq!(cached(&cache), None);
        // Another one of its name is not that one.
        watch(&mut cache, role("two", 4));
        assert!(cache.observe_written(role("one", 2)).is_empty());
        assert_eq!(cache.role(&key()).unwrap().object.uid().as_deref(), Some("two"));
    }

    #[test]
    fn what_the_watch_has_reported_since_is_not_undone_by_the_answer_to_a_write() {
        let mut cache = Cache::new("here");
        watch(&mut cache, role("one", 1));
        watch(&mut cache, role("one", 5));
        cache.observe_written(role("one", 3));
        assert_eq!(cached(&cache).as_deref(), Some("5"));
    }

    #[test]
    fn a_write_counts_until_the_watch_has_caught_up_with_it() {
        let mut cache = Cache::new("here");
        watch(&mut cache, role("one", 1));
        cache.observe_written(role("one", 5));
        watch(&mut cache, role("one", 4));
        assert_eq!(cached(&cache).as_deref(), Some("5"), "it is on its way");
        watch(&mut cache, role("one", 5));
        watch(&mut cache, role("one", 6));
        assert_eq!(cached(&cache).as_deref(), Some("6"));
    }

    #[test]
    fn nothing_is_kept_of_a_write_that_the_watch_reports_before_its_answer_arrives() {
        let mut cache = Cache::new("here");
        watch(&mut cache, role("one", 1));
        watch(&mut cache, role("one", 5));
        cache.observe_written(role("one", 5));
        assert!(cache.versions.written.is_empty());
        cache.observe_written(role("one", 7));
        assert_eq!(cache.versions.written.len(), 1);
        watch(&mut cache, role("one", 7));
        assert!(cache.versions.written.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_after_a_restore_counts_though_what_is_cached_is_newer() {
        let mut cache = Cache::new("here");
        watch(&mut cache, role("one", 900));
        cache.observe_written(role("one", 1_000));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let begun = Instant::now();
        let triggers = cache.observe_event(role("one", 400), Source::Listed(begun), ClockReading::default());
        assert_eq!(cached(&cache).as_deref(), Some("400"));
        assert!(triggers.iter().any(|(work, _)| *work == ReconcileKey::Role(key())), "and it is reconciled");
        watch(&mut cache, role("one", 410));
        assert_eq!(cached(&cache).as_deref(), Some("410"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_was_answered_while_a_list_was_under_way_counts() {
        let mut cache = Cache::new("here");
        watch(&mut cache, role("one", 1));
        let begun = Instant::now();
        cache.observe_written(role("one", 5));
        cache.observe_event(role("one", 4), Source::Listed(begun), ClockReading::default());
        assert_eq!(cached(&cache).as_deref(), Some("5"));
    }

    #[test]
    fn what_is_watched_counts_from_when_it_was_seen_whatever_the_clocks_show() {
        for ahead in [-3_600, 0, 62, 3_600] {
            let mut cache = Cache::new("here");
            let now = 1_000 + ahead;
            // Whether the difference is known or not.
            cache.observe_event(session("one", 1), Source::Watched, clock(now, 0));
            assert_eq!(cache.first_seen_at(&session("one", 1)), at(now));
            cache.observe_event(session("one", 2), Source::Watched, clock(now + 50, 0));
            assert_eq!(cache.first_seen_at(&session("one", 2)), at(now), "the first time counts");
        }
    }

    #[test]
    fn what_is_listed_counts_from_its_creation_as_this_clock_showed_it() {
        let begun = Source::Listed(Instant::now());
        let mut cache = Cache::new("here");
        cache.observe_event(session("one", 1), begun, clock(1_100, 62));
        assert_eq!(cache.first_seen_at(&session("one", 1)), at(1_063), "with the second that it may lack");
        let mut cache = Cache::new("here");
        cache.observe_event(session("one", 1), begun, clock(900, -120));
        assert_eq!(cache.first_seen_at(&session("one", 1)), at(881));
        let mut cache = Cache::new("here");
        cache.observe_event(session("one", 1), begun, clock(900, 0));
        assert_eq!(cache.first_seen_at(&session("one", 1)), at(900), "nothing was made in the future");
    }

    #[test]
    fn a_deletion_counts_from_when_it_was_seen() {
        let mut cache = Cache::new("here");
        cache.observe_event(session("one", 1), Source::Watched, clock(2_000, 0));
        assert_eq!(cache.deleted_at(&session("one", 1)), None);
        let mut deleted = session("one", 2);
        deleted.metadata.deletion_timestamp = Some(Time(at(1_500)));
        cache.observe_event(deleted.clone(), Source::Watched, clock(2_600, 0));
        assert_eq!(cache.deleted_at(&deleted), Some(at(2_600)));
        cache.forget::<DatabaseSession>(&ObjectKey::of(&deleted));
        assert!(cache.versions.seen.is_empty() && cache.versions.written.is_empty(), "nothing is kept");
    }
}
