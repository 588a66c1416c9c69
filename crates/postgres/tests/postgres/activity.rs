//! What a user runs, seen and stopped as that user.

use std::time::{Duration, Instant};

use rolecall_engine::{Activity as _, Engine as _, Running, Stop};
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::PgVersion;
use tokio::task::JoinHandle;

use crate::common::{Bench, Client, apply, config, enabled, unique};

/// The engine as a user, which reads only.
fn as_user(bench: &Bench, user: &str) -> Engine {
    let certificate = bench.pg.client_cert(user).unwrap();
    let config = Config {
        default_database: Some("postgres".to_owned()),
        read_only: true,
        max_connections: 1,
        ..config(bench.pg, user, &certificate)
    };
    Engine::new(config).unwrap()
}

/// Runs a query in a connection of its own; the SQLSTATE that ends it, or empty where the connection ends.
fn spawn(client: Client, query: String) -> JoinHandle<String> {
    tokio::spawn(async move {
        let error = client.batch_execute(&query).await.unwrap_err();
        error.code().map(|code| code.code().to_owned()).unwrap_or_default()
    })
}

async fn until(engine: &Engine, is_so: impl Fn(&[Running]) -> bool) -> Vec<Running> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let running = engine.running().await.unwrap();
        if is_so(&running) {
            return running;
        }
        assert!(Instant::now() < deadline, "{running:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_user_sees_and_stops_its_own_queries_and_nobody_elses() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let (alice, bob) = (unique("alice"), unique("bob"));
        for user in [&alice, &bob] {
            apply(&bench.engine, &enabled(user, &[])).await.unwrap();
        }
        let [mine, theirs] = [as_user(&bench, &alice), as_user(&bench, &bob)];
        assert_eq!(mine.running().await.unwrap(), [], "{version}: the connection that asks is left out");

        let slow = "select pg_sleep(600) -- of alice".to_owned();
        let running = spawn(bench.login(&alice).await.unwrap(), slow.clone());
        let idle = bench.login(&alice).await.unwrap();
        idle.batch_execute("begin; select 1").await.unwrap();
        let seen =
            until(&mine, |seen| seen.iter().filter(|one| one.active).count() == 1 && seen.len() == 2).await;
        assert_eq!((seen[0].query.as_str(), seen[0].state.as_str()), (slow.as_str(), "active"), "{version}");
        assert!(seen[0].since.as_deref().is_some_and(|since| since.ends_with('Z') && since.contains('T')));
        assert_eq!((seen[0].waits_for.as_str(), seen[0].database.as_str()), ("Timeout: PgSleep", "postgres"));
        assert_eq!((seen[1].state.as_str(), seen[1].active), ("idle in transaction", false));

        // Neither sees nor stops what another one runs.
        assert_eq!(theirs.running().await.unwrap(), []);
        for how in [Stop::Cancel, Stop::Terminate] {
            assert!(!theirs.stop(&seen[0].id, how).await.unwrap(), "{version}");
        }
        assert!(!mine.stop("no number", Stop::Cancel).await.unwrap());

        assert!(mine.stop(&seen[0].id, Stop::Cancel).await.unwrap());
        assert_eq!(running.await.unwrap(), "57014", "{version}: the query is cancelled");
        until(&mine, |seen| seen.iter().all(|one| !one.active)).await;

        assert!(mine.stop(&seen[1].id, Stop::Terminate).await.unwrap());
        until(&mine, |left| left.iter().all(|one| one.id != seen[1].id)).await;
        let ended = idle.batch_execute("select 1").await.unwrap_err();
        assert!(ended.is_closed() || ended.code().is_some_and(|code| code.code() == "57P01"), "{ended:?}");
        mine.close().await;
    }
}
