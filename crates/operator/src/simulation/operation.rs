//! What can happen: what people and other programs do, and what goes wrong.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt};
use proptest::prelude::*;
use rolecall_api::names::{ACCOUNT_FINALIZER, TEARDOWN_FINALIZER};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use rolecall_engine::Class;
use serde_json::{Value, json};

use super::approvals::{self, ASKS, Decides};
use super::checks::{account_of, host_of, named_itself};
use super::cluster::{ApiFailure, Cluster, HOSTS};
use super::oracle::Grants;
use super::server::{OTHERS, UNMANAGED};
use super::store::When;
use super::watching;
use crate::ports::Clock;

/// Names that sessions, users, roles and DatabaseAdmins have.
pub(super) const SESSIONS: [&str; 4] = ["s0", "s1", "s2", "s3"];
pub(super) const USERS: [&str; 5] = ["alice", "bob", "alice2", UNMANAGED, OTHERS];
pub(super) const ROLES: [&str; 3] = ["r0", "r1", "r2"];
pub(super) const ADMINS: [&str; 2] = ["orders", "billing"];

/// Something that happens, and how long nothing else does.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) pause: Duration,
}

/// See the module. Objects are identified by their index in the lists of names.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    CreateSession {
        session: usize,
        user: usize,
        admin: usize,
        database: Option<&'static str>,
        ttl: Option<u32>,
        keep: u32,
    },
    SetTtl {
        session: usize,
        ttl: Option<u32>,
    },
    DeleteSession(usize),
    Decide {
        session: usize,
        what: Decides,
    },
    /// Somebody takes the finalizer off.
    StripSession(usize),
    CreateUser {
        user: usize,
        roles: u8,
    },
    SetRoles {
        user: usize,
        roles: u8,
    },
    SuspendUser {
        user: usize,
        suspend: bool,
    },
    DeleteUser(usize),
    SetRole {
        role: usize,
        grants: Grants,
    },
    DeleteRole(usize),
    SetRule {
        valid: bool,
    },
    DeleteRule,
    CreateAdmin {
        admin: usize,
        passwords: bool,
    },
    SuspendAdmin {
        admin: usize,
        suspend: bool,
    },
    SetDeletion {
        admin: usize,
        retain: bool,
    },
    DeleteAdmin(usize),
    StripAdmin(usize),
    LoseAdminSecret(usize),
    RestoreAdminSecret(usize),
    LoseSessionSecret(usize),
    /// Admission puts the finalizer on new sessions, or not any more.
    Admission(bool),
    TakeSessionSecret(usize),
    WriteSecretLate(usize),
    ServerDown {
        server: usize,
        down: bool,
    },
    ServerHangs {
        server: usize,
        hangs: bool,
    },
    ServerSlow {
        server: usize,
        slow: bool,
    },
    ServerFails {
        server: usize,
        after: u32,
        when: When,
        class: Class,
    },
    OpenByHand {
        server: usize,
        user: usize,
    },
    GrantByHand {
        server: usize,
        user: usize,
        role: &'static str,
    },
    RevokeByHand {
        server: usize,
        user: usize,
    },
    ConnectByHand {
        server: usize,
        user: usize,
    },
    DropByHand {
        server: usize,
        user: usize,
    },
    DropSets(usize),
    ApiFails {
        after: u32,
        failure: ApiFailure,
    },
    ApiSilent(bool),
    ApiSlow(bool),
    AuditLogFull(bool),
    WatchStalls {
        kind: usize,
        seconds: i64,
    },
    WatchRestarts(usize),
    WatchRepeats(usize),
    Crash {
        after: u32,
        when: When,
    },
    /// All faults are repaired, but the objects stay as people made them.
    Repair,
}

impl Operation {
    /// Does somebody ask for it, and does nothing go wrong with it?
    pub(super) fn is_of_people(&self) -> bool {
        use Operation::*;
        matches!(
            self,
            CreateSession { .. }
                | SetTtl { .. }
                | DeleteSession(_)
                | Decide { .. }
                | CreateUser { .. }
                | SetRoles { .. }
                | SuspendUser { .. }
                | DeleteUser(_)
                | SetRole { .. }
                | DeleteRole(_)
                | SetRule { .. }
                | DeleteRule
                | CreateAdmin { .. }
                | SuspendAdmin { .. }
                | SetDeletion { .. }
                | DeleteAdmin(_)
        )
    }
}

