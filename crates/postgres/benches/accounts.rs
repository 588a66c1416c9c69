//! What accounts cost: one after the other and 200 at once, beside none, 1,000 and 10,000 that are kept.
//!
//! `cargo bench -p rolecall-postgres --bench accounts [-- <kept>...]` (on PostgreSQL 17; another one with
//! `ROLECALL_BENCH_POSTGRES=15`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rolecall_engine::account::{Enabled, WantedRole};
use rolecall_engine::plan;
use rolecall_engine::{AccountName, Desired, Engine as _, Want};
use rolecall_postgres::Postgres as Engine;
use rolecall_testbed::{Postgres, rows};

use common::{ADMIN, numbers, owner};

const KEPT: [usize; 3] = [0, 1_000, 10_000];
const ONE_BY_ONE: usize = 30;
const AT_ONCE: usize = 200;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for kept in numbers(&KEPT) {
            Fixture::new(kept).await.measure().await;
        }
    });
}

/// A server with that many accounts which the admin user has created and disabled.
struct Fixture {
    pg: Postgres,
    engine: Engine,
    kept: usize,
}

impl Fixture {
    async fn new(kept: usize) -> Self {
        let (pg, engine) = common::start().await;
        let setup = format!(
            "create role reader; create role writer; grant reader, writer to {ADMIN} with admin option"
        );
        pg.sql("postgres", &setup).await.unwrap();
        let admin = pg.connect("postgres", &pg.client_cert(ADMIN).unwrap()).await.unwrap();
        // The superuser grants the marker, because that costs the admin user more with each.
        let create = format!(
            "do $$ begin for i in 1..{kept} loop execute format('create role kept%s', i); end loop; end $$"
        );
        rows(&admin, &create).await.unwrap();
        let mark = format!(
            "do $$ begin for i in 1..{kept} loop execute format('grant \"teleport-auto-user\" to kept%s', i); end loop; end $$; "
        );
        pg.sql("postgres", &mark).await.unwrap();
        pg.sql("postgres", "vacuum analyze").await.unwrap();
        Self { pg, engine, kept }
    }

    async fn measure(&self) {
        println!("{} beside {} kept accounts", self.pg.version(), self.kept);
        let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for i in 0..ONE_BY_ONE {
            let user = format!("single{i}");
            for (what, desired) in [
                ("1 start", started(&user)),
                ("2 end", ended(&user, false)),
                ("3 start again", started(&user)),
                ("4 end and drop", ended(&user, true)),
            ] {
                times.entry(what).or_default().push(self.bring(&desired).await);
            }
            let begun = Instant::now();
            self.engine.observe(&started(&user).query()).await.unwrap();
            times.entry("5 observe").or_default().push(begun.elapsed());
            let begun = Instant::now();
            self.engine.inventory().await.unwrap();
            times.entry("6 inventory").or_default().push(begun.elapsed());
        }
        for (what, mut times) in times {
            times.sort();
            println!(
                "  {what:<16} p50 {:>8.2?}  max {:>8.2?}",
                times[times.len() / 2],
                times[times.len() - 1]
            );
        }
        self.at_once("start", (0..AT_ONCE).map(|i| started(&format!("many{i}"))).collect()).await;
        self.at_once("end", (0..AT_ONCE).map(|i| ended(&format!("many{i}"), false)).collect()).await;
        self.at_once("start again", (0..AT_ONCE).map(|i| started(&format!("many{i}"))).collect()).await;
        self.at_once("end and drop", (0..AT_ONCE).map(|i| ended(&format!("many{i}"), true)).collect()).await;
    }

    async fn at_once(&self, what: &str, desired: Vec<Desired>) {
        let before = self.engine.stats();
        let begun = Instant::now();
        join_all(desired.iter().map(|desired| self.bring(desired))).await;
        let (elapsed, after) = (begun.elapsed(), self.engine.stats());
        println!(
            "  {} at once: {what:<13} {elapsed:>8.2?}, {:.2} round trips and {:.1} statements each, {} retries, {} connections",
            desired.len(),
            (after.round_trips - before.round_trips) as f64 / desired.len() as f64,
            (after.statements - before.statements) as f64 / desired.len() as f64,
            after.retries - before.retries,
            after.connections_opened,
        );
    }

    /// Observes, plans, applies, and reads back.
    async fn bring(&self, desired: &Desired) -> Duration {
        let begun = Instant::now();
        let query = desired.query();
        let plan = plan::plan(desired, &self.engine.observe(&query).await.unwrap()).unwrap();
        self.engine.apply(&plan).await.unwrap();
        let left = plan::plan(&plan::settled(desired), &self.engine.observe(&query).await.unwrap()).unwrap();
        assert!(left.is_nothing(), "{left}");
        begun.elapsed()
    }
}

fn started(user: &str) -> Desired {
    let roles = ["reader", "writer"].map(|role| (role.to_owned(), WantedRole::default()));
    Desired {
        account: AccountName::new(user).unwrap(),
        owner: owner(),
        session_database: Some("postgres".to_owned()),
        want: Want::Enabled(Enabled {
            roles: roles.into(),
            databases: BTreeSet::from(["postgres".to_owned()]),
            ..Enabled::default()
        }),
    }
}

fn ended(user: &str, drop: bool) -> Desired {
    Desired { want: Want::Ended { drop, reassign_to: None }, ..started(user) }
}
