//! What object permissions cost beside 10, 1,000 and 50,000 tables, against bare multi-table GRANTs.
//!
//! `cargo bench -p rolecall-engine --bench objects [-- <tables>...]` (on PostgreSQL 17; another one with
//! `ROLECALL_BENCH_POSTGRES=15`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rolecall_engine::account::{Credential, Enabled};
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::postgres::{Auth, Config, Postgres as Engine, Tls};
use rolecall_engine::sets::{SetRecord, SetWish};
use rolecall_engine::{AccountName, Catalog, CatalogQuery, Desired, Engine as _, Owner, Want};
use rolecall_policy::{ObjectKind, Privilege, PrivilegeSet};
use rolecall_testbed::{PgVersion, Postgres};

const ADMIN: &str = "admin";
const SIZES: [usize; 3] = [10, 1_000, 50_000];
/// Objects in one bare statement.
const IN_ONE: usize = 500;

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for tables in sizes {
            Place::new(tables).await.measure().await;
        }
    });
}

/// A server with a database of that many tables, on which the admin user has SELECT WITH GRANT OPTION.
struct Place {
    pg: Postgres,
    engine: Engine,
    tables: usize,
}

impl Place {
    async fn new(tables: usize) -> Self {
        let version = match std::env::var("ROLECALL_BENCH_POSTGRES").as_deref() {
            Ok("15") => PgVersion::V15,
            Ok("16") => PgVersion::V16,
            Ok("18") => PgVersion::V18,
            _ => PgVersion::V17,
        };
        let pg = Postgres::start(version).await.unwrap();
        pg.sql(
            "postgres",
            &format!(
                "create role \"teleport-auto-user\"; create role {ADMIN} login createrole;
                 grant \"teleport-auto-user\" to {ADMIN} with admin option"
            ),
        )
        .await
        .unwrap();
        pg.sql("postgres", "create database shop").await.unwrap();
        pg.sql("shop", &format!("create schema app; grant usage on schema app to {ADMIN} with grant option"))
            .await
            .unwrap();
        pg.sql(
            "shop",
            &format!(
                "do $$ begin for i in 1..{tables} loop execute format('create table app.t%s (id int)', i);
                 if i % 1000 = 0 then commit; end if; end loop; end $$"
            ),
        )
        .await
        .unwrap();
        let certificate = pg.client_cert(ADMIN).unwrap();
        let auth = Auth::X509 { cert_pem: certificate.cert_pem, key_pem: certificate.key_pem.into() };
        let mut config = Config::new(pg.host(), pg.port(), ADMIN, auth);
        config.tls = Tls { ca_pem: Some(pg.server_ca_pem().to_owned()), ..Tls::default() };
        let place = Self { engine: Engine::new(config).unwrap(), pg, tables };
        place.grant("postgres", ADMIN, " with grant option").await;
        place.pg.sql("shop", "vacuum analyze").await.unwrap();
        place
    }

    /// Bare GRANTs, as one of these users.
    async fn grant(&self, as_user: &str, role: &str, option: &str) -> Duration {
        let client = self.pg.superuser("shop").await.unwrap();
        client.batch_execute(&format!("set session authorization {as_user}")).await.unwrap();
        let names: Vec<String> = (1..=self.tables).map(|i| format!("app.t{i}")).collect();
        let begun = Instant::now();
        for names in names.chunks(IN_ONE) {
            let list = names.join(", ");
            client.batch_execute(&format!("grant select on table {list} to {role}{option}")).await.unwrap();
        }
        begun.elapsed()
    }

    async fn floor(&self, role: &str) -> Duration {
        self.pg.sql("shop", &format!("create role {role}")).await.unwrap();
        self.vacuum().await;
        self.grant(ADMIN, role, "").await
    }

    async fn read(&self, set: &str) -> Catalog {
        let query = CatalogQuery { database: "shop".to_owned(), sets: BTreeSet::from([set.to_owned()]) };
        self.engine.read_objects(&query).await.unwrap()
    }

