//! What the operator would run: the plans of the engines, from the account and its permission sets as policy has them
//! now to both as policy would have them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseUser, Protocol};
use rolecall_engine::account::{
    Account, Credential, DatabaseFacts, Enabled, Membership, RoleFacts, SetFacts, WantedRole,
};
use rolecall_engine::{AccountName, Desired, Dialect, Observed, Owner, Plan, Want, plan};
use rolecall_policy::Mode;
use rolecall_resolve::{Grant, admin_user};

use super::names;
use super::objects::Labelled;
use super::question::{Decided, KnownObjects, Pair};
use super::sessions::Live;
use super::sets::{self, Set};
use super::view::Statements;

/// An account as its sessions want it.
#[derive(Clone, Debug, Default)]
struct State {
    roles: BTreeMap<String, bool>,
    sets: BTreeMap<String, Set>,
    databases: BTreeSet<String>,
    mode: Mode,
    reassign_to: Option<String>,
}

/// From a session before to one afterwards that ask for all that they may have, in each logical database of which objects
/// are known; without these on no logical database in particular.
pub(super) fn between(
    pair: &Pair<'_>,
    before: &Decided,
    after: &Decided,
    known: &[KnownObjects],
    labelled: &mut Labelled,
) -> Statements {
    let databases: BTreeSet<&str> = KnownObjects::of_server(known, pair.database)
        .flat_map(|known| known.list.iter().map(|object| &*object.database))
        .collect();
    let state = |decided: &Decided, admin: Option<&DatabaseAdmin>| {
        let access = decided.as_ref().ok()?;
        let Grant { db_roles, mode, reassign_to, .. } = &access.grant;
        let reached = databases.iter().filter(|database| names::has(&access.names, database));
        let sets = reached.filter_map(|database| set(admin, &access.grant, database)).collect();
        let (roles, reassign_to) = (db_roles.clone(), reassign_to.clone());
        Some(State { roles, mode: *mode, sets, reassign_to, ..State::default() })
    };
    let (before, after) = (state(before, pair.before.2), state(after, pair.after.2));
    render(pair, before, after, known, labelled)
}

