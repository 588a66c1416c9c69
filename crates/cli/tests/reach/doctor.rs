//! What logs in for itself goes the same way: doctor, queries.

use rolecall_testbed::environment;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::bench::{Answer, Bench, TIMEOUT, eventually, text};
use crate::documented::names_every_field;
use crate::postgres::server;

async fn run(bench: &Bench, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
    command.args(args).args(["-n", bench.namespace, "--kubeconfig"]).arg(bench.cluster.kubeconfig());
    command.env_clear().envs(environment(bench.bin.path())).kill_on_drop(true);
    timeout(TIMEOUT, command.output()).await.expect("it ends in time").expect("it starts")
}

#[tokio::test]
async fn doctor_and_queries_reach_a_service_by_a_port_forward() {
    let (server, authority) = server("orders-db.examined.svc").await;
    let bench = Bench::new("examined", "postgres", "orders-db.examined.svc:5432").await;
    bench.server(server.port()).await;
    let admin = server.create_admin("teleport-admin").await.expect("it is made");
    let secret = |name: &str, data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "examined"},
               "stringData": data})
        .to_string()
    };
    let of_admin = json!({"tls.crt": admin.cert_pem, "tls.key": admin.key_pem});
    bench.cluster.apply(&secret("a", of_admin)).await.expect("it is made");
    let of_server = json!({"ca.crt": authority.cert_pem()});
    bench.cluster.apply(&secret("ca", of_server)).await.expect("it is made");
    let patch = json!({"spec": {"tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}}}}).to_string();
    let patch = ["patch", "dba", "orders", "-n", "examined", "--type=merge", "-p", &patch];
    bench.cluster.kubectl(&patch).await.expect("it is patched");

    let output = run(&bench, &["doctor", "orders", "-o", "json"]).await;
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    names_every_field("doctor.md", &answer);
    let checks = answer["checks"].as_array().expect("checks");
    let has = |area: &str, status: &str, part: &str| {
        let is_it = |check: &&Value| {
            check["area"] == area
                && check["status"] == status
                && check["message"].as_str().is_some_and(|message| message.contains(part))
        };
        assert!(checks.iter().any(|check| is_it(&check)), "{area} {status} {part}: {answer:#}");
    };
    has("address", "note", "by a port-forward through the API server");
    has("address", "ok", "answers from here");
    has("tls", "ok", "proves to be \"orders-db.examined.svc\"");
    has("login", "ok", "logs in");
    has("cluster", "failed", "no operator has processed it");
    assert_eq!(output.status.code(), Some(2));

    let _operator = bench.operator(Answer::signed(server.client_authority(), authority.cert_pem()));
    let session = json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession",
                         "metadata": {"name": "alice-now", "namespace": "examined"},
                         "spec": {"user": "alice", "database": "orders", "databaseName": "postgres", "ttl": "1h"}});
    bench.cluster.apply(&session.to_string()).await.expect("it is made");
    let phase = ["get", "dbs", "alice-now", "-n", "examined", "-o", "jsonpath={.status.phase}"];
    eventually("it is Active", async || bench.cluster.kubectl(&phase).await.is_ok_and(|is| is == "Active"))
        .await;
    let output = run(&bench, &["queries", "alice-now"]).await;
    assert_eq!(text(&output.stderr), "alice runs nothing on orders.\n");
    eventually("the session beside it ends", async || bench.sessions().await == 1).await;

    bench.psql().await;
    let psql = bench.connect(&["--db-name", "postgres", "--", "-X", "-c", "select pg_sleep(600)"]).spawn();
    let psql = psql.expect("it starts");
    let mut answer = Value::Null;
    eventually("the query is seen", async || {
        let output = run(&bench, &["queries", "alice-now", "-o", "json"]).await;
        answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
        answer["items"].as_array().is_some_and(|items| !items.is_empty())
    })
    .await;
    names_every_field("queries.md", &answer);
    drop(psql);
    bench.end_all().await;
}
