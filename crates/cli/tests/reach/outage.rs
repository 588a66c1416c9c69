//! A network that is gone for a while.

use std::process::Stdio;
use std::time::Duration;

use rolecall_testbed::{Cluster, PgVersion, Postgres, environment};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStderr, Command};
use tokio::time::{sleep, timeout};

use crate::bench::{Answer, Bench, TIMEOUT, eventually};
use crate::postgres::DATABASE;

#[tokio::test]
async fn an_api_server_that_does_not_answer_for_a_while_ends_no_session() {
    // Of its own: the others go on.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start().await.expect("it starts")));
    let server = Postgres::start(PgVersion::V17).await.expect("it starts");
    server.sql("postgres", "create role alice login").await.expect("she is made");
    let bench = Bench::on(cluster, "outage", "postgres", &server.address()).await;
    bench.psql().await;
    let operator = bench.operator(Answer::signed(server.client_authority(), server.server_ca_pem()));
    let mut command = bench.connect(&[&DATABASE[..], &["--", "-X", "-A", "-t"]].concat());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("it starts");
    let mut psql = child.stdin.take().expect("it is piped");
    let mut answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut ask = async |query: &str| {
        psql.write_all(format!("{query}\n").as_bytes()).await.expect("it reads");
        let answer = timeout(TIMEOUT, answers.next_line()).await.expect("it answers in time");
        answer.expect("it is text").unwrap_or_default()
    };
    assert_eq!(ask("select current_user;").await, "alice");
    drop(operator);
    cluster.pause_api_server().await;
    let mut line = async || {
        let line = timeout(TIMEOUT, said.next_line()).await.expect("it is said in time");
        line.expect("it is text").unwrap_or_default()
    };
    let warning = line().await;
    assert!(
        warning.contains("is not known: the API server does not answer for 10s; it goes on"),
        "{warning}"
    );
    assert_eq!(ask("select 1 + 1;").await, "2");
    cluster.unpause_api_server().await;
    assert!(line().await.ends_with("is known again"));
    assert_eq!(ask("select 2 + 2;").await, "4");
    assert_eq!(bench.sessions().await, 1);

    // It leaves while the API server does not answer: the session is ended when it does.
    cluster.pause_api_server().await;
    drop(psql);
    sleep(Duration::from_secs(1)).await;
    assert!(child.try_wait().expect("it is asked").is_none(), "it does not give up");
    cluster.unpause_api_server().await;
    timeout(TIMEOUT, child.wait()).await.expect("it ends in time").expect("it ends");
    assert_eq!(bench.sessions().await, 0);

    // One that starts: what it waits for is said, and it does not wait without end.
    let mut command = bench.connect(&[&DATABASE[..], &["--timeout", "15s", "--", "-c", "select 1"]].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    eventually("it is made", async || bench.sessions().await == 1).await;
    cluster.pause_api_server().await;
    says(&mut said, "waiting for the session alice-orders-", ": the API server does not answer for 10s")
        .await;
    // It gives up, and ends what it made.
    says(&mut said, "ending the session alice-orders-", "(Ctrl-C leaves it to its ttl)").await;

    // What only asks says it, too.
    let mut asking = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
    asking.args(["sessions", "-n", bench.namespace, "--kubeconfig"]).arg(cluster.kubeconfig());
    let asking = asking.env_clear().envs(environment(bench.bin.path())).stderr(Stdio::piped());
    let mut asking = asking.stdout(Stdio::null()).kill_on_drop(true).spawn().expect("it starts");
    let mut waits = BufReader::new(asking.stderr.take().expect("it is piped")).lines();
    says(
        &mut waits,
        "waiting for the API server at https://",
        "it has not answered for 5s (Ctrl-C gives up)",
    )
    .await;

    cluster.unpause_api_server().await;
    let why = "does not start within 15s: the API server does not answer for ";
    let last = says(&mut said, "error: the session alice-orders-", "--context chooses another one").await;
    assert!(last.contains(why), "{last}");
    let status = timeout(TIMEOUT, child.wait()).await.expect("it ends in time").expect("it ends");
    assert_eq!(status.code(), Some(1));
    bench.ended().await;
    timeout(TIMEOUT, asking.wait()).await.expect("it ends in time").expect("it ends");
    // Leaked, as statics are: its programs end because the process does.
    cluster.kill_api_server().await;
}

/// Waits for a line that begins and ends so.
async fn says(lines: &mut Lines<BufReader<ChildStderr>>, begins: &str, ends: &str) -> String {
    let waited = timeout(TIMEOUT, async {
        loop {
            let line = lines.next_line().await.expect("it is text").expect("it goes on");
            if line.starts_with(begins) && line.ends_with(ends) {
                return line;
            }
        }
    });
    waited.await.expect("it is said in time")
}
