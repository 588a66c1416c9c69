//! A network that is gone for a while.

use std::process::Stdio;
use std::time::Duration;

use rolecall_testbed::{Cluster, PgVersion, Postgres};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::{sleep, timeout};

use crate::bench::{Answer, Bench, TIMEOUT};
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
    // Leaked, as statics are: its programs end because the process does.
    cluster.kill_api_server().await;
}
