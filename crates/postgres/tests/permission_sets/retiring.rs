//! Listing and dropping sets.

use rolecall_engine::Engine as _;
use rolecall_testbed::PgVersion;

use crate::common::{enabled, ended, unique};
use crate::membership::with_sets;
use crate::shop::{RIGHTS, Shop};

const OBJECTS: &str = "create table app.t1 (id int, name text); create sequence app.s; create function app.f() returns int language sql as 'select 1'";

#[tokio::test]
async fn a_set_without_members_is_dropped_with_all_its_privileges() {
    for version in PgVersion::ALL {
        for rights in RIGHTS {
            let shop = Shop::new(version, rights, OBJECTS).await;
            let (set, user) = (shop.set(), unique("alice"));
            shop.reach(&set, &[("SELECT", "app.t1"), ("USAGE", "app.s"), ("EXECUTE", "app.f")]).await;
            shop.bench.reach(&with_sets(enabled(&user, &[]), &[&set])).await;
            let engine = &shop.bench.engine;
            let entry =
                engine.list_sets().await.unwrap().into_iter().find(|entry| entry.role == set).unwrap();
            assert_eq!((entry.record, entry.members), (Some(shop.record()), 1), "{version:?} {rights:?}");
            assert!(entry.executes, "it has a function");
            shop.reach(&set, &[("SELECT", "app.t1"), ("USAGE", "app.s")]).await;
            let entry =
                engine.list_sets().await.unwrap().into_iter().find(|entry| entry.role == set).unwrap();
            assert!(!entry.executes, "{version:?} {rights:?}: it has none any more");
            let kept = engine.drop_set(&set, "uid-1").await.unwrap();
            assert!(kept.kept_because.unwrap().contains("1 members"));
            shop.bench.reach(&ended(&user, true)).await;
            assert!(engine.drop_set(&set, "uid-2").await.unwrap().kept_because.is_some());
            let applied = engine.drop_set(&set, "uid-1").await.unwrap();
            assert!(applied.dropped, "{version:?} {rights:?}: {applied:?}");
            assert!(engine.drop_set(&set, "uid-1").await.unwrap().dropped);
        }
    }
}

#[tokio::test]
async fn a_set_that_somebody_else_gave_something_is_kept_and_says_what() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, crate::shop::Rights::Grants, OBJECTS).await;
        let (set, elsewhere) = (shop.set(), unique("elsewhere"));
        shop.reach(&set, &[("SELECT", "app.t1")]).await;
        shop.bench.sql(&format!("create database {elsewhere}")).await;
        shop.bench
            .pg
            .sql(&elsewhere, &format!("create table t (id int); grant select on t to \"{set}\""))
            .await
            .unwrap();
        let applied = shop.bench.engine.drop_set(&set, "uid-1").await.unwrap();
        let why = applied.kept_because.unwrap();
        assert!(why.contains("2BP01") && why.contains(&elsewhere), "{version:?}: {why}");
        shop.bench.pg.sql(&elsewhere, &format!("revoke all on t from \"{set}\"")).await.unwrap();
        assert!(shop.bench.engine.drop_set(&set, "uid-1").await.unwrap().dropped);
    }
}

#[tokio::test]
async fn no_other_role_is_ever_dropped() {
    let shop = Shop::new(PgVersion::V15, crate::shop::Rights::Superuser, OBJECTS).await;
    let role = shop.bench.role("reader").await;
    assert!(shop.bench.engine.drop_set(&role, "uid-1").await.unwrap().kept_because.is_some());
    assert_eq!(
        shop.value(&format!("select count(*)::text from pg_roles where rolname = '{role}'")).await,
        "1"
    );
}
