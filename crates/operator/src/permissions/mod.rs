//! Object permissions: the permission sets of each logical database.
//!
//! Accounts say which sets they want ([`wanted`]); what a set holds is made right here, per logical database: read its
//! objects, label them by the import rules, compute what each set should hold, converge, and tell the accounts. An
//! account never waits for objects to be granted to it, only for its set to stand, which most often it does already.

mod imported;
mod moves;
mod standing;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rolecall_api::{DatabaseSession, reasons};
use rolecall_engine::plan::{Adjust, Plan};
use rolecall_engine::sets::{SetOutcome, SetRecord, SetWish};
use rolecall_engine::{AccountName, Catalog, CatalogQuery, Class};
use rolecall_policy::{
    CanonicalPermissions, ImportRules, PermissionEntries, Privilege, compute_permissions, label_objects,
};
use rolecall_resolve::Grant;
use tokio::time::Instant;

pub use imported::Imported;
pub use moves::Held;
pub use standing::{Answer, Holding, Sets, Standing, Wanted};
pub use watching::Watches;

use crate::Shared;
use crate::account::lifecycle::{Obstacle, plus};
use crate::queue::Lane;
use crate::runtime::{Done, Failed};
use crate::servers::Server;
use crate::world::{ObjectKey, ObjectsKey, Work};

/// When a set that could not be dropped is tried again, at the earliest.
const DROP_AGAIN: Duration = Duration::from_secs(10);
/// The most objects that a message names.
const LISTED: usize = 5;

/// The permission set that a session wants; `None` where policy gives it no object permissions.
pub fn wanted(
    admin: &ObjectKey,
    server: &Server,
    session: &DatabaseSession,
    grant: &Grant,
) -> Option<Wanted> {
    let database = session.spec.database_name.as_deref().filter(|_| grant.has_permissions())?;
    Some(Wanted {
        key: ObjectsKey { admin: admin.clone(), database: database.into() },
        role: server.engine.dialect().set_name(&server.owner.uid, database, &grant.permissions),
        entries: Arc::clone(&grant.entries),
    })
}

/// Looks at the objects of one logical database and makes its permission sets right.
///
/// # Errors
///
/// None so far: what goes wrong is told to the accounts and tried again.
pub async fn reconcile(shared: &Shared, key: &ObjectsKey) -> Result<Done, Failed> {
    if shared.sets.is_empty(key) {
        shared.watches.stop(key);
        tell_counts(shared, key, None);
        return Ok(Done::nothing());
    }
    let (admin, rules) = {
        let world = shared.world();
        (world.admin(&key.admin), world.import_rules(&key.admin.namespace))
    };
    let state = shared.servers.get(&key.admin);
    let (Some(admin), Some(state)) = (admin, state) else { return Ok(Done::nothing()) };
    // Its accounts wait as well, and wake this when the server can be worked on again.
    if state.unreachable || admin.spec.suspend {
        if admin.spec.suspend {
            shared.watches.stop(key);
        }
        return Ok(Done { retry: true, ..Done::nothing() });
    }
    let Some(server) = state.server else { return Ok(Done::nothing()) };
    let mut done = drop_unused(shared, key, &server).await;
    let kept = shared.sets.kept(key);
    if kept.is_empty() {
        shared.watches.stop(key);
        tell_counts(shared, key, None);
        return Ok(done);
    }
    let database = rolecall_resolve::database(&admin);
    if let Err(denial) = rules.check(&database) {
        let obstacle = Obstacle::stalled(denial.reason.as_str(), denial.message);
        for (role, _) in &kept {
            tell(shared, key, role, Standing::Withheld(obstacle.clone()));
        }
        return Ok(done);
    }
    let begun = Instant::now();
    match converge(shared, key, &server, &database, rules, &kept).await {
        Ok(Converged { complete, imported, made, announced }) => {
            shared.watches.keep(key, &server.engine, &shared.queue, announced, begun.elapsed());
            // Somebody dropped a set, and its members with it, while it stood here.
            for member in made.iter().flat_map(|role| shared.sets.members(key, role)) {
                shared.queue.add(Work::Account(member), Lane::Normal);
            }
            tell_counts(shared, key, Some(imported));
            done.retry |= !complete;
        }
        Err(obstacle) => {
            tracing::warn!(objects = %key.database, admin = %key.admin, error = obstacle.message, "the objects could not be looked at");
            for (role, _) in &kept {
                // What stood goes on standing until it is known to be otherwise.
                if !matches!(shared.sets.standing(key, role), Standing::Stands(_)) {
                    tell(shared, key, role, Standing::Failed(obstacle.clone()));
                }
            }
            done.retry = true;
        }
    }
    // Of an earlier look, where this one came to nothing.
    done.retry |= !disconnect(shared, key, &server).await;
    let interval = admin.spec.object_sync.get().mul_f64(rand::random_range(0.9..1.0));
    done.at_earliest(plus(Timestamp::now(), interval).map(|at| (at, Lane::Normal)));
    Ok(done)
}

