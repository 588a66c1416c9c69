//! What the sessions of a server need from its admin user. Policy is decided for every session to find out, so that the
//! answer is kept until something changes that it depends on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rolecall_api::MissingDbRoles;
use rolecall_engine::Needs;

use super::decide;
use crate::account;
use crate::cache::Cache;
use crate::model::ObjectKey;

/// What was found out last, of each server.
#[derive(Debug, Default)]
pub struct KnownNeeds(Mutex<HashMap<ObjectKey, Known>>);

#[derive(Debug)]
struct Known {
    epoch: u64,
    platform_roles: &'static [&'static str],
    needs: Arc<Needs>,
}

impl KnownNeeds {
    /// What the sessions on a DatabaseAdmin need, by what the cache holds. `platform_roles`: those that every user of its
    /// platform becomes a member of.
    pub(super) fn of(
        &self,
        cache: &Cache,
        key: &ObjectKey,
        platform_roles: &'static [&'static str],
    ) -> Arc<Needs> {
        let epoch = cache.epoch();
        let is_current = |known: &&Known| known.epoch == epoch && known.platform_roles == platform_roles;
        if let Some(known) = self.locked().get(key).filter(is_current) {
            return Arc::clone(&known.needs);
        }
        let needs = Arc::new(decided(cache, key, platform_roles));
        self.locked().insert(key.clone(), Known { epoch, platform_roles, needs: Arc::clone(&needs) });
        needs
    }

    /// Forgets a server that is gone.
    pub fn forget_server(&self, key: &ObjectKey) {
        self.locked().remove(key);
    }

    // A poisoned lock means that a thread panicked between two plain map operations; what the map holds is whole.
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectKey, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decided(cache: &Cache, key: &ObjectKey, platform_roles: &[&str]) -> Needs {
    let Some(admin) = cache.admin(key) else { return Needs::default() };
    let mut needs = Needs {
        create_missing_roles: admin.spec.missing_db_roles == MissingDbRoles::Create,
        ..Needs::default()
    };
    for session in cache.sessions_of_admin(key).filter(|session| decide::needs_privileges(session)) {
        needs.databases.extend(session.spec.database_name.clone());
        if let Some(grant) = account::wanted_grant(cache, key, &admin, session) {
            needs.roles.extend(grant.db_roles.into_keys());
            needs.new_owners.extend(grant.reassign_to);
        }
        needs.roles.extend(platform_roles.iter().map(|role| (*role).to_owned()));
    }
    needs
}

#[cfg(test)]
mod tests {
    use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, ProvisioningRole};
    use serde_json::{Value, json};

    use super::*;
    use crate::cache::Cached;

    fn apply<K: Cached>(cache: &mut Cache, name: &str, generation: i64, rest: Value) {
        let mut object =
            json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "generation": generation}});
        if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
            object.extend(rest);
        }
        K::apply(cache, serde_json::from_value(object).unwrap());
    }

    #[test]
    fn what_is_needed_follows_every_change_and_is_decided_once_in_between() {
        let mut cache = Cache::new("");
        let role = |db_role: &str| {
            let allow = json!({"dbLabels": {"*": ["*"]}, "dbNames": ["*"], "dbRoles": [db_role]});
            json!({"spec": {"options": {"createDbUserMode": "Keep"}, "allow": allow}})
        };
        let session = |phase: &str| {
            let spec = json!({"user": "alice", "database": "orders", "databaseName": "horizon"});
            json!({"spec": spec, "status": {"phase": phase}})
        };
        let admin = json!({"spec": {"protocol": "postgres", "uri": "db:5432", "auth": {}}});
        apply::<DatabaseAdmin>(&mut cache, "orders", 1, admin);
        apply::<ProvisioningRole>(&mut cache, "role", 1, role("reader"));
        apply::<DatabaseUser>(&mut cache, "alice", 1, json!({"spec": {"roles": ["role"]}}));
        apply::<DatabaseSession>(&mut cache, "alice-orders", 1, session("Active"));
        let (known, key) =
            (KnownNeeds::default(), ObjectKey { namespace: "shop".into(), name: "orders".into() });
        let roles =
            |cache: &Cache| known.of(cache, &key, &["rds_iam"]).roles.iter().cloned().collect::<Vec<_>>();
        assert_eq!(roles(&cache), ["rds_iam", "reader"]);
        assert!(Arc::ptr_eq(&known.of(&cache, &key, &["rds_iam"]), &known.of(&cache, &key, &["rds_iam"])));
        assert_eq!(known.of(&cache, &key, &[]).roles.len(), 1, "it is another platform now");

        apply::<ProvisioningRole>(&mut cache, "role", 2, role("writer"));
        assert_eq!(roles(&cache), ["rds_iam", "writer"]);
        apply::<DatabaseSession>(&mut cache, "alice-orders", 1, session("Ended"));
        assert!(roles(&cache).is_empty());
        apply::<DatabaseSession>(&mut cache, "alice-orders", 1, session("Pending"));
        assert_eq!(roles(&cache), ["rds_iam", "writer"]);
        DatabaseUser::forget(&mut cache, &key.sibling("alice"));
        assert_eq!(roles(&cache), ["rds_iam"]);
        DatabaseSession::forget(&mut cache, &key.sibling("alice-orders"));
        assert!(roles(&cache).is_empty());
    }
}
