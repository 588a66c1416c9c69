//! What the benchmarks share: a server, an engine on it, and time.

#![allow(dead_code, unreachable_pub, reason = "each benchmark uses a part")]

use std::time::{Duration, Instant};

use rolecall_engine::{Engine as _, Needs, Owner};
use rolecall_pki::tls::Tls;
use rolecall_postgres::{Auth, Config, Postgres as Engine};
use rolecall_testbed::{PgVersion, Postgres};

/// The admin user.
pub const ADMIN: &str = "admin";

/// A server of the version that `ROLECALL_BENCH_POSTGRES` names, 17 by default, with the admin user and an engine.
pub async fn start() -> (Postgres, Engine) {
    let version = match std::env::var("ROLECALL_BENCH_POSTGRES").as_deref() {
        Ok("15") => PgVersion::V15,
        Ok("16") => PgVersion::V16,
        Ok("18") => PgVersion::V18,
        Ok("19") => PgVersion::V19,
        _ => PgVersion::V17,
    };
    start_on(version).await
}

/// The same on a server of this version.
pub async fn start_on(version: PgVersion) -> (Postgres, Engine) {
    let pg = Postgres::start(version).await.unwrap();
    let certificate = pg.create_admin(ADMIN).await.unwrap();
    let auth = Auth::X509 { cert_pem: certificate.cert_pem, key_pem: certificate.key_pem.into() };
    let mut config = Config::new(pg.host(), pg.port(), ADMIN, auth);
    config.tls = Tls { ca_pem: Some(pg.server_ca_pem().to_owned()), ..Tls::default() };
    let engine = Engine::new(config).unwrap();
    // Makes the marker.
    engine.preflight(&Needs::default()).await.unwrap();
    (pg, engine)
}

/// The record of the accounts and sets that are made.
pub fn owner() -> Owner {
    Owner {
        uid: "uid".to_owned(),
        admin: "shop/orders".to_owned(),
        cluster: String::new(),
        ..Owner::default()
    }
}

/// The numbers among the arguments; these where there is none.
pub fn numbers(default: &[usize]) -> Vec<usize> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if numbers.is_empty() { default.to_vec() } else { numbers }
}

/// How long something takes, and its result.
pub async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let result = work.await;
    (begun.elapsed(), result)
}

/// The time in the middle.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The least time: other work on the machine only adds.
pub fn least(times: &[Duration]) -> Duration {
    times.iter().min().copied().unwrap_or_default()
}
