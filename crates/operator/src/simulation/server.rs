//! A database server in memory, and what goes wrong with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecall_engine::{Class, Owner, SetRecord};
use rolecall_engine_conformance::fake::{Fake, PermissionSet, User};
use rolecall_policy::{DbObject, ObjectKind};

use super::store::When;

/// A user that carries no marker.
pub(super) const UNMANAGED: &str = "mallory";
/// A user that somebody else manages.
pub(super) const OTHERS: &str = "frank";
/// A set that somebody else manages.
const OTHERS_SET: &str = "rolecall:0123456789abcdef0123456789abcdef";
/// The table that roles give permissions on.
pub(super) const TABLE: &str = "orders";

/// See the module.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: &'static str,
    pub(super) fake: Fake,
    /// What belonged to others when all began.
    pub(super) of_others_at_first: String,
    faults: Mutex<ServerFaults>,
}

/// What goes wrong from now on.
#[derive(Debug, Default)]
pub(super) struct ServerFaults {
    /// It takes connections and does not answer.
    pub(super) hangs: bool,
    /// It takes its time.
    pub(super) slow: bool,
    /// After so many calls one fails so.
    pub(super) failures: Vec<(u32, When, Class)>,
}

impl Server {
    pub(super) fn new(host: &'static str) -> Self {
        let fake = Fake::new();
        {
            let mut state = fake.state();
            state.add_roles(["reader", "writer"]);
            state.identity = host.to_owned();
            let of_others = Owner {
                uid: "others".into(),
                admin: "far/away".into(),
                cluster: "far".into(),
                ..Owner::default()
            };
            state.users.insert(UNMANAGED.into(), User { login: true, ..User::default() });
            let managed =
                User { managed: true, owner: Some(of_others.clone()), login: true, ..User::default() };
            state.users.insert(OTHERS.into(), managed);
            let record = SetRecord::new(&of_others, "app", &Default::default());
            state
                .sets
                .insert(OTHERS_SET.into(), PermissionSet { record: Some(record), ..Default::default() });
            state.add_object(DbObject::new(ObjectKind::Table, "app", "public", TABLE), true);
        }
        let mut server = Self { host, fake, of_others_at_first: String::new(), faults: Mutex::default() };
        server.of_others_at_first = server.of_others();
        server
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, ServerFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What belongs to others, as text, to be compared.
    pub(super) fn of_others(&self) -> String {
        let state = self.fake.state();
        format!(
            "{:?} {:?} {:?}",
            state.users.get(UNMANAGED),
            state.users.get(OTHERS),
            state.sets.get(OTHERS_SET)
        )
    }
}

impl Server {
    /// The managed users of ours that can log in, or are connected.
    pub(super) fn open(&self) -> Vec<String> {
        let state = self.fake.state();
        let open = state.users.iter().filter(|(_, user)| {
            let ours = user.owner.as_ref().is_some_and(|owner| owner.uid != "others");
            user.managed && ours && (user.login || user.backends > 0)
        });
        open.map(|(name, _)| name.clone()).collect()
    }
}
