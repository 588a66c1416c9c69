//! Objects that the server does not let be changed, and all the others beside them.

use std::time::{Duration, Instant};

use rolecall_engine::Engine as _;
use rolecall_engine::sets::Why;
use rolecall_policy::Privilege;
use rolecall_testbed::PgVersion;
use tokio_postgres::Client;

use crate::common::unique;
use crate::shop::{Rights, Shop, grants};

const OBJECTS: &str =
    "create table app.t1 (id int); create table app.t2 (id int); create table app.t3 (id int);";

/// Somebody whose transaction changes a table and does not end.
async fn lock_table(shop: &Shop, table: &str) -> Client {
    let client = shop.bench.pg.superuser(&shop.database).await.unwrap();
    client.batch_execute(&format!("begin; alter table {table} add column held int")).await.unwrap();
    client
}

#[tokio::test]
async fn a_table_that_is_being_changed_delays_neither_other_tables_nor_other_sets() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::MemberOfOwner, OBJECTS).await;
        let sets = [shop.set(), shop.set()];
        let names: Vec<&str> = sets.iter().map(String::as_str).collect();
        let blocker = lock_table(&shop, "app.t2").await;
        let catalog = shop.read(&names).await;
        let desired =
            names.iter().map(|set| shop.desired(set, &catalog, &[("SELECT", "*")])).collect::<Vec<_>>();
        let begun = Instant::now();
        let outcomes = shop.bench.engine.sync_sets(&desired, &catalog).await.unwrap();
        // Nobody waits for the same table twice.
        assert!(begun.elapsed() < Duration::from_secs(20), "{version:?}: {:?}", begun.elapsed());
        for outcome in &outcomes {
            assert_eq!(outcome.granted[&Privilege::Select], 2, "{version:?}: {outcome:#?}");
            assert!(outcome.busy && outcome.missing_objects == 1, "{version:?}: {outcome:#?}");
            let missing = &outcome.missing[0];
            assert_eq!((&missing.why, missing.object.as_str()), (&Why::Busy, "TABLE app.t2"));
        }
        blocker.batch_execute("rollback").await.unwrap();
        for set in names {
            shop.reach(set, &[("SELECT", "*")]).await;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_revoked_now_is_reported_and_revoked_later() {
    let shop = Shop::new(PgVersion::V17, Rights::MemberOfOwner, OBJECTS).await;
    let set = shop.set();
    shop.reach(&set, &[("SELECT", "*")]).await;
    let blocker = lock_table(&shop, "app.t2").await;
    let outcome = shop.sync(&set, &[("SELECT", "app.t1")]).await;
    assert!(outcome.busy && !outcome.is_complete(), "{outcome:#?}");
    let busy: Vec<_> = outcome.excess.iter().map(|excess| (excess.object.as_str(), excess.busy)).collect();
    assert_eq!(busy, [("TABLE app.t2", true)]);
    // It remains as long as one of its objects is locked.
    assert!(shop.bench.engine.drop_set(&set, "uid-1").await.is_err());
    blocker.batch_execute("rollback").await.unwrap();
    shop.reach(&set, &[("SELECT", "app.t1")]).await;
    assert!(shop.bench.engine.drop_set(&set, "uid-1").await.unwrap().dropped);
}

#[tokio::test]
async fn many_objects_that_the_server_refuses_keep_nothing_from_the_others() {
    let tables = "do $$ begin for i in 101..190 loop execute format('create table app.t%s (id int)', i); end loop; end $$";
    let shop = Shop::new(PgVersion::V17, Rights::Superuser, tables).await;
    let others = unique("other");
    // One access list is filled up by grants to single users; forty tables get a copy of it.
    shop.sql(&format!(
        "do $$ begin for i in 1..4000 loop execute format('create role {others}_%s', i);
           begin execute format('grant select on app.t101 to {others}_%s', i);
           exception when program_limit_exceeded then exit; end; end loop; end $$"
    ))
    .await;
    shop.sql(
        "set allow_system_table_mods = on; update pg_class set relacl = (select relacl from pg_class where
           oid = 'app.t101'::regclass) where relname between 't102' and 't140'; reset allow_system_table_mods",
    )
    .await;
    let set = shop.set();
    let outcome = shop.sync(&set, &[("SELECT", "*")]).await;
    assert_eq!(outcome.granted[&Privilege::Select], 50, "{outcome:#?}");
    assert_eq!(outcome.missing_objects, 40);
    assert!(outcome.missing.iter().all(|missing| missing.why == Why::AccessListFull), "{outcome:#?}");
    assert!(!outcome.busy, "only a person can help");
    let granted =
        shop.privileges_of(&set).await.iter().filter(|(privilege, _)| privilege == "SELECT").count();
    assert_eq!(granted, 50);
}

#[tokio::test]
async fn without_its_schema_nothing_counts_as_granted() {
    let shop = Shop::new(PgVersion::V16, Rights::None, OBJECTS).await;
    let (set, admin) = (shop.set(), shop.bench.admin.clone());
    // It may pass on the tables, but not the schema that they are in.
    shop.sql(&format!(
        "grant usage on schema app to {admin};
         grant select on all tables in schema app to {admin} with grant option"
    ))
    .await;
    let outcome = shop.sync(&set, &[("SELECT", "*")]).await;
    assert!(outcome.granted.is_empty(), "{outcome:#?}");
    assert_eq!(
        outcome.missing[0].statement,
        format!("GRANT USAGE ON SCHEMA app TO \"{admin}\" WITH GRANT OPTION")
    );
    shop.sql(&outcome.missing[0].statement).await;
    assert_eq!(shop.reach(&set, &[("SELECT", "*")]).await.granted[&Privilege::Select], 3);
}

#[tokio::test]
async fn missing_and_excess_privileges_of_one_object_are_both_reported() {
    let shop = Shop::new(PgVersion::V17, Rights::None, OBJECTS).await;
    let (set, admin) = (shop.set(), shop.bench.admin.clone());
    shop.sql(&format!("grant usage on schema app to {admin} with grant option")).await;
    shop.sync(&set, &[("SELECT", "app.t1")]).await;
    // By somebody whose grants the admin user cannot take away.
    shop.make(&format!("grant update on app.t1, app.t2 to \"{set}\"")).await;
    let outcome = shop.sync(&set, &[("SELECT", "app.t1")]).await;
    assert!(outcome.granted.is_empty(), "{outcome:#?}");
    assert_eq!(
        outcome.missing[0].statement,
        format!("GRANT SELECT ON TABLE app.t1 TO \"{admin}\" WITH GRANT OPTION")
    );
    assert_eq!(outcome.excess.len(), 2, "{outcome:#?}");
}

#[tokio::test]
async fn an_empty_set_does_not_fail_for_lack_of_connect() {
    let shop = Shop::new(PgVersion::V17, Rights::None, OBJECTS).await;
    let (set, admin) = (shop.set(), shop.bench.admin.clone());
    shop.sql(&format!("revoke grant option for connect on database {} from {admin}", shop.database)).await;
    let outcome = shop.sync(&set, &[]).await;
    assert!(outcome.is_complete() && !outcome.connects, "{outcome:#?}");
    assert_eq!(shop.privileges_of(&set).await, grants(&[]));
}
