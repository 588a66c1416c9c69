//! What a user runs, seen and stopped as that user, who has no right for it.

use std::time::Duration;

use mongodb::bson::doc;
use rolecall_engine::{Activity as _, Examine as _, Running, Stop};
use rolecall_mongodb::Mongodb;
use rolecall_testbed::{Mongo, MongoAdmin};

use crate::bench::{Bench, config, until, wanted};

fn as_user(bench: &Bench<'_>, user: &str) -> Mongodb {
    Mongodb::new(config(bench.mongo, user, &bench.mongo.client_cert(user).unwrap())).unwrap()
}

async fn seen(engine: &Mongodb) -> Vec<Running> {
    engine.running().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_and_stops_its_own_operations_and_nobody_elses() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let (alice, bob) = (rolecall_testbed::unique("alice"), rolecall_testbed::unique("bob"));
    bench.run("shop", doc! { "insert": "orders", "documents": [{ "n": 1 }] }).await;
    for user in [&alice, &bob] {
        bench.bring(&wanted(user, &["read@shop"])).await.unwrap();
    }
    let (mine, theirs) = (as_user(&bench, &alice), as_user(&bench, &bob));
    assert_eq!(seen(&mine).await, [], "the question itself is left out");
    let client = bench.log_in(&alice).await.unwrap();
    for how in [Stop::Cancel, Stop::Terminate] {
        let running = bench.run_for(&client, Duration::from_secs(600)).await;
        let now = seen(&mine).await;
        let [one] = now.as_slice() else { panic!("{now:?}") };
        assert!(
            one.active && one.database == "shop.orders" && one.query.contains("sleep(600000)"),
            "{one:?}"
        );
        assert!(one.since.as_deref().is_some_and(|since| since.ends_with('Z')), "{one:?}");
        assert_eq!(seen(&theirs).await, []);
        assert!(!theirs.stop(&one.id, how).await.unwrap(), "it is another one's");

        assert!(mine.stop(&one.id, how).await.unwrap());
        until("it runs nothing", async || seen(&mine).await.is_empty()).await;
        assert!(!running.await.unwrap(), "it was stopped, and did not end by itself");
        assert!(!mine.stop(&one.id, how).await.unwrap(), "it is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_the_server_is_read() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let found = bench.engine.examine(&[].into()).await.unwrap();
    let now = jiff::Timestamp::now().as_microsecond();
    assert!(found.clock.is_some_and(|clock| (clock - now).abs() < 60_000_000), "{found:?}");
}