pub(super) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let pauses = prop_oneof![
        2 => Just(0_u64),
        3 => Just(1),
        4 => Just(40),
        4 => Just(1_000),
        3 => Just(5_000),
        1 => Just(45_000),
        1 => Just(200_000),
    ];
    let step = (operation(), pauses)
        .prop_map(|(operation, pause)| Step { operation, pause: Duration::from_millis(pause) });
    prop::collection::vec(step, 1..most)
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let session = || 0..SESSIONS.len();
    let user = || prop_oneof![4 => Just(0_usize), 2 => Just(1), 1 => 2..USERS.len()];
    let role = || 0..ROLES.len();
    let admin = || prop_oneof![3 => Just(0_usize), 1 => Just(1)];
    let when = || prop_oneof![Just(When::Before), Just(When::After)];
    let class = prop_oneof![
        Just(Class::Unreachable),
        Just(Class::Transient),
        Just(Class::Refused),
        Just(Class::Invalid)
    ];
    let failure = prop_oneof![
        Just(ApiFailure::Conflict),
        when().prop_map(ApiFailure::Internal),
        Just(ApiFailure::TooMany),
        when().prop_map(ApiFailure::Silence),
    ];
    let database = prop_oneof![4 => Just(Some("app")), 1 => Just(Some("ghost"))];
    let ttl =
        || prop_oneof![3 => Just(None), 1 => Just(Some(3_u32)), 2 => Just(Some(50)), 1 => Just(Some(3_600))];
    let grants = prop_oneof![
        3 => Just(Grants::Reader), 2 => Just(Grants::Writer), 3 => Just(Grants::Select), 1 => Just(Grants::Short),
        2 => Just(Grants::DenyAll), 1 => Just(Grants::DenyWriter), 1 => Just(Grants::DenySelect),
        1 => Just(Grants::Invalid), 1 => Just(Grants::Nothing), 3 => Just(Grants::Approved),
    ];
    let decides = prop_oneof![
        6 => Just(Decides::Approve), 1 => Just(Decides::Deny), 2 => Just(Decides::ApproveOwn), 1 => Just(Decides::TakeBack),
    ];
    let people = prop_oneof![
        8 => (session(), user(), admin(), database, ttl(), prop_oneof![Just(0_u32), Just(20), Just(300)])
            .prop_map(|(session, user, admin, database, ttl, keep)| {
                CreateSession { session, user, admin, database, ttl, keep }
            }),
        1 => (session(), ttl()).prop_map(|(session, ttl)| SetTtl { session, ttl }),
        5 => session().prop_map(DeleteSession),
        6 => (session(), decides).prop_map(|(session, what)| Decide { session, what }),
        1 => session().prop_map(StripSession),
        2 => (user(), 1..8_u8).prop_map(|(user, roles)| CreateUser { user, roles }),
        2 => (user(), 0..8_u8).prop_map(|(user, roles)| SetRoles { user, roles }),
        2 => (user(), any::<bool>()).prop_map(|(user, suspend)| SuspendUser { user, suspend }),
        1 => user().prop_map(DeleteUser),
        4 => (role(), grants).prop_map(|(role, grants)| SetRole { role, grants }),
        1 => role().prop_map(DeleteRole),
        1 => any::<bool>().prop_map(|valid| SetRule { valid }),
        1 => Just(DeleteRule),
        2 => (admin(), any::<bool>()).prop_map(|(admin, passwords)| CreateAdmin { admin, passwords }),
        1 => (admin(), any::<bool>()).prop_map(|(admin, suspend)| SuspendAdmin { admin, suspend }),
        1 => (admin(), any::<bool>()).prop_map(|(admin, retain)| SetDeletion { admin, retain }),
        2 => admin().prop_map(DeleteAdmin),
    ];
    let wear = prop_oneof![
        1 => admin().prop_map(StripAdmin),
        1 => admin().prop_map(LoseAdminSecret),
        1 => admin().prop_map(RestoreAdminSecret),
        1 => session().prop_map(LoseSessionSecret),
        1 => session().prop_map(TakeSessionSecret),
        1 => session().prop_map(WriteSecretLate),
        1 => any::<bool>().prop_map(Admission),
        1 => (admin(), user()).prop_map(|(server, user)| OpenByHand { server, user }),
        1 => (admin(), user(), prop_oneof![Just("reader"), Just("writer")])
            .prop_map(|(server, user, role)| GrantByHand { server, user, role }),
        1 => (admin(), user()).prop_map(|(server, user)| RevokeByHand { server, user }),
        1 => (admin(), user()).prop_map(|(server, user)| ConnectByHand { server, user }),
        1 => (admin(), user()).prop_map(|(server, user)| DropByHand { server, user }),
        1 => admin().prop_map(DropSets),
    ];
    let faults = prop_oneof![
        2 => (admin(), any::<bool>()).prop_map(|(server, down)| ServerDown { server, down }),
        1 => (admin(), any::<bool>()).prop_map(|(server, hangs)| ServerHangs { server, hangs }),
        1 => (admin(), any::<bool>()).prop_map(|(server, slow)| ServerSlow { server, slow }),
        4 => (admin(), 0..8_u32, when(), class)
            .prop_map(|(server, after, when, class)| ServerFails { server, after, when, class }),
        4 => (0..10_u32, failure).prop_map(|(after, failure)| ApiFails { after, failure }),
        1 => any::<bool>().prop_map(ApiSilent),
        1 => any::<bool>().prop_map(ApiSlow),
        1 => any::<bool>().prop_map(AuditLogFull),
        2 => (0..6_usize, prop_oneof![Just(2_i64), Just(20), Just(100)])
            .prop_map(|(kind, seconds)| WatchStalls { kind, seconds }),
        1 => (0..6_usize).prop_map(WatchRestarts),
        1 => (0..6_usize).prop_map(WatchRepeats),
        6 => (0..24_u32, when()).prop_map(|(after, when)| Crash { after, when }),
        2 => Just(Repair),
    ];
    prop_oneof![6 => people, 1 => wear, 3 => faults]
}

