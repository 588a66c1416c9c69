//! `connect --proxy`, with psql in place of a client with windows.

use std::process::{Output, Stdio};
use std::time::Duration;

use rolecall_testbed::environment;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::bench::{Answer, Bench, TIMEOUT, eventually, text};
use crate::documented::names_every_field;
use crate::postgres::{DATABASE, server};

struct Proxy {
    child: Child,
    shown: Value,
}

impl Proxy {
    async fn start(bench: &Bench) -> Self {
        let mut command = bench.connect(&[&DATABASE[..], &["--proxy", "-o", "json"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let shown = timeout(TIMEOUT, object(&mut stdout)).await.expect("it is shown in time");
        Self { child, shown }
    }

    /// psql with what is to be entered.
    async fn psql(&self, bench: &Bench, password: &str, query: &str) -> Output {
        let mut psql = Command::new(bench.bin.path().join("psql"));
        psql.env_clear().envs(environment(bench.bin.path())).env("PGPASSWORD", password);
        let uri = self.shown["uri"].as_str().expect("there is one");
        psql.args(["-X", "-A", "-t", "-d", uri, "-c", query]);
        timeout(TIMEOUT, psql.output()).await.expect("it ends in time").expect("it starts")
    }

    fn password(&self) -> &str {
        self.shown["password"].as_str().expect("there is one")
    }

    async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("it runs");
        kill_process(pid, Signal::INT).expect("it is there");
        let status = timeout(TIMEOUT, self.child.wait()).await.expect("it ends in time").expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// The first JSON object, which ends where a line is a single brace.
async fn object(stdout: &mut BufReader<ChildStdout>) -> Value {
    let mut read = String::new();
    while !read.ends_with("\n}\n") {
        let byte = stdout.read_u8().await.expect("it goes on");
        read.push(char::from(byte));
    }
    serde_json::from_str(&read).expect("it is JSON")
}

#[tokio::test]
async fn clients_log_in_at_a_local_port_and_are_the_sessions_user() {
    let (server, authority) = server("orders-db.proxied.svc").await;
    let bench = Bench::new("proxied", "postgres", "orders-db.proxied.svc:5432").await;
    bench.psql().await;
    bench.server(server.port()).await;
    let _operator = bench.operator(Answer::signed(server.client_authority(), authority.cert_pem()));
    let proxy = Proxy::start(&bench).await;
    let shown = &proxy.shown;
    names_every_field("connect.md", shown);
    assert_eq!(
        (&shown["kind"], &shown["host"], &shown["database"], &shown["user"]),
        (&"Proxy".into(), &"127.0.0.1".into(), &"postgres".into(), &"alice".into())
    );
    let query = "select current_user, ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()";
    let output = proxy.psql(&bench, proxy.password(), query).await;
    assert_eq!(text(&output.stdout), "alice|t|/CN=alice\n", "{}", text(&output.stderr));

    // Nobody else of this machine comes in.
    for password in ["", "x"] {
        let output = proxy.psql(&bench, password, "select 1").await;
        let stderr = text(&output.stderr);
        assert!(
            !output.status.success() && (stderr.contains("password") && !stderr.contains(proxy.password())),
            "{stderr}"
        );
    }

    // A statement is cancelled through it.
    let cancelled = async {
        eventually("it runs", async || running(&server).await == 1).await;
        let found = server.value("postgres", "select pg_cancel_backend(pid) from pg_stat_activity where query like '%sleep(600%' and usename = 'alice'").await;
        found.expect("it is asked").expect("there is one")
    };
    let sleeping = proxy.psql(&bench, proxy.password(), "select pg_sleep(600)");
    let (output, _) = tokio::join!(sleeping, cancelled);
    assert!(text(&output.stderr).contains("canceling statement due to user request"), "{output:?}");

    // What the server says goes to the client.
    server.sql("postgres", "alter role alice nologin").await.expect("it is done");
    let output = proxy.psql(&bench, proxy.password(), "select 1").await;
    assert!(text(&output.stderr).contains("role \"alice\" is not permitted to log in"), "{output:?}");
    proxy.stop().await;
    assert_eq!(bench.sessions().await, 0);
}

async fn running(server: &rolecall_testbed::Postgres) -> usize {
    let query = "select 1 from pg_stat_activity where usename = 'alice' and state = 'active' and query like '%sleep(600%'";
    server.sql("postgres", query).await.map_or(0, |rows| rows.len())
}

#[tokio::test]
async fn a_renewed_certificate_is_used_for_the_next_connection() {
    let (server, authority) = server("orders-db.renewed.svc").await;
    let bench = Bench::new("renewed", "postgres", "orders-db.renewed.svc:5432").await;
    bench.psql().await;
    bench.server(server.port()).await;
    let good = Answer::signed(server.client_authority(), authority.cert_pem());
    let expired = Answer { valid: -3_600, ..good.clone() };
    let operator = bench.operator(expired);
    let proxy = Proxy::start(&bench).await;
    let output = proxy.psql(&bench, proxy.password(), "select current_user").await;
    assert!(text(&output.stderr).contains("CertificateExpired"), "{output:?}");
    drop(operator);
    let _operator = bench.operator(Answer { renew: true, ..good });
    let mut last = String::new();
    let renewed = timeout(TIMEOUT, async {
        loop {
            let output = proxy.psql(&bench, proxy.password(), "select current_user").await;
            if text(&output.stdout) == "alice\n" {
                break;
            }
            last = text(&output.stderr);
            sleep(Duration::from_secs(1)).await;
        }
    });
    renewed.await.unwrap_or_else(|_| panic!("{last}"));
    proxy.stop().await;
    assert_eq!(bench.sessions().await, 0);
}
