//! Which of two states of an object counts, and since when objects are known.
//!
//! An object is told of by the watch, by a list, and by the answers to our own writes, and these overtake each other:
//!
//! - The answer to a write changes only what is held, with the same uid. It may arrive after the watch has told that the
//!   object is gone, and must not bring it back: a role that nobody can see any more would go on granting.
//! - A watch and the list before it are one ordered story, so what they say counts. Only an answer to a write of ours
//!   may be ahead of them; until they have caught up with it, what is older is passed over.
//! - A list says what is, also where that is older than what is held: somebody restored the API server's database.
//!   Only a write that was answered after the list had begun may be ahead of it.
//!
//! Deadlines count from when an object was first seen, by this machine's clock. The API server's may be another one. What
//! is listed was made at some time before, which only the API server's clock tells; it is read as what this machine's
//! clock showed then.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::{Held, ObjectKey, Wakes, World};

/// Who tells of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The watch, as it happens.
    Watched,
    /// A list that began then.
    Listed(Instant),
}

/// This machine's clock beside the API server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// What this machine's clock shows.
    pub now: Timestamp,
    /// By how much it is ahead of the API server's, as far as that is known.
    pub ahead: SignedDuration,
}

impl Clock {
    /// What this machine's clock showed at a time by the API server's; at the latest now.
    pub fn here(&self, there: Timestamp) -> Timestamp {
        there.checked_add(self.ahead).unwrap_or(there).min(self.now)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// By uid: the last write that the watch has not told of yet.
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

impl World {
    /// Takes in what a watch or a list tells of an object.
    pub fn take_in<K: Held>(&mut self, object: K, told: Told, clock: Clock) -> Wakes {
        let key = ObjectKey::of(&object);
        let (uid, new) = (object.uid().unwrap_or_default(), version(object.meta()));
        if let Some(written) = self.versions.written.get(&uid) {
            let may_be_ahead = match told {
                Told::Watched => true,
                Told::Listed(begun) => written.answered >= begun,
            };
            if may_be_ahead && new.is_some_and(|new| new < written.version) {
                return Wakes::new();
            }
            self.versions.written.remove(&uid);
        }
        let held = K::held(self, &key);
        let held_uid = held.and_then(|held| held.uid.clone()).filter(|held| *held != uid);
        let is_back = matches!(told, Told::Listed(_))
            && held.is_some_and(|held| version(held).is_some_and(|held| new.is_some_and(|new| new < held)));
        if let Some(replaced) = held_uid {
            self.versions.forget(&replaced);
        }
        if K::HAS_DEADLINES {
            self.versions.see(&uid, object.meta(), told, clock);
        }
        let mut wakes = Wakes::new();
        if is_back {
            // Whatever was done since is not known to anybody but the servers: it is all looked at anew.
            tracing::warn!(kind = %K::kind(&()), %key, "the API server tells of an earlier state of the object: its database was restored");
            wakes.extend(K::forget(self, &key));
        }
        wakes.extend(K::apply(self, object));
        wakes
    }

    /// Takes in the answer to a write.
    pub fn take_written<K: Held>(&mut self, object: K) -> Wakes {
        let key = ObjectKey::of(&object);
        let Some(held) = K::held(self, &key).filter(|held| held.uid == object.meta().uid) else {
            return Wakes::new();
        };
        if let (Some(new), Some(held)) = (version(object.meta()), version(held)) {
            if new < held {
                return Wakes::new();
            }
            let written = Written { version: new, answered: Instant::now() };
            self.versions.written.insert(object.uid().unwrap_or_default(), written);
        }
        K::apply(self, object)
    }

    /// Forgets an object that is gone.
    pub fn forget<K: Held>(&mut self, key: &ObjectKey) -> Wakes {
        if let Some(uid) = K::held(self, key).and_then(|held| held.uid.clone()) {
            self.versions.forget(&uid);
        }
        K::forget(self, key)
    }

    /// When an object was first seen, by this machine's clock. What was never seen tells its own creation.
    pub fn seen_at(&self, object: &impl ResourceExt) -> Timestamp {
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
    fn see(&mut self, uid: &str, metadata: &ObjectMeta, told: Told, clock: Clock) {
        let moment = |there: Option<Timestamp>| match (told, there) {
            (Told::Watched, _) | (_, None) => clock.now,
            // Times are cut to seconds: without the one that it may lack, a deadline of a second could be over before
            // anybody had looked.
            (Told::Listed(_), Some(there)) => {
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

    use super::super::Work;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn clock(now: i64, ahead: i64) -> Clock {
        Clock { now: at(now), ahead: SignedDuration::from_secs(ahead) }
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

    fn watch(world: &mut World, object: ProvisioningRole) -> Wakes {
        world.take_in(object, Told::Watched, Clock::default())
    }

    fn held(world: &World) -> Option<String> {
        world.role(&key()).and_then(|role| role.object.resource_version())
    }

    #[test]
    fn the_answer_to_a_write_does_not_bring_back_what_is_gone() {
        let mut world = World::new("here");
        watch(&mut world, role("one", 1));
        // Its status is written, it is deleted, the watch tells that, and then the answer to the write arrives.
        world.forget::<ProvisioningRole>(&key());
        assert!(world.take_written(role("one", 2)).is_empty());
        assert_eq!(held(&world), None);
        // Another one of its name is not that one.
        watch(&mut world, role("two", 4));
        assert!(world.take_written(role("one", 2)).is_empty());
        assert_eq!(world.role(&key()).unwrap().object.uid().as_deref(), Some("two"));
    }

    #[test]
    fn what_the_watch_has_told_since_is_not_undone_by_the_answer_to_a_write() {
        let mut world = World::new("here");
        watch(&mut world, role("one", 1));
        watch(&mut world, role("one", 5));
        world.take_written(role("one", 3));
        assert_eq!(held(&world).as_deref(), Some("5"));
    }

    #[test]
    fn a_write_counts_until_the_watch_has_caught_up_with_it() {
        let mut world = World::new("here");
        watch(&mut world, role("one", 1));
        world.take_written(role("one", 5));
        watch(&mut world, role("one", 4));
        assert_eq!(held(&world).as_deref(), Some("5"), "it is on its way");
        watch(&mut world, role("one", 5));
        watch(&mut world, role("one", 6));
        assert_eq!(held(&world).as_deref(), Some("6"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_after_a_restore_counts_though_what_is_held_is_newer() {
        let mut world = World::new("here");
        watch(&mut world, role("one", 900));
        world.take_written(role("one", 1_000));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let begun = Instant::now();
        let wakes = world.take_in(role("one", 400), Told::Listed(begun), Clock::default());
        assert_eq!(held(&world).as_deref(), Some("400"));
        assert!(wakes.iter().any(|(work, _)| *work == Work::Role(key())), "and it is looked at");
        watch(&mut world, role("one", 410));
        assert_eq!(held(&world).as_deref(), Some("410"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_was_answered_while_a_list_was_under_way_counts() {
        let mut world = World::new("here");
        watch(&mut world, role("one", 1));
        let begun = Instant::now();
        world.take_written(role("one", 5));
        world.take_in(role("one", 4), Told::Listed(begun), Clock::default());
        assert_eq!(held(&world).as_deref(), Some("5"));
    }

    #[test]
    fn what_is_watched_counts_from_when_it_was_seen_whatever_the_clocks_show() {
        for ahead in [-3_600, 0, 62, 3_600] {
            let mut world = World::new("here");
            let now = 1_000 + ahead;
            // Whether the difference is known or not.
            world.take_in(session("one", 1), Told::Watched, clock(now, 0));
            assert_eq!(world.seen_at(&session("one", 1)), at(now));
            world.take_in(session("one", 2), Told::Watched, clock(now + 50, 0));
            assert_eq!(world.seen_at(&session("one", 2)), at(now), "the first time counts");
        }
    }

    #[test]
    fn what_is_listed_counts_from_its_creation_as_this_clock_showed_it() {
        let begun = Told::Listed(Instant::now());
        let mut world = World::new("here");
        world.take_in(session("one", 1), begun, clock(1_100, 62));
        assert_eq!(world.seen_at(&session("one", 1)), at(1_063), "with the second that it may lack");
        let mut world = World::new("here");
        world.take_in(session("one", 1), begun, clock(900, -120));
        assert_eq!(world.seen_at(&session("one", 1)), at(881));
        let mut world = World::new("here");
        world.take_in(session("one", 1), begun, clock(900, 0));
        assert_eq!(world.seen_at(&session("one", 1)), at(900), "nothing was made in the future");
    }

    #[test]
    fn a_deletion_counts_from_when_it_was_seen() {
        let mut world = World::new("here");
        world.take_in(session("one", 1), Told::Watched, clock(2_000, 0));
        assert_eq!(world.deleted_at(&session("one", 1)), None);
        let mut deleted = session("one", 2);
        deleted.metadata.deletion_timestamp = Some(Time(at(1_500)));
        world.take_in(deleted.clone(), Told::Watched, clock(2_600, 0));
        assert_eq!(world.deleted_at(&deleted), Some(at(2_600)));
        world.forget::<DatabaseSession>(&ObjectKey::of(&deleted));
        assert!(world.versions.seen.is_empty() && world.versions.written.is_empty(), "nothing is kept");
    }
}
