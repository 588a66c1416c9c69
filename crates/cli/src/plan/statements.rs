//! What the operator would run: the plans of the engines, from the account as policy has it now to the account as
//! policy would have it.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseUser, Protocol};
use rolecall_engine::account::{
    Account, Credential, DatabaseFacts, Enabled, Membership, RoleFacts, SetFacts, WantedRole,
};
use rolecall_engine::{AccountName, Desired, Dialect, Observed, Owner, Plan, Want, plan};
use rolecall_policy::Mode;
use rolecall_resolve::{Grant, admin_user};

use super::question::{Decided, Pair};
use super::sessions::Live;
use super::view::Statements;

/// An account as its sessions want it.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    roles: BTreeMap<String, bool>,
    sets: BTreeSet<String>,
    databases: BTreeSet<String>,
    mode: Mode,
    reassign_to: Option<String>,
}

/// From a session before to one afterwards that ask for all that they may have, on no logical database in particular.
pub(super) fn between(pair: &Pair<'_>, before: &Decided, after: &Decided) -> Statements {
    let state = |decided: &Decided| {
        let access = decided.as_ref().ok()?;
        let Grant { db_roles, mode, reassign_to, .. } = &access.grant;
        let (roles, reassign_to) = (db_roles.clone(), reassign_to.clone());
        Some(State { roles, mode: *mode, reassign_to, ..State::default() })
    };
    render(pair, state(before), state(after))
}

/// From what live sessions have to what they would have.
pub(super) fn of_sessions(pair: &Pair<'_>, live: &[Live<'_>]) -> Statements {
    let before = together(pair.before.2, live.iter().map(|live| (live, live.before.as_ref())));
    let after = together(pair.after.2, live.iter().map(|live| (live, live.after.as_ref())));
    render(pair, before, after)
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
        let set = match (admin.and_then(ResourceExt::uid), database) {
            (Some(uid), Some(database)) if grant.has_permissions() => {
                admin.map(|admin| dialect(admin).set_name(&uid, database, &grant.permissions))
            }
            _ => None,
        };
        let state = State {
            roles: grant.db_roles.clone(),
            sets: set.into_iter().collect(),
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

fn render(pair: &Pair<'_>, before: Option<State>, after: Option<State>) -> Statements {
    let (Some(user), Some(admin)) = (pair.after.1.or(pair.before.1), pair.after.2.or(pair.before.2)) else {
        return Statements::default();
    };
    let Some(plan) = transition(pair, user, admin, before.as_ref(), after.as_ref()) else {
        return Statements::default();
    };
    if plan.is_nothing() {
        return Statements::default();
    }
    let has = before.map(|state| state.roles.into_keys().chain(state.sets).collect()).unwrap_or_default();
    let statements = match admin.spec.protocol {
        Protocol::Postgres => rolecall_postgres::preview(&plan),
        Protocol::Mongodb => rolecall_mongodb::preview(&plan, &has),
        Protocol::Redshift => rolecall_redshift::preview(&plan),
    };
    Statements { steps: plan.steps(), statements, ..Statements::default() }
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
    let owner = Owner {
        // One that is new, or only in manifests, has none yet.
        uid: admin.uid().filter(|uid| !uid.is_empty()).unwrap_or_else(|| "...".to_owned()),
        admin: match admin.namespace() {
            Some(namespace) => format!("{namespace}/{}", admin.name_any()),
            None => admin.name_any(),
        },
        ..Owner::default()
    };
    let want = match (before, after) {
        (None, None) => return None,
        (_, Some(state)) => Want::Enabled(Enabled {
            roles: state
                .roles
                .iter()
                .map(|(role, literal)| (role.clone(), WantedRole { named_literally: *literal }))
                .collect(),
            sets: state.sets.clone(),
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
    let sets = after.into_iter().flat_map(|state| &state.sets);
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
    let roles = state.roles.keys().chain(&state.sets);
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
