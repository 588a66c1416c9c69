//! Names of users are those that the server reads in certificates.

use mongodb::bson::doc;
use rolecall_engine::{Class, Engine as _, Reason, plan};
use rolecall_testbed::{Mongo, MongoAdmin};

use crate::bench::{Bench, wanted};

const NAMES: [&str; 37] = [
    "a,b",
    "a+b",
    "a=b",
    "a\"b",
    "<a>",
    "a;b",
    "#a",
    "a#b",
    "##",
    "#",
    " a",
    "a ",
    "  a  ",
    "ab ",
    " ",
    "  ",
    "\\",
    "a\\",
    "a\\ ",
    "\\a",
    "ä",
    "ä ",
    "a ä",
    "ünïcödé",
    "日本",
    "CN=x",
    "a,O=b",
    "a\\,b",
    "alice@example.com",
    "a/b",
    "a'b",
    "a*b",
    "~",
    "é",
    "ÿ",
    "Ā",
    "sixty-three-bytes-are-the-most-that-a-name-can-have-in-any-engi",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_server_calls_the_holder_of_a_certificate_as_we_do() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let mut wrong = Vec::new();
    for name in NAMES {
        bench.bring(&wanted(name, &["read@shop"])).await.unwrap();
        if let Err(error) = bench.log_in(name).await {
            wrong.push(format!("{name:?}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_server_takes_for_another_is_refused() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    // With a certificate for the one, the server lets in the other.
    let (one, other) = ("o\u{fb00}ice", "office");
    bench.bring(&wanted(other, &[])).await.unwrap();
    assert!(bench.log_in(one).await.is_ok());
    for name in [one, "🦀"] {
        let desired = wanted(name, &[]);
        let observed = bench.engine.observe(&desired.query()).await.unwrap();
        let refusal = plan::plan(&desired, &observed).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidUsername, "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_server_refuses_for_a_user_is_reported() {
    let mongo = Mongo::builder().parameter("enableTestCommands", "1").start().await.unwrap();
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    // As servers from 7.0 on do with a subject by which the members of a cluster know each other.
    let data = doc! { "failCommands": ["createUser"], "errorCode": 2, "appName": "rolecall" };
    let refuse = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data };
    bench.run("admin", refuse).await;
    let error = bench.bring(&wanted("alice", &["read@shop"])).await.unwrap_err();
    assert_eq!((error.class, error.reason), (Class::Refused, Reason::InvalidUsername), "{error}");
    for part in ["CN=alice", "member of its cluster", "spec.username"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_of_ours_is_taken_for_a_member_of_a_cluster_before_7_0() {
    // Members know each other by an O, OU or DC, which no subject of ours has: a server that should know them by a CN
    // does not start, and the CN of its own certificate is a name like any other. (From 7.0 on net.tls.clusterAuthX509
    // can name any attribute.)
    let by_name = Mongo::builder().parameter("tlsX509ClusterAuthDNOverride", "CN=alice").start().await;
    assert!(by_name.is_err());
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    for name in ["localhost", "127.0.0.1", "Rolecall test members"] {
        bench.bring(&wanted(name, &["read@shop"])).await.unwrap();
        assert!(bench.log_in(name).await.is_ok(), "{name}");
    }
}
