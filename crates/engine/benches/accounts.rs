//! What accounts cost: one after the other and 200 at once, beside none, 1,000 and 10,000 that are kept.
//!
//! `cargo bench -p rolecall-engine --bench accounts [-- <kept>...]` (on PostgreSQL 17; another one with
//! `ROLECALL_BENCH_POSTGRES=15`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rolecall_engine::account::{Enabled, WantedRole};
use rolecall_engine::plan;
use rolecall_engine::postgres::{Auth, Config, Postgres as Engine, Tls};
use rolecall_engine::{AccountName, Desired, Engine as _, Owner, Want};
use rolecall_testbed::{PgVersion, Postgres, rows};

const ADMIN: &str = "admin";
const KEPT: [usize; 3] = [0, 1_000, 10_000];
const ONE_BY_ONE: usize = 30;
const AT_ONCE: usize = 200;

fn main() {
    let kept: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let kept = if kept.is_empty() { KEPT.to_vec() } else { kept };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for kept in kept {
            Place::new(kept).await.measure().await;
        }
    });
}

/// A server with that many accounts which the admin user has created and disabled.
struct Place {
    pg: Postgres,
    engine: Engine,
    kept: usize,
}

impl Place {
    async fn new(kept: usize) -> Self {
        let version = match std::env::var("ROLECALL_BENCH_POSTGRES").as_deref() {
            Ok("15") => PgVersion::V15,
            Ok("16") => PgVersion::V16,
            Ok("18") => PgVersion::V18,
            _ => PgVersion::V17,
        };
        let pg = Postgres::start(version).await.unwrap();
        let certificate = pg.create_admin(ADMIN).await.unwrap();
        let setup = format!(
            "create role reader; create role writer; grant reader, writer to {ADMIN} with admin option"
        );
        pg.sql("postgres", &setup).await.unwrap();
        let auth = Auth::X509 {
            cert_pem: certificate.cert_pem.clone(),
            key_pem: certificate.key_pem.clone().into(),
        };
        let mut config = Config::new(pg.host(), pg.port(), ADMIN, auth);
        config.tls = Tls { ca_pem: Some(pg.server_ca_pem().to_owned()), ..Tls::default() };
        let engine = Engine::new(config).unwrap();
        engine.probe(&Default::default()).await.unwrap();
        let admin = pg.connect("postgres", &certificate).await.unwrap();
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
            self.engine.census().await.unwrap();
            times.entry("6 census").or_default().push(begun.elapsed());
        }
        for (what, mut times) in times {
            times.sort();
            println!(
                "  {what:<16} p50 {:>8.2?}  max {:>8.2?}",
                times[times.len() / 2],
                times[times.len() - 1]
            );
        }
        self.crowd("start", (0..AT_ONCE).map(|i| started(&format!("crowd{i}"))).collect()).await;
        self.crowd("end", (0..AT_ONCE).map(|i| ended(&format!("crowd{i}"), false)).collect()).await;
        self.crowd("start again", (0..AT_ONCE).map(|i| started(&format!("crowd{i}"))).collect()).await;
        self.crowd("end and drop", (0..AT_ONCE).map(|i| ended(&format!("crowd{i}"), true)).collect()).await;
    }

    async fn crowd(&self, what: &str, wishes: Vec<Desired>) {
        let before = self.engine.stats();
        let begun = Instant::now();
        join_all(wishes.iter().map(|desired| self.bring(desired))).await;
        let (elapsed, after) = (begun.elapsed(), self.engine.stats());
        println!(
            "  {} at once: {what:<13} {elapsed:>8.2?}, {:.2} round trips and {:.1} statements each, {} retries, {} connections",
            wishes.len(),
            (after.round_trips - before.round_trips) as f64 / wishes.len() as f64,
            (after.statements - before.statements) as f64 / wishes.len() as f64,
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
        owner: Owner { uid: "1".to_owned(), admin: "shop/orders".to_owned(), cluster: String::new() },
        session_database: Some("postgres".to_owned()),
        want: Want::Enabled(Enabled {
            roles: roles.into(),
            databases: BTreeSet::from(["postgres".to_owned()]),
            ..Enabled::default()
        }),
    }
}

fn ended(user: &str, drop: bool) -> Desired {
    Desired { want: Want::Ended { drop }, ..started(user) }
}
