//! Many users on one table.

use std::time::Duration;

use crate::common::{ADMIN, median, timed};
use crate::figures::thousands;
use crate::fixture::Fixture;

/// How many of the first and the last are shown by themselves.
const SHOWN: usize = 50;

/// Lets users in by way of a set, and others one by one, as long as the server lets that happen.
pub(crate) async fn measure(users: usize) {
    let fixture = Fixture::new(1).await;
    let set = "rolecall:shared";
    fixture.reconcile(set).await;
    let before = entries(&fixture).await;
    let mut times = Vec::with_capacity(users);
    for user in 0..users {
        times.push(timed(fixture.start(&format!("user{user}"), set)).await.0);
        if user % 500 == 499 {
            eprintln!("  {} accounts started", thousands(user + 1));
        }
    }
    let after = entries(&fixture).await;
    let shown = SHOWN.min(users);
    let (first, last) = (median(times[..shown].to_vec()), median(times[users - shown..].to_vec()));
    println!();
    println!("{} users on one table", thousands(users));
    println!(
        "  members of a set: entries in its access list {before} before, {after} after; one start takes {} at first, {} at last",
        milliseconds(first),
        milliseconds(last)
    );
    fixture.sql("do $$ begin for i in 1..4000 loop execute 'create role naive' || i; end loop; end $$").await;
    let client = fixture.pg.superuser("shop").await.unwrap();
    client.batch_execute(&format!("set session authorization {ADMIN}")).await.unwrap();
    for user in 1..=4000 {
        if let Err(error) = client.batch_execute(&format!("grant select on app.t1 to naive{user}")).await {
            let code = error.code().map_or("?", |code| code.code()).to_owned();
            println!(
                "  granted to each: {} entries, and then nobody can be granted anything on it any more (SQLSTATE {code})",
                thousands(entries(&fixture).await)
            );
            return;
        }
    }
    println!("  granted to each: 4,000 fit");
}

async fn entries(fixture: &Fixture) -> usize {
    let query = "select coalesce(cardinality(relacl), 0)::text from pg_class where oid = 'app.t1'::regclass";
    fixture.pg.value("shop", query).await.unwrap().unwrap_or_default().parse().unwrap()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
