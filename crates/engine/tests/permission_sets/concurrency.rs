//! Accounts activate, others grant, sets are converged: all at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rolecall_engine::{Engine as _, Plan, plan};
use rolecall_testbed::PgVersion;

use crate::common::{enabled, ended, unique};
use crate::membership::with_sets;
use crate::shop::{Rights, Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_accounts_activate_while_sets_are_converged_and_a_dba_grants() {
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
                shop.sql(&format!("create role {other}")).await;
                let client = shop.bench.pg.superuser(&shop.database).await.unwrap();
                let mut grants = 0;
                while !done.load(Ordering::Relaxed) {
                    for table in 1..=200 {
                        // What a person would do by hand: now and then it meets the same row.
                        let _ = client
                            .batch_execute(&format!("grant select, insert on app.t{table} to {other}"))
                            .await;
                        grants += 1;
                    }
                    let _ = client
                        .batch_execute(&format!("revoke all on all tables in schema app from {other}"))
                        .await;
                }
                grants
            })
        };
        let accounts: Vec<_> = (0..16)
            .map(|i| {
                let (shop, set) = (Arc::clone(&shop), sets[i % 4].clone());
                tokio::spawn(async move {
                    let user = unique("user");
                    for _ in 0..5 {
                        let wish = with_sets(enabled(&user, &[]), &[&set]);
                        let observed = shop.bench.engine.observe(&wish.query()).await.unwrap();
                        let plan = plan::plan(&wish, &observed).unwrap();
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
            let wishes: Vec<_> = sets.iter().map(|set| shop.wish(set, &catalog, &[(wanted, "*")])).collect();
            for outcome in shop
                .bench
                .engine
                .converge(&wishes, &catalog)
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
            let held = shop.holds(set).await.iter().filter(|(privilege, _)| privilege == "SELECT").count();
            assert_eq!(held, 200, "{version:?}");
        }
    }
}
