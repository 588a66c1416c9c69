//! `connect`, with a script in the client program's place and a task in the operator's.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use rolecall_aws_testbed::sigv4::{Keyring, Keys, verify_rds_token};
use rolecall_testbed::{Cluster, environment};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

/// A database whose users bring IAM tokens.
const RDS: &str = "orders.abc123.eu-west-1.rds.amazonaws.com:5432";

const TIMEOUT: Duration = Duration::from_secs(60);

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
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {{name: tokens, namespace: {namespace}}},
 spec: {{protocol: postgres, uri: '{RDS}', adminUser: {{name: teleport-admin}}, auth: {{awsIam: {{}}}},
         userCredentials: {{awsIam: {{}}}}}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {{name: events, namespace: {namespace}}},
 spec: {{protocol: mongodb, uri: 'mongodb://localhost:1,localhost:2/?replicaSet=rs0', adminUser: {{name: teleport-admin}},
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
            .args(["connect", database, "-n", self.namespace, "--kubeconfig"])
            .arg(self.cluster.kubeconfig())
            // Its own name leads nowhere.
            .args(
                (database != "events" && !args.contains(&"--address")).then_some("--address=127.0.0.1:15432"),
            )
            .args(args)
            .env_clear()
            .envs(environment(self.bin.path()))
            .env("ROLECALL_USER", "alice")
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
        let found = timeout(TIMEOUT, async {
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

    /// What the program left in the folder for temporary files.
    fn leftovers(&self) -> Vec<PathBuf> {
        let files = self.bin.path().read_dir().expect("it is there").flatten().map(|entry| entry.path());
        let ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            ["psql", "mongosh", "runs"].iter().any(|known| name == *known)
        };
        files.filter(|path| !ours(path)).collect()
    }
}

fn active() -> Value {
    json!({
        "phase": "Active",
        "username": "alice@example.com",
        "certificate": "Q0VSVElGSUNBVEU=",
        "connection": {"host": "orders-db.example", "port": 5432, "database": "horizon",
                       "caBundle": "QVVUSE9SSVRJRVM="},
    })
}

#[test]
fn nothing_that_the_caller_has_set_plays_a_part() {
    let callers = [("PGTZ", "Asia/Tokyo"), ("PGHOST", "elsewhere"), ("HTTPS_PROXY", "http://127.0.0.1:9")];
    let callers = callers.into_iter().chain([("ROLECALL_CLUSTER_NAME", "elsewhere"), ("NO_COLOR", "1")]);
    let output = std::process::Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", "psql_runs_in_a_session_that_ends_with_it"])
        .envs(callers)
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stderr.contains("1 passed"), "{stderr}");
}

#[tokio::test]
async fn psql_runs_in_a_session_that_ends_with_it() {
    let bench = Bench::new(
        "connect",
        "env | grep '^PG' | sed 's|=/proc/[0-9]*/fd/[0-9]*|=FILE|' | sort; cat \"$PGSSLCERT\" \"$PGSSLROOTCERT\"; echo; \
         stat -L -c '%a %F' \"$PGSSLKEY\"; head -n 1 \"$PGSSLKEY\"; echo \"$@\"; exit 3",
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
    let output = timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "PGDATABASE=horizon\nPGHOST=orders-db.example\nPGHOSTADDR=127.0.0.1\nPGPORT=15432\nPGSSLCERT=FILE\n\
         PGSSLKEY=FILE\nPGSSLMODE=verify-full\nPGSSLROOTCERT=FILE\nPGUSER=alice@example.com\n\
         CERTIFICATEAUTHORITIES\n600 regular file\n-----BEGIN PRIVATE KEY-----\n-c select 1\n",
        "{stderr}"
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
async fn a_token_is_signed_with_the_users_own_aws_credentials() {
    let bench =
        Bench::new("tokens", "echo \"$PGPASSWORD\"; echo \"$PGSSLCERT$PGSSLKEY\"; cat \"$PGSSLROOTCERT\"")
            .await;
    let connect = || bench.connect_to("tokens", &["--db-name", "horizon", "--address", "127.0.0.1:15432"]);
    let without = connect().output().await.expect("the program starts");
    let stderr = String::from_utf8_lossy(&without.stderr);
    assert!(!without.status.success() && stderr.contains("AWS credentials"), "{stderr}");
    assert_eq!(bench.sessions().await, Vec::<Value>::new(), "none is made without them");

    let mut command = connect();
    command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "SECRET");
    let child = command.spawn().expect("the program starts");
    let mut status = active();
    status["certificate"] = Value::Null;
    let session = bench.answer(status).await;
    let output = timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let (token, rest) = stdout.split_once('\n').expect("two lines");
    assert_eq!(rest, "\nAUTHORITIES", "no certificate of the user's");
    let keyring = Keyring::new([Keys::new("AKID", "SECRET", None)]);
    verify_rds_token(token, "alice@example.com", RDS, "eu-west-1", &keyring, Timestamp::now())
        .expect("the server would let it in");
    assert_eq!(session["spec"]["certificateRequest"], Value::Null);
    assert!(!stderr.contains("X-Amz-Signature"), "{stderr}");
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
}

#[tokio::test]
async fn mongosh_runs_in_a_session_with_key_and_certificate_in_one_file() {
    let script = "for a in \"$@\"; do echo \"$a\" | sed 's|/proc/[0-9]*/fd/[0-9]*|FILE|'; done; \
                  stat -L -c %a \"$3\" \"$5\"; \
                  sed -n '1p;2p' \"$3\"; cat \"$5\"; exit 3";
    let bench = Bench::with_program("mongosh", "mongosh", script).await;
    let child = bench.connect_to("events", &["--", "--eval", "1"]).spawn().expect("the program starts");
    let session = bench.answer(active()).await;
    let output = timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "mongodb://localhost:1,localhost:2/?tls=true&authMechanism=MONGODB-X509&authSource=%24external\
         &replicaSet=rs0\n--tlsCertificateKeyFile\nFILE\n--tlsCAFile\nFILE\n--eval\n1\n600\n600\n\
         CERTIFICATE\n-----BEGIN PRIVATE KEY-----\nAUTHORITIES",
        "{stderr}"
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
        "error: there is no mongosh on the PATH; install MongoDB's shell: https://www.mongodb.com/docs/mongodb-shell/install; --exec \
         runs another client, --print shows how to connect\n"
    );
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_session_that_does_not_start_says_why() {
    let bench = Bench::new("rejected", "echo never").await;
    let child = bench.connect(&[]).spawn().expect("the program starts");
    let ready = json!({"type": "Ready", "status": "False", "reason": "AccessDenied", "message": "no role allows it",
                       "lastTransitionTime": "2024-01-01T00:00:00Z"});
    bench.answer(json!({"phase": "Rejected", "conditions": [ready]})).await;
    let output = timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with("error: the session alice-orders-")
            && stderr.ends_with("does not start: AccessDenied: no role allows it\n"),
        "{stderr}"
    );
    assert!(output.stdout.is_empty());
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_interruption_leaves_nothing_behind() {
    let bench = Bench::new("interrupted", "touch \"$TMPDIR/runs\"; exec sleep 60").await;
    for (phase, signal, status) in [("waiting", Signal::INT, 130), ("running", Signal::TERM, 128 + 15)] {
        let child = bench.connect(&[]).spawn().expect("the program starts");
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("it runs");
        if phase == "running" {
            bench.answer(active()).await;
            let runs = bench.bin.path().join("runs");
            let running = timeout(TIMEOUT, async {
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
            timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
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
async fn killing_it_leaves_no_key_in_any_file() {
    let bench = Bench::new("killed", "touch \"$TMPDIR/runs\"; exec sleep 60").await;
    let mut child = bench.connect(&[]).spawn().expect("the program starts");
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("it runs");
    bench.answer(active()).await;
    let runs = bench.bin.path().join("runs");
    let running = timeout(TIMEOUT, async {
        while !runs.exists() {
            sleep(Duration::from_millis(50)).await
        }
    });
    running.await.expect("psql starts in time");
    // psql lives on until its own end.
    let sleeping = children(pid);
    kill_process(pid, Signal::KILL).expect("it is there");
    timeout(TIMEOUT, child.wait()).await.expect("it ends in time").expect("it ends");
    for pid in sleeping {
        let _ = kill_process(pid, Signal::KILL);
    }
    assert_eq!(bench.leftovers(), Vec::<PathBuf>::new());
}

/// The processes that a process started.
fn children(pid: Pid) -> Vec<Pid> {
    let of =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid())).expect("it runs");
    let listed: String = tasks.flatten().map(of).collect();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw).collect()
}

#[tokio::test]
async fn what_it_waits_for_is_shown_and_not_waited_for_where_that_is_useless() {
    let bench = Bench::new("waiting", "echo never").await;
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": "DatabaseUnreachable", "message": "no route to it",
               "lastTransitionTime": "2024-01-01T00:00:00Z"})
    };
    let pending =
        |conditions: Value| json!({"phase": "Pending", "observedGeneration": 1, "conditions": conditions});
    let started = std::time::Instant::now();
    let mut child = bench.connect(&["--timeout", "10m"]).spawn().expect("the program starts");
    let mut stderr = tokio::io::BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut line = async || {
        let line = timeout(TIMEOUT, stderr.next_line()).await.expect("it is stderr in time");
        line.expect("it is text").unwrap_or_default()
    };
    let first = line().await;
    assert!(first.starts_with("waiting for the session alice-orders-"), "{first}");
    assert!(first.contains(": no operator has processed it yet"), "{first}");
    bench.answer(pending(json!([condition("Ready", "False"), condition("Reconciling", "True")]))).await;
    let second = line().await;
    assert!(second.ends_with(": DatabaseUnreachable: no route to it"), "{second}");
    bench.answer(pending(json!([condition("Ready", "False"), condition("Stalled", "True")]))).await;
    let last = line().await;
    assert!(last.starts_with("error: the session alice-orders-"), "{last}");
    assert!(last.ends_with(" does not start: DatabaseUnreachable: no route to it"), "{last}");
    let status = timeout(TIMEOUT, child.wait()).await.expect("it ends in time").expect("it ends");
    assert_eq!(status.code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(300));
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_right_to_read_secrets_is_not_needed() {
    let bench = Bench::new("people", "cat \"$PGSSLROOTCERT\"").await;
    let rights = "
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: people, namespace: people},
 rules: [{apiGroups: [rolecall.dev], resources: [databaseadmins, databaseusers, provisioningroles, dbobjectimportrules],
          verbs: [get, list]},
         {apiGroups: [rolecall.dev], resources: [databasesessions], verbs: [get, list, create, delete]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: people, namespace: people},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: people},
 subjects: [{kind: Group, name: people, apiGroup: rbac.authorization.k8s.io}]}";
    bench.cluster.apply(rights).await.expect("the rights are given");
    // As another one, and as kubectl names objects.
    let args = ["--as", "somebody", "--as-group", "people"];
    let person =
        |args: &[&str]| bench.connect_to("dba/orders", &[&["--database-name", "horizon"], args].concat());
    let nobody = person(&args[..2]).output().await.expect("the program starts");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("\"somebody\" cannot get"), "{nobody:?}");
    let child = person(&args).spawn().expect("the program starts");
    bench.answer(active()).await;
    let output = timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "AUTHORITIES",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(bench.sessions().await, Vec::<Value>::new());

    // Without authorities the server would not be checked against those that it should be.
    let child = person(&args).spawn().expect("the program starts");
    let mut without_bundle = active();
    without_bundle["connection"]["caBundle"] = Value::Null;
    bench.answer(without_bundle).await;
    let output = timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("give a file with them by --ca-file") && output.stdout.is_empty(), "{stderr}");
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_cannot_work_creates_nothing() {
    let bench = Bench::new("refused", "echo never").await;
    for (args, expected) in [
        (
            &["--address", "localhost"][..],
            "error: reading --address: \"localhost\" has no port; write HOST:PORT",
        ),
        (&["--address", "localhost:pg"], "error: reading --address: "),
        (
            &["--address", "no-such-host.invalid:5432"],
            "error: reading --address: no-such-host.invalid does not resolve here",
        ),
        (
            &["--user", "bob"],
            "error: there is no DatabaseUser \"bob\" in namespace refused; there are alice\n",
        ),
    ] {
        let refused = bench.connect_to("orders", &[&["--db-name", "horizon"], args].concat());
        let refused = { refused }.output().await.expect("the program starts");
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(stderr.starts_with(expected), "{stderr}");
    }
    for (database, expected) in [
        (
            "order",
            "error: there is no DatabaseAdmin \"order\" in namespace refused; there are events, orders, tokens; did you mean orders?\n",
        ),
        ("dbu/alice", "error: \"dbu/alice\" names a DatabaseUser, but a DatabaseAdmin is expected here\n"),
    ] {
        let refused = bench.connect_to(database, &[]).output().await.expect("the program starts");
        assert_eq!(String::from_utf8_lossy(&refused.stderr), expected);
    }
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
        "error: the DatabaseAdmin orders does not say how its users log in; let whoever administers it set spec.userCredentials\n"
    );
    assert_eq!(bench.sessions().await, Vec::<Value>::new());
    assert!(Path::new(bench.bin.path()).exists());
}