impl Cluster {
    /// What is there at first.
    pub(super) fn set_up(&self, passwords: bool) {
        for admin in 0..ADMINS.len() {
            self.carry_out(&Operation::RestoreAdminSecret(admin));
            self.carry_out(&Operation::CreateAdmin { admin, passwords: passwords && admin == 0 });
        }
        self.carry_out(&Operation::SetRole { role: 0, grants: Grants::Reader });
        self.carry_out(&Operation::SetRole { role: 1, grants: Grants::Select });
        for (user, roles) in [1, 3, 1, 1, 1].into_iter().enumerate() {
            self.carry_out(&Operation::CreateUser { user, roles });
        }
    }

    /// Lets something happen.
    pub(super) fn carry_out(&self, operation: &Operation) {
        let now = self.clock.now();
        self.log(|| format!("{operation:?}"));
        match *operation {
            Operation::Admission(on) => self.admission.store(on, Ordering::SeqCst),
            Operation::ServerDown { server, down } => self.servers[HOSTS[server]].fake.set_down(down),
            Operation::ServerHangs { server, hangs } => self.servers[HOSTS[server]].faults().hangs = hangs,
            Operation::ServerSlow { server, slow } => self.servers[HOSTS[server]].faults().slow = slow,
            Operation::ServerFails { server, after, when, class } => {
                self.servers[HOSTS[server]].faults().failures.push((after, when, class));
            }
            Operation::ApiFails { after, failure } => self.faults().api_failures.push((after, failure)),
            Operation::ApiSilent(silent) => self.faults().api_silent = silent,
            Operation::ApiSlow(slow) => self.faults().api_slow = slow,
            Operation::AuditLogFull(full) => self.faults().audit_log_full = full,
            Operation::WatchStalls { kind, seconds } => {
                let until = now + SignedDuration::from_secs(seconds);
                self.faults().stalled.insert(watching::collections()[kind].clone(), until);
            }
            Operation::WatchRestarts(kind) => {
                self.faults().relist.insert(watching::collections()[kind].clone());
            }
            Operation::WatchRepeats(kind) => {
                self.faults().twice.insert(watching::collections()[kind].clone());
            }
            Operation::Crash { after, when } => self.faults().crash = Some((after, when)),
            Operation::Repair => self.lift_faults(),
            Operation::OpenByHand { server, user } => self.by_hand(server, user, |_, user| user.login = true),
            Operation::GrantByHand { server, user, role } => self.by_hand(server, user, |admin, user| {
                user.memberships.insert((role.to_owned(), admin.to_owned()));
            }),
            Operation::RevokeByHand { server, user } => {
                self.by_hand(server, user, |_, user| user.memberships.clear())
            }
            Operation::ConnectByHand { server, user } => self.by_hand(server, user, |_, user| {
                if user.login {
                    user.backends += 1;
                }
            }),
            Operation::DropByHand { server, user } => {
                let mut state = self.servers[HOSTS[server]].fake.state();
                if state.users.get(USERS[user]).is_some_and(|user| {
                    user.managed && user.owner.as_ref().is_none_or(|owner| owner.uid != "others")
                }) {
                    state.users.remove(USERS[user]);
                }
            }
            Operation::DropSets(server) => {
                let mut state = self.servers[HOSTS[server]].fake.state();
                let ours: Vec<String> = state
                    .sets
                    .iter()
                    .filter(|(_, set)| set.record.as_ref().is_none_or(|record| record.uid != "others"))
                    .map(|(role, _)| role.clone())
                    .collect();
                for role in ours {
                    state.sets.remove(&role);
                    for user in state.users.values_mut() {
                        user.memberships.retain(|(of, _)| *of != role);
                    }
                    for database in state.databases.values_mut() {
                        database.connect.remove(&role);
                        database.objects.values_mut().for_each(|object| {
                            object.granted.remove(&role);
                        });
                    }
                }
            }
            _ => self.ask_api(operation, now),
        }
        self.store().collect_garbage(now);
        self.stored.notify_waiters();
    }

