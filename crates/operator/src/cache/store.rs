//! How each kind is stored and removed, and what that triggers.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::core::NamespaceResourceScope;
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionDecision, DatabaseUser, DbObjectImportRule,
    ProvisioningRole, SessionPhase,
};
use rolecall_policy::ImportRule;
use serde::de::DeserializeOwned;

use crate::cache::{Cache, RoleEntry, RuleEntry};
use crate::model::{
    ObjectKey, Priority, ReconcileKey, Triggers, WALK,
    session::{has_finalizer, may_have_access, phase},
};

/// A kind that is cached. The watches are generic over this. Which of two states of an object counts is decided before:
/// see the module `versions`.
pub trait Cached:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + DeserializeOwned
    + Clone
    + fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Deadlines count from when such an object was first seen, or was first seen to be deleted.
    const HAS_DEADLINES: bool = false;
    /// Stores a new or changed object.
    fn apply(cache: &mut Cache, object: Self) -> Triggers;
    /// Forgets an object.
    fn forget(cache: &mut Cache, key: &ObjectKey) -> Triggers;
    /// Records an object that cannot be decoded. It counts as missing: policy that cannot be read allows nothing.
    fn unreadable(cache: &mut Cache, key: &ObjectKey) -> Triggers {
        Self::forget(cache, key)
    }
    /// An object is about to be stored that a watch or a list reports. `found`: it was there before this process looked.
    fn see(_cache: &mut Cache, _object: &Self, _found: bool) {}
    /// An object is gone.
    fn gone(_cache: &mut Cache, _uid: &str) {}
    /// What is cached of this kind.
    fn keys(cache: &Cache) -> Vec<ObjectKey>;
    /// The metadata of what is cached under that name.
    fn cached<'a>(cache: &'a Cache, key: &ObjectKey) -> Option<&'a ObjectMeta>;
}

impl Cached for DatabaseAdmin {
    const HAS_DEADLINES: bool = true;

    fn apply(cache: &mut Cache, object: Self) -> Triggers {
        let key = ObjectKey::of(&object);
        let before = cache.admins.get(&key);
        let triggered = before
            .is_none_or(|before| is_changed(before.as_ref(), &object) || labels_differ(&**before, &object));
        let if_access = if_changed(before.is_some());
        cache.unreadable_admins.remove(&key);
        cache.admins.insert(key.clone(), Arc::new(object));
        cache.epoch += u64::from(triggered);
        if triggered { cache.admin_triggers(&key, if_access) } else { Vec::new() }
    }

    fn forget(cache: &mut Cache, key: &ObjectKey) -> Triggers {
        let unreadable = cache.unreadable_admins.remove(key);
        if cache.admins.remove(key).is_none() && !unreadable {
            return Vec::new();
        }
        cache.epoch += 1;
        cache.admin_triggers(key, Priority::Urgent)
    }

    /// What was known of it stays: a missing one would release its accesses, which nobody would end then.
    fn unreadable(cache: &mut Cache, key: &ObjectKey) -> Triggers {
        cache.unreadable_admins.insert(key.clone());
        Vec::new()
    }

    fn keys(cache: &Cache) -> Vec<ObjectKey> {
        cache.admins.keys().chain(&cache.unreadable_admins).cloned().collect()
    }

    fn cached<'a>(cache: &'a Cache, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        cache.admins.get(key).map(|cached| &cached.metadata)
    }
}

impl Cached for DatabaseUser {
    fn apply(cache: &mut Cache, object: Self) -> Triggers {
        let key = ObjectKey::of(&object);
        let before = cache.users.get(&key).cloned();
        cache.index_reported(&key, before.as_deref(), Some(&object));
        if let Some(before) = before {
            if !is_changed(&*before, &object) {
                cache.users.insert(key, Arc::new(object));
                return Vec::new();
            }
            cache.epoch += 1;
            let mut triggers = cache.drop_user(&key, &before);
            triggers.extend(cache.take_user(key, object));
            return triggers;
        }
        cache.epoch += 1;
        cache.take_user(key, object)
    }

