//! The program against a real API server.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod documented;
#[path = "online/errors.rs"]
mod errors;

use std::path::{Path, PathBuf};
use std::process::Output;

use rolecall_testbed::{Cluster, Identity, environment};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The cluster, with our kinds; and what the program said before they were there.
async fn cluster() -> (&'static Cluster, &'static str) {
    static READY: OnceCell<String> = OnceCell::const_new();
    let cluster = Cluster::shared().await.expect("the cluster starts");
    let before = READY
        .get_or_init(|| async {
            let output = run(&cluster.kubeconfig(), &["ls", "--user", "alice"]).await;
            cluster
                .apply(&rolecall_api::crds_yaml().expect("the definitions can be written"))
                .await
                .expect("applies");
            let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
            cluster.kubectl(&wait).await.expect("the definitions are taken up");
            text(&output.stderr)
        })
        .await;
    (cluster, before)
}

async fn run(kubeconfig: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"))
        .args(args)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .env_clear()
        .envs(environment(kubeconfig.parent().unwrap_or(Path::new("/"))))
        .kill_on_drop(true)
        .output()
        .await
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shop")
}

/// A namespace with the objects of the fixture.
async fn namespace(cluster: &Cluster, name: &str) {
    cluster
        .apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"))
        .await
        .expect("the namespace is made");
    for file in ["databases.yaml", "roles.yaml", "users.yaml", "rules.yaml"] {
        let text = std::fs::read_to_string(shop().join(file)).expect("the fixture is there");
        let ours: Vec<&str> =
            text.split("\n---\n").filter(|document| document.contains("rolecall.dev/")).collect();
        let path = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(path.path(), ours.join("\n---\n")).expect("and written");
        let path = path.path().display().to_string();
        cluster
            .kubectl(&["apply", "--server-side", "-n", name, "-f", &path])
            .await
            .expect("the fixtures are valid");
    }
}

#[tokio::test]
async fn online_and_offline_say_the_same() {
    let (cluster, _) = cluster().await;
    namespace(cluster, "same").await;
    let (fixtures, objects) =
        (shop().display().to_string(), shop().join("objects.csv").display().to_string());
    for user in ["alice", "bob", "carol", "dave", "erin"] {
        for database in ["orders", "people", "events"] {
            let question = ["explain", "-u", user, "-d", database, "--objects", &objects, "-o", "json"];
            let online = run(&cluster.kubeconfig(), &[&question[..], &["-n", "same"]].concat()).await;
            assert!(online.status.success(), "{}", text(&online.stderr));
            let offline = run(&cluster.kubeconfig(), &[&question[..], &["-f", &fixtures]].concat()).await;
            assert_eq!(text(&online.stdout), text(&offline.stdout), "{user} {database}");
        }
    }
}

