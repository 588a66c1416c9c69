//! What is read of a logical database.

use std::collections::BTreeSet;

use rolecall_engine::{Engine as _, Reason};
use rolecall_policy::ObjectKind;
use rolecall_testbed::PgVersion;

use crate::shop::{Rights, Shop};

#[tokio::test]
async fn every_kind_is_read_and_nothing_of_the_servers_own() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::None, "create table app.t (id serial)").await;
        shop.sql(
            "create extension if not exists postgres_fdw schema public; create server far foreign data wrapper postgres_fdw;
             create foreign table app.far (id int) server far; create extension hstore schema app; create temporary table gone (id int)",
        )
        .await;
        shop.make(
            "create table app.p (id int) partition by range (id); create table app.p1 partition of app.p for values from (0) to (1);
             create view app.v as select 1 as a; create materialized view app.m as select 1 as a; create procedure app.proc() language sql as 'select 1';
             create function app.f() returns int language sql as 'select 1'; create aggregate app.agg(int) (sfunc = int4pl, stype = int)",
        )
        .await;
        let catalog = shop.read(&[]).await;
        let named = |kind: ObjectKind, name: &str| {
            catalog.objects.iter().any(|o| o.kind == kind && &*o.schema == "app" && &*o.name == name)
        };
        for (kind, name) in [
            (ObjectKind::Table, "t"),
            (ObjectKind::Sequence, "t_id_seq"),
            (ObjectKind::Table, "p"),
            (ObjectKind::Table, "p1"),
            (ObjectKind::View, "v"),
            (ObjectKind::MaterializedView, "m"),
            (ObjectKind::ForeignTable, "far"),
            (ObjectKind::Procedure, "proc"),
            (ObjectKind::Function, "f"),
            (ObjectKind::Function, "agg"),
            (ObjectKind::Schema, "app"),
            // Of an extension.
            (ObjectKind::Function, "hstore_to_json"),
        ] {
            assert!(named(kind, name), "{version:?}: {kind} {name}");
        }
        let schemas: BTreeSet<&str> = catalog.objects.iter().map(|object| &*object.schema).collect();
        assert_eq!(schemas, BTreeSet::from(["app", "public"]));
        assert!(catalog.objects.is_sorted() && catalog.objects.len() == catalog.ids.len());
    }
}

#[tokio::test]
async fn any_name_is_read_and_granted() {
    let names = [
        "My \"own\" tab.le",
        "line\nbreak",
        "naïve 表",
        "$rolecall$",
        "back\\slash'",
        "select",
        "a, b TO postgres --",
    ];
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::MemberOfOwner, "").await;
        for name in names {
            let name = crate::common::quote(name);
            shop.make(&format!(
                "create schema {name}; create table {name}.{name} (id int);
                 create function {name}.{name}(x {name}.{name}) returns int language sql as 'select 1'"
            ))
            .await;
        }
        for types in ["", "int", "int, text", "text[]", "variadic numeric[]"] {
            shop.make(&format!("create function app.over({types}) returns int language sql as 'select 1'"))
                .await;
        }
        let set = shop.set();
        let outcome = shop.reach(&set, &[("SELECT, EXECUTE, USAGE", "*")]).await;
        let overloaded =
            shop.privileges_of(&set).await.iter().filter(|(_, name)| name.starts_with("app.over(")).count();
        assert_eq!(overloaded, 5, "{version:?}");
        assert_eq!(outcome.granted[&rolecall_policy::Privilege::Execute], 5 + names.len());
    }
}

#[tokio::test]
async fn what_belongs_to_an_extension_is_granted_and_taken_like_anything_else() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::Superuser, "").await;
        shop.sql(
            "create extension hstore schema app; create table app.ext (id int);
             alter extension hstore add table app.ext; revoke execute on all routines in schema app from public",
        )
        .await;
        let set = shop.set();
        let wanted = [("SELECT", "app.ext"), ("EXECUTE", "app.hstore_to_json")];
        shop.reach(&set, &wanted).await;
        let granted = shop.privileges_of(&set).await;
        for one in [("SELECT", "app.ext"), ("EXECUTE", "app.hstore_to_json(app.hstore)")] {
            assert!(granted.contains(&(one.0.to_owned(), one.1.to_owned())), "{version:?}: {granted:?}");
        }
        // What a dump of the extension would restore is not touched.
        let initial = "select count(*)::text from pg_init_privs, aclexplode(initprivs) a where a.grantee in (select oid from pg_roles where rolname like 'rolecall:%')";
        assert_eq!(shop.value(initial).await, "0", "{version:?}");
        assert!(shop.bench.engine.drop_set(&set, "uid-1").await.unwrap().dropped, "{version:?}");
    }
}

#[tokio::test]
async fn ten_thousand_schemas_are_read_and_granted() {
    let shop = Shop::new(PgVersion::V18, Rights::MemberOfOwner, "").await;
    shop.make("do $$ begin for i in 1..10000 loop execute format('create schema s%s', i); if i % 500 = 0 then execute format('create table s%s.t (id int)', i); end if; end loop; end $$").await;
    let set = shop.set();
    let catalog = shop.read(&[&set]).await;
    assert_eq!(catalog.objects.iter().filter(|object| object.kind == ObjectKind::Schema).count(), 10_002);
    let wanted: Vec<String> = (1..=20).map(|i| format!("s{}.t", i * 500)).collect();
    let wanted: Vec<(&str, &str)> = wanted.iter().map(|name| ("SELECT", name.as_str())).collect();
    shop.reach(&set, &wanted).await;
    let granted = shop.privileges_of(&set).await;
    assert_eq!(granted.iter().filter(|(privilege, _)| privilege == "USAGE").count(), 20);
}

#[tokio::test]
async fn a_database_that_does_not_exist_or_is_closed_is_reported() {
    let shop = Shop::new(PgVersion::V17, Rights::None, "").await;
    let mut query = shop.query(&[]);
    query.database = "no such database".to_owned();
    let error = shop.bench.engine.read_objects(&query).await.unwrap_err();
    assert_eq!(error.reason, Reason::DatabaseNameNotFound, "{error}");
    shop.bench
        .sql(&format!("revoke connect on database {} from {} cascade", shop.database, shop.bench.admin))
        .await;
    let error = shop.bench.engine.read_objects(&shop.query(&[])).await.unwrap_err();
    assert_eq!(error.reason, Reason::MissingConnect, "{error}");
}

#[tokio::test]
async fn maintain_is_a_privilege_from_17_on() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::MemberOfOwner, "create table app.t (id int)").await;
        let set = shop.set();
        shop.reach(&set, &[("SELECT, MAINTAIN", "app.t")]).await;
        let maintains = shop.privileges_of(&set).await.contains(&("MAINTAIN".to_owned(), "app.t".to_owned()));
        assert_eq!(maintains, version.major() >= 17, "{version:?}");
    }
}

#[tokio::test]
async fn procedures_that_differ_only_in_their_results_are_distinguished() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::MemberOfOwner, "").await;
        shop.make(
            "create procedure app.p(a int) language sql as 'select 1';
             create procedure app.p(out a int) language sql as 'select 1';
             create procedure app.\"o\"\"dd\"(in a int, inout b text, out c int[]) language sql as $$select b, array[a]$$;
             revoke execute on all routines in schema app from public",
        )
        .await;
        let set = shop.set();
        let outcome = shop.reach(&set, &[("EXECUTE", "*")]).await;
        assert_eq!(outcome.granted[&rolecall_policy::Privilege::Execute], 3, "{version:?}");
        shop.reach(&set, &[]).await;
    }
}
