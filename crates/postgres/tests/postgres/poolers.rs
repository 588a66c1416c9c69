//! A connection pooler in front of the server: it is noticed, and statements that end an access still go through.

use std::time::Duration;

use rolecall_engine::{Engine as _, Finding, Needs, Reason};
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::{PgBouncer, PgVersion, PoolMode, Postgres, rows};

use crate::common::{Bench, apply, enabled, ended, unique};

const IGNORING: &str = "ignore_startup_parameters = options, extra_float_digits";

struct Front {
    bench: Bench,
    pooler: PgBouncer,
}

impl Front {
    async fn new(version: PgVersion, mode: PoolMode, settings: &str) -> Self {
        let hba = format!("{}{}", PgBouncer::server_hba(), Postgres::default_hba());
        let pg = Postgres::builder(version).hba(&hba).start().await.unwrap();
        let bench = Bench::on(Box::leak(Box::new(pg)), "createrole").await;
        let pooler = PgBouncer::start(bench.pg, mode, &[&bench.admin], settings).await.unwrap();
        Self { bench, pooler }
    }

    fn engine(&self) -> Engine {
        // It speaks for one address of the machine only.
        let config = Config { host: "127.0.0.1".to_owned(), port: self.pooler.port(), ..self.bench.config() };
        Engine::new(config).unwrap()
    }

    async fn finding(&self, engine: &Engine) -> Finding {
        let preflight = engine.preflight(&Needs::default()).await.unwrap();
        assert_eq!(preflight.findings[0].reason, Reason::PoolerInBetween, "{:?}", preflight.findings);
        assert!(preflight.findings[0].message.contains("uri"), "{:?}", preflight.findings);
        preflight.findings[0].clone()
    }

    async fn is_open(&self, user: &str) -> bool {
        let query = format!("select rolcanlogin from pg_roles where rolname = '{user}'");
        self.bench.value(&query).await == "t"
    }
}

#[tokio::test]
async fn a_pooler_is_reported_whatever_it_does_with_our_settings() {
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        for settings in [IGNORING, ""] {
            let front = Front::new(PgVersion::V17, mode, settings).await;
            front.finding(&front.engine()).await;
            let direct = front.bench.engine.preflight(&Needs::default()).await.unwrap();
            let finding = direct.findings.iter().find(|finding| finding.reason == Reason::PoolerInBetween);
            assert!(finding.is_none(), "{finding:?}");
        }
    }
}

#[tokio::test]
async fn an_access_ends_through_a_pooler_whose_connections_others_use() {
    for version in PgVersion::ALL {
        for settings in [IGNORING, ""] {
            let front = Front::new(version, PoolMode::Transaction, settings).await;
            let (kept, dropped) = (unique("alice"), unique("bob"));
            for user in [&kept, &dropped] {
                front.bench.reach(&enabled(user, &[])).await;
            }
            let (one, two) = (front.engine(), front.engine());
            one.inventory().await.unwrap();
            // The connection on which all was prepared is used by somebody else from now on.
            let other = front
                .bench
                .pg
                .connect_through(front.pooler.port(), "postgres", &front.bench.certificate)
                .await
                .unwrap();
            rows(&other, "begin; select 1").await.unwrap();
            let inside = front.bench.login(&kept).await.unwrap();
            apply(&one, &ended(&kept, false)).await.unwrap();
            assert!(!front.is_open(&kept).await, "{version}");
            assert!(rows(&inside, "select 1").await.is_err(), "{version}");
            rows(&other, "commit").await.unwrap();
            assert!(apply(&two, &ended(&dropped, true)).await.unwrap().dropped, "{version}");
            front.finding(&one).await;
        }
    }
}

#[tokio::test]
async fn an_access_ends_though_somebody_else_meets_the_sessions_in_turn() {
    let front = Front::new(PgVersion::V17, PoolMode::Transaction, IGNORING).await;
    let users: Vec<String> = (0..20).map(|_| unique("alice")).collect();
    for user in &users {
        front.bench.reach(&enabled(user, &[])).await;
    }
    let engines = [front.engine(), front.engine(), front.engine()];
    let ends = users.iter().enumerate().map(async |(i, user)| {
        tokio::time::sleep(Duration::from_millis(i as u64 % 7)).await;
        apply(&engines[i % 3], &ended(user, i % 2 == 0)).await.unwrap();
    });
    futures::future::join_all(ends).await;
    for user in &users {
        assert!(!front.is_open(user).await, "{user}");
    }
}

#[tokio::test]
async fn a_pooler_that_opens_sessions_of_somebody_else_is_not_worked_with() {
    let front = Front::new(PgVersion::V17, PoolMode::Session, IGNORING).await;
    front.bench.sql("create role somebody login").await;
    let settings =
        format!("{IGNORING}\n[databases]\n* = host=127.0.0.1 port={} user=somebody\n", front.bench.pg.port());
    let admin = front.bench.admin.as_str();
    let users = [admin, "somebody"];
    let pooler = PgBouncer::start(front.bench.pg, PoolMode::Session, &users, &settings).await.unwrap();
    let front = Front { bench: front.bench, pooler };
    let error = front.engine().preflight(&Needs::default()).await.unwrap_err();
    assert_eq!(error.reason, Reason::PoolerInBetween, "{error}");
    assert!(error.to_string().contains("somebody") && error.remedy.contains("uri"), "{error}");
}