#[tokio::test]
async fn the_caller_is_the_user_where_none_is_named() {
    let (cluster, _) = cluster().await;
    namespace(cluster, "whoami").await;
    let rights = "
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: whoami},
 rules: [{apiGroups: [rolecall.dev], resources: ['*'], verbs: [get, list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader, namespace: whoami},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader},
 subjects: [{kind: Group, name: readers, apiGroup: rbac.authorization.k8s.io}]}";
    cluster.apply(rights).await.expect("the rights are given");
    let who = |name: &'static str, groups: &'static [&'static str]| async move {
        let identity = Identity::user(name, groups);
        let kubeconfig = cluster.kubeconfig_file_for(&identity).await.expect("a kubeconfig is made");
        run(&kubeconfig, &["ls", "-n", "whoami"]).await
    };
    let alice = who("alice@example.com", &["readers"]).await;
    assert_eq!(
        text(&alice.stdout),
        "DATABASE   PROTOCOL   DATABASE NAMES        MODE\n\
         events     mongodb    horizon               BestEffortDrop\n\
         orders     postgres   all except postgres   BestEffortDrop\n\
         people     postgres   all except postgres   BestEffortDrop (suspended)\n",
        "{}",
        text(&alice.stderr)
    );
    let zoe = who("zoe", &["readers"]).await;
    assert_eq!(zoe.status.code(), Some(1));
    assert_eq!(
        text(&zoe.stderr),
        "error: you are \"zoe\" in the cluster, and no DatabaseUser in namespace whoami says so; there are alice, bob, carol, \
         dave, erin; name yours with --user, or let whoever administers it add your name to its annotation \
         rolecall.dev/kubernetes-users\n"
    );
    let annotation = "rolecall.dev/kubernetes-users=somebody, zoe";
    for (user, stdout, stderr) in [
        ("alice", text(&alice.stdout), ""),
        (
            "bob",
            String::new(),
            "error: you are \"zoe\" in the cluster, which several DatabaseUsers in namespace whoami say: \
                                alice, bob; name one with --user\n",
        ),
    ] {
        let args = ["annotate", "dbu", user, "-n", "whoami", annotation];
        cluster.kubectl(&args).await.expect("it is annotated");
        let zoe = who("zoe", &["readers"]).await;
        assert_eq!((text(&zoe.stdout), text(&zoe.stderr)), (stdout, stderr.to_owned()));
    }
    let stranger = who("stranger", &[]).await;
    assert_eq!(stranger.status.code(), Some(1));
    let message = text(&stranger.stderr);
    assert!(
        message.starts_with("error: listing ") && message.contains("\"stranger\" cannot list resource"),
        "{message}"
    );
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let (cluster, _) = cluster().await;
    namespace(cluster, "live").await;
    let session = |name: &str, more: &str| {
        format!(
            "---\n{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseSession, metadata: {{name: {name}, namespace: live{more}}}, \
             spec: {{user: alice, database: orders, databaseName: horizon, ttl: 1h}}}}\n"
        )
    };
    let manifests =
        session("one", "") + &session("stuck", ", finalizers: [example.com/stuck]") + &session("over", "");
    cluster.apply(&manifests).await.expect("the sessions are made");
    for (name, status) in [
        (
            "one",
            r#"{"phase": "Active", "conditions": [{"type": "Ready", "status": "True", "reason": "Active", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z"}]}"#,
        ),
        ("over", r#"{"phase": "Ended"}"#),
    ] {
        let patch = format!("{{\"status\": {status}}}");
        let args = ["patch", "dbs", name, "-n", "live", "--subresource=status", "--type=merge", "-p", &patch];
        cluster.kubectl(&args).await.expect("the status is written");
    }
    let kubeconfig = cluster.kubeconfig();
    let list = async |args: &[&str]| {
        let output = run(&kubeconfig, &[&["sessions", "-n", "live", "-o", "json"], args].concat()).await;
        let list: Value = serde_json::from_slice(&output.stdout).expect("JSON comes out");
        let items = list["items"].as_array().expect("it is a list").clone();
        items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&[]).await, ["one", "stuck"]);
    assert_eq!(list(&["--all"]).await, ["one", "over", "stuck"]);
    assert_eq!(list(&["--user", "bob"]).await, Vec::<String>::new());
    let table = run(&kubeconfig, &["sessions", "-n", "live"]).await;
    let table = text(&table.stdout);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "USER", "DATABASE", "DBNAME", "PHASE", "EXPIRES", "REASON", "AGE"]);
    assert_eq!(rows[1][..7], ["one", "alice", "orders", "horizon", "Active", "-", "Active"]);
    assert_eq!(rows[2][4], "Pending");

    let ended = run(&kubeconfig, &["end", "one", "stuck", "absent", "-n", "live", "--timeout", "2s"]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(text(&ended.stdout), "session one ended\n");
    // The one that ends meanwhile is there or not.
    let message = text(&ended.stderr).replace("there are one, over", "there are over");
    assert_eq!(
        message,
        "error: the session stuck has not ended after 2s (Pending: Waiting for the operator); it is still ending\n\
         error: there is no DatabaseSession \"absent\" in namespace live; there are over, stuck\n"
    );
    let waits = run(&kubeconfig, &["end", "stuck", "-n", "live", "--timeout", "6s"]).await;
    let told = "waiting for the end of stuck: Pending: Waiting for the operator\n";
    assert_eq!(text(&waits.stderr).matches(told).count(), 1, "{}", text(&waits.stderr));
    let unstick = r#"{"metadata": {"finalizers": null}}"#;
    let args = ["patch", "dbs", "stuck", "-n", "live", "--type=merge", "-p", unstick];
    cluster.kubectl(&args).await.expect("the finalizer goes");
    assert_eq!(list(&["--all"]).await, ["over"]);
}

