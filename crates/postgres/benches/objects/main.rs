//! What object permissions cost beside 10, 1,000 and 50,000 tables, against two floors in the same run: one GRANT for
//! each table, which is what a simple provisioner sends for each user, and bare GRANTs of many tables to one role.
//! Then 2,000 users on one table.
//!
//! `cargo bench -p rolecall-postgres --bench objects [-- <tables>... [users=<number>]]` (on PostgreSQL 17; another one
//! with `ROLECALL_BENCH_POSTGRES=15`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

#[path = "../common/mod.rs"]
mod common;

mod figures;
mod fixture;
mod many_users;

use rolecall_engine::Engine as _;

use common::{ADMIN, least, median, numbers, owner, timed};
use figures::{Column, print, thousands};
use fixture::Fixture;

const SIZES: [usize; 3] = [10, 1_000, 50_000];
const USERS: usize = 2_000;
const ROUNDS: usize = 3;
/// Tables that are announced.
const ANNOUNCED: usize = 20;
/// What a platform engineer runs.
const ANNOUNCE: &str = include_str!("../../../../deploy/postgresql/announce_objects.sql");

fn main() {
    let users = std::env::args().find_map(|argument| argument.strip_prefix("users=")?.parse().ok());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut columns = Vec::new();
        for tables in numbers(&SIZES) {
            columns.push(measure(tables).await);
        }
        print(&columns);
        let users = users.unwrap_or(USERS);
        if users > 0 {
            eprintln!("many users on one table");
            many_users::measure(users).await;
        }
    });
}

async fn measure(tables: usize) -> Column {
    eprintln!("{} tables: making them", thousands(tables));
    let fixture = Fixture::new(tables).await;
    let mut column = Column::new(tables);
    eprintln!("{} tables: granting each by itself", thousands(tables));
    let naive = fixture.naive_floor(tables, "naive").await;
    // Each in turn, and the least of each: other work on the machine only adds.
    let (mut bares, mut reads, mut labels, mut firsts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut set = String::new();
    for round in 1..=ROUNDS {
        eprintln!("{} tables: round {round} of {ROUNDS}", thousands(tables));
        bares.push(fixture.bare_floor(tables, &format!("bare{round}")).await);
        fixture.vacuum().await;
        set = format!("rolecall:measured{round}");
        let (read, catalog) = timed(fixture.read(&set)).await;
        let (label, desired) = timed(async { fixture.desired(&set, &catalog) }).await;
        reads.push(read);
        labels.push(label);
        firsts.push(timed(fixture.sync(&desired, &catalog)).await.0);
    }
    let set = set.as_str();
    let (bare, read, label, first) = (least(&bares), least(&reads), least(&labels), least(&firsts));
    fixture.vacuum().await;
    let mut unchanged = Vec::new();
    for _ in 0..ROUNDS {
        unchanged.push(timed(fixture.reconcile(set)).await.0);
    }
    let mut starts = Vec::new();
    for _ in 0..20 {
        starts.push(timed(fixture.start("alice", set)).await.0);
        fixture.end("alice").await;
    }
    let mut added = Vec::new();
    for round in 1..=ROUNDS {
        let fresh = format!("app.fresh{round}");
        fixture
            .sql(&format!(
                "create table {fresh} (id int); grant select on {fresh} to {ADMIN} with grant option"
            ))
            .await;
        added.push(timed(fixture.reconcile(set)).await.0);
    }
    let before = fixture.statements();
    fixture.reconcile(set).await;
    let (whole, rows) = (fixture.statements() - before, fixture.read(set).await.objects.len());
    fixture
        .sql(&format!(
            "alter default privileges in schema app grant select on tables to {ADMIN} with grant option"
        ))
        .await;
    fixture.sql(ANNOUNCE).await;
    let mut changes = fixture.watch().await;
    let mut announced = Vec::new();
    for round in 1..=ANNOUNCED {
        let name = format!("app.announced{round}");
        fixture.sql(&format!("create table {name} (id int)")).await;
        let (time, statements, objects) = fixture.reconcile_announced(set, &mut changes).await;
        announced.push(time);
        if round == ANNOUNCED {
            eprintln!(
                "  {} tables: a look at all: {whole} statements, {} objects; at a new one: {statements} statements, {objects} objects",
                thousands(tables),
                thousands(rows)
            );
        }
    }
    let (dropped, applied) = timed(fixture.engine.drop_set(set, &owner().uid)).await;
    assert!(applied.unwrap().dropped);
    let start = median(starts);
    column.time("floor: one GRANT for each table, to one user", naive, "");
    column.time("floor: bare GRANTs of 500 tables each, to one role", bare, "");
    column.time("reading the objects", read, "");
    column.time("labelling them by 20 import rules", label, "");
    column.time("first sync of a set", first, "");
    column.ratio("  in bare GRANTs", first, bare, "1.5 beside 50,000");
    column.ratio("  with reading and labelling, in bare GRANTs", read + label + first, bare, "");
    column.ratio("  with reading and labelling, in single GRANTs", read + label + first, naive, "");
    column.time("start of an account whose set exists", start, "the same beside any number");
    column.ratio("  in single GRANTs", start, naive, "");
    column.time("a reconcile that finds nothing to change", least(&unchanged), "");
    column.time("one table more, from reading to granting", least(&added), "");
    column.ratio("  in reconciles that find nothing", least(&added), least(&unchanged), "");
    let announced = median(announced);
    column.time("one table more, announced", announced, "5 beside any number");
    column.ratio("  in reconciles that find nothing", announced, least(&unchanged), "");
    column.time("dropping the set", dropped, "");
    column
}
