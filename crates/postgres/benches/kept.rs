//! What accounts cost that are kept: a start and an end beside none and beside 10,000, for the engine and for a bare client of
//! the same admin user.
//!
//! `cargo xtask bench kept [-- <version>... kept=<number>]`

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a benchmark")]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use rolecall_engine::account::{Enabled, WantedRole};
use rolecall_engine::{AccountName, Desired, Engine as _, Want, plan};
use rolecall_postgres::Postgres as Engine;
use rolecall_testbed::{PgVersion, Postgres, rows};
use tokio_postgres::Client;

use common::{ADMIN, median, owner, timed};

const KEPT: usize = 10_000;
const ROUNDS: usize = 40;
const AT_ONCE: usize = 5;

fn main() {
    let number = |name: &str| std::env::args().find_map(|argument| argument.strip_prefix(name)?.parse().ok());
    let kept = number("kept=").unwrap_or(KEPT);
    let versions: Vec<PgVersion> = PgVersion::ALL
        .into_iter()
        .filter(|version| std::env::args().any(|argument| argument == version.major().to_string()))
        .collect();
    let versions = if versions.is_empty() { vec![PgVersion::V16, PgVersion::V19] } else { versions };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for version in versions {
            println!("{version}");
            beside_kept(version, kept).await;
            beside_those_made_before(version, kept).await;
        }
    });
}

/// A server with an engine, and a connection of its admin user.
struct Fixture {
    pg: Postgres,
    engine: Engine,
    admin: Client,
}

/// What one account costs: started, ended and kept, started again, ended and dropped.
struct Costs([Duration; 4]);

impl Fixture {
    async fn new(version: PgVersion) -> Self {
        let (pg, engine) = common::start_on(version).await;
        pg.sql("postgres", &format!("create role reader; grant reader to {ADMIN} with admin option"))
            .await
            .unwrap();
        let admin = pg.connect("postgres", &pg.client_cert(ADMIN).unwrap()).await.unwrap();
        Self { pg, engine, admin }
    }

    async fn costs(&self, base: &str) -> Costs {
        let mut times: [Vec<Duration>; 4] = Default::default();
        for round in 0..ROUNDS {
            let user = format!("{base}{round}");
            let steps = [started(&user), ended(&user, false), started(&user), ended(&user, true)];
            for (step, times) in steps.iter().zip(&mut times) {
                times.push(timed(self.bring(step)).await.0);
            }
        }
        Costs(times.map(median))
    }

    /// The same with the least statements.
    async fn floor(&self, client: &Client, base: &str) -> Costs {
        let mut times: [Vec<Duration>; 4] = Default::default();
        for round in 0..ROUNDS {
            let user = format!("{base}{round}");
            let steps = [
                format!(
                    "begin; create role {user}; comment on role {user} is 'floor'; grant reader, \"teleport-auto-user\" to {user};
                     alter role {user} login; commit"
                ),
                format!("alter role {user} nologin password null; begin; revoke reader from {user}; alter role {user} reset all; commit"),
                format!(
                    "begin; comment on role {user} is 'again'; alter role {user} password null; grant reader to {user};
                     alter role {user} login; commit"
                ),
                format!("alter role {user} nologin password null; revoke reader from {user}; drop role {user}"),
            ];
            for (step, times) in steps.iter().zip(&mut times) {
                times.push(timed(client.batch_execute(step)).await.0);
            }
        }
        Costs(times.map(median))
    }

    /// Observes, plans, applies, and reads back.
    async fn bring(&self, desired: &Desired) {
        let query = desired.query();
        let plan = plan::plan(desired, &self.engine.observe(&query).await.unwrap()).unwrap();
        self.engine.apply(&plan).await.unwrap();
        let left = plan::plan(&plan::settled(desired), &self.engine.observe(&query).await.unwrap()).unwrap();
        assert!(left.is_nothing(), "{left}");
    }
}

