//! How each kind is taken in and forgotten, and what that wakes.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, ProvisioningRole, SessionPhase,
};
use rolecall_policy::ImportRule;

use super::{ObjectKey, RoleEntry, RuleEntry, Wakes, Work, World};
use crate::account::lifecycle::{is_touched, may_have_access, phase};
use crate::queue::Lane;

/// A kind that the world holds. The watches are written once, over this. Which of two states of an object counts is
/// decided before: see the module `versions`.
pub trait Held: kube::Resource<DynamicType = ()> + Clone + fmt::Debug + Sized {
    /// Deadlines count from when such an object was first seen, or was first seen to be deleted.
    const HAS_DEADLINES: bool = false;
    /// Takes in a new or changed object.
    fn apply(world: &mut World, object: Self) -> Wakes;
    /// Forgets an object.
    fn forget(world: &mut World, key: &ObjectKey) -> Wakes;
    /// Takes note of an object that cannot be read. It counts as missing: policy that cannot be read allows nothing.
    fn unreadable(world: &mut World, key: &ObjectKey) -> Wakes {
        Self::forget(world, key)
    }
    /// What is held of this kind.
    fn keys(world: &World) -> Vec<ObjectKey>;
    /// The metadata of what is held under that name.
    fn held<'a>(world: &'a World, key: &ObjectKey) -> Option<&'a ObjectMeta>;
}

impl Held for DatabaseAdmin {
    const HAS_DEADLINES: bool = true;

    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        let before = world.admins.get(&key);
        let woken = before
            .is_none_or(|before| is_changed(before.as_ref(), &object) || labels_differ(&**before, &object));
        let if_access = if_changed(before.is_some());
        world.unreadable_admins.remove(&key);
        world.admins.insert(key.clone(), Arc::new(object));
        if woken { world.admin_wakes(&key, if_access) } else { Vec::new() }
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        let unreadable = world.unreadable_admins.remove(key);
        if world.admins.remove(key).is_none() && !unreadable {
            return Vec::new();
        }
        world.admin_wakes(key, Lane::Urgent)
    }

    /// What was known of it holds: one that is missing lets its accesses go, and they would be lost.
    fn unreadable(world: &mut World, key: &ObjectKey) -> Wakes {
        world.unreadable_admins.insert(key.clone());
        Vec::new()
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.admins.keys().chain(&world.unreadable_admins).cloned().collect()
    }

    fn held<'a>(world: &'a World, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        world.admins.get(key).map(|held| &held.metadata)
    }
}

impl Held for DatabaseUser {
    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        if let Some(before) = world.users.get(&key).cloned() {
            if !is_changed(&*before, &object) {
                world.users.insert(key, Arc::new(object));
                return Vec::new();
            }
            let mut wakes = world.drop_user(&key, &before);
            wakes.extend(world.take_user(key, object));
            return wakes;
        }
        world.take_user(key, object)
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        match world.users.get(key).cloned() {
            Some(before) => world.drop_user(key, &before),
            None => Vec::new(),
        }
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.users.keys().cloned().collect()
    }

    fn held<'a>(world: &'a World, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        world.users.get(key).map(|held| &held.metadata)
    }
}

impl Held for ProvisioningRole {
    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        let if_access = if_changed(world.roles.contains_key(&key));
        if let Some(before) = world.roles.get_mut(&key)
            && !is_changed(&*before.object, &object)
        {
            before.object = Arc::new(object);
            return Vec::new();
        }
        let state = Arc::new(rolecall_resolve::compile_role(&object));
        world.roles.insert(key.clone(), RoleEntry { object: Arc::new(object), state });
        world.role_wakes(&key, if_access)
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        if world.roles.remove(key).is_none() {
            return Vec::new();
        }
        world.role_wakes(key, Lane::Urgent)
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.roles.keys().cloned().collect()
    }

    fn held<'a>(world: &'a World, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        world.roles.get(key).map(|held| &held.object.metadata)
    }
}

impl Held for DbObjectImportRule {
    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        if let Some(before) = world.rules.get_mut(&key)
            && !is_changed(&*before.object, &object)
        {
            before.object = Arc::new(object);
            return Vec::new();
        }
        let compiled = Arc::new(ImportRule::read(&key.name, &rolecall_resolve::rule_spec(&object.spec)));
        world.rules.insert(key.clone(), RuleEntry { object: Arc::new(object), compiled });
        world.rule_wakes(&key)
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        if world.rules.remove(key).is_none() {
            return Vec::new();
        }
        world.rule_wakes(key)
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.rules.keys().cloned().collect()
    }

    fn held<'a>(world: &'a World, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        world.rules.get(key).map(|held| &held.object.metadata)
    }
}

impl Held for DatabaseSession {
    const HAS_DEADLINES: bool = true;

    fn apply(world: &mut World, object: Self) -> Wakes {
        let key = ObjectKey::of(&object);
        let before = world.sessions.get(&key).cloned();
        let changed = before
            .as_ref()
            .is_none_or(|before| is_changed(&**before, &object) || lost_its_mark(before, &object));
        let urgent = object.metadata.deletion_timestamp.is_some()
            || may_have_access(&object) && (before.is_some() || is_overdue(&object));
        let account = world.account_of.get(&key).cloned();
        // The name recorded on the object decides which account it belongs to, so that binding follows every write.
        let mut wakes = world.unbind(&key);
        world.sessions.insert(key.clone(), Arc::new(object));
        wakes.extend(world.bind(&key));
        if !changed && world.account_of.get(&key) == account.as_ref() {
            return Vec::new();
        }
        if urgent {
            wakes.iter_mut().for_each(|(_, lane)| *lane = Lane::Urgent);
        }
        wakes
    }

    fn forget(world: &mut World, key: &ObjectKey) -> Wakes {
        let mut wakes = world.unbind(key);
        world.sessions.remove(key);
        wakes.retain(|(work, _)| !matches!(work, Work::Unbound(_)));
        wakes
    }

    fn keys(world: &World) -> Vec<ObjectKey> {
        world.sessions.keys().cloned().collect()
    }

    fn held<'a>(world: &'a World, key: &ObjectKey) -> Option<&'a ObjectMeta> {
        world.sessions.get(key).map(|held| &held.metadata)
    }
}

/// What is changed may take access away, and that comes first. What is new, or is listed at the start, does not.
fn if_changed(changed: bool) -> Lane {
    if changed { Lane::Urgent } else { Lane::Normal }
}

/// Its access should have ended already: while no operator was there.
fn is_overdue(session: &DatabaseSession) -> bool {
    let expires_at = session.status.as_ref().and_then(|status| status.expires_at.as_ref());
    phase(session) == SessionPhase::Ending || expires_at.is_some_and(|at| at.0 <= Timestamp::now())
}

/// Somebody took the finalizer off a session that has access. (The operator does so only where that is over.)
fn lost_its_mark(before: &DatabaseSession, after: &DatabaseSession) -> bool {
    let has_access = after.metadata.deletion_timestamp.is_none() && may_have_access(after);
    has_access && is_touched(before) && !is_touched(after)
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