    async fn converge(&self, set: &str, catalog: &Catalog) {
        let select = PrivilegeSet::from_iter([Privilege::Select]);
        let tables =
            catalog.objects.iter().enumerate().filter(|(_, object)| object.kind == ObjectKind::Table);
        let record = SetRecord { uid: "uid".to_owned(), database: "shop".to_owned(), ..SetRecord::default() };
        let wanted = tables.map(|(i, _)| (i, select)).collect();
        let wish = SetWish { role: set.to_owned(), record, wanted };
        let outcome = self.engine.converge(&[wish], catalog).await.unwrap().remove(0);
        assert!(outcome.is_complete(), "{outcome:#?}");
    }

    async fn activate(&self, want: Want) {
        let desired = Desired {
            account: AccountName::new("alice").unwrap(),
            owner: Owner { uid: "uid".to_owned(), admin: String::new(), cluster: String::new() },
            session_database: Some("shop".to_owned()),
            want,
        };
        let observed = self.engine.observe(&desired.query()).await.unwrap();
        let plan = plan::plan(&desired, &observed).unwrap();
        assert!(!matches!(plan, Plan::Nothing));
        self.engine.apply(&plan).await.unwrap();
    }

    async fn measure(&self) {
        // Each in turn, and the least of each: other work on the machine only adds.
        let (mut floors, mut reads, mut firsts) = (Vec::new(), Vec::new(), Vec::new());
        let mut set = String::new();
        for round in 0..3 {
            floors.push(self.floor(&format!("floor_{round}")).await);
            self.vacuum().await;
            set = format!("rolecall:measured{round}");
            let (read, catalog) = timed(self.read(&set)).await;
            reads.push(read);
            firsts.push(timed(self.converge(&set, &catalog)).await.0);
        }
        let set = set.as_str();
        let least = |times: &[Duration]| times.iter().min().copied().unwrap_or_default();
        let (floor, read, first) = (least(&floors), least(&reads), least(&firsts));
        self.vacuum().await;
        let (again, ()) = timed(async { self.converge(set, &self.read(set).await).await }).await;
        let mut activations = Vec::new();
        for _ in 0..20 {
            let enabled = Enabled {
                sets: BTreeSet::from([set.to_owned()]),
                databases: BTreeSet::from(["shop".to_owned()]),
                credential: Credential::External,
                ..Enabled::default()
            };
            activations.push(timed(self.activate(Want::Enabled(enabled))).await.0);
            self.activate(Want::Ended { drop: false }).await;
        }
        activations.sort_unstable();
        self.pg
            .sql(
                "shop",
                &format!(
                    "create table app.fresh (id int); grant select on app.fresh to {ADMIN} with grant option"
                ),
            )
            .await
            .unwrap();
        let catalog = self.read(set).await;
        let (added, ()) = timed(self.converge(set, &catalog)).await;
        let (dropped, applied) = timed(self.engine.drop_set(set, "uid")).await;
        println!("{} tables", self.tables);
        let told = |what: &str, time: Duration, ratio: Option<Duration>| {
            let ratio = ratio.map_or_else(String::new, |floor| {
                format!("  {:.2} x the floor", time.as_secs_f64() / floor.as_secs_f64())
            });
            println!("  {what:<44} {:>10.1} ms{ratio}", time.as_secs_f64() * 1e3);
        };
        told("floor: bare GRANTs, 500 tables each", floor, None);
        told("reading the objects", read, None);
        told("first convergence", first, Some(floor));
        told("first convergence, with the reading", read + first, Some(floor));
        told("reading and converging a set that stands", again, Some(floor));
        told("one table more (without the reading)", added, None);
        told("activation beside a set that stands (median)", activations[activations.len() / 2], None);
        if applied.unwrap().dropped {
            told("dropping the set", dropped, Some(floor));
        } else {
            println!("  the set was not dropped");
        }
    }

    async fn vacuum(&self) {
        self.pg.sql("shop", "vacuum analyze").await.unwrap();
    }
}

async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let result = work.await;
    (begun.elapsed(), result)
}
