//! Which starts have begun whose objects do not say so.
//!
//! Where admission has put the finalizer on a session, the object of one that starts is not written before it is Active: its
//! Secret, which is written before anything is done on the server, names the account. This process knows without reading
//! it what it has begun itself. Of what it finds at its start it does not know yet.

use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt;
use rolecall_api::DatabaseSession;

use super::Cache;
use crate::model::session::{has_finalizer, is_touched, recorded_username, set_begun, without_begun};
use crate::model::{ObjectKey, Triggers};

/// By the uid of the session: under which name; `None`: it is not known whether it has begun. See the module.
#[derive(Debug, Default)]
pub(super) struct Begun(HashMap<String, Option<Arc<str>>>);

impl Begun {
    /// A session is reported. `found`: it was there before this process looked. What a watch reports as new nobody has begun.
    pub(super) fn see(&mut self, session: &DatabaseSession, found: bool) {
        let Some(uid) = session.uid() else { return };
        if found && has_finalizer(session) && !is_touched(session) {
            self.0.entry(uid).or_insert(None);
        }
    }

    /// The session is gone, or nothing of it is left.
    pub(super) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// The object with what it does not say itself.
    pub(super) fn complete(&self, mut session: DatabaseSession) -> DatabaseSession {
        let known = session.metadata.uid.as_ref().and_then(|uid| self.0.get(uid));
        if let Some(name) = known.filter(|_| recorded_username(&session).is_none()) {
            set_begun(&mut session, name.as_deref());
        }
        session
    }
}

impl Cache {
    /// The start of a session is about to begin under this name, or (`None`) is known not to have begun.
    pub fn set_begun(&mut self, session: &DatabaseSession, name: Option<&str>) -> Triggers {
        let Some(uid) = session.uid() else { return Triggers::new() };
        match name {
            Some(name) => drop(self.begun.0.insert(uid, Some(name.into()))),
            None => self.begun.forget(&uid),
        }
        let key = ObjectKey::of(session);
        let cached = self.sessions.get(&key).filter(|cached| cached.metadata.uid == session.metadata.uid);
        let Some(cached) = cached.cloned() else { return Triggers::new() };
        let mut triggers = self.unbind(&key);
        let completed = self.begun.complete(without_begun(&cached));
        self.sessions.insert(key.clone(), Arc::new(completed));
        triggers.extend(self.bind(&key));
        triggers
    }

    /// Nothing of a session is left on its server: what is known of its start does not count any more.
    pub fn forget_begun(&mut self, session: &DatabaseSession) {
        if let Some(uid) = &session.metadata.uid {
            self.begun.forget(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use rolecall_api::names::ACCOUNT_FINALIZER;
    use rolecall_api::{DatabaseSessionSpec, DatabaseUser, DatabaseUserSpec};
    use tokio::time::Instant;

    use super::*;
    use crate::cache::{Cached, ClockReading, Source};
    use crate::model::session::is_unclear;

    fn session(version: u64) -> DatabaseSession {
        let spec = DatabaseSessionSpec {
            user: "alice".into(),
            database: "orders".into(),
            ..DatabaseSessionSpec::default()
        };
        let mut session = DatabaseSession::new("s", spec);
        let meta = &mut session.metadata;
        (meta.namespace, meta.uid) = (Some("shop".into()), Some("uid".into()));
        meta.resource_version = Some(version.to_string());
        meta.finalizers = Some(vec![ACCOUNT_FINALIZER.to_owned()]);
        session
    }

    fn report(cache: &mut Cache, session: DatabaseSession, source: Source) -> Arc<DatabaseSession> {
        let key = ObjectKey::of(&session);
        cache.observe_event(session, source, ClockReading::default());
        cache.session(&key).unwrap()
    }

    fn username(cache: &Cache) -> Option<String> {
        let account = cache.account_of_session(&ObjectKey::of(&session(1)))?;
        Some(account.username.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_found_may_have_begun_and_what_is_made_later_has_not() {
        let listed = Source::Listed(Instant::now());
        let mut cache = Cache::new("here");
        let found = report(&mut cache, session(1), listed);
        assert!(is_unclear(&found) && is_touched(&found));
        assert!(is_unclear(&report(&mut cache, session(2), Source::Watched)), "it is the same one");
        cache.set_begun(&found, None);
        let known = report(&mut cache, session(3), Source::Listed(Instant::now()));
        assert!(!is_touched(&known), "it was found out before");
        let mut cache = Cache::new("here");
        assert!(
            !is_touched(&report(&mut cache, session(1), Source::Watched)),
            "nobody was there to begin it"
        );
        // An earlier state of the API server: what was done since is known only to the servers.
        report(&mut cache, session(9), Source::Watched);
        assert!(is_unclear(&report(&mut cache, session(5), Source::Listed(Instant::now()))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_has_begun_stays_in_its_account_until_nothing_is_left_of_it() {
        let mut cache = Cache::new("here");
        let mut user = DatabaseUser::new("alice", DatabaseUserSpec::default());
        user.metadata.namespace = Some("shop".into());
        user.spec.username = Some("alice".into());
        DatabaseUser::apply(&mut cache, user.clone());
        let fresh = report(&mut cache, session(1), Source::Watched);
        assert_eq!(username(&cache).as_deref(), Some("alice"));
        cache.set_begun(&fresh, Some("alice"));
        DatabaseUser::forget(&mut cache, &ObjectKey::of(&user));
        for (version, source) in [(2, Source::Watched), (3, Source::Listed(Instant::now()))] {
            let begun = report(&mut cache, session(version), source);
            assert!(is_touched(&begun) && !is_unclear(&begun));
            assert_eq!(username(&cache).as_deref(), Some("alice"));
        }
        cache.forget_begun(&fresh);
        assert!(!is_touched(&report(&mut cache, session(4), Source::Watched)));
        assert_eq!(username(&cache), None);
        cache.set_begun(&fresh, Some("alice"));
        cache.forget::<DatabaseSession>(&ObjectKey::of(&*fresh));
        assert!(cache.begun.0.is_empty(), "nothing is kept");
    }
}
