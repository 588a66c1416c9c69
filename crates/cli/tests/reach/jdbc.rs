//! `connect --print jdbc`: PostgreSQL's own driver for Java logs in by what is printed.

use std::process::Stdio;

use rolecall_testbed::components::clients;
use rolecall_testbed::{Authority, PgVersion, Postgres};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::bench::{Answer, Bench, TIMEOUT, text};
use crate::postgres::DATABASE;

#[tokio::test]
async fn javas_driver_logs_in_by_the_url_and_checks_the_server() {
    let client = tokio::task::spawn_blocking(clients::jdbc).await.expect("it does not panic");
    let client = client.expect("the driver can be fetched");
    let server = Postgres::start(PgVersion::V17).await.expect("it starts");
    server.sql("postgres", "create role alice login").await.expect("she is made");
    // Its own name resolves here.
    let bench = Bench::new("jdbc", "postgres", &server.address()).await;
    let stranger = Authority::new("Another CA").expect("it is made");
    for (authorities, expected) in [(server.server_ca_pem(), "alice\n"), (stranger.cert_pem(), "")] {
        let _operator = bench.operator(Answer::signed(server.client_authority(), authorities));
        let mut command = bench.connect(&[&DATABASE[..], &["--print", "jdbc"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = timeout(TIMEOUT, lines.next_line()).await.expect("it is printed in time");
        let url = url.expect("it is text").expect("there is one");
        // Nothing but the URL: no property says which kind of key it is.
        let mut java = Command::from(client.command_for_url(&url, bench.bin.path()));
        let output = timeout(TIMEOUT, java.output()).await.expect("it ends in time").expect("it starts");
        assert_eq!(text(&output.stdout), expected, "{url}: {}", text(&output.stderr));
        assert_eq!(output.status.success(), !expected.is_empty(), "{url}");
        drop(child);
        bench.end_all().await;
    }
}