#[tokio::test]
async fn what_is_converted_is_admitted_and_read_as_it_was_written() {
    let (cluster, _) = cluster().await;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents");
    // One by one, since several documents call their example the same.
    for example in directory.read_dir().expect("the fixtures are there").flatten() {
        let file = example.path().display().to_string();
        let converted = run(&cluster.kubeconfig(), &["convert", "-f", &file, "-n", "default"]).await;
        assert!(converted.status.success(), "{}", text(&converted.stderr));
        let manifest = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(manifest.path(), &converted.stdout).expect("and written");
        let manifest = manifest.path().display().to_string();
        let admitted = cluster.kubectl(&["apply", "--dry-run=server", "-f", &manifest]).await;
        assert!(admitted.is_ok(), "{file}: {admitted:?}");
    }

    // Texts that other readers of YAML take for something else.
    let odd = [
        "off",
        "y",
        "No",
        "0x1F",
        "010",
        "1e3",
        "1_000",
        "~",
        "null",
        "",
        "2001-01-01",
        "1:30",
        "<<",
        "=",
        "*",
        "a: b",
        "- a",
        "#",
        " a ",
        "\u{e9}\u{1}",
        "a\nb\n",
    ];
    let role = serde_json::json!({"kind": "role", "version": "v7", "metadata": {"name": "odd"}, "spec": {"allow": {"db_labels": {"off": odd}}}});
    let file = tempfile::NamedTempFile::with_suffix(".json").expect("a file can be made");
    std::fs::write(file.path(), role.to_string()).expect("and written");
    let converted =
        run(&cluster.kubeconfig(), &["convert", "-n", "default", "-f", &file.path().display().to_string()])
            .await;
    cluster.apply(&text(&converted.stdout)).await.expect("it is admitted");
    let stored = cluster.kubectl(&["get", "prole", "odd", "-o", "json"]).await.expect("it is there");
    let stored: Value = serde_json::from_str(&stored).expect("JSON comes out");
    assert_eq!(stored["spec"]["allow"]["dbLabels"]["off"], serde_json::json!(odd));
}

#[tokio::test]
async fn on_a_cluster_without_our_kinds_the_error_says_what_to_install() {
    let (_, before) = cluster().await;
    assert!(before.contains("install them: rolecall-operator crds | kubectl apply -f -"), "{before}");
}

#[tokio::test]
async fn an_unreachable_api_server_is_named() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("config");
    // A port that nobody listens on, as it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("one is free")
        .port();
    let kubeconfig = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
          clusters: [{{name: a, cluster: {{server: 'https://127.0.0.1:{port}'}}}}], users: [{{name: a, user: {{}}}}]}}"
    );
    std::fs::write(&path, kubeconfig).expect("it is written");
    for args in [&["ls", "--user", "a"][..], &["sessions"], &["end", "a"], &["connect", "a", "--user", "a"]] {
        let output = run(&path, args).await;
        assert_eq!(output.status.code(), Some(1));
        let message = text(&output.stderr);
        assert!(
            message.contains(&format!("the API server at https://127.0.0.1:{port} does not answer: ")),
            "{message}"
        );
        assert!(
            message.contains("Connection refused") && message.contains("kubectl cluster-info"),
            "{message}"
        );
    }
    let output = run(&path, &["sessions", "--context", "b"]).await;
    assert!(text(&output.stderr).contains("there is no context \"b\" in the kubeconfig"), "{output:?}");
}

#[tokio::test]
async fn a_list_of_kubeconfigs_may_name_files_that_are_not_there() {
    let (cluster, _) = cluster().await;
    let list = std::env::join_paths([
        Path::new("/nowhere/config"),
        &cluster.kubeconfig(),
        Path::new("/nowhere/more"),
    ]);
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"))
        .args(["sessions", "--user", "dbu/nobody", "-n", "default"])
        .env_clear()
        .envs(environment(Path::new("/nonexistent")))
        .env("KUBECONFIG", list.expect("no colon in them"))
        .output()
        .await
        .expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "No sessions found in namespace default.\n");
}