    /// Somebody changes a managed user of ours on the server.
    fn by_hand(
        &self,
        server: usize,
        user: usize,
        change: impl FnOnce(&str, &mut rolecall_engine_conformance::fake::User),
    ) {
        let host = HOSTS[server];
        let mut state = self.servers[host].fake.state();
        let admin = state.admin_user.clone();
        let Some(user_there) = state.users.get_mut(USERS[user]) else { return };
        let is_ours = user_there.owner.as_ref().is_some_and(|owner| owner.uid != "others");
        if user_there.managed && is_ours {
            change(&admin, user_there);
            drop(state);
            let is_looked_after = self
                .store()
                .get::<DatabaseAdmin>(ADMINS[server])
                .is_some_and(|admin| admin.metadata.deletion_timestamp.is_none());
            let mut evidence = self.evidence();
            evidence.excuse(host, USERS[user]);
            if !is_looked_after {
                evidence.released.insert((host, USERS[user].to_owned()));
            }
        }
    }

    /// What people ask of the API server.
    fn ask_api(&self, operation: &Operation, now: Timestamp) {
        let mut store = self.store();
        match *operation {
            Operation::CreateSession { session, user, admin, database, ttl, keep } => {
                let mut asked =
                    session_of(SESSIONS[session], USERS[user], ADMINS[admin], database, ttl, keep);
                if self.admission.load(Ordering::SeqCst) {
                    asked.metadata.finalizers = Some(vec![ACCOUNT_FINALIZER.to_owned()]);
                }
                store.create(&asked, now);
            }
            Operation::SetTtl { session, ttl } => {
                store.edit::<DatabaseSession>(SESSIONS[session], |session| {
                    session["spec"]["ttl"] = ttl.map_or(Value::Null, |ttl| json!(format!("{ttl}s")));
                })
            }
            Operation::Decide { session, what } => {
                approvals::decide(&mut store, &mut self.evidence(), SESSIONS[session], what, now);
            }
            Operation::DeleteSession(session) => store.delete::<DatabaseSession>(SESSIONS[session], now),
            Operation::StripSession(session) => {
                let found = store.get::<DatabaseSession>(SESSIONS[session]);
                // One that admission has marked may be about to start, though nothing says so yet.
                let account = found.and_then(|session| {
                    let user = || store.get::<DatabaseUser>(&session.spec.user)?.spec.username;
                    account_of(&store, &session).or_else(|| Some((host_of(&session.spec.database)?, user()?)))
                });
                if let Some((host, username)) = account {
                    self.evidence().excuse(host, &username);
                }
                strip::<DatabaseSession>(&mut store, SESSIONS[session], ACCOUNT_FINALIZER, now);
            }
            Operation::CreateUser { user, roles } => {
                let spec = json!({
                    "username": if USERS[user] == "alice2" { "alice" } else { USERS[user] },
                    "roles": roles_of(roles),
                });
                store.create(&object::<DatabaseUser>(USERS[user], spec), now);
            }
            Operation::SetRoles { user, roles } => store.edit::<DatabaseUser>(USERS[user], |user| {
                user["spec"]["roles"] = json!(roles_of(roles));
            }),
            Operation::SuspendUser { user, suspend } => {
                store.edit::<DatabaseUser>(USERS[user], |user| user["spec"]["suspend"] = json!(suspend));
            }
            Operation::DeleteUser(user) => store.delete::<DatabaseUser>(USERS[user], now),
            Operation::SetRole { role, grants } => {
                store.create(&object::<ProvisioningRole>(ROLES[role], grants.spec()), now);
                store.edit::<ProvisioningRole>(ROLES[role], |role| role["spec"] = grants.spec());
            }
            Operation::DeleteRole(role) => store.delete::<ProvisioningRole>(ROLES[role], now),
            Operation::SetRule { valid } => {
                let name = if valid { "*" } else { "^(((" };
                let spec = json!({
                    "priority": 1,
                    "databaseLabels": {"*": ["*"]},
                    "mappings": [{"match": {"tableNames": [name]}, "addLabels": {"team": "shop"}}],
                });
                store.create(&object::<DbObjectImportRule>("rule", spec.clone()), now);
                store.edit::<DbObjectImportRule>("rule", |rule| rule["spec"] = spec);
            }
            Operation::DeleteRule => store.delete::<DbObjectImportRule>("rule", now),
            Operation::CreateAdmin { admin, passwords } => {
                let host = host_of(ADMINS[admin]).unwrap();
                let credentials = if passwords { json!({"password": {}}) } else { json!({}) };
                let spec = json!({
                    "protocol": "postgres",
                    "uri": format!("{host}:5432"),
                    "labels": {"env": "test"},
                    "adminUser": {"name": "admin"},
                    "tls": {"mode": "Disable"},
                    "auth": {"password": {"secretRef": {"name": format!("{}-admin", ADMINS[admin]), "key": "password"}}},
                    "userCredentials": credentials,
                });
                store.create(&object::<DatabaseAdmin>(ADMINS[admin], spec), now);
            }
            Operation::SuspendAdmin { admin, suspend } => {
                store.edit::<DatabaseAdmin>(ADMINS[admin], |admin| admin["spec"]["suspend"] = json!(suspend));
            }
            Operation::SetDeletion { admin, retain } => store.edit::<DatabaseAdmin>(ADMINS[admin], |admin| {
                admin["spec"]["deletion"] = json!(if retain { "Retain" } else { "Revoke" });
            }),
            Operation::DeleteAdmin(admin) => store.delete::<DatabaseAdmin>(ADMINS[admin], now),
            Operation::StripAdmin(admin) => {
                strip::<DatabaseAdmin>(&mut store, ADMINS[admin], TEARDOWN_FINALIZER, now);
            }
            Operation::LoseAdminSecret(admin) => {
                store.delete::<Secret>(&format!("{}-admin", ADMINS[admin]), now);
            }
            Operation::RestoreAdminSecret(admin) => {
                let secret = secret(&format!("{}-admin", ADMINS[admin]), json!({"password": "cGFzcw=="}));
                store.create(&secret, now);
            }
            Operation::LoseSessionSecret(session) => {
                // In the moment of its start nothing else names the account.
                let alone = store
                    .get::<DatabaseSession>(SESSIONS[session])
                    .filter(|session| named_itself(session).is_none())
                    .and_then(|session| account_of(&store, &session));
                if let Some((host, username)) = alone {
                    self.evidence().excuse(host, &username);
                }
                store.delete::<Secret>(SESSIONS[session], now);
            }
            Operation::TakeSessionSecret(session) => {
                let secret = secret(SESSIONS[session], json!({"mine": "bWluZQ=="}));
                store.create(&secret, now);
            }
            Operation::WriteSecretLate(session) => {
                // Another operator was about to when it was frozen; nobody is that late after a minute.
                let session: Option<DatabaseSession> = store.get(SESSIONS[session]);
                let just_ended = session.filter(|session| {
                    let ended = session.status.as_ref().and_then(|status| status.ended_at.as_ref());
                    ended.is_some_and(|at| now.duration_since(at.0).as_secs() < 60)
                });
                if let Some(session) = just_ended {
                    let mut secret = secret(&session.name_any(), json!({"late": "bGF0ZQ=="}));
                    secret.metadata.labels = None;
                    secret.metadata.owner_references =
                        session.controller_owner_ref(&()).map(|owner| vec![owner]);
                    store.create(&secret, now);
                }
            }
            _ => {}
        }
    }

