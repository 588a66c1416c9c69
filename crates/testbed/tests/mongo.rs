//! MongoDB servers of the testbed: log in, privileges of the admin user, crash, hang, failover.

use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use rolecall_testbed::{Error, Mongo, MongoAdmin, Result};

/// The server's code for a command that the user may not run.
const UNAUTHORIZED: i32 = 13;

#[tokio::test]
async fn a_replica_set_accepts_a_certificate_and_a_password() -> Result<()> {
    let started = Instant::now();
    let mongo = Mongo::start().await?;
    println!("one member started in {:?}", started.elapsed());
    let answer = mongo.run("admin", doc! { "buildInfo": 1 }).await?;
    assert!(answer.get_str("version").unwrap().starts_with("6.0."), "{answer}");

    let alice = mongo.create_user("alice", &["readWrite@shop"]).await?;
    let client = mongo.connect(&alice).await?;
    transaction(&client).await.unwrap();
    assert_eq!(count(&client).await.unwrap(), 1);
    let refused = mongo.connect(&mongo.expired_client_cert("alice")?).await;
    assert!(refused.is_err(), "an expired certificate");
    let refused = mongo.connect(&mongo.client_cert("bob")?).await.unwrap_err();
    assert_eq!(refused.mongo_code(), Some(18), "{refused}");

    mongo.create_password_user("admin", "carol", "it's secret", &["readWrite@shop"]).await?;
    let client = mongo.connect_with_password("admin", "carol", "it's secret").await?;
    assert_eq!(count(&client).await.unwrap(), 1);
    let refused = mongo.connect_with_password("admin", "carol", "wrong").await.unwrap_err();
    assert_eq!(refused.mongo_code(), Some(18), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_standalone_server_writes_without_transactions() -> Result<()> {
    let mongo = Mongo::builder().standalone().start().await?;
    let alice = mongo.create_user("alice", &["readWrite@shop"]).await?;
    let client = mongo.connect(&alice).await?;
    assert!(transaction(&client).await.is_err());
    client.database("shop").collection("orders").insert_one(doc! { "n": 1 }).await.unwrap();
    assert_eq!(count(&client).await.unwrap(), 1);
    Ok(())
}

#[tokio::test]
async fn the_admin_user_may_do_what_is_documented_and_nothing_more() -> Result<()> {
    let mongo = Mongo::start().await?;
    let admin = mongo.create_admin("teleport-admin", &MongoAdmin::documented()).await?;
    let client = mongo.connect(&admin).await?;
    let run = async |database: &str, command: Document| {
        let answer = client.database(database).run_command(command).await;
        answer.map_err(|source| Error::Mongo { what: "command".to_owned(), source: Box::new(source) })
    };
    let roles = vec![doc! { "role": "read", "db": "shop" }];
    run("$external", doc! { "createUser": "CN=alice", "roles": roles }).await?;
    run("$external", doc! { "usersInfo": "CN=alice" }).await?;
    let seen = doc! { "aggregate": 1, "pipeline": [{ "$currentOp": { "allUsers": true } }], "cursor": {} };
    run("admin", seen).await?;
    let create = doc! { "createRole": "reader", "privileges": [], "roles": [] };
    for (database, command) in [
        ("shop", doc! { "find": "orders" }),
        ("shop", doc! { "listCollections": 1 }),
        ("shop", doc! { "rolesInfo": 1 }),
        ("shop", create.clone()),
        ("admin", doc! { "killOp": 1, "op": 1 }),
    ] {
        let refused = run(database, command.clone()).await.expect_err(&command.to_string());
        assert_eq!(refused.mongo_code(), Some(UNAUTHORIZED), "{command}");
    }

    mongo.set_admin("teleport-admin", &MongoAdmin::documented().object_permissions("shop").killop()).await?;
    run("shop", create.clone()).await?;
    run("shop", doc! { "listCollections": 1 }).await?;
    run("shop", doc! { "rolesInfo": 1, "showPrivileges": true }).await?;
    let refused = run("crm", create).await.unwrap_err();
    assert_eq!(refused.mongo_code(), Some(UNAUTHORIZED));
    Ok(())
}

#[tokio::test]
async fn another_member_takes_over_from_a_killed_primary() -> Result<()> {
    let started = Instant::now();
    let mongo = Mongo::builder().members(3).start().await?;
    println!("three members started in {:?}", started.elapsed());
    let alice = mongo.create_user("alice", &["readWrite@shop"]).await?;
    let client = mongo.connect(&alice).await?;
    transaction(&client).await.unwrap();

    let first = mongo.primary().await?.unwrap();
    let stepping = Instant::now();
    let second = mongo.step_down().await?;
    println!("stepped down in {:?}", stepping.elapsed());
    assert_ne!(first, second);
    transaction(&client).await.unwrap();

    mongo.kill(second).await;
    assert!(!mongo.is_running(second).await);
    transaction(&client).await.unwrap();
    assert_eq!(count(&client).await.unwrap(), 3);
    mongo.start_again(second).await?;
    let direct = mongo.connect_to(second, &alice).await?;
    let hello = direct.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    assert_eq!(hello.get_str("me").unwrap(), mongo.address(second));
    Ok(())
}

#[tokio::test]
async fn a_killed_server_keeps_what_was_committed() -> Result<()> {
    let mongo = Mongo::start().await?;
    let alice = mongo.create_user("alice", &["readWrite@shop"]).await?;
    let client = mongo.connect(&alice).await?;
    transaction(&client).await.unwrap();
    mongo.kill(0).await;
    mongo.start_again(0).await?;
    assert_eq!(count(&client).await.unwrap(), 1);
    mongo.stop(0).await;
    mongo.start_again(0).await?;
    assert_eq!(count(&client).await.unwrap(), 1);
    Ok(())
}

#[tokio::test]
async fn a_paused_server_answers_later() -> Result<()> {
    let mongo = Mongo::start().await?;
    let client = mongo.superuser().await?;
    mongo.pause(0).await;
    let query = count(&client);
    tokio::pin!(query);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut query).await.is_err());
    mongo.unpause(0).await;
    assert_eq!(query.await.unwrap(), 0);
    Ok(())
}

/// Inserts one order in a transaction with majority.
async fn transaction(client: &Client) -> mongodb::error::Result<()> {
    let orders = client.database("shop").collection::<Document>("orders");
    let mut session = client.start_session().await?;
    let insert = async |session: &mut mongodb::ClientSession| {
        orders.insert_one(doc! { "n": 1 }).session(session).await.map(drop)
    };
    session.start_transaction().and_run2(insert).await
}

async fn count(client: &Client) -> mongodb::error::Result<u64> {
    client.database("shop").collection::<Document>("orders").count_documents(doc! {}).await
}