#[tokio::test]
async fn sessions_are_named_as_kubectl_names_them_and_wrong_names_are_reported_with_the_right_ones() {
    let (cluster, _) = cluster().await;
    namespace(cluster, "names").await;
    let session = "{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseSession, metadata: {name: one, namespace: names}, \
                   spec: {user: alice, database: orders, databaseName: horizon}}";
    cluster.apply(session).await.expect("it is made");
    let message = async |args: &[&str]| {
        let output = run(&cluster.kubeconfig(), &[args, &["-n", "names"]].concat()).await;
        text(&output.stdout) + &text(&output.stderr)
    };
    let end = async |name: &str| message(&["end", name]).await;
    let missing = "error: there is no DatabaseSession \"on\" in namespace names; there are one\n";
    assert_eq!(end("on").await, missing);
    assert_eq!(end("dbs/on").await, missing);
    assert_eq!(
        end("dba/one").await,
        "error: \"dba/one\" names a DatabaseAdmin, but a DatabaseSession is expected here\n"
    );
    let found = message(&["sessions", "--user", "databaseuser/alice", "--database", "dba/orders"]).await;
    assert!(found.contains("one "), "{found}");
    let wrong = message(&["sessions", "--user", "alic"]).await;
    assert!(
        wrong.starts_with("note: there is no DatabaseUser \"alic\" in namespace names; there are alice"),
        "{wrong}"
    );
    let ended = message(&["end", "databasesession.rolecall.dev/one"]).await;
    assert_eq!(ended, "session one ended\n");
    let explained =
        message(&["explain", "-u", "dbu/alice", "-d", "dba/orders", "--db-name", "horizon"]).await;
    assert!(explained.contains("horizon"), "{explained}");
}

fn proposal() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proposal").display().to_string()
}

#[tokio::test]
async fn a_plan_is_against_what_the_cluster_has() {
    let (cluster, _) = cluster().await;
    namespace(cluster, "planned").await;
    let session = "{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseSession, metadata: {name: hers, namespace: planned}, \
                   spec: {user: alice, database: orders, databaseName: other, ttl: 1h}}";
    cluster.apply(session).await.expect("it is made");
    let patch = r#"{"status": {"phase": "Active"}}"#;
    let args = ["patch", "dbs", "hers", "-n", "planned", "--subresource=status", "--type=merge", "-p", patch];
    cluster.kubectl(&args).await.expect("the status is written");

    let plan = ["plan", "-n", "planned", "-f", &proposal()];
    let online = run(&cluster.kubeconfig(), &[&plan[..], &["-o", "json"]].concat()).await;
    assert_eq!(online.status.code(), Some(2), "{}", text(&online.stderr));
    let online: Value = serde_json::from_slice(&online.stdout).expect("JSON comes out");
    assert_eq!((&online["kind"], &online["namespace"]), (&"Plan".into(), &"planned".into()));
    documented::names_every_field("plan-json.md", &online);
    let accesses = online["accesses"].as_array().expect("a list").clone();
    let alice = accesses
        .iter()
        .find(|access| access["user"] == "alice" && access["database"] == "orders")
        .expect("hers changes");
    assert_eq!(
        (&alice["sessions"][0]["name"], &alice["sessions"][0]["effect"]),
        (&"hers".into(), &"Ends".into())
    );
    let statements = alice["statements"]["statements"].to_string();
    assert!(statements.contains("NOLOGIN") && alice["statements"]["when"] == "Now", "{statements}");

    // Without a cluster the same is gained and lost.
    let shop = shop().display().to_string();
    let offline = ["plan", "-f", &proposal(), "--against", &shop, "-o", "json", "--kubeconfig", "/nowhere"];
    let offline = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall")).args(offline).output().await;
    let offline: Value = serde_json::from_slice(&offline.expect("it starts").stdout).expect("JSON comes out");
    let whole = offline["accesses"].as_array().expect("a list");
    // There what the proposal lacks is gone: only what both have is compared.
    let frank = |accesses: &[Value]| {
        accesses.iter().find(|access| access["user"] == "frank").map(|frank| frank["gained"].clone())
    };
    assert!(frank(&accesses).is_some());
    assert_eq!(frank(whole), None, "there is no database in the proposal");

    let comment = run(&cluster.kubeconfig(), &[&plan[..], &["-o", "markdown"]].concat()).await;
    assert!(text(&comment.stdout).starts_with("### Database access\n\n**"), "{}", text(&comment.stdout));
    let wrong =
        run(&cluster.kubeconfig(), &["ls", "--user", "alice", "-n", "planned", "-o", "markdown"]).await;
    assert_eq!(
        (wrong.status.code(), text(&wrong.stderr).as_str()),
        (Some(1), "error: only plan prints Markdown; -o takes table, json or yaml here\n")
    );

    // Applied, it changes nothing any more.
    for file in ["roles.yaml", "users.yaml"] {
        let file = format!("{}/{file}", proposal());
        cluster
            .kubectl(&["apply", "--server-side", "--force-conflicts", "-n", "planned", "-f", &file])
            .await
            .expect("it is applied");
    }
    let again = run(&cluster.kubeconfig(), &plan).await;
    assert_eq!((again.status.code(), text(&again.stdout).as_str()), (Some(0), "Nobody's access changes.\n"));
}

