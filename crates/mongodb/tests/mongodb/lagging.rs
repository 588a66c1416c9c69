//! A member that answers, but has not heard yet what the primary says.

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use rolecall_engine::account::Leftover;
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{Class, Engine as _, Needs};
use rolecall_mongodb::Mongodb;
use rolecall_testbed::{Certificate, Mongo, MongoAdmin};

use crate::bench::{Bench, ended, until, wanted};

/// A secondary of a set that can be made to lag.
struct Secondary<'a> {
    mongo: &'a Mongo,
    member: usize,
    tester: Certificate,
}

impl<'a> Secondary<'a> {
    async fn of(mongo: &'a Mongo) -> Self {
        let member = (mongo.primary().await.unwrap().unwrap() + 1) % 3;
        Self { mongo, member, tester: mongo.create_user_everywhere("tester", &["root@admin"]).await.unwrap() }
    }

    async fn lag(&self, mode: &str) {
        let client = self.mongo.connect_to(self.member, &self.tester).await.unwrap();
        let command = doc! { "configureFailPoint": "stopReplProducer", "mode": mode };
        client.database("admin").run_command(command).await.unwrap();
    }

    async fn lets_in(&self, user: &str) -> bool {
        let identity = self.mongo.client_cert(user).unwrap();
        self.mongo.connect_to(self.member, &identity).await.is_ok()
    }
}

async fn three() -> Mongo {
    Mongo::builder().members(3).parameter("enableTestCommands", "1").start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_is_complete_while_a_member_that_lags_lets_the_user_in() {
    let mongo = three().await;
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    let secondary = Secondary::of(&mongo).await;
    let users = [("alice", false), ("bob", true)];
    for (user, _) in users {
        bench.reach(&wanted(user, &["read@shop"])).await;
        until("the secondary lets the user in", async || secondary.lets_in(user).await).await;
    }
    secondary.lag("alwaysOn").await;
    for (user, drop) in users {
        for _ in 0..2 {
            let error = bench.bring(&ended(user, drop)).await.unwrap_err();
            assert_eq!(error.class, Class::Transient, "{user}: {error}");
            assert!(error.to_string().contains(&mongo.address(secondary.member)), "{user}: {error}");
            let plan = bench.settled(&ended(user, drop)).await;
            assert!(matches!(plan, Plan::End(_)), "{user}: {plan}");
            assert!(secondary.lets_in(user).await, "{user} was kept out: the member does not lag");
        }
    }
    // An operator that was started in between remembers nothing, and does not trust it either.
    let other = Mongodb::new(bench.config()).unwrap();
    let observed = other.observe(&ended("alice", false).query()).await.unwrap();
    let plan = plan::plan(&ended("alice", false), &observed).unwrap();
    assert!(matches!(plan, Plan::End(_)), "{plan}");
    secondary.lag("off").await;
    for (user, drop) in users {
        let deadline = Instant::now() + Duration::from_secs(60);
        let applied = loop {
            match bench.bring(&ended(user, drop)).await {
                Ok(applied) => break applied,
                Err(error) => assert!(Instant::now() < deadline, "{user}: {error}"),
            }
        };
        assert_eq!(applied.dropped, drop, "{user}: {applied:?}");
        assert!(applied.leftovers.is_empty(), "{user}: {applied:?}");
        assert!(!secondary.lets_in(user).await, "{user}");
        assert!(bench.settled(&ended(user, false)).await.is_nothing(), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_dropped_by_hand_has_not_ended_before_every_member_has_heard_of_it() {
    let mongo = three().await;
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    let secondary = Secondary::of(&mongo).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    until("the secondary lets the user in", async || secondary.lets_in("alice").await).await;
    secondary.lag("alwaysOn").await;
    bench.run("$external", doc! { "dropUser": "CN=alice" }).await;
    for _ in 0..2 {
        let error = bench.bring(&ended("alice", true)).await.unwrap_err();
        assert_eq!(error.class, Class::Transient, "{error}");
        assert!(error.to_string().contains(&mongo.address(secondary.member)), "{error}");
        assert!(secondary.lets_in("alice").await, "the member does not lag");
    }
    secondary.lag("off").await;
    until("the access has ended", async || {
        bench.bring(&ended("alice", true)).await.is_ok()
            && bench.settled(&ended("alice", true)).await.is_nothing()
    })
    .await;
    assert!(!secondary.lets_in("alice").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_let_the_admin_user_in_is_like_one_that_does_not_answer() {
    let mongo = three().await;
    let secondary = Secondary::of(&mongo).await;
    secondary.lag("alwaysOn").await;
    // This member does not know the admin user.
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    until("the server is checked", async || bench.engine.preflight(&Needs::default()).await.is_ok()).await;
    until("its accounts are counted", async || bench.engine.inventory().await.is_ok()).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    assert!(bench.settled(&wanted("alice", &["read@shop"])).await.is_nothing());
    // It does not follow its primary either.
    let (applied, _) = bench.reach(&ended("alice", false)).await;
    assert_eq!(applied.leftovers, [Leftover::Unasked { member: mongo.address(secondary.member) }]);
    assert!(bench.settled(&ended("alice", false)).await.is_nothing());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_tried_again_stays_within_reach_of_a_member_that_lags() {
    let mongo = three().await;
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    let secondary = Secondary::of(&mongo).await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    until("the secondary lets the user in", async || secondary.lets_in("alice").await).await;
    secondary.lag("alwaysOn").await;
    bench.bring(&ended("alice", true)).await.unwrap_err();
    let changes = doc! { "count": "oplog.rs", "query": { "o2._id": "$external.CN=alice" } };
    let count = async || bench.run("local", changes.clone()).await.get_i32("n").unwrap();
    let before = count().await;
    assert!(before > 0, "the changes of the user are not found");
    bench.bring(&ended("alice", true)).await.unwrap_err();
    assert_eq!(count().await, before, "the account was disabled once more");
    // A later session is ended by its own end.
    secondary.lag("off").await;
    bench.reach(&wanted("alice", &["read@shop"])).await;
    until("the secondary lets the user in", async || secondary.lets_in("alice").await).await;
    secondary.lag("alwaysOn").await;
    bench.bring(&ended("alice", false)).await.unwrap_err();
    assert!(secondary.lets_in("alice").await);
    assert!(!bench.settled(&ended("alice", false)).await.is_nothing());
    secondary.lag("off").await;
}
