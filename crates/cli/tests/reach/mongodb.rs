//! MongoDB and mongosh: it checks the names that it dials, and is led to them.

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
