//! How long decisions take, and how much memory they need.
//!
//! - objects: 100,000 objects, 20 import rules with 50 mappings each, 20 roles with 50 permission entries each.
//!   Aim: under 250 ms on one thread for labelling and permissions together.
//! - reach: one user's list of 10,000 databases. Aim: under 20 ms.
//! - memory: bytes per object beyond its name. Aim: under 200.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]
#![allow(missing_docs)]

mod scene;

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use rolecall_policy::{
    ImportRule, ImportRules, LabelledObjects, ObjectPermissions, PermissionEntries, Role, Roles, User,
    compute_permissions, decide_access, label_objects, list_reach,
};

fn rules() -> ImportRules {
    let compile =
        |(name, spec): (String, _)| Arc::new(ImportRule::compile(&name, &spec).expect("a valid rule"));
    ImportRules::new(scene::import_rules().into_iter().map(compile))
}

fn user() -> User {
    let mut roles = Roles::new();
    let specs = scene::roles();
    specs.iter().for_each(|(name, spec)| roles.insert(name, spec));
    User::resolve(&scene::user(specs.iter().map(|(name, _)| name.clone())), &roles)
}

fn entries(user: &User) -> PermissionEntries {
    let decision = decide_access(user, &scene::database(0), Some("app"), &[]);
    assert!(decision.is_allowed(), "{:?}", decision.denial);
    decision.provisioning.permissions
}

fn whole(
    user: &User,
    rules: &ImportRules,
    objects: &Arc<[rolecall_policy::DbObject]>,
) -> (Arc<LabelledObjects>, ObjectPermissions) {
    let entries = entries(user);
    let labelled = Arc::new(label_objects(rules, &scene::database(0), Arc::clone(objects)));
    let permissions = compute_permissions(&entries, &labelled, Some("app"));
    (labelled, permissions)
}

/// Time that this thread has been on a processor: other programs that run meanwhile do not count. Wall time where
/// the system does not report it.
fn on_cpu() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = schedstat.and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn measure<T>(b: &mut Bencher<'_>, mut work: impl FnMut() -> T) {
    b.iter_custom(|iterations| {
        let start = on_cpu();
        for _ in 0..iterations {
            black_box(work());
        }
        on_cpu().saturating_sub(start)
    });
}

fn objects(c: &mut Criterion) {
    let (user, rules) = (user(), rules());
    let entries = entries(&user);
    let objects: Arc<[_]> = scene::objects(100_000).into();
    let (labelled, permissions) = whole(&user, &rules, &objects);
    println!(
        "objects: {} entries in force, {} of {} objects imported, {} with privileges, {} labels on the first",
        entries.allow.len() + entries.deny.len(),
        labelled.imported(),
        objects.len(),
        permissions.iter().count(),
        (0..objects.len()).find_map(|i| labelled.labels(i)).map_or(0, |labels| labels.len()),
    );
    let mut group = c.benchmark_group("objects");
    group.sample_size(20);
    group.bench_function("label 100k", |b| {
        measure(b, || label_objects(&rules, &scene::database(0), Arc::clone(&objects)));
    });
    group.bench_function("permissions 100k", |b| {
        measure(b, || compute_permissions(&entries, &labelled, Some("app")));
    });
    group
        .bench_function("decide, label, permissions 100k", |b| measure(b, || whole(&user, &rules, &objects)));
    group.finish();
}

fn reach(c: &mut Criterion) {
    let user = user();
    let databases: Vec<_> = (0..10_000).map(scene::database).collect();
    let reachable = list_reach(&user, &databases).iter().filter(|reach| reach.denial.is_none()).count();
    println!("reach: {reachable} of {} databases reachable", databases.len());
    let mut group = c.benchmark_group("reach");
    group.sample_size(20);
    group.bench_function("10k databases", |b| measure(b, || list_reach(&user, &databases)));
    // The labels of every database differ: nothing can be shared.
    let distinct: Vec<_> = (0..10_000).map(scene::distinct_database).collect();
    group.bench_function("10k databases, all different", |b| measure(b, || list_reach(&user, &distinct)));
    group.finish();
    let database = scene::database(0);
    c.bench_function("decide one", |b| {
        b.iter(|| black_box(decide_access(&user, &database, Some("app"), &[])))
    });
}

fn compile(c: &mut Criterion) {
    let (name, role) = scene::roles().swap_remove(0);
    c.bench_function("compile a role", |b| b.iter(|| black_box(Role::compile(&name, &role))));
    let (name, rule) = scene::import_rules().swap_remove(0);
    c.bench_function("compile an import rule", |b| b.iter(|| black_box(ImportRule::compile(&name, &rule))));
}

/// Resident memory, from the system: what an allocator and its rounding really take.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split_whitespace().nth(1)?.parse::<usize>().ok()? * 4096)
}

/// Not a measurement in time, but made here because it needs the same scene and an optimised build.
fn memory(_: &mut Criterion) {
    const OBJECTS: usize = 500_000;
    let (user, rules) = (user(), rules());
    // Whatever is made once is made before.
    drop(whole(&user, &rules, &scene::objects(1000).into()));
    let before = resident();
    let objects: Arc<[_]> = scene::objects(OBJECTS).into();
    let kept = whole(&user, &rules, &objects);
    let after = resident();
    let names: usize = objects.iter().map(|object| object.name.len()).sum();
    match (before, after) {
        (Some(before), Some(after)) => {
            let each = (after.saturating_sub(before)).saturating_sub(names) / OBJECTS;
            println!(
                "memory: {each} bytes per object beyond its name ({} bytes on average)",
                names / OBJECTS
            );
        }
        _ => println!("memory: not available on this system"),
    }
    drop(kept);
}

criterion_group!(benches, memory, objects, reach, compile);
criterion_main!(benches);
