//! A replica set of three: failover, members that are away, commands that still run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::doc;
use rolecall_engine::account::Leftover;
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{Class, Engine as _};
use rolecall_testbed::{Mongo, MongoAdmin};

use crate::bench::{Bench, ended, live, until, wanted};

async fn three() -> Mongo {
    Mongo::builder().members(3).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_start_and_end_through_failovers() {
    let mongo = three().await;
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    let users: Vec<String> = (0..12).map(|i| format!("alice{i}")).collect();
    let (over, failed) = (AtomicBool::new(false), AtomicU64::new(0));
    let failovers = async {
        mongo.step_down().await.unwrap();
        let primary = mongo.primary().await.unwrap().unwrap();
        mongo.kill(primary).await;
        until("another member is primary", async || mongo.primary().await.is_ok_and(|new| new.is_some()))
            .await;
        mongo.start_again(primary).await.unwrap();
        over.store(true, Relaxed);
    };
    let work = async {
        for round in 0.. {
            if round > 0 && over.load(Relaxed) {
                break;
            }
            for user in &users {
                failed.fetch_add(bench.reach(&wanted(user, &["readWrite@shop"])).await.1, Relaxed);
                let client = bench.log_in(user).await;
                failed.fetch_add(bench.reach(&ended(user, user.ends_with('1'))).await.1, Relaxed);
                // It was let in, or the server was between two primaries.
                drop(client);
            }
        }
    };
    tokio::join!(failovers, work);
    let interrupted = failed.load(Relaxed) + bench.engine.stats().retries;
    assert!(interrupted > 0, "nothing was going on when the primaries changed");
    for user in &users {
        let plan = bench.settled(&ended(user, false)).await;
        assert!(plan.is_nothing(), "{user}: {plan}");
        match bench.user(user).await {
            None => assert!(user.ends_with('1'), "{user}"),
            Some(found) => {
                assert!(found.get_array("roles").unwrap().is_empty(), "{found}");
                assert!(found.to_string().contains("0.0.0.0"), "{found}");
            }
        }
        assert!(bench.log_in(user).await.is_err(), "{user}");
    }
    println!("{:?}", bench.engine.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_down_delays_no_end_and_is_named() {
    let mongo = three().await;
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    let primary = mongo.primary().await.unwrap().unwrap();
    let down = (primary + 1) % 3;
    mongo.kill(down).await;
    let begun = Instant::now();
    let (applied, _) = bench.reach(&ended("alice", false)).await;
    println!("ended with a member down in {:?}", begun.elapsed());
    assert_eq!(applied.leftovers, [Leftover::Unasked { member: mongo.address(down) }]);
    let plan = bench.settled(&ended("alice", false)).await;
    assert!(plan.is_nothing(), "{plan}");
    // The next one need not find it out again, and starts are not delayed either. Of several one is as fast as that; a
    // machine under load may take longer for any other.
    until("an account starts and ends without waiting for the member", async || {
        let begun = Instant::now();
        bench.reach(&wanted("bob", &["read@shop"])).await;
        bench.reach(&ended("bob", true)).await;
        println!("started and ended the next in {:?}", begun.elapsed());
        begun.elapsed() < Duration::from_secs(5)
    })
    .await;
    mongo.start_again(down).await.unwrap();
    let identity = mongo.client_cert("alice").unwrap();
    let refused = async || mongo.connect_to(down, &identity).await.is_err();
    until("the member that was down has heard of it", refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hangs_neither_hangs_an_end_nor_is_passed_over() {
    let mongo = three().await;
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    let primary = mongo.primary().await.unwrap().unwrap();
    let hung = (primary + 1) % 3;
    mongo.pause(hung).await;
    let begun = Instant::now();
    let (applied, _) = bench.reach(&ended("alice", false)).await;
    println!("ended with a member hanging in {:?}", begun.elapsed());
    // The member hangs until it is let go on, so an end that waits for it does not come here.
    assert_eq!(applied.leftovers, [Leftover::Unasked { member: mongo.address(hung) }]);
    mongo.unpause(hung).await;
    let identity = mongo.client_cert("alice").unwrap();
    let refused = async || mongo.connect_to(hung, &identity).await.is_err();
    until("the member that hung has heard of it", refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_only_we_cannot_reach_delays_an_end() {
    let mongo = Mongo::builder().members(3).parameter("enableTestCommands", "1").start().await.unwrap();
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    let secondary = (mongo.primary().await.unwrap().unwrap() + 1) % 3;
    let tester = mongo.create_user_everywhere("tester", &["root@admin"]).await.unwrap();
    let tester = mongo.connect_to(secondary, &tester).await.unwrap();
    silence(&tester, "alwaysOn").await;
    let error = bench.bring(&ended("alice", true)).await.unwrap_err();
    println!("{error}");
    assert_eq!(error.class, Class::Transient, "{error}");
    assert!(error.to_string().contains(&mongo.address(secondary)), "{error}");
    // A later read does not take it for done either.
    let plan = bench.settled(&ended("alice", false)).await;
    assert!(matches!(plan, Plan::End(_)), "{plan}");
    silence(&tester, "off").await;
    let (applied, _) = bench.reach(&ended("alice", true)).await;
    assert!(applied.dropped && applied.leftovers.is_empty(), "{applied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_and_came_back_is_not_passed_over() {
    let mongo = Mongo::builder().members(3).parameter("enableTestCommands", "1").start().await.unwrap();
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    for user in ["alice", "bob"] {
        bench.reach(&wanted(user, &["read@shop"])).await;
    }
    let secondary = (mongo.primary().await.unwrap().unwrap() + 1) % 3;
    let tester = mongo.create_user_everywhere("tester", &["root@admin"]).await.unwrap();
    let client = mongo.connect_to(secondary, &tester).await.unwrap();
    silence(&client, "alwaysOn").await;
    mongo.pause(secondary).await;
    let (applied, _) = bench.reach(&ended("alice", false)).await;
    assert_eq!(applied.leftovers, [Leftover::Unasked { member: mongo.address(secondary) }]);
    let found_out = Instant::now();
    // It is back with the others, and does not answer us.
    mongo.unpause(secondary).await;
    let alice = mongo.client_cert("alice").unwrap();
    until("it has heard of it", async || mongo.connect_to(secondary, &alice).await.is_err()).await;
    // What was found out is good for a few seconds.
    until("some time has passed", async || found_out.elapsed() > Duration::from_secs(6)).await;
    let error = bench.bring(&ended("bob", false)).await.unwrap_err();
    assert_eq!(error.class, Class::Transient, "{error}");
    assert!(error.to_string().contains(&mongo.address(secondary)), "{error}");
    silence(&client, "off").await;
    let (applied, _) = bench.reach(&ended("bob", false)).await;
    assert!(applied.leftovers.is_empty(), "{applied:?}");
}

/// Lets a member give no answer to us alone.
async fn silence(member: &Client, mode: &str) {
    let commands = ["hello", "isMaster", "ismaster", "authenticate", "aggregate"];
    let ours = doc! { "failCommands": commands.to_vec(), "closeConnection": true, "appName": "rolecall" };
    let command = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": ours };
    member.database("admin").run_command(command).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_trusted() {
    let mongo = three().await;
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    let primary = mongo.primary().await.unwrap().unwrap();
    let others = [(primary + 1) % 3, (primary + 2) % 3];
    for other in others {
        mongo.pause(other).await;
    }
    // The primary takes the change, and no other member has it.
    let error = bench.bring(&ended("alice", false)).await.unwrap_err();
    assert!(matches!(error.class, Class::Transient | Class::Unreachable), "{error}");
    let observed = bench.engine.observe(&ended("alice", false).query()).await;
    let trusted = observed.is_ok_and(|observed| {
        plan::plan(&ended("alice", false), &observed).is_ok_and(|plan| plan.is_nothing())
    });
    assert!(!trusted, "the end is not confirmed");
    for other in others {
        mongo.unpause(other).await;
    }
    bench.reach(&ended("alice", false)).await;
    assert!(bench.settled(&ended("alice", false)).await.is_nothing());
    assert!(bench.log_in("alice").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_primary_shows_is_not_trusted_before_a_majority_has_it() {
    let mongo = Mongo::builder().members(3).parameter("enableTestCommands", "1").start().await.unwrap();
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    let primary = mongo.primary().await.unwrap().unwrap();
    bench.reach(&wanted("carol", &["read@shop", "read@hr"])).await;
    let tester = mongo.create_user_everywhere("tester", &["root@admin"]).await.unwrap();
    // The others are there and answer, but do not follow any more.
    let follow = async |mode: &str| {
        for member in (0..3).filter(|member| *member != primary) {
            let client = mongo.connect_to(member, &tester).await.unwrap();
            let command = doc! { "configureFailPoint": "stopReplProducer", "mode": mode };
            client.database("admin").run_command(command).await.unwrap();
        }
    };
    follow("alwaysOn").await;
    let error = bench.bring(&ended("alice", false)).await.unwrap_err();
    assert_eq!((error.class, &*error.code), (Class::Transient, "MongoDB 64"), "{error}");
    let shown = bench.user("alice").await.unwrap();
    assert!(shown.to_string().contains("0.0.0.0"), "{shown}");
    let error = bench.engine.observe(&ended("alice", false).query()).await.unwrap_err();
    assert_eq!(error.class, Class::Transient, "{error}");
    // Nor is what a live account has.
    let reader = doc! { "role": "read", "db": "hr" };
    let less = doc! { "updateUser": "CN=carol", "roles": [reader], "writeConcern": { "w": 1 } };
    bench.run("$external", less).await;
    let error = bench.engine.observe(&live(wanted("carol", &["read@hr"])).query()).await.unwrap_err();
    assert_eq!(error.class, Class::Transient, "{error}");
    // What starts works completely or not at all.
    bench.bring(&wanted("bob", &["read@shop"])).await.unwrap_err();
    assert!(bench.user("bob").await.is_none(), "bob was let in");
    follow("off").await;
    bench.reach(&ended("alice", false)).await;
    assert!(bench.settled(&ended("alice", false)).await.is_nothing());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_on_a_secondary_delays_an_end_and_is_named() {
    let mongo = three().await;
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    bench.run("shop", doc! { "insert": "orders", "documents": [{ "n": 1 }] }).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    let primary = mongo.primary().await.unwrap().unwrap();
    let secondary = (primary + 1) % 3;
    let identity = mongo.client_cert("alice").unwrap();
    until("it has heard of her", async || mongo.connect_to(secondary, &identity).await.is_ok()).await;
    let client = mongo.connect_to(secondary, &identity).await.unwrap();
    let running = bench.run_for(&client, Duration::from_secs(120)).await;
    let error = bench.bring(&ended("alice", true)).await.unwrap_err();
    println!("{error}");
    assert_eq!(error.class, Class::Transient, "{error}");
    for part in [&*mongo.address(secondary), "find on shop.orders", "killOp", "killop"] {
        assert!(error.to_string().contains(part), "{part} is not in {error}");
    }
    // It is not over, and everybody sees so; but nothing new can be done.
    let plan = bench.settled(&ended("alice", false)).await;
    assert!(matches!(plan, Plan::End(_)), "{plan}");
    assert!(client.database("shop").run_command(doc! { "find": "orders" }).await.is_err());
    // Where the admin user may, it ends the command.
    mongo.set_admin(&bench.admin, &MongoAdmin::documented().killop()).await.unwrap();
    let begun = Instant::now();
    let (applied, _) = bench.reach(&ended("alice", true)).await;
    println!("killed in {:?}", begun.elapsed());
    assert!(applied.dropped, "{applied:?}");
    assert!(!running.await.unwrap(), "the command came to its own end");
}
