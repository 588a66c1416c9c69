//! Sets are synced, accounts activate, members fail: all at the same time.

use futures::future::{join, join_all};
use mongodb::bson::doc;
use rolecall_engine::{Class, Engine as _};
use rolecall_testbed::Mongo;

use crate::shop::{Shop, grants, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_make_the_same_set_at_once_agree() {
    let shop = Shop::new(&["orders", "payments"]).await;
    let other = shop.another();
    for _ in 0..10 {
        let set = shop.set();
        let catalog = shop.read(&[&set]).await;
        let desired = [shop.desired(&set, &catalog, &[("FIND", "*")])];
        let both = join(shop.engine.sync_sets(&desired, &catalog), other.sync_sets(&desired, &catalog)).await;
        for outcome in [both.0, both.1] {
            let outcome = outcome.unwrap().remove(0);
            assert!(outcome.is_complete(), "{outcome:#?}");
        }
        assert_eq!(shop.privileges_of(&set).await, grants(&[("find", "orders"), ("find", "payments")]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_that_want_different_things_of_a_set_terminate() {
    let shop = Shop::new(&["orders", "payments"]).await;
    let (other, set) = (shop.another(), shop.set());
    for _ in 0..10 {
        let catalog = shop.read(&[&set]).await;
        let [first, second] =
            ["FIND", "INSERT"].map(|privilege| [shop.desired(&set, &catalog, &[(privilege, "*")])]);
        let both = join(shop.engine.sync_sets(&first, &catalog), other.sync_sets(&second, &catalog)).await;
        for outcome in [both.0, both.1] {
            let outcome = outcome.unwrap().remove(0);
            // Each gets an error when the other won.
            assert!(outcome.failure.is_none_or(|failure| failure.class == Class::Transient));
        }
    }
    shop.reach(&set, &[("FIND", "*")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_accounts_activate_while_sets_are_synced() {
    let shop = Shop::new(&["orders", "payments", "customers"]).await;
    let sets: Vec<String> = (0..4).map(|_| shop.set()).collect();
    for set in &sets {
        shop.reach(set, &[("FIND", "orders")]).await;
    }
    let converging = async {
        for round in 0..12 {
            let wanted = if round % 2 == 0 { "FIND, INSERT" } else { "FIND" };
            let names: Vec<&str> = sets.iter().map(String::as_str).collect();
            let catalog = shop.read(&names).await;
            let desired: Vec<_> =
                sets.iter().map(|set| shop.desired(set, &catalog, &[(wanted, "*")])).collect();
            for outcome in shop.engine.sync_sets(&desired, &catalog).await.unwrap() {
                assert!(outcome.is_complete(), "{outcome:#?}");
            }
        }
    };
    let activating = (0..16).map(async |i: usize| {
        let (user, set) = (unique("crowd"), &sets[i % sets.len()]);
        for _ in 0..3 {
            let desired = shop.member(&user, &[set]);
            shop.bring(&desired).await;
            shop.bring(&desired.end(false)).await;
        }
        shop.bring(&shop.member(&user, &[set])).await;
    });
    join(converging, join_all(activating)).await;
    let entries = shop.engine.list_sets().await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.members).collect::<Vec<_>>(), [4; 4]);
    for set in &sets {
        shop.reach(set, &[("FIND", "*")]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_set_that_the_server_cannot_create_now_does_not_delay_the_others() {
    let mongo = Mongo::builder().parameter("enableTestCommands", "1").start().await.unwrap();
    let shop = Shop::on(&mongo, &["orders"]).await;
    let (first, second) = (shop.set(), shop.set());
    let catalog = shop.read(&[&first, &second]).await;
    let desired = [&first, &second].map(|set| shop.desired(set, &catalog, &[("FIND", "orders")]));
    // A write conflict.
    let data = doc! { "failCommands": ["createRole"], "errorCode": 112, "appName": "rolecall" };
    let once = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
    shop.run_in("admin", once).await;
    let outcomes = shop.engine.sync_sets(&desired, &catalog).await.unwrap();
    let failure = outcomes[0].failure.as_ref().unwrap();
    assert_eq!((failure.class, &*failure.code), (Class::Transient, "MongoDB 112"), "{failure}");
    assert!(outcomes[1].is_complete(), "{:#?}", outcomes[1]);
    shop.reach(&first, &[("FIND", "orders")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_privileges_of_a_set_are_not_trusted_before_a_majority_has_them() {
    let mongo = Mongo::builder().members(3).parameter("enableTestCommands", "1").start().await.unwrap();
    let shop = Shop::on(&mongo, &["orders"]).await;
    let set = shop.set();
    shop.reach(&set, &[("FIND, INSERT", "orders")]).await;
    let primary = mongo.primary().await.unwrap().unwrap();
    let tester = mongo.create_user_everywhere("tester", &["root@admin"]).await.unwrap();
    let follow = async |mode: &str| {
        for member in (0..3).filter(|member| *member != primary) {
            let client = mongo.connect_to(member, &tester).await.unwrap();
            let command = doc! { "configureFailPoint": "stopReplProducer", "mode": mode };
            client.database("admin").run_command(command).await.unwrap();
        }
    };
    let catalog = shop.read(&[&set]).await;
    let desired = shop.desired(&set, &catalog, &[("FIND", "orders")]);
    follow("alwaysOn").await;
    let outcome = shop.engine.sync_sets(&[desired], &catalog).await.unwrap().remove(0);
    let failure = outcome.failure.unwrap();
    assert_eq!((failure.class, &*failure.code), (Class::Transient, "MongoDB 64"), "{failure}");
    let query = rolecall_engine::CatalogQuery { database: shop.database.clone(), sets: [set.clone()].into() };
    let error = shop.engine.read_objects(&query).await.unwrap_err();
    assert_eq!(error.class, Class::Transient, "{error}");
    follow("off").await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while let Err(error) = shop.engine.read_objects(&query).await {
        assert!(std::time::Instant::now() < deadline, "{error}");
    }
    shop.reach(&set, &[("FIND", "orders")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_set_is_synced_across_a_failover() {
    let mongo = Mongo::builder().members(3).start().await.unwrap();
    let shop = Shop::on(&mongo, &["orders", "payments"]).await;
    let set = shop.set();
    shop.reach(&set, &[("FIND", "orders")]).await;
    mongo.step_down().await.unwrap();
    let wanted = [("FIND, INSERT", "*")];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let tried = async {
            let query =
                rolecall_engine::CatalogQuery { database: shop.database.clone(), sets: [set.clone()].into() };
            let catalog = shop.engine.read_objects(&query).await?;
            shop.engine.sync_sets(&[shop.desired(&set, &catalog, &wanted)], &catalog).await
        };
        match tried.await {
            Ok(outcomes) => {
                assert!(outcomes[0].is_complete(), "{outcomes:#?}");
                break;
            }
            Err(error) => {
                assert!(matches!(error.class, Class::Unreachable | Class::Transient), "{error}");
                assert!(std::time::Instant::now() < deadline, "{error}");
            }
        }
    }
    assert_eq!(shop.privileges_of(&set).await.len(), 4);
    // What was confirmed is on the next primary, too.
    let primary = mongo.primary().await.unwrap().unwrap();
    mongo.kill(primary).await;
    assert_eq!(shop.privileges_of(&set).await.len(), 4);
    shop.run(doc! { "ping": 1 }).await;
}
