//! MongoDB and mongosh: it checks the names that it dials, and is led to them.

use mongodb::bson::doc;
use rolecall_testbed::Mongo;
use serde_json::json;

use crate::bench::{Answer, Bench, text};

const WHO: [&str; 4] = [
    "--",
    "--quiet",
    "--eval",
    "print(db.runCommand({connectionStatus: 1}).authInfo.authenticatedUsers[0].user)",
];

async fn bench(namespace: &'static str, server: &Mongo, options: &str) -> Bench {
    let uri = format!("mongodb://mongo-0.orders-db.{namespace}.svc:27017/{options}");
    let bench = Bench::new(namespace, "mongodb", &uri).await;
    bench.mongosh().await;
    let spec = json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 27017}]});
    bench.service(spec, 27017, &[("mongo-0", true)]).await;
    bench.pod("mongo-0", 27017, server.ports()[0]).await;
    bench
}

#[tokio::test]
async fn mongosh_logs_in_through_a_port_forward_and_checks_the_servers_own_name() {
    let name = "mongo-0.orders-db.mongosh.svc";
    let server = Mongo::builder().standalone().names(&[name]).start().await.expect("it starts");
    server.create_user("alice", &[]).await.expect("she is made");
    let bench = bench("mongosh", &server, "").await;
    let answer = Answer::signed(server.client_authority(), server.server_ca_pem());
    let output = bench.output(&WHO, answer.clone()).await;
    assert_eq!(text(&output.stdout), "CN=alice\n", "{}", text(&output.stderr));

    // Another one whose certificate does not carry the name.
    let other = Mongo::builder().standalone().start().await.expect("it starts");
    bench.cluster.lead_pod_to("mongosh", "mongo-0", 27017, other.ports()[0]).await.expect("it leads there");
    let answer = Answer::signed(server.client_authority(), other.server_ca_pem());
    let output = bench.output(&WHO, answer).await;
    let stderr = text(&output.stderr);
    assert!(
        !output.status.success() && stderr.contains("Hostname/IP does not match certificate's altnames"),
        "{stderr}"
    );
    assert_eq!(bench.sessions().await, 0);
}

#[tokio::test]
async fn an_address_leads_mongosh_to_a_server_under_its_own_name() {
    let name = "mongo-0.orders-db.addressed.svc";
    let server = Mongo::builder().standalone().names(&[name]).start().await.expect("it starts");
    server.create_user("alice", &[]).await.expect("she is made");
    let uri = format!("mongodb://{name}:27017,other.example:27017/?replicaSet=rs0");
    let bench = Bench::new("addressed", "mongodb", &uri).await;
    bench.mongosh().await;
    let address = format!("--address=127.0.0.1:{}", server.ports()[0]);
    let answer = Answer::signed(server.client_authority(), server.server_ca_pem());
    let output = bench.output(&[&[address.as_str()][..], &WHO].concat(), answer).await;
    assert_eq!(text(&output.stdout), "CN=alice\n", "{}", text(&output.stderr));
    assert_eq!(bench.sessions().await, 0);
}

#[tokio::test]
async fn mongosh_finds_the_primary_of_a_replica_set_through_port_forwards() {
    let names: Vec<String> = (0..3).map(|i| format!("mongo-{i}.orders-db.members.svc")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = Mongo::builder().members(3).names(&all).start().await.expect("it starts");
    server.create_user_everywhere("alice", &[]).await.expect("she is made");
    // To whoever dials a member by its name in the cluster, the members have names in the cluster.
    let found = server.run("admin", doc! { "replSetGetConfig": 1 }).await.expect("it is read");
    let mut config = found.get_document("config").expect("there is one").clone();
    let version = config.get_i32("version").expect("there is one");
    config.insert("version", version + 1);
    let members = config.get_array_mut("members").expect("there are some");
    for (member, name) in members.iter_mut().zip(&names) {
        let member = member.as_document_mut().expect("it is one");
        member.insert("horizons", doc! { "cluster": format!("{name}:27017") });
    }
    server.run("admin", doc! { "replSetReconfig": config }).await.expect("it is changed");
    // The only member that the DatabaseAdmin names must not be the one that is looked for.
    if server.primary().await.expect("they answer") == Some(0) {
        server.step_down().await.expect("another one is elected");
    }
    let uri = format!("mongodb://{}:27017/?replicaSet={}", names[0], Mongo::REPLICA_SET);
    let bench = Bench::new("members", "mongodb", &uri).await;
    bench.mongosh().await;
    let spec = json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 27017}]});
    bench.service(spec, 27017, &[("mongo-0", true), ("mongo-1", true), ("mongo-2", true)]).await;
    for (i, port) in server.ports().into_iter().enumerate() {
        bench.pod(&format!("mongo-{i}"), 27017, port).await;
    }
    let who = "const hello = db.hello(); \
               print(db.runCommand({connectionStatus: 1}).authInfo.authenticatedUsers[0].user, hello.isWritablePrimary, hello.me)";
    let answer = Answer::signed(server.client_authority(), server.server_ca_pem());
    let output = bench.output(&["--", "--quiet", "--eval", who], answer).await;
    let said = text(&output.stdout);
    let primary = said.strip_prefix("CN=alice true ").map(str::trim).unwrap_or_default().to_owned();
    let is_another = names[1..].iter().any(|name| primary == format!("{name}:27017"));
    assert!(is_another, "{said}{}", text(&output.stderr));
    assert_eq!(bench.sessions().await, 0);
}