/// What became of the sets of a database.
struct Converged {
    /// All hold what they should.
    complete: bool,
    imported: Imported,
    /// Sets that were not there.
    made: Vec<String>,
    /// The database announces changes of its objects.
    announced: bool,
}

/// Makes the sets right and tells their accounts: first those that somebody waits for.
async fn converge(
    shared: &Shared,
    key: &ObjectsKey,
    server: &Server,
    database: &rolecall_policy::Database,
    rules: ImportRules,
    kept: &[(String, Arc<PermissionEntries>)],
) -> Result<Converged, Obstacle> {
    let query = CatalogQuery {
        database: key.database.to_string(),
        sets: kept.iter().map(|(role, _)| role.clone()).collect(),
    };
    let catalog = server.engine.read_objects(&query).await.map_err(|error| Obstacle::from(&error))?;
    let catalog = Arc::new(catalog);
    let (wishes, imported) = compute(server, key, database, rules, kept, &catalog).await?;
    let (waited_for, others): (Vec<SetWish>, Vec<SetWish>) =
        wishes.into_iter().partition(|wish| shared.sets.standing(key, &wish.role) == Standing::NotYet);
    let mut complete = true;
    for wishes in [waited_for, others] {
        let outcomes =
            server.engine.converge(&wishes, &catalog).await.map_err(|error| Obstacle::from(&error))?;
        for outcome in outcomes.iter().filter(|outcome| outcome.revoked.contains_key(&Privilege::Execute)) {
            shared.sets.disconnect_members(key, &outcome.role);
        }
        // Nobody is told that a function is lost before nobody can call it any more.
        complete &= disconnect(shared, key, server).await;
        for outcome in &outcomes {
            tell(shared, key, &outcome.role, standing(outcome));
        }
        complete &= outcomes.iter().all(SetOutcome::is_complete);
    }
    let made = query.sets.into_iter().filter(|role| !catalog.sets.contains_key(role)).collect();
    Ok(Converged { complete, imported, made, announced: catalog.announced })
}

