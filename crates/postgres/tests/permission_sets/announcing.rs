//! Databases that announce changes of their objects.

use std::time::Duration;

use futures::StreamExt as _;
use rolecall_engine::objects::Elsewhere;
use rolecall_engine::{ChangedObjects, Changes, Engine as _, ObjectRef, SomeObjects};
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

async fn hears(changes: &mut Changes, what: &str) -> ChangedObjects {
    let heard = tokio::time::timeout(PATIENCE, changes.next()).await;
    heard.ok().flatten().unwrap_or_else(|| panic!("not heard of: {what}"))
}

/// What is found where the announcement says to look.
async fn found(shop: &Shop, changed: ChangedObjects) -> Option<Vec<String>> {
    let ChangedObjects::These(objects) = changed else { return None };
    let some = SomeObjects { objects: objects.clone(), ..SomeObjects::default() };
    let catalog = shop.bench.engine.read_some_objects(&shop.query(&[]), &some).await.unwrap();
    let numbers = 0..catalog.objects.len();
    let named = numbers.filter(|number| objects.contains(&ObjectRef::of(&catalog, *number).unwrap()));
    let name = |number: usize| {
        let object = &catalog.objects[number];
        format!("{} {}.{}", object.kind.as_str(), object.schema, object.name)
    };
    Some(named.map(name).collect())
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
async fn an_announcement_names_what_was_made_or_altered_and_nothing_where_that_is_not_all() {
    for version in PgVersion::ALL {
        let shop = announcing(version).await;
        let mut changes = watch(&shop).await;
        let wide: String = (0..60).map(|i| format!(" create table w{i} (id int)")).collect();
        for (statement, expected) in [
            ("create table app.fresh (id int primary key)", Some(&["table app.fresh"][..])),
            (
                "create table app.counted (id serial)",
                Some(&["table app.counted", "sequence app.counted_id_seq"]),
            ),
            ("create table app.as_is as select 1 as id", Some(&["table app.as_is"])),
            ("create view app.v as select 1 as id", Some(&["view app.v"])),
            ("create function app.f() returns int language sql as 'select 1'", Some(&["function app.f"])),
            (
                "create schema later create table soon (id int)",
                Some(&["table later.soon", "schema later.later"]),
            ),
            ("alter table app.fresh rename to renamed", Some(&["table app.renamed"])),
            ("alter table app.renamed add column more text", Some(&["table app.renamed"])),
            (
                "alter table app.counted set schema later",
                Some(&["table later.counted", "sequence later.counted_id_seq"]),
            ),
            ("alter function app.f() set schema later", Some(&["function later.f"])),
            ("alter schema later rename to now", None),
            ("alter table now.soon drop column id", None),
            ("grant select on app.t1 to public", None),
            ("drop table now.soon", None),
            ("create extension hstore", None),
            (&format!("create schema wide{wide}"), None),
        ] {
            shop.sql(statement).await;
            let changed = hears(&mut changes, statement).await;
            let found = found(&shop, changed).await;
            let expected: Option<Vec<String>> =
                expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(found, expected, "{version:?}: {statement}");
        }
        shop.sql("alter index app.fresh_pkey rename to pkey").await;
        shop.sql("begin; create table app.never (id int); rollback").await;
        hears_nothing(&mut changes, "no object has changed").await;
    }
}

#[tokio::test]
async fn some_objects_are_read_with_their_schemas_and_put_right_alone() {
    for version in PgVersion::ALL {
        let shop = announcing(version).await;
        let set = shop.set();
        shop.reach(&set, &[("SELECT", "*")]).await;
        let mut changes = watch(&shop).await;
        shop.make("create schema other; create table other.fresh (id int); create sequence app.s").await;
        shop.sql(&format!("revoke select on app.t1 from \"{set}\" cascade")).await;
        let mut changed = ChangedObjects::default();
        while let Ok(Some(more)) = tokio::time::timeout(SILENCE, changes.next()).await {
            changed.add(more);
        }
        assert_eq!(changed, ChangedObjects::All, "the server does not say what was revoked");
        let all = shop.read(&[&set]).await;
        let number = |name: &str| all.objects.iter().position(|object| &*object.name == name).unwrap();
        let some = SomeObjects {
            objects: [ObjectRef::of(&all, number("fresh")).unwrap()].into(),
            schemas: ["app".into(), "nowhere".into()].into(),
        };
        let query = shop.query(&[&set]);
        let catalog = shop.bench.engine.read_some_objects(&query, &some).await.unwrap();
        let names: Vec<&str> = catalog.objects.iter().map(|object| &*object.name).collect();
        assert_eq!(names, ["fresh", "app", "other"], "{version:?}");
        assert!(catalog.announced && catalog.elsewhere.is_some(), "{version:?}");
        assert_eq!(catalog.sets.keys().collect::<Vec<_>>(), [&set]);
        let granted = "select relacl::text from pg_class where oid = 'app.t1'::regclass";
        let before = shop.value(granted).await;
        // It is used because of what the catalogue does not show.
        let app = names.iter().position(|name| *name == "app").unwrap();
        let mut catalog = catalog;
        catalog.elsewhere = Some(Elsewhere { used_schemas: [(set.clone(), [app].into())].into() });
        let desired = shop.desired(&set, &catalog, &[("SELECT", "other.fresh")]);
        let outcomes = shop.bench.engine.sync_sets(&[desired], &catalog).await.unwrap();
        assert!(outcomes[0].is_complete(), "{version:?}: {outcomes:#?}");
        assert_eq!(before, shop.value(granted).await, "{version:?}: it was not among them");
        let has = format!("select has_table_privilege('{set}', 'other.fresh', 'SELECT')::text");
        assert_eq!(shop.value(&has).await, "true", "{version:?}");
        let usage = format!("select has_schema_privilege('{set}', 'app', 'USAGE')::text");
        assert_eq!(shop.value(&usage).await, "true", "{version:?}");
    }
}

#[tokio::test]
async fn an_earlier_version_of_the_triggers_is_replaced_and_says_less() {
    let shop = Shop::new(PgVersion::V17, Rights::MemberOfOwner, OBJECTS).await;
    shop.sql(
        "create function public.rolecall_announce_changed() returns event_trigger language plpgsql as
        $$ begin notify rolecall_objects; end $$;
        create function public.rolecall_announce_dropped() returns event_trigger language plpgsql as
        $$ begin notify rolecall_objects; end $$;
        create event trigger rolecall_objects_changed on ddl_command_end when tag in ('CREATE TABLE')
        execute function public.rolecall_announce_changed();
        create event trigger rolecall_objects_dropped on sql_drop execute function public.rolecall_announce_dropped()",
    )
    .await;
    assert!(shop.read(&[]).await.announced);
    let mut changes = watch(&shop).await;
    shop.sql("create table app.before (id int)").await;
    assert_eq!(hears(&mut changes, "a new table").await, ChangedObjects::All);
    shop.sql(INSTALL).await;
    while tokio::time::timeout(SILENCE, changes.next()).await.is_ok() {}
    shop.sql("create table app.after (id int)").await;
    let changed = hears(&mut changes, "a new table").await;
    assert_eq!(found(&shop, changed).await, Some(vec!["table app.after".to_owned()]));
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
    assert_eq!(hears(&mut changes, "it").await, ChangedObjects::All, "nobody else knows what was meant");
    let mut more = 0;
    while tokio::time::timeout(SILENCE, changes.next()).await.is_ok() {
        more += 1;
    }
    // What arrives while this reads counts by itself: how much that is says how fast the machine is.
    assert!(more <= 200, "20,000 were announced, and {more} are heard of one by one");
}

#[tokio::test]
async fn more_tables_in_one_transaction_than_can_be_told_apart_are_heard_of_as_everything() {
    let shop = announcing(PgVersion::V16).await;
    let mut changes = watch(&shop).await;
    shop.sql("do $$ begin for i in 1..600 loop execute 'create table app.many' || i || ' (id int)'; end loop; end $$")
        .await;
    let mut changed = hears(&mut changes, "many tables").await;
    while let Ok(Some(more)) = tokio::time::timeout(SILENCE, changes.next()).await {
        changed.add(more);
    }
    assert_eq!(changed, ChangedObjects::All);
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
    assert_eq!(tokio::time::timeout(PATIENCE, changes.next()).await, Ok(None::<ChangedObjects>));
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