    fn forget(cache: &mut Cache, key: &ObjectKey) -> Triggers {
        let Some(before) = cache.users.get(key).cloned() else { return Vec::new() };
        cache.epoch += 1;
        cache.index_reported(key, Some(&before), None);
        cache.drop_user(key, &before)
    }

    fn keys(cache: &Cache) -> Vec<ObjectKey> {
        cache.users.keys().cloned().collect()
    }

    fn cached<'a>(cache: &'a Cache, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        cache.users.get(key).map(|cached| &cached.metadata)
    }
}

impl Cached for ProvisioningRole {
    fn apply(cache: &mut Cache, object: Self) -> Triggers {
        let key = ObjectKey::of(&object);
        let if_access = if_changed(cache.roles.contains_key(&key));
        if let Some(before) = cache.roles.get_mut(&key)
            && !is_changed(&*before.object, &object)
        {
            before.object = Arc::new(object);
            return Vec::new();
        }
        let state = Arc::new(rolecall_resolve::compile_role(&object));
        cache.epoch += 1;
        cache.roles.insert(key.clone(), RoleEntry { object: Arc::new(object), state });
        cache.role_triggers(&key, if_access)
    }

    fn forget(cache: &mut Cache, key: &ObjectKey) -> Triggers {
        if cache.roles.remove(key).is_none() {
            return Vec::new();
        }
        cache.epoch += 1;
        cache.role_triggers(key, Priority::Urgent)
    }

    fn keys(cache: &Cache) -> Vec<ObjectKey> {
        cache.roles.keys().cloned().collect()
    }

    fn cached<'a>(cache: &'a Cache, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        cache.roles.get(key).map(|cached| &cached.object.metadata)
    }
}

impl Cached for DbObjectImportRule {
    fn apply(cache: &mut Cache, object: Self) -> Triggers {
        let key = ObjectKey::of(&object);
        if let Some(before) = cache.rules.get_mut(&key)
            && !is_changed(&*before.object, &object)
        {
            before.object = Arc::new(object);
            return Vec::new();
        }
        let compiled = Arc::new(ImportRule::read(&key.name, &rolecall_resolve::rule_spec(&object.spec)));
        let hash = rolecall_resolve::hash_of(&object.spec).into();
        cache.rules.insert(key.clone(), RuleEntry { object: Arc::new(object), compiled, hash });
        cache.rule_triggers(&key)
    }

    fn forget(cache: &mut Cache, key: &ObjectKey) -> Triggers {
        if cache.rules.remove(key).is_none() {
            return Vec::new();
        }
        cache.rule_triggers(key)
    }

    fn keys(cache: &Cache) -> Vec<ObjectKey> {
        cache.rules.keys().cloned().collect()
    }

    fn cached<'a>(cache: &'a Cache, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        cache.rules.get(key).map(|cached| &cached.object.metadata)
    }
}

impl Cached for DatabaseSession {
    const HAS_DEADLINES: bool = true;

    fn apply(cache: &mut Cache, object: Self) -> Triggers {
        let key = ObjectKey::of(&object);
        tracing::trace!(target: WALK, %key, "cached");
        let object = cache.begun.complete(object);
        let before = cache.sessions.get(&key).cloned();
        let changed = before.as_ref().is_none_or(|before| {
            is_changed(&**before, &object) || lost_its_mark(before, &object) || went_back(before, &object)
        });
        let urgent = object.metadata.deletion_timestamp.is_some()
            || may_have_access(&object) && (before.is_some() || is_overdue(&object, cache.now));
        let account = cache.account_of.get(&key).cloned();
        // The name recorded on the object decides which account it belongs to, so that binding follows every write.
        let mut triggers = cache.unbind(&key);
        let phase_now = phase(&object);
        cache.sessions.insert(key.clone(), Arc::new(object));
        triggers.extend(cache.bind(&key));
        let moved = before.is_none_or(|before| phase(&before) != phase_now);
        cache.epoch += u64::from(changed || moved || cache.account_of.get(&key) != account.as_ref());
        if !changed && cache.account_of.get(&key) == account.as_ref() {
            return Vec::new();
        }
        if urgent {
            triggers.iter_mut().for_each(|(_, priority)| *priority = Priority::Urgent);
        }
        triggers
    }

