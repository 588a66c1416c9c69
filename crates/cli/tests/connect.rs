//! `connect`, with a script in the client program's place and a task in the operator's.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rolecall_testbed::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    cluster: &'static Cluster,
    namespace: &'static str,
    bin: TempDir,
}

impl Bench {
    /// A namespace with alice and a database of each kind; `psql` is this script.
    async fn new(namespace: &'static str, psql: &str) -> Self {
        Self::with_program(namespace, "psql", psql).await
    }

    /// As [`Bench::new`], with another client program.
    async fn with_program(namespace: &'static str, program: &str, script: &str) -> Self {
        static KINDS: OnceCell<()> = OnceCell::const_new();
        let cluster = Cluster::shared().await.expect("the cluster starts");
        KINDS
            .get_or_init(|| async {
                let kinds = rolecall_api::crds_yaml().expect("the definitions can be written");
                cluster.apply(&kinds).await.expect("they apply");
                let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
                cluster.kubectl(&wait).await.expect("they are taken up");
            })
            .await;
        let manifests = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: ca, namespace: {namespace}}}, stringData: {{ca.crt: AUTHORITIES}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseUser, metadata: {{name: alice, namespace: {namespace}}}, spec: {{}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {{name: orders, namespace: {namespace}}},
 spec: {{protocol: postgres, uri: 'orders-db.example:5432', adminUser: {{name: teleport-admin}},
         auth: {{x509: {{secretRef: {{name: a}}}}}}, tls: {{caSecretRef: {{name: ca, key: ca.crt}}}},
         userCredentials: {{x509: {{caSecretRef: {{name: b}}}}}}}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {{name: events, namespace: {namespace}}},
 spec: {{protocol: mongodb, uri: 'mongodb://m0.example,m1.example/?replicaSet=rs0', adminUser: {{name: teleport-admin}},
         auth: {{x509: {{secretRef: {{name: a}}}}}}, tls: {{caSecretRef: {{name: ca, key: ca.crt}}}},
         userCredentials: {{x509: {{caSecretRef: {{name: b}}}}}}}}}}"
        );
        cluster.apply(&manifests).await.expect("the manifests are valid");
        let bin = tempfile::tempdir().expect("a directory can be made");
        let path = bin.path().join(program);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the script is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
        Self { cluster, namespace, bin }
    }

    fn connect(&self, args: &[&str]) -> Command {
        self.connect_to("orders", &[&["--db-name", "horizon"], args].concat())
    }

    fn connect_to(&self, database: &str, args: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
        command
            .args(["connect", database, "--user", "alice", "-n", self.namespace, "--kubeconfig"])
            .arg(self.cluster.kubeconfig())
            .args(args)
            .env("PATH", format!("{}:{path}", self.bin.path().display()))
            .env("PGSERVICE", "elsewhere")
            .env("TMPDIR", self.bin.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn sessions(&self) -> Vec<Value> {
        let list = self
            .cluster
            .kubectl(&["get", "dbs", "-n", self.namespace, "-o", "json"])
            .await
            .expect("they are listed");
        let list: Value = serde_json::from_str(&list).expect("JSON comes out");
        list["items"].as_array().expect("it is a list").clone()
    }

    /// Waits for the session, and gives it this status.
    async fn answer(&self, status: Value) -> Value {
        let found = timeout(PATIENCE, async {
            loop {
                if let Some(session) = self.sessions().await.into_iter().next() {
                    return session;
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        let session = found.await.expect("a session is created in time");
        let name = session["metadata"]["name"].as_str().expect("it has a name");
        let patch = json!({"status": status}).to_string();
        let args = [
            "patch",
            "dbs",
            name,
            "-n",
            self.namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.cluster.kubectl(&args).await.expect("the status is written");
        session
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let files = self.bin.path().read_dir().expect("it is there").flatten().map(|entry| entry.path());
        files
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rolecall-"))
            })
            .collect()
    }
}

fn active() -> Value {
    json!({
        "phase": "Active",
        "username": "alice@example.com",
        "certificate": "Q0VSVElGSUNBVEU=",
        "connection": {"host": "orders-db.example", "port": 5432, "database": "horizon"},
    })
}

#[tokio::test]
async fn psql_runs_in_a_session_that_ends_with_it() {
    let bench = Bench::new(
        "connect",
        "env | grep '^PG' | sed 's/=.*rolecall-[^/]*/=DIR/' | sort; cat \"$PGSSLCERT\" \"$PGSSLROOTCERT\"; echo; \
         stat -c %a \"$PGSSLKEY\"; echo \"$@\"; exit 3",
    )
    .await;
    let args = [
        "--db-roles",
        "reader,writer",
        "--ttl",
        "30m",
        "--reason",
        "INC-1",
        "--address",
        "127.0.0.1:15432",
        "--",
        "-c",
        "select 1",
    ];
    let child = bench.connect(&args).spawn().expect("the program starts");
    let session = bench.answer(active()).await;
    let output =
        timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "PGDATABASE=horizon\nPGHOST=orders-db.example\nPGHOSTADDR=127.0.0.1\nPGPORT=15432\nPGSSLCERT=DIR/tls.crt\n\
         PGSSLKEY=DIR/tls.key\nPGSSLMODE=verify-full\nPGSSLROOTCERT=DIR/ca.crt\nPGUSER=alice@example.com\n\
         CERTIFICATEAUTHORITIES\n600\n-c select 1\n",
        "{told}"
    );
    let spec = &session["spec"];
    assert_eq!(spec["user"], "alice");
    assert_eq!(spec["database"], "orders");
    assert_eq!(spec["databaseName"], "horizon");
    assert_eq!(spec["dbRoles"], json!(["reader", "writer"]));
    assert_eq!(
        (&spec["ttl"], &spec["reason"], &spec["startDeadline"]),
        (&json!("30m"), &json!("INC-1"), &json!("1m"))
    );
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
    assert_eq!(bench.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn mongosh_runs_in_a_session_with_key_and_certificate_in_one_file() {
    let script = "for a in \"$@\"; do echo \"$a\" | sed 's/.*rolecall-[^/]*/DIR/'; done; stat -c %a \"$3\" \"$5\"; \
                  sed -n '1p;2p' \"$3\"; cat \"$5\"; exit 3";
    let bench = Bench::with_program("mongosh", "mongosh", script).await;
    let child = bench.connect_to("events", &["--", "--eval", "1"]).spawn().expect("the program starts");
    let session = bench.answer(active()).await;
    let output =
        timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "mongodb://m0.example:27017,m1.example:27017/?tls=true&authMechanism=MONGODB-X509&authSource=%24external\
         &replicaSet=rs0\n--tlsCertificateKeyFile\nDIR/tls.pem\n--tlsCAFile\nDIR/ca.crt\n--eval\n1\n600\n600\n\
         CERTIFICATE\n-----BEGIN PRIVATE KEY-----\nAUTHORITIES",
        "{told}"
    );
    assert_eq!(session["spec"]["databaseName"], Value::Null);
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
    assert_eq!(bench.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_client_program_that_is_missing_is_named_before_there_is_a_session() {
    let bench = Bench::new("missing", "echo never").await;
    let directories = bench.bin.path().as_os_str();
    let missing =
        bench.connect_to("events", &[]).env("PATH", directories).output().await.expect("the program starts");
    assert_eq!(
        String::from_utf8_lossy(&missing.stderr),
        "error: there is no mongosh on the PATH; install MongoDB's shell: https://www.mongodb.com/docs/mongodb-shell/install\n"
    );
    let refused = bench
        .connect_to("events", &["--address", "127.0.0.1:27017"])
        .output()
        .await
        .expect("the program starts");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.starts_with("error: --address does not work with MongoDB"), "{told}");
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_session_that_does_not_start_says_why() {
    let bench = Bench::new("rejected", "echo never").await;
    let child = bench.connect(&[]).spawn().expect("the program starts");
    let ready = json!({"type": "Ready", "status": "False", "reason": "AccessDenied", "message": "no role allows it",
                       "lastTransitionTime": "2024-01-01T00:00:00Z"});
    bench.answer(json!({"phase": "Rejected", "conditions": [ready]})).await;
    let output =
        timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.starts_with("error: the session alice-orders-")
            && told.ends_with("does not start: AccessDenied: no role allows it\n"),
        "{told}"
    );
    assert!(output.stdout.is_empty());
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_interruption_leaves_nothing_behind() {
    let bench = Bench::new("interrupted", "touch \"$TMPDIR/runs\"; exec sleep 60").await;
    for (phase, signal, status) in [("waiting", Signal::INT, 130), ("running", Signal::TERM, 128 + 9)] {
        let child = bench.connect(&[]).spawn().expect("the program starts");
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("it runs");
        if phase == "running" {
            bench.answer(active()).await;
            let runs = bench.bin.path().join("runs");
            let running = timeout(PATIENCE, async {
                while !runs.exists() {
                    sleep(Duration::from_millis(50)).await
                }
            });
            running.await.expect("psql starts in time");
            // Ctrl-C is psql's business, which cancels a query by it.
            kill_process(pid, Signal::INT).expect("it is there");
            sleep(Duration::from_millis(300)).await;
        } else {
            bench.answer(json!({"phase": "Pending"})).await;
        }
        kill_process(pid, signal).expect("it is there");
        let output =
            timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
        assert_eq!(
            output.status.code(),
            Some(status),
            "{phase}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(bench.sessions().await, Vec::<Value>::new(), "{phase}");
        assert_eq!(bench.leftovers(), Vec::<PathBuf>::new(), "{phase}");
    }
}

#[tokio::test]
async fn what_cannot_work_creates_nothing() {
    let bench = Bench::new("refused", "echo never").await;
    let missing =
        bench.connect(&["--ca-file", "/nowhere/ca.crt"]).output().await.expect("the program starts");
    assert!(
        String::from_utf8_lossy(&missing.stderr).starts_with("error: reading /nowhere/ca.crt: No such file")
    );
    let patch = r#"{"spec": {"userCredentials": null}}"#;
    let args = ["patch", "dba", "orders", "-n", "refused", "--type=merge", "-p", patch];
    bench.cluster.kubectl(&args).await.expect("it is patched");
    let refused = bench.connect(&[]).output().await.expect("the program starts");
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "error: the DatabaseAdmin orders issues no certificates (userCredentials.x509), which connect needs\n"
    );
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
    assert!(Path::new(bench.bin.path()).exists());
}