/// From what live sessions have to what they would have.
pub(super) fn of_sessions(
    pair: &Pair<'_>,
    live: &[Live<'_>],
    known: &[KnownObjects],
    labelled: &mut Labelled,
) -> Statements {
    let before = together(pair.before.2, live.iter().map(|live| (live, live.before.as_ref())));
    let after = together(pair.after.2, live.iter().map(|live| (live, live.after.as_ref())));
    render(pair, before, after, known, labelled)
}

/// The permission set of a grant in a logical database, by its role's name; none where there are no object permissions.
fn set(admin: Option<&DatabaseAdmin>, grant: &Grant, database: &str) -> Option<(String, Set)> {
    let admin = admin.filter(|_| grant.has_permissions())?;
    let role = dialect(admin).set_name(&uid(admin), database, &grant.permissions);
    Some((role, Set { database: database.to_owned(), entries: Arc::clone(&grant.entries) }))
}

/// One that is new, or only in manifests, has none yet.
fn uid(admin: &DatabaseAdmin) -> String {
    admin.uid().filter(|uid| !uid.is_empty()).unwrap_or_else(|| "...".to_owned())
}

fn owner(admin: &DatabaseAdmin) -> Owner {
    Owner {
        uid: uid(admin),
        admin: match admin.namespace() {
            Some(namespace) => format!("{namespace}/{}", admin.name_any()),
            None => admin.name_any(),
        },
        ..Owner::default()
    }
}

/// What sessions of one account have together: the roles that all of them have, and the permission set of each.
fn together<'a>(
    admin: Option<&DatabaseAdmin>,
    sessions: impl Iterator<Item = (&'a Live<'a>, Option<&'a Grant>)>,
) -> Option<State> {
    let mut together: Option<State> = None;
    for (live, grant) in sessions {
        let Some(grant) = grant else { continue };
        let database = live.session.spec.database_name.as_deref();
        let state = State {
            roles: grant.db_roles.clone(),
            sets: database.and_then(|database| set(admin, grant, database)).into_iter().collect(),
            databases: database.map(str::to_owned).into_iter().collect(),
            mode: grant.mode,
            reassign_to: grant.reassign_to.clone(),
        };
        match &mut together {
            None => together = Some(state),
            Some(all) => {
                all.roles.retain(|role, _| state.roles.contains_key(role));
                all.sets.extend(state.sets);
                all.databases.extend(state.databases);
                all.mode = all.mode.max(state.mode);
                all.reassign_to = all.reassign_to.take().filter(|to| state.reassign_to.as_ref() == Some(to));
            }
        }
    }
    together
}

fn render(
    pair: &Pair<'_>,
    before: Option<State>,
    after: Option<State>,
    known: &[KnownObjects],
    labelled: &mut Labelled,
) -> Statements {
    let (Some(user), Some(admin)) = (pair.after.1.or(pair.before.1), pair.after.2.or(pair.before.2)) else {
        return Statements::default();
    };
    let Some(plan) = transition(pair, user, admin, before.as_ref(), after.as_ref()) else {
        return Statements::default();
    };
    let nothing = BTreeMap::new();
    let sets_before = before.as_ref().map_or(&nothing, |state| &state.sets);
    let sets_after = after.as_ref().map_or(&nothing, |state| &state.sets);
    let (mut steps, mut statements) = (Vec::new(), Vec::new());
    // Before the account is a member of them.
    for (role, set) in sets_after {
        let owner = owner(admin);
        let privileges = sets::statements(pair, known, labelled, role, set, sets_before.get(role), &owner);
        if !privileges.is_empty() {
            steps.push(format!("give the permission set {role} what it should have in {}", set.database));
            statements.extend(privileges);
        }
    }
    if !plan.is_nothing() {
        let has = before
            .map(|state| state.roles.into_keys().chain(state.sets.into_keys()).collect())
            .unwrap_or_default();
        steps.extend(plan.steps());
        statements.extend(match admin.spec.protocol {
            Protocol::Postgres => rolecall_postgres::preview(&plan),
            Protocol::Mongodb => rolecall_mongodb::preview(&plan, &has),
            Protocol::Redshift => rolecall_redshift::preview(&plan),
        });
    }
    Statements { steps, statements, ..Statements::default() }
}

/// The plan of the engines; `None` where an account cannot be what it should.
fn transition(
    pair: &Pair<'_>,
    user: &DatabaseUser,
    admin: &DatabaseAdmin,
    before: Option<&State>,
    after: Option<&State>,
) -> Option<Plan> {
    let account = AccountName::new(pair.after.0.username(user)).ok()?;
    let owner = owner(admin);
    let want = match (before, after) {
        (None, None) => return None,
        (_, Some(state)) => Want::Enabled(Enabled {
            roles: state
                .roles
                .iter()
                .map(|(role, literal)| (role.clone(), WantedRole { named_literally: *literal }))
                .collect(),
            sets: state.sets.keys().cloned().collect(),
            databases: state.databases.clone(),
            credential: Credential::External,
            in_use: before.is_some(),
            create_missing_roles: false,
            disconnecting_sets: BTreeSet::new(),
        }),
        (Some(state), None) => {
            Want::Ended { drop: state.mode == Mode::BestEffortDrop, reassign_to: state.reassign_to.clone() }
        }
    };
    let databases = before.into_iter().chain(after).flat_map(|state| &state.databases);
    let desired =
        Desired { account, owner: owner.clone(), session_database: databases.clone().next().cloned(), want };
    let roles = after.into_iter().flat_map(|state| state.roles.keys());
    let sets = after.into_iter().flat_map(|state| state.sets.keys());
    let observed = Observed {
        account: before.map(|state| found(state, owner.clone())),
        roles: roles
            .map(|role| (role.clone(), RoleFacts { grantable: true, ..RoleFacts::default() }))
            .collect(),
        sets: sets
            .map(|set| {
                let facts =
                    SetFacts { owner_uid: Some(owner.uid.clone()), grantable: true, ..SetFacts::default() };
                (set.clone(), facts)
            })
            .collect(),
        databases: databases
            .map(|database| (database.clone(), DatabaseFacts { allows_connections: true, connect: true }))
            .collect(),
        admin_user: admin_user(admin).name.unwrap_or_default(),
        dialect: dialect(admin),
        ..Observed::default()
    };
    plan::plan(&desired, &observed).ok()
}

/// The account of a live session.
fn found(state: &State, owner: Owner) -> Account {
    let roles = state.roles.keys().chain(state.sets.keys());
    Account {
        managed: true,
        owner: Some(owner),
        enabled: true,
        memberships: roles
            .map(|role| Membership { role: role.clone(), grantor: String::new(), revocable: true })
            .collect(),
        backends: 1,
        ..Account::default()
    }
}

fn dialect(admin: &DatabaseAdmin) -> Dialect {
    match admin.spec.protocol {
        Protocol::Postgres => Dialect::PostgreSql,
        Protocol::Redshift => Dialect::Redshift,
        Protocol::Mongodb => Dialect::MongoDb,
    }
}