    fn forget(cache: &mut Cache, key: &ObjectKey) -> Triggers {
        let mut triggers = cache.unbind(key);
        cache.sessions.remove(key);
        cache.epoch += 1;
        triggers.retain(|(work, _)| !matches!(work, ReconcileKey::Session(_)));
        triggers
    }

    fn see(cache: &mut Cache, object: &Self, found: bool) {
        cache.begun.see(object, found);
    }

    fn gone(cache: &mut Cache, uid: &str) {
        cache.begun.forget(uid);
    }

    fn keys(cache: &Cache) -> Vec<ObjectKey> {
        cache.sessions.keys().cloned().collect()
    }

    fn cached<'a>(cache: &'a Cache, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        cache.sessions.get(key).map(|cached| &cached.metadata)
    }
}

impl Cached for DatabaseSessionDecision {
    const HAS_DEADLINES: bool = true;

    fn apply(cache: &mut Cache, object: Self) -> Triggers {
        let key = ObjectKey::of(&object);
        let known = cache.decisions.get(&key).is_some_and(|before| !is_changed(&**before, &object));
        let about = key.sibling(&object.spec.session_ref.name);
        // One of the same name may have been about another session.
        let mut triggers = if known { Vec::new() } else { Self::forget(cache, &key) };
        cache.decisions_by_session.entry(about.clone()).or_default().insert(key.clone());
        cache.decisions.insert(key, Arc::new(object));
        if !known {
            triggers.extend(cache.decision_triggers(&about));
        }
        triggers
    }

    fn forget(cache: &mut Cache, key: &ObjectKey) -> Triggers {
        let Some(before) = cache.decisions.remove(key) else { return Vec::new() };
        let about = key.sibling(&before.spec.session_ref.name);
        if let Some(decisions) = cache.decisions_by_session.get_mut(&about) {
            decisions.remove(key);
            if decisions.is_empty() {
                cache.decisions_by_session.remove(&about);
            }
        }
        cache.decision_triggers(&about)
    }

    fn keys(cache: &Cache) -> Vec<ObjectKey> {
        cache.decisions.keys().cloned().collect()
    }

    fn cached<'a>(cache: &'a Cache, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        cache.decisions.get(key).map(|cached| &cached.metadata)
    }
}

/// What is changed may take access away, and that comes first. What is new, or is listed at the start, does not.
fn if_changed(changed: bool) -> Priority {
    if changed { Priority::Urgent } else { Priority::Normal }
}

/// Its access should have ended already: while no operator was there.
fn is_overdue(session: &DatabaseSession, now: Timestamp) -> bool {
    let expires_at = session.status.as_ref().and_then(|status| status.expires_at.as_ref());
    phase(session) == SessionPhase::Ending || expires_at.is_some_and(|at| at.0 <= now)
}

/// Somebody took the finalizer off a session that has access, or did before it had. (The operator does so only where that is
/// over.)
fn lost_its_mark(before: &DatabaseSession, after: &DatabaseSession) -> bool {
    let has_access = after.metadata.deletion_timestamp.is_none() && may_have_access(after);
    let is_news = has_finalizer(before) || phase(before) != phase(after);
    has_access && !has_finalizer(after) && is_news
}

/// Its phase is one that came before: an operator that had the lead until now has written late what it knew. Where this
/// one wrote it (a session that may start again), it is looked at once more for nothing.
fn went_back(before: &DatabaseSession, after: &DatabaseSession) -> bool {
    use SessionPhase::{Active, Ended, Ending, Pending, Rejected};
    matches!(
        (phase(before), phase(after)),
        (Active, Pending) | (Ending, Pending | Active) | (Ended | Rejected, Pending | Active | Ending)
    )
}

/// Did anything change that a person or another controller did? Our own writes of status, finalizers and annotations
/// change neither the generation nor these.
fn is_changed(before: &impl ResourceExt, after: &impl ResourceExt) -> bool {
    let (before, after) = (before.meta(), after.meta());
    before.uid != after.uid
        || before.generation != after.generation
        || before.deletion_timestamp.is_some() != after.deletion_timestamp.is_some()
}

fn labels_differ(before: &impl ResourceExt, after: &impl ResourceExt) -> bool {
    before.labels() != after.labels()
}