/// What each set should hold. Tens of thousands of objects take a moment of a core: not of the one that ends accesses.
async fn compute(
    server: &Server,
    key: &ObjectsKey,
    database: &rolecall_policy::Database,
    rules: ImportRules,
    kept: &[(String, Arc<PermissionEntries>)],
    catalog: &Arc<Catalog>,
) -> Result<(Vec<SetWish>, Imported), Obstacle> {
    let (database, catalog, kept) = (database.clone(), Arc::clone(catalog), kept.to_vec());
    let (owner, name) = (server.owner.clone(), Arc::clone(&key.database));
    let computed = tokio::task::spawn_blocking(move || {
        let labelled = Arc::new(label_objects(&rules, &database, Arc::clone(&catalog.objects)));
        let wishes = kept
            .into_iter()
            .map(|(role, entries)| {
                let permissions = compute_permissions(&entries, &labelled, Some(&name));
                let canonical: CanonicalPermissions = entries.canonical();
                SetWish::new(role, SetRecord::new(&owner, &name, &canonical), &permissions)
            })
            .collect();
        let imported = Imported {
            objects: count(labelled.imported()),
            by_rule: labelled
                .imported_per_rule()
                .into_iter()
                .map(|(rule, objects)| (rule.to_owned(), count(objects)))
                .collect(),
            crowded: catalog
                .crowded
                .keys()
                .filter_map(|index| catalog.objects.get(*index))
                .map(|object| format!("{}.{}.{}", object.database, object.schema, object.name))
                .collect(),
        };
        (wishes, imported)
    });
    computed.await.map_err(|error| {
        Obstacle::passing(reasons::PENDING, format!("labelling the objects failed: {error}"))
    })
}

/// Drops sets that nobody has used for a while, and tells when the next one is due.
async fn drop_unused(shared: &Shared, key: &ObjectsKey, server: &Server) -> Done {
    let mut done = Done::nothing();
    for (role, since) in shared.sets.unused(key) {
        let due = since + shared.settings.keep_unused_sets;
        if due > Instant::now() {
            let left = due.duration_since(Instant::now());
            done.at_earliest(plus(Timestamp::now(), left).map(|at| (at, Lane::Normal)));
            continue;
        }
        // Whoever wants it from now on waits until it was looked at again.
        if !shared.sets.give_up(key, &role) {
            continue;
        }
        match server.engine.drop_set(&role, &server.owner.uid).await {
            Ok(applied) => {
                let Some(why) = applied.kept_because else {
                    shared.sets.forget(key, &role);
                    continue;
                };
                tracing::info!(role, admin = %key.admin, why, "an unused permission set stays for now");
                shared.sets.postpone(key, &role);
                let wait = shared.settings.keep_unused_sets.max(DROP_AGAIN);
                done.at_earliest(plus(Timestamp::now(), wait).map(|at| (at, Lane::Normal)));
            }
            Err(error) => {
                tracing::warn!(role, admin = %key.admin, %error, "an unused permission set could not be dropped");
                done.retry = true;
            }
        }
    }
    done
}

/// Ends the connections of those whose set lost functions: plans of inlined functions that they cached outlive the loss
/// of `EXECUTE`. False where that failed; they are kept in mind.
async fn disconnect(shared: &Shared, key: &ObjectsKey, server: &Server) -> bool {
    let mut done = true;
    for (role, member) in shared.sets.to_disconnect(key) {
        if let Ok(account) = AccountName::new(&*member.username) {
            let end = Plan::Adjust(Adjust {
                account,
                owner_uid: server.owner.uid.clone(),
                record: None,
                session_database: Some(key.database.to_string()),
                create_roles: Vec::new(),
                revoke: Vec::new(),
                grant: Vec::new(),
                grant_sets: Vec::new(),
                enable: false,
                terminate: true,
                verifier: None,
            });
            match server.engine.apply(&end).await {
                Ok(_) => {}
                // It was dropped, or belongs to somebody else by now: its connections are not ours to end.
                Err(error) if error.is_of_changed_account() => {}
                Err(error) => {
                    tracing::warn!(account = %member, %error, "connections that lost a function could not be ended yet");
                    done = false;
                    continue;
                }
            }
        }
        shared.sets.disconnected(key, &role, &member);
    }
    done
}

