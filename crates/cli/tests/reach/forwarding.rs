//! The way to a server: which Pod, and what is said where there is none. A program in psql's place says hello.

use rolecall_testbed::Identity;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bench::{Answer, Bench, text};

/// Sends a line to where psql would connect, and prints the answer.
const PSQL: &str = "printf '%s as %s: ' \"$PGHOST\" \"$PGSSLMODE\"; exec 3<>/dev/tcp/$PGHOSTADDR/$PGPORT; echo hello >&3; cat <&3";

const DATABASE: [&str; 2] = ["--db-name", "horizon"];

async fn bench(namespace: &'static str, uri: &str) -> Bench {
    let bench = Bench::new(namespace, "postgres", uri).await;
    bench.program("psql", PSQL);
    bench
}

async fn connect(bench: &Bench) -> std::process::Output {
    bench.output(&DATABASE, Answer::nothing()).await
}

/// A server that says who it is to whoever says hello.
async fn server(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = listener.local_addr().expect("it has one").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut heard = [0; 6];
            let _ = client.read_exact(&mut heard).await;
            let said = format!("{} from {name}\n", String::from_utf8_lossy(&heard).trim());
            let _ = client.write_all(said.as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn a_service_of_the_cluster_is_reached_by_a_port_forward_to_a_ready_pod() {
    let bench = bench("forwarded", "orders-db.forwarded.svc:5432").await;
    let spec = json!({"selector": {"app": "orders-db"}, "ports": [{"name": "sql", "port": 5432, "targetPort": 6543}]});
    bench.service(spec, 6543, &[("db-0", false), ("db-1", true)]).await;
    bench.pod("db-0", 6543, server("db-0").await).await;
    bench.pod("db-1", 6543, server("db-1").await).await;
    let output = connect(&bench).await;
    let stderr = text(&output.stderr);
    assert_eq!(
        text(&output.stdout),
        "orders-db.forwarded.svc as verify-full: hello from db-1\n",
        "the name that is checked stays the server's own: {stderr}"
    );
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("by a port-forward through the API server, to port 6543 of the Pod forwarded/db-1"),
        "{stderr}"
    );
    assert_eq!(bench.sessions().await, 0);
}

#[tokio::test]
async fn a_member_of_a_headless_service_is_reached_by_its_name() {
    let bench = bench("headless", "db-1.orders-db.headless.svc.cluster.local:7777").await;
    let spec = json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]});
    bench.service(spec, 5432, &[("db-0", true), ("db-1", true)]).await;
    bench.pod("db-1", 7777, server("db-1").await).await;
    let output = connect(&bench).await;
    assert!(text(&output.stdout).ends_with(": hello from db-1\n"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_port_on_which_nothing_listens_is_the_nodes_answer() {
    let bench = bench("unheard", "orders-db.unheard.svc:5432").await;
    bench.service(json!({"ports": [{"name": "sql", "port": 5432}]}), 5432, &[("db-0", true)]).await;
    bench.pod("db-0", 1, 1).await;
    let output = connect(&bench).await;
    let stderr = text(&output.stderr);
    let expected = "warning: forwarding port 5432 of the Pod unheard/db-0: the node says: ";
    assert!(stderr.contains(expected) && stderr.contains("nothing listens on port 5432"), "{stderr}");
    assert_eq!(bench.sessions().await, 0, "{stderr}");
}

#[tokio::test]
async fn where_there_is_no_way_the_next_step_is_said_before_there_is_a_session() {
    let bench = bench("unreached", "orders-db.unreached.svc:5432").await;
    let expect = async |expected: &str| {
        let output = connect(&bench).await;
        let stderr = text(&output.stderr);
        assert!(!output.status.success() && stderr.starts_with(&format!("error: {expected}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    };
    let missing = expect("orders-db.unreached.svc does not resolve here (").await;
    assert!(
        missing.contains("there is no Service unreached/orders-db; name an address that leads to the server"),
        "{missing}"
    );
    bench.service(json!({"ports": [{"name": "sql", "port": 5433}]}), 5433, &[("db-0", true)]).await;
    expect("the Service unreached/orders-db has no port 5432, but 5433; correct spec.uri").await;
    bench
        .service(json!({"ports": [{"name": "sql", "port": 5432}]}), 5432, &[("db-0", false), ("db-1", false)])
        .await;
    let waiting =
        expect("none of the 2 Pods of the Service unreached/orders-db is ready; wait for one").await;
    assert!(waiting.ends_with("kubectl get pods --namespace unreached\n"), "{waiting}");
    bench.service(json!({"ports": [{"name": "sql", "port": 5432}]}), 5432, &[("gone", true)]).await;
    let output = connect(&bench).await;
    let stderr = text(&output.stderr);
    let expected = "warning: forwarding port 5432 of the Pod unreached/gone: pods \"gone\" not found\n";
    assert!(stderr.contains(expected), "{stderr}");

    // Somebody who may do everything but forward ports.
    let rights = "
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: people, namespace: unreached},
 rules: [{apiGroups: [rolecall.dev], resources: ['*'], verbs: ['*']}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: people, namespace: unreached},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: people},
 subjects: [{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}]}";
    bench.cluster.apply(rights).await.expect("the rights are given");
    let bob = bench.output_as(&Identity::user("bob", &[]), &DATABASE).await;
    let stderr = text(&bob.stderr);
    assert!(
        stderr.starts_with("error: reading the Service unreached/orders-db: forwarding a port takes these rights in namespace unreached: get on services")
            && stderr.contains("\"bob\" cannot get resource \"services\""),
        "{stderr}"
    );
    assert_eq!(bench.sessions().await, 0);
}