#[tokio::test]
async fn kustomize_puts_a_plan_together() {
    let (cluster, _) = cluster().await;
    namespace(cluster, "kustomized").await;
    let directory = tempfile::tempdir().expect("a directory can be made");
    for file in ["roles.yaml", "users.yaml"] {
        std::fs::copy(format!("{}/{file}", proposal()), directory.path().join(file)).expect("it is copied");
    }
    let kustomization = "namespace: kustomized\nresources: [roles.yaml, users.yaml]\n";
    std::fs::write(directory.path().join("kustomization.yaml"), kustomization).expect("it is written");
    let path = directory.path().display().to_string();
    let with_path = async |path_variable: &Path, directory: &str| {
        Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"))
            .args(["plan", "--kustomize", directory, "--kubeconfig"])
            .arg(cluster.kubeconfig())
            .env_clear()
            .envs(environment(Path::new("/nonexistent")))
            .env("PATH", path_variable)
            .output()
            .await
            .expect("the program starts")
    };
    let kubectl = cluster.kubectl_path();
    let kubectl = kubectl.parent().expect("it is in a directory");
    // The namespace is that of the kustomization.
    let planned = with_path(kubectl, &path).await;
    assert_eq!(planned.status.code(), Some(2), "{}", text(&planned.stderr));
    assert!(text(&planned.stdout).contains("frank on orders: access is new"), "{}", text(&planned.stdout));
    let missing = with_path(Path::new("/nonexistent"), &path).await;
    assert!(text(&missing.stderr).contains("| kubectl rolecall plan -f -"), "{}", text(&missing.stderr));
    let wrong = with_path(kubectl, "/nonexistent").await;
    assert!(text(&wrong.stderr).contains("kubectl kustomize /nonexistent: "), "{}", text(&wrong.stderr));
}

#[tokio::test]
async fn who_can_says_the_same_online_and_names_live_sessions() {
    let (cluster, _) = cluster().await;
    namespace(cluster, "who").await;
    let session = "{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseSession, metadata: {name: hers, namespace: who}, \
                   spec: {user: alice, database: orders, databaseName: horizon, ttl: 1h}}";
    cluster.apply(session).await.expect("it is made");
    let ask = async |more: &[&str]| {
        let question = ["who-can", "orders", "horizon.recruitment.hr_scratchpad", "-o", "json"];
        let output = run(&cluster.kubeconfig(), &[&question[..], more].concat()).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON comes out")
    };
    let mut online = ask(&["-n", "who"]).await;
    let offline = ask(&["-f", &shop().display().to_string()]).await;
    assert_eq!(online["items"][0]["sessions"].take(), serde_json::json!(["hers"]));
    assert_eq!(online, offline);
    let typo =
        run(&cluster.kubeconfig(), &["who-can", "orders", "a.b.c", "--privilege", "SELCT", "-n", "who"])
            .await;
    assert_eq!(text(&typo.stderr), "error: \"SELCT\" is no privilege; did you mean SELECT?\n");
}

#[tokio::test]
async fn what_keeps_somebody_from_an_answer_is_said_with_what_to_run() {
    let (cluster, _) = cluster().await;
    for name in ["here", "there"] {
        namespace(cluster, name).await;
    }
    cluster
        .apply("{apiVersion: v1, kind: Namespace, metadata: {name: nothing}}")
        .await
        .expect("the namespace is made");
    for args in [&["who-can", "orders"][..], &["explain", "-d", "orders", "-u", "alice"]] {
        let output = run(&cluster.kubeconfig(), &[args, &["-n", "nothing"]].concat()).await;
        let message = text(&output.stderr);
        assert!(
            message.starts_with("error: there is no DatabaseAdmin \"orders\" in namespace nothing"),
            "{message}"
        );
        assert!(
            message.contains("here, ")
                && message.contains("there")
                && message.ends_with(": say which with -n\n"),
            "{message}"
        );
    }
    let stranger = Identity::user("stranger", &[]);
    let kubeconfig = cluster.kubeconfig_file_for(&stranger).await.expect("a kubeconfig is made");
    for args in [&["who-can", "orders"][..], &["plan", "-f", &proposal()]] {
        let output = run(&kubeconfig, &[args, &["-n", "here"]].concat()).await;
        let message = text(&output.stderr);
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains("\"stranger\" cannot list resource"), "{message}");
        assert!(message.contains("kubectl create rolebinding NAME --clusterrole=view"), "{message}");
    }
}
