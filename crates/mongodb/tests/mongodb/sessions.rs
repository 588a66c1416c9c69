//! Connections of users through the life of an account.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::doc;
use rolecall_engine::{AccountName, Class, Plan};
use rolecall_mongodb::user_name;
use rolecall_testbed::{Mongo, MongoAdmin};

use crate::bench::{Bench, ended, live, until, wanted};

async fn can_read(client: &Client) -> bool {
    client.database("shop").run_command(doc! { "find": "orders" }).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_loses_everything_at_once_and_never_gets_it_back() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    for (used_in_between, drop) in [(true, false), (false, false), (false, true)] {
        bench.bring(&wanted(&user, &["read@shop"])).await.unwrap();
        let old = bench.log_in(&user).await.unwrap();
        assert!(can_read(&old).await, "{user}");
        bench.bring(&ended(&user, drop)).await.unwrap();
        if used_in_between {
            assert!(!can_read(&old).await, "{user}");
        }
        // The next session is another one: its rights are not for connections of the one before.
        bench.bring(&wanted(&user, &["readWrite@shop"])).await.unwrap();
        assert!(!can_read(&old).await, "used in between: {used_in_between}, dropped: {drop}");
        assert!(can_read(&bench.log_in(&user).await.unwrap()).await, "{user}");
        bench.bring(&ended(&user, true)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_command_delays_an_end_until_it_is_over() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    bench.run("shop", doc! { "insert": "orders", "documents": [{ "n": 1 }] }).await;
    bench.bring(&wanted(&user, &["read@shop"])).await.unwrap();
    let client = bench.log_in(&user).await.unwrap();
    let running = bench.run_for(&client, Duration::from_secs(2)).await;
    bench.bring(&ended(&user, false)).await.unwrap();
    assert!(running.is_finished(), "it still runs");
    assert!(!can_read(&client).await && bench.log_in(&user).await.is_err(), "{user}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_open_can_not_be_committed_after_the_end() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    bench.bring(&wanted(&user, &["readWrite@shop"])).await.unwrap();
    let client = bench.log_in(&user).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let orders = client.database("shop").collection("transactions");
    orders.insert_one(doc! { "user": &user }).session(&mut session).await.unwrap();
    // It runs nothing at this moment, so it delays nothing.
    bench.bring(&ended(&user, false)).await.unwrap();
    assert!(session.commit_transaction().await.is_err());
    let found = bench.run("shop", doc! { "count": "transactions", "query": { "user": &user } }).await;
    assert_eq!(found.get_i32("n").unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_loses_a_role_from_one_command_to_the_next() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    bench.bring(&wanted(&user, &["read@shop", "read@hr"])).await.unwrap();
    let client = bench.log_in(&user).await.unwrap();
    bench.bring(&live(wanted(&user, &["read@hr"]))).await.unwrap();
    until("the role is gone", async || !can_read(&client).await).await;
    assert!(client.database("hr").run_command(doc! { "find": "people" }).await.is_ok(), "it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_had_begun_with_a_role_that_is_lost_is_waited_for() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    bench.run("shop", doc! { "insert": "orders", "documents": [{ "n": 1 }] }).await;
    bench.bring(&wanted(&user, &["read@shop", "read@hr"])).await.unwrap();
    let client = bench.log_in(&user).await.unwrap();
    let running = bench.run_for(&client, Duration::from_secs(2)).await;
    bench.bring(&live(wanted(&user, &["read@hr"]))).await.unwrap();
    assert!(running.is_finished(), "it still runs");
    assert!(client.database("hr").run_command(doc! { "find": "people" }).await.is_ok(), "it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_somebody_takes_while_it_is_drained_is_left_to_them() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    bench.run("shop", doc! { "insert": "orders", "documents": [{ "n": 1 }] }).await;
    let record = doc! { "uid": "them", "admin": "shop/them", "cluster": "" };
    for theirs in [doc! { "teleport-auto-user": true, "rolecall": record }, doc! { "note": "mine" }] {
        let user = rolecall_testbed::unique("alice");
        bench.bring(&wanted(&user, &["read@shop"])).await.unwrap();
        let client = bench.log_in(&user).await.unwrap();
        let running = bench.run_for(&client, Duration::from_secs(2)).await;
        // What is left of an earlier session is closed first, which takes as long as its command.
        let start = wanted(&user, &["readWrite@shop"]);
        let take = async {
            let locked = async || bench.user(&user).await.unwrap().to_string().contains("0.0.0.0");
            until("the account is closed", locked).await;
            let name = user_name(&AccountName::new(&*user).unwrap());
            bench.run("$external", doc! { "updateUser": name, "customData": theirs.clone() }).await;
        };
        let (started, ()) = tokio::join!(bench.bring(&start), take);
        assert!(running.await.unwrap());
        let error = started.unwrap_err();
        assert!(error.is_of_changed_account(), "{error}");
        let found = bench.user(&user).await.unwrap();
        assert_eq!(found.get_document("customData").unwrap(), &theirs, "{found}");
        assert!(found.to_string().contains("0.0.0.0"), "{found}");
        assert!(found.get_array("roles").unwrap().is_empty(), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_dropped_by_hand_has_not_ended_while_a_command_of_it_runs() {
    // A single server reports no time by which members could be compared.
    let single = Mongo::builder().standalone().start().await.unwrap();
    tokio::join!(dropped_while_running(Mongo::shared().await.unwrap()), dropped_while_running(&single));
}

async fn dropped_while_running(mongo: &Mongo) {
    let bench = Bench::new(mongo, MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    bench.run("shop", doc! { "insert": "orders", "documents": [{ "n": 1 }] }).await;
    bench.bring(&wanted(&user, &["read@shop"])).await.unwrap();
    let client = bench.log_in(&user).await.unwrap();
    let running = bench.run_for(&client, Duration::from_secs(8)).await;
    let name = user_name(&AccountName::new(&*user).unwrap());
    bench.run("$external", doc! { "dropUser": name }).await;
    let error = bench.bring(&ended(&user, false)).await.unwrap_err();
    assert_eq!(error.class, Class::Transient, "{error}");
    assert!(error.to_string().contains("find on shop.orders"), "{error}");
    assert!(matches!(bench.settled(&ended(&user, false)).await, Plan::End(_)));
    assert!(!running.is_finished());
    let applied = bench.bring(&ended(&user, false)).await.unwrap();
    assert!(applied.dropped && running.is_finished(), "{applied:?}");
    assert!(bench.settled(&ended(&user, false)).await.is_nothing());
    assert!(!can_read(&client).await && bench.user(&user).await.is_none(), "{user}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_halfway_is_complete_or_put_right() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    for step in 0..24_u64 {
        let start = wanted(&user, &["read@shop"]);
        let timeout = Duration::from_micros(500 * step);
        let _ = tokio::time::timeout(timeout, bench.bring(&start)).await;
        if let Some(found) = bench.user(&user).await
            && !found.to_string().contains("0.0.0.0")
        {
            // It works completely.
            assert_eq!(found.get_array("roles").unwrap().len(), 1, "{found}");
            assert!(found.get_document("customData").unwrap().contains_key("rolecall"), "{found}");
        }
        let _ = tokio::time::timeout(timeout, bench.bring(&ended(&user, step % 2 == 0))).await;
        // What was given up may be carried out a moment later still: the next read corrects that, too.
        until("the access has ended", async || {
            bench.bring(&ended(&user, step % 3 == 0)).await.is_ok()
                && bench.settled(&ended(&user, false)).await.is_nothing()
                && bench.log_in(&user).await.is_err()
        })
        .await;
    }
}