async fn beside_kept(version: PgVersion, kept: usize) {
    let fixture = Fixture::new(version).await;
    let superuser = fixture.pg.superuser("postgres").await.unwrap();
    let none = fixture.costs("none").await;
    let floor_none = fixture.floor(&fixture.admin, "floornone").await;
    eprintln!("  starting and ending {kept} accounts");
    stream::iter(0..kept)
        .map(async |number| {
            let user = format!("kept{number}");
            fixture.bring(&started(&user)).await;
            fixture.bring(&ended(&user, false)).await;
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
    superuser.batch_execute("vacuum analyze").await.unwrap();
    let beside = fixture.costs("beside").await;
    print(&format!("beside {kept} kept accounts"), &none, &beside);
    let again = again(&fixture, kept).await;
    println!("    one of the kept: start {}, end {}", shown(again.0), shown(again.1));
    // The admin user itself, which holds them by way of its creators.
    let floor = fixture.floor(&fixture.admin, "floor").await;
    print("  floor, the admin user without creators", &floor_none, &floor);
    print("  floor, a superuser", &floor_none, &fixture.floor(&superuser, "super").await);
}

/// Accounts from all over, started and ended again.
async fn again(fixture: &Fixture, kept: usize) -> (Duration, Duration) {
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let user = format!("kept{}", round * kept / ROUNDS);
        starts.push(timed(fixture.bring(&started(&user))).await.0);
        ends.push(timed(fixture.bring(&ended(&user, false))).await.0);
    }
    (median(starts), median(ends))
}

/// Accounts that the admin user created itself, by an operator without creator roles.
async fn beside_those_made_before(version: PgVersion, kept: usize) {
    let fixture = Fixture::new(version).await;
    let none = fixture.costs("none").await;
    let create = format!(
        "do $$ begin for i in 1..{kept} loop execute format('create role kept%s', i); end loop; end $$"
    );
    rows(&fixture.admin, &create).await.unwrap();
    let record = serde_json::to_string(&owner()).unwrap();
    let mark = format!(
        "do $$ begin for i in 1..{kept} loop
           execute format('grant \"teleport-auto-user\" to kept%1$s; comment on role kept%1$s is %2$L', i, '{record}');
         end loop; end $$"
    );
    fixture.pg.sql("postgres", &mark).await.unwrap();
    fixture.pg.sql("postgres", "vacuum analyze").await.unwrap();
    let beside = fixture.costs("beside").await;
    print(&format!("beside {kept} accounts that the admin user created itself"), &none, &beside);
    let begun = Instant::now();
    let direct = "select count(*) from pg_auth_members where member = 'admin'::regrole and roleid::regrole::text like 'kept%'";
    fixture.engine.tidy(&owner().uid).await.unwrap();
    let left: usize = fixture.pg.value("postgres", direct).await.unwrap().unwrap().parse().unwrap();
    println!("    {} of them were moved in {}", kept - left, shown(begun.elapsed()));
}

fn print(what: &str, none: &Costs, beside: &Costs) {
    println!("  {what}");
    let steps = ["start", "end, kept", "start again", "end, dropped"];
    for ((step, none), beside) in steps.iter().zip(none.0).zip(beside.0) {
        println!(
            "    {step:<14} {:>10} beside none, {:>10}: {:.2} times",
            shown(none),
            shown(beside),
            ratio(none, beside)
        );
    }
}

fn ratio(one: Duration, other: Duration) -> f64 {
    other.as_secs_f64() / one.as_secs_f64()
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn started(user: &str) -> Desired {
    Desired {
        account: AccountName::new(user).unwrap(),
        owner: owner(),
        session_database: Some("postgres".to_owned()),
        want: Want::Enabled(Enabled {
            roles: [("reader".to_owned(), WantedRole::default())].into(),
            databases: BTreeSet::from(["postgres".to_owned()]),
            ..Enabled::default()
        }),
    }
}

fn ended(user: &str, drop: bool) -> Desired {
    Desired { want: Want::Ended { drop, reassign_to: None }, ..started(user) }
}
