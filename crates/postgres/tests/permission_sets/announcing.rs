//! Databases that announce changes of their objects.

use std::time::Duration;

use futures::StreamExt as _;
use rolecall_engine::{Changes, Engine as _};
use rolecall_testbed::PgVersion;

use crate::common::unique;
use crate::shop::{Rights, Shop};

/// What a platform engineer runs.
const INSTALL: &str = include_str!("../../../../deploy/postgresql/announce_objects.sql");
const UNINSTALL: &str =
    "drop event trigger rolecall_objects_changed; drop event trigger rolecall_objects_dropped;
    drop function rolecall_announce_changed(); drop function rolecall_announce_dropped()";
const OBJECTS: &str = "create table app.t1 (id int); create table app.t2 (id int)";
/// An announcement takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is announced would have come by then.
const SILENCE: Duration = Duration::from_millis(300);

async fn announcing(version: PgVersion) -> Shop {
    let shop = Shop::new(version, Rights::MemberOfOwner, OBJECTS).await;
    shop.sql(INSTALL).await;
    shop
}

async fn watch(shop: &Shop) -> Changes {
    shop.bench.engine.watch_objects(&shop.database).await.unwrap().unwrap()
}

async fn hears(changes: &mut Changes, what: &str) {
    let heard = tokio::time::timeout(PATIENCE, changes.next()).await;
    assert_eq!(heard, Ok(Some(())), "{what}");
}

async fn hears_nothing(changes: &mut Changes, what: &str) {
    assert!(tokio::time::timeout(SILENCE, changes.next()).await.is_err(), "{what}");
}

#[tokio::test]
async fn every_change_of_objects_and_rights_is_heard_of() {
    for version in PgVersion::ALL {
        let shop = announcing(version).await;
        assert!(shop.read(&[]).await.announced, "{version:?}");
        let mut changes = watch(&shop).await;
        for statement in [
            "create table app.fresh (id int)",
            "create table app.filled as select 1 as id",
            "select 1 as id into app.selected",
            "create view app.v as select 1 as id",
            "create materialized view app.m as select 1 as id",
            "create sequence app.s",
            "create function app.f() returns int language sql as 'select 1'",
            "create procedure app.p() language sql as 'select 1'",
            "create schema later",
            "alter table app.fresh rename to renamed",
            "alter table app.renamed set schema later",
            "alter schema later rename to now",
            "alter function app.f() rename to g",
            "grant select on app.t1 to public",
            "revoke select on app.t1 from public",
            "grant usage on schema now to public",
            "grant execute on all functions in schema app to public",
            "drop table now.renamed",
            "drop schema now cascade",
            "create extension hstore",
            "drop extension hstore",
            "do $$ begin execute 'create table app.nested (id int)'; end $$",
        ] {
            shop.sql(statement).await;
            hears(&mut changes, &format!("{version:?}: {statement}")).await;
        }
        let other = unique("other");
        shop.sql(&format!("create role {other}; grant select on app.t1 to {other}")).await;
        hears(&mut changes, "a grant").await;
        shop.sql(&format!("drop owned by {other}")).await;
        hears(&mut changes, &format!("{version:?}: drop owned")).await;
        shop.sql("create temporary table passing (id int); drop table passing").await;
        shop.sql("analyze app.t1; create index on app.t1 (id); insert into app.t1 values (1)").await;
        hears_nothing(&mut changes, "what changes no object").await;
    }
}

#[tokio::test]
async fn what_the_engine_does_itself_is_not_heard_of() {
    for version in PgVersion::ALL {
        let shop = announcing(version).await;
        let mut changes = watch(&shop).await;
        let set = shop.set();
        shop.reach(&set, &[("SELECT", "*")]).await;
        shop.reach(&set, &[]).await;
        hears_nothing(&mut changes, "its own grants").await;
        shop.sql(&format!("grant select on app.t1 to \"{set}\"")).await;
        hears(&mut changes, "those of others").await;
    }
}

#[tokio::test]
async fn many_changes_at_once_are_heard_of_as_few() {
    let shop = announcing(PgVersion::V17).await;
    let mut changes = watch(&shop).await;
    // Whoever may connect may notify, and fill what is heard at any rate.
    let flood = "do $$ begin for i in 1..1000 loop perform pg_notify('rolecall_objects', repeat('x', 100) || i); end loop; end $$";
    for _ in 0..20 {
        shop.sql(flood).await;
    }
    shop.sql("create table app.fresh (id int)").await;
    hears(&mut changes, "it").await;
    let mut more = 0;
    while tokio::time::timeout(SILENCE, changes.next()).await.is_ok() {
        more += 1;
    }
    assert!(more <= 2, "nobody listened meanwhile, and {more} more wait");
}

#[tokio::test]
async fn without_triggers_that_fire_nothing_is_announced() {
    let shop = Shop::new(PgVersion::V16, Rights::MemberOfOwner, OBJECTS).await;
    assert!(!shop.read(&[]).await.announced);
    shop.sql(INSTALL).await;
    // It may be run again.
    shop.sql(INSTALL).await;
    assert!(shop.read(&[]).await.announced);
    shop.sql("alter event trigger rolecall_objects_dropped disable").await;
    assert!(!shop.read(&[]).await.announced);
    shop.sql(UNINSTALL).await;
    assert!(!shop.read(&[]).await.announced);
}

#[tokio::test]
async fn a_lost_connection_ends_the_stream() {
    let shop = announcing(PgVersion::V18).await;
    let mut changes = watch(&shop).await;
    let end =
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%LISTEN%' and datname = ";
    shop.sql(&format!("{end} '{}' and pid <> pg_backend_pid()", shop.database)).await;
    assert_eq!(tokio::time::timeout(PATIENCE, changes.next()).await, Ok(None));
    // And another one can be had.
    hears_nothing(&mut watch(&shop).await, "nothing").await;
}

#[tokio::test]
async fn at_most_half_of_the_connections_listen() {
    let shop = announcing(PgVersion::V15).await;
    let engine = &shop.bench.engine;
    let most = shop.bench.config().max_connections / 2;
    let mut kept = Vec::new();
    for _ in 0..most {
        kept.push(watch(&shop).await);
    }
    assert!(engine.watch_objects(&shop.database).await.unwrap().is_none());
    // Those that are left do the work of as many as ask.
    let reads = (0..20).map(|_| shop.read(&[]));
    assert_eq!(futures::future::join_all(reads).await.len(), 20);
    assert!(engine.stats().connections_open <= shop.bench.config().max_connections as u64);
    kept.pop();
    kept.push(watch(&shop).await);
    let error = engine.watch_objects("no such database").await;
    assert!(matches!(error, Ok(None)), "none to spare for a database that is not there");
    drop(kept);
    let error = engine.watch_objects("no such database").await.err().unwrap();
    assert_eq!(error.reason, rolecall_engine::Reason::DatabaseNameNotFound);
}
