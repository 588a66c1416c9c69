//! Event triggers, which run in the admin user's sessions.

use rolecall_engine::objects::CatalogQuery;
use rolecall_engine::{Engine as _, Needs, Reason};
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::PgVersion;

use crate::common::{Bench, apply, enabled, ended, unique};

/// The versions that have event triggers on login.
fn versions() -> impl Iterator<Item = PgVersion> {
    PgVersion::ALL.into_iter().filter(|version| version.major() >= 17)
}

/// A database with a login event trigger that does this.
async fn database(bench: &Bench, body: &str) -> String {
    let database = unique("watched");
    bench.sql(&format!("create database {database}")).await;
    let trigger = format!(
        "create table public.logins (who text);
         grant insert on public.logins to public;
         create function public.on_login() returns event_trigger language plpgsql as $$ begin {body} end $$;
         create event trigger watch on login execute function public.on_login()"
    );
    bench.pg.sql(&database, &trigger).await.unwrap();
    database
}

#[tokio::test]
async fn a_login_trigger_finds_what_it_finds_for_everybody_else() {
    for version in versions() {
        let bench = Bench::new(version).await;
        let database = database(&bench, "insert into logins values (session_user);").await;
        let config = Config { default_database: Some(database.clone()), ..bench.config() };
        let engine = Engine::new(config).unwrap();
        engine.preflight(&Needs::default()).await.unwrap();
        let query = CatalogQuery { database: database.clone(), sets: [].into() };
        let catalog = engine.read_objects(&query).await.unwrap();
        assert!(catalog.objects.iter().any(|object| &*object.name == "logins"));
        let logins = format!("select count(*) from public.logins where who = '{}'", bench.admin);
        assert_ne!(bench.pg.value(&database, &logins).await.unwrap().as_deref(), Some("0"), "{version}");
        let user = unique("alice");
        apply(&engine, &enabled(&user, &[])).await.unwrap();
        assert!(apply(&engine, &ended(&user, true)).await.unwrap().dropped);
    }
}

#[tokio::test]
async fn what_a_login_trigger_sets_does_not_last() {
    for version in versions() {
        let bench = Bench::new(version).await;
        let (other, evil) = (unique("other"), unique("evil"));
        bench.sql(&format!("create role {other}; grant {other} to {}", bench.admin)).await;
        let body = format!(
            "if session_user = '{}' then set role {other}; set search_path = {evil}; set default_transaction_read_only = on;
             set statement_timeout = 1; end if;",
            bench.admin
        );
        let config = Config { default_database: Some(database(&bench, &body).await), ..bench.config() };
        let engine = Engine::new(config).unwrap();
        let preflight = engine.preflight(&Needs::default()).await.unwrap();
        assert!(
            preflight.findings.iter().all(|finding| finding.reason == Reason::PublicConnect),
            "{preflight:?}"
        );
        let user = unique("alice");
        apply(&engine, &enabled(&user, &[])).await.unwrap();
        assert!(apply(&engine, &ended(&user, true)).await.unwrap().dropped);
    }
}

#[tokio::test]
async fn a_login_trigger_that_refuses_the_admin_user_is_reported_and_stops_no_end() {
    for version in versions() {
        let bench = Bench::new(version).await;
        for (raised, code) in [
            ("raise exception 'not in office hours'", "P0001"),
            ("raise exception using errcode = '28000', message = 'not in office hours'", "28000"),
            ("raise exception using errcode = '42501', message = 'not in office hours'", "42501"),
            ("raise exception using errcode = '57014', message = 'not in office hours'", "57014"),
        ] {
            let body = format!("if session_user = '{}' then {raised}; end if;", bench.admin);
            let database = database(&bench, &body).await;
            let config = Config { default_database: Some(database.clone()), ..bench.config() };
            let error = Engine::new(config).unwrap().preflight(&Needs::default()).await.unwrap_err();
            assert_eq!(error.code, code, "{error}");
            let text = error.to_string();
            assert!(text.contains("not in office hours") && text.contains("on_login"), "{text}");
            assert!(error.remedy.contains("event trigger") && !error.remedy.contains("GRANT"), "{text}");
            let user = unique("alice");
            let mut desired = enabled(&user, &[]);
            desired.session_database = Some(database.clone());
            apply(&bench.another(), &desired).await.unwrap();
            let mut desired = ended(&user, true);
            desired.session_database = Some(database);
            assert!(apply(&bench.another(), &desired).await.unwrap().dropped, "{version}");
        }
    }
}
