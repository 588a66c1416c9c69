//! Accounts activate, others grant, sets are synced: all at the same time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rolecall_engine::{Engine as _, Plan, plan};
use rolecall_testbed::PgVersion;

use crate::common::{enabled, ended, unique};
use crate::membership::with_sets;
use crate::shop::{Rights, Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_accounts_activate_while_sets_are_synced_and_a_dba_grants() {
    for version in PgVersion::ALL {
        let tables = "do $$ begin for i in 1..200 loop execute format('create table app.t%s (id int)', i); end loop; end $$";
        let shop = Arc::new(Shop::new(version, Rights::MemberOfOwner, tables).await);
        let sets: Vec<String> = (0..4).map(|_| shop.set()).collect();
        for set in &sets {
            shop.reach(set, &[("SELECT", "app.t1")]).await;
        }
        let done = Arc::new(AtomicBool::new(false));
        let dba = {
            let (shop, done, other) = (Arc::clone(&shop), Arc::clone(&done), unique("other"));
            tokio::spawn(async move {
                shop.sql(&format!("create role {other}; create role {other}_kept")).await;
                let client = shop.bench.pg.superuser(&shop.database).await.unwrap();
                let mut kept = BTreeSet::new();
                let mut next = (1..=200).cycle();
                while !done.load(Ordering::Relaxed) {
                    // What was said to be granted must not get lost in a grant of ours on the same table.
                    for table in next.by_ref().take(20) {
                        let grant = format!("grant delete on app.t{table} to {other}_kept");
                        if client.batch_execute(&grant).await.is_ok() {
                            kept.insert(table);
                        }
                    }
                    for table in 1..=200 {
                        // What a person would do by hand: now and then it meets the same row.
                        let _ = client
                            .batch_execute(&format!("grant select, insert on app.t{table} to {other}"))
                            .await;
                    }
                    // One by one: a statement on many tables can wait for one of ours, and ours for it.
                    for table in 1..=200 {
                        let revoke = format!("revoke all on app.t{table} from {other}");
                        let _ = client.batch_execute(&revoke).await;
                    }
                }
                let counted = format!(
                    "select count(*)::text from pg_class, aclexplode(relacl) a where a.grantee = '{other}_kept'::regrole"
                );
                assert_eq!(shop.value(&counted).await, kept.len().to_string(), "{version:?}");
                kept.len()
            })
        };
        let accounts: Vec<_> = (0..16)
            .map(|i| {
                let (shop, set) = (Arc::clone(&shop), sets[i % 4].clone());
                tokio::spawn(async move {
                    let user = unique("user");
                    for _ in 0..5 {
                        let desired = with_sets(enabled(&user, &[]), &[&set]);
                        let observed = shop.bench.engine.observe(&desired.query()).await.unwrap();
                        let plan = plan::plan(&desired, &observed).unwrap();
                        assert!(matches!(plan, Plan::Activate(_)));
                        shop.bench.engine.apply(&plan).await.unwrap_or_else(|error| panic!("{error}"));
                        shop.bench.apply(&ended(&user, false)).await.unwrap();
                    }
                    shop.bench.reach(&with_sets(enabled(&user, &[]), &[&set])).await;
                })
            })
            .collect();
        for round in 0..6 {
            let wanted = if round % 2 == 0 { "SELECT, UPDATE" } else { "SELECT" };
            let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
            let catalog = shop.read(&sets).await;
            let desired: Vec<_> =
                sets.iter().map(|set| shop.desired(set, &catalog, &[(wanted, "*")])).collect();
            for outcome in shop
                .bench
                .engine
                .sync_sets(&desired, &catalog)
                .await
                .unwrap_or_else(|error| panic!("{version:?}: {error}"))
            {
                assert!(outcome.is_complete(), "{version:?}: {outcome:#?}");
            }
        }
        for account in accounts {
            account.await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(dba.await.unwrap() > 0);
        for set in &sets {
            shop.reach(set, &[("SELECT", "*")]).await;
            let granted =
                shop.privileges_of(set).await.iter().filter(|(privilege, _)| privilege == "SELECT").count();
            assert_eq!(granted, 200, "{version:?}");
        }
        let deadlocks =
            format!("select deadlocks::text from pg_stat_database where datname = '{}'", shop.database);
        assert_eq!(shop.value(&deadlocks).await, "0", "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_come_and_go_while_a_set_is_synced() {
    for version in PgVersion::ALL {
        let tables = "do $$ begin for i in 1..50 loop execute format('create table app.t%s (id int)', i); end loop; end $$";
        let shop = Arc::new(Shop::new(version, Rights::MemberOfOwner, tables).await);
        let set = shop.set();
        let done = Arc::new(AtomicBool::new(false));
        let others = {
            let (shop, done) = (Arc::clone(&shop), Arc::clone(&done));
            tokio::spawn(async move {
                let client = shop.bench.pg.superuser(&shop.database).await.unwrap();
                client.batch_execute(&format!("set role {}", shop.owner)).await.unwrap();
                let mut dropped = 0;
                while !done.load(Ordering::Relaxed) {
                    // On all of them: the server may have to end this statement or one of ours.
                    let all = "on all tables in schema app";
                    let _ = client.batch_execute(&format!("grant references {all} to public")).await;
                    let _ = client.batch_execute(&format!("revoke references {all} from public")).await;
                    for table in 0..20 {
                        let create = format!("create table app.passing{table} (id int)");
                        client.batch_execute(&create).await.unwrap();
                    }
                    for table in 0..20 {
                        // It may meet a grant on its row.
                        let drop = format!("drop table if exists app.passing{table}");
                        while client.batch_execute(&drop).await.is_err() {}
                        dropped += 1;
                    }
                }
                dropped
            })
        };
        for round in 0..15 {
            let wanted = if round % 2 == 0 { "SELECT, UPDATE" } else { "SELECT" };
            let outcome = shop.sync(&set, &[(wanted, "*")]).await;
            assert!(outcome.is_complete(), "{version:?}: {outcome:#?}");
        }
        done.store(true, Ordering::Relaxed);
        assert!(others.await.unwrap() > 0);
        shop.reach(&set, &[("SELECT", "*")]).await;
        let granted =
            shop.privileges_of(&set).await.iter().filter(|(privilege, _)| privilege == "SELECT").count();
        assert_eq!(granted, 50, "{version:?}");
    }
}