/// Takes note, once for each server, of the sets that an operator before this one left there, so that they go too when
/// nobody wants them. Answers the databases that have to be looked at; `None` where they could not be listed and the
/// next look has to try again.
pub async fn find_leftovers(
    shared: &Shared,
    admin: &ObjectKey,
    server: &Server,
) -> Option<BTreeSet<ObjectsKey>> {
    let mut found = BTreeSet::new();
    if shared.sets.is_listed(admin, server.fingerprint) {
        return Some(found);
    }
    let sets = match server.engine.sets().await {
        Ok(sets) => sets,
        Err(error) => {
            tracing::warn!(%admin, %error, "the permission sets could not be listed");
            return matches!(error.class, Class::Invalid | Class::Refused).then_some(found);
        }
    };
    for set in sets {
        let Some(record) = set.record.filter(|record| record.uid == server.owner.uid) else { continue };
        let key = ObjectsKey { admin: admin.clone(), database: record.database.into() };
        shared.sets.left_over(&key, set.role, set.executes);
        found.insert(key);
    }
    shared.sets.set_listed(admin, server.fingerprint);
    Some(found)
}

/// Drops every set that carries the record of a DatabaseAdmin.
///
/// # Errors
///
/// What the server answered.
pub async fn drop_all(server: &Server) -> Result<(), rolecall_engine::Error> {
    for set in server.engine.sets().await? {
        if set.record.is_some_and(|record| record.uid == server.owner.uid) {
            let applied = server.engine.drop_set(&set.role, &server.owner.uid).await?;
            if let Some(why) = applied.kept_because {
                tracing::warn!(set = set.role, why, "a permission set stays");
            }
        }
    }
    Ok(())
}

fn tell(shared: &Shared, key: &ObjectsKey, role: &str, standing: Standing) {
    let Some(accounts) = shared.sets.set_standing(key, role, standing) else { return };
    for account in accounts {
        let lane = if shared.sets.is_moving(key, &account) { Lane::Urgent } else { Lane::Normal };
        shared.queue.add(Work::Account(account), lane);
    }
    shared.recount(&key.admin);
}

fn tell_counts(shared: &Shared, key: &ObjectsKey, imported: Option<Imported>) {
    if shared.sets.set_imported(key, imported) {
        shared.recount(&key.admin);
        let rules: BTreeSet<ObjectKey> = shared.world().rules_in(&key.admin.namespace).collect();
        for rule in rules {
            shared.queue.add(Work::Rule(rule), Lane::Normal);
        }
    }
}

fn standing(outcome: &SetOutcome) -> Standing {
    if let Some(failure) = &outcome.failure {
        return Standing::Failed(Obstacle::from(failure));
    }
    let counts: BTreeMap<String, u64> = outcome
        .granted
        .iter()
        .map(|(privilege, objects)| {
            (privilege.as_str().to_owned(), u64::try_from(*objects).unwrap_or(u64::MAX))
        })
        .collect();
    let incomplete = incomplete(outcome);
    match incomplete {
        // Nothing at all could be given: that is no access.
        Some(obstacle) if counts.is_empty() => Standing::Failed(obstacle),
        incomplete => Standing::Stands(Arc::new(Holding { counts, incomplete })),
    }
}

/// What a set lacks or holds too much, in one message that carries the statements.
fn incomplete(outcome: &SetOutcome) -> Option<Obstacle> {
    let mut told: Vec<String> = outcome
        .missing
        .iter()
        .take(LISTED)
        .map(|missing| {
            format!("{} on {} is missing: {}", missing.privileges, missing.object, missing.statement)
        })
        .collect();
    if outcome.missing_objects > told.len() && outcome.missing_objects > 0 {
        told.push(format!("{} objects in all lack something", outcome.missing_objects));
    }
    told.extend(outcome.excess.iter().take(LISTED).map(|excess| {
        let by = match excess.grantor.as_str() {
            "" => "is more than a permission set has".to_owned(),
            grantor => format!("was granted by {grantor}"),
        };
        format!(
            "{} on {} {by} and cannot be taken away by the admin user: {}",
            excess.privileges, excess.object, excess.statement
        )
    }));
    (!told.is_empty()).then(|| Obstacle::stalled(reasons::MISSING_OBJECT_PRIVILEGES, told.join("\n")))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