    /// Everything works again.
    pub(super) fn lift_faults(&self) {
        for server in self.servers.values() {
            server.fake.set_down(false);
            *server.faults() = Default::default();
        }
        *self.faults() = Default::default();
        for admin in ADMINS {
            let secret = secret(&format!("{admin}-admin"), json!({"password": "cGFzcw=="}));
            self.store().create(&secret, self.clock.now());
        }
        self.stored.notify_waiters();
    }
}

fn roles_of(mask: u8) -> Vec<&'static str> {
    ROLES
        .into_iter()
        .enumerate()
        .filter(|(index, _)| mask & (1 << index) != 0)
        .map(|(_, role)| role)
        .collect()
}

fn object<K: serde::de::DeserializeOwned>(name: &str, spec: Value) -> K {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn session_of(
    name: &str,
    user: &str,
    admin: &str,
    database: Option<&str>,
    ttl: Option<u32>,
    keep: u32,
) -> DatabaseSession {
    let mut spec = json!({
        "user": user, "database": admin, "retainAfterEnd": format!("{keep}s"), "requestedBy": ASKS,
    });
    if let Some(database) = database {
        spec["databaseName"] = json!(database);
    }
    if let Some(ttl) = ttl {
        spec["ttl"] = json!(format!("{ttl}s"));
    }
    object(name, spec)
}

/// Was a Secret written by another operator, after the session's end?
pub(super) fn is_late(secret: &Secret) -> bool {
    secret.data.as_ref().is_some_and(|data| data.contains_key("late"))
}

fn secret(name: &str, data: Value) -> Secret {
    let metadata = json!({"name": name, "labels": {"owner": "somebody"}});
    serde_json::from_value(json!({"metadata": metadata, "type": "Opaque", "data": data})).unwrap()
}

/// Somebody takes a finalizer off; where it was the last one, the object goes.
fn strip<K: kube::Resource<DynamicType = ()>>(
    store: &mut super::store::Store,
    name: &str,
    finalizer: &str,
    now: Timestamp,
) {
    let at = super::store::address::<K>(name);
    let Some(object) = store.raw(&at) else { return };
    let left: Vec<Value> = object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| *one != finalizer)
        .cloned()
        .collect();
    let patch = crate::ports::Write::Merge(json!({"metadata": {"finalizers": left}}));
    let _ = store.write(&at, patch, now);
}
