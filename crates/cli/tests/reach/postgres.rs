//! PostgreSQL and psql, and other clients, by a port-forward and directly.

use std::process::Stdio;

use rolecall_testbed::{Authority, PgVersion, Postgres};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::bench::{Answer, Bench, TIMEOUT, text};

/// A server whose certificate is made out to this name, with a user alice, and what its certificate is checked against.
pub(crate) async fn server(name: &str) -> (Postgres, Authority) {
    let authority = Authority::new("Server CA").expect("it is made");
    let certificate = authority.server(&[name]).expect("it is issued");
    let server = Postgres::builder(PgVersion::V17).identity(&certificate.cert_pem, &certificate.key_pem);
    let server = server.start().await.expect("it starts");
    server.sql("postgres", "create role alice login").await.expect("she is made");
    (server, authority)
}

pub(crate) const DATABASE: [&str; 2] = ["--db-name", "postgres"];

#[tokio::test]
async fn psql_logs_in_through_a_port_forward_and_checks_the_servers_own_name() {
    let (server, authority) = server("orders-db.psql.svc").await;
    let bench = Bench::new("psql", "postgres", "orders-db.psql.svc:5432").await;
    bench.psql().await;
    bench.server(server.port()).await;
    let answer = Answer::signed(server.client_authority(), authority.cert_pem());
    let args = [
        &DATABASE[..],
        &["--", "-X", "-A", "-t", "-c", "select current_user, count(*) from generate_series(1, 300000)"],
    ]
    .concat();
    let output = bench.output(&args, answer.clone()).await;
    assert_eq!(text(&output.stdout), "alice|300000\n", "{}", text(&output.stderr));
    // Much more than fits into a buffer on the way.
    let args = [&DATABASE[..], &["--", "-X", "-A", "-t", "-c", "select repeat('x', 30000000)"]].concat();
    let output = bench.output(&args, answer.clone()).await;
    assert_eq!(output.stdout.len(), 30_000_001, "{}", text(&output.stderr));

    // Another server that the same authority vouches for.
    let other = authority.server(&["other.psql.svc"]).expect("it is issued");
    let other = Postgres::builder(PgVersion::V17).identity(&other.cert_pem, &other.key_pem);
    let other = other.start().await.expect("it starts");
    bench.cluster.lead_pod_to("psql", "db-0", 5432, other.port()).await.expect("it leads there");
    let output = bench.output(&args, answer).await;
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("\"other.psql.svc\"")
            && stderr.contains("does not match host name \"orders-db.psql.svc\""),
        "{stderr}"
    );
    assert_eq!(bench.sessions().await, 0);
}

#[tokio::test]
async fn any_other_client_finds_in_its_environment_how_to_connect() {
    let (server, authority) = server("orders-db.exec.svc").await;
    let bench = Bench::new("exec", "postgres", "orders-db.exec.svc:5432").await;
    bench.psql().await;
    bench.server(server.port()).await;
    let answer = Answer::signed(server.client_authority(), authority.cert_pem());
    let client = ["--exec", "--", "sh", "-c", "psql -X -A -t -c 'select current_user'; exit 5"];
    let output = bench.output(&[&DATABASE[..], &client].concat(), answer.clone()).await;
    assert_eq!(
        (text(&output.stdout), output.status.code()),
        ("alice\n".to_owned(), Some(5)),
        "{}",
        text(&output.stderr)
    );
    for (args, expected) in [
        (&["--exec"][..], "error: --exec runs the command after --, and there is none"),
        (&["--exec", "--", "no-such-program"], "error: there is no program no-such-program on the PATH"),
    ] {
        let output = bench.output(&[&DATABASE[..], args].concat(), answer.clone()).await;
        assert!(text(&output.stderr).starts_with(expected), "{}", text(&output.stderr));
    }
    assert_eq!(bench.sessions().await, 0);
}

#[tokio::test]
async fn what_is_printed_lets_another_program_in_until_the_end() {
    let (server, authority) = server("orders-db.printed.svc").await;
    let bench = Bench::new("printed", "postgres", "orders-db.printed.svc:5432").await;
    bench.psql().await;
    bench.server(server.port()).await;
    let answer = Answer::signed(server.client_authority(), authority.cert_pem());
    let _operator = bench.operator(answer.clone());
    let query = ["-X", "-A", "-t", "-c", "select current_user"];
    for form in ["uri", "dsn", "env"] {
        let mut command = bench.connect(&[&DATABASE[..], &["--print", form]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        // Of the variables every line counts, and the last one is PGHOSTADDR.
        let mut printed = String::new();
        while !printed.contains("hostaddr=") && !printed.contains("PGHOSTADDR=") {
            let line =
                timeout(TIMEOUT, lines.next_line()).await.expect("it comes in time").expect("it is text");
            printed.push_str(&line.expect("there is one"));
            printed.push('\n');
        }
        let mut client = tokio::process::Command::new("sh");
        client.env_clear().envs(rolecall_testbed::environment(bench.bin.path()));
        let psql = bench.bin.path().join("psql").display().to_string();
        let script = if form == "env" {
            format!("{printed}\nexec {psql} \"$@\"")
        } else {
            format!("exec {psql} \"$@\"")
        };
        client.args(["-c", &script, "sh"]);
        if form != "env" {
            client.args(["-d", printed.trim()]);
        }
        let output = client.args(query).output().await.expect("it starts");
        assert_eq!(text(&output.stdout), "alice\n", "{form}: {printed}{}", text(&output.stderr));
        let pid =
            child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)).expect("it runs");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
        let status = timeout(TIMEOUT, child.wait()).await.expect("it ends in time").expect("it ends");
        assert!(status.success(), "{form}: {status}");
        assert_eq!(bench.sessions().await, 0);
    }
    let output = bench.output(&[&DATABASE[..], &["--print", "jdbc"]].concat(), answer).await;
    let stderr = text(&output.stderr);
    assert!(!output.status.success() && stderr.contains("--proxy gives them a local port"), "{stderr}");
    assert_eq!(bench.sessions().await, 0);
}

#[tokio::test]
async fn a_password_is_read_from_the_sessions_secret() {
    let (server, authority) = server("orders-db.passwords.svc").await;
    let bench = Bench::new("passwords", "postgres", "orders-db.passwords.svc:5432").await;
    bench.psql().await;
    bench.server(server.port()).await;
    server.create_password_user("carol", "s3cret", "").await.expect("she is made");
    let patch = json!({"spec": {"userCredentials": {"x509": null, "password": {}}}}).to_string();
    let admin = ["patch", "dba", "orders", "-n", "passwords", "--type=merge", "-p", &patch];
    bench.cluster.kubectl(&admin).await.expect("it is patched");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "of-session", "namespace": "passwords"},
                        "stringData": {"password": "s3cret"}});
    let answer = Answer {
        username: "carol",
        secret: Some("of-session"),
        ..Answer::signed(server.client_authority(), authority.cert_pem())
    };
    let args = [&DATABASE[..], &["--", "-X", "-A", "-t", "-c", "select current_user"]].concat();
    let output = bench.output(&args, answer.clone()).await;
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("the session's lies in the Secret \"of-session\", which you could not read"),
        "{stderr}"
    );
    bench.cluster.apply(&secret.to_string()).await.expect("it is made");
    let output = bench.output(&args, answer).await;
    assert_eq!(text(&output.stdout), "carol\n", "{}", text(&output.stderr));
    assert_eq!(bench.sessions().await, 0);
}
