//! What keeps somebody from an answer: one sentence each, with what to run.

use super::*;

/// What a command says that fails, without what differs from run to run.
async fn said(kubeconfig: &Path, args: &[&str]) -> String {
    let output = run(kubeconfig, args).await;
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    let stderr = text(&output.stderr);
    let place = kubeconfig.display().to_string();
    format!("$ kubectl rolecall {}\n{}\n", args.join(" "), stderr.replace(&place, "KUBECONFIG"))
}

#[tokio::test]
async fn each_says_in_one_sentence_what_to_do() {
    let (cluster, _) = cluster().await;
    for name in ["errors-here", "errors-there"] {
        namespace(cluster, name).await;
    }
    for name in ["errors-here", "errors-there"] {
        let twice = format!(
            "{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {{name: ledger, namespace: {name}}}, \
              spec: {{protocol: postgres, uri: 'a:1', adminUser: {{name: a}}, auth: {{x509: {{secretRef: {{name: a}}}}}}}}}}"
        );
        cluster.apply(&twice).await.expect("it is made");
    }
    let nothing = "{apiVersion: v1, kind: Namespace, metadata: {name: errors-nothing}}";
    cluster.apply(nothing).await.expect("the namespace is made");
    let admin = cluster.kubeconfig();
    let stranger = cluster.kubeconfig_file_for(&Identity::user("stranger", &[])).await;
    let stranger = stranger.expect("a kubeconfig is made");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let gone = directory.path().join("config");
    // Nobody listens on a port below those that are given to programs.
    let text = "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], \
                clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: a, user: {}}]}";
    std::fs::write(&gone, text).expect("it is written");
    let absent = directory.path().join("absent");
    let all = [
        said(&gone, &["sessions"]).await,
        said(&absent, &["sessions"]).await,
        said(&gone, &["sessions", "--context", "b"]).await,
        said(&stranger, &["ls", "--user", "alice", "-n", "errors-here"]).await,
        said(&stranger, &["connect", "orders", "--db-name", "horizon", "-n", "errors-here"]).await,
        said(&stranger, &["end", "alice-orders", "-n", "errors-here"]).await,
        said(&admin, &["who-can", "ledger", "-n", "errors-nothing"]).await,
        said(&admin, &["connect", "order", "--user", "alice", "-n", "errors-here"]).await,
        said(&admin, &["connect", "orders", "--user", "alcie", "--db-name", "horizon", "-n", "errors-here"])
            .await,
        said(&admin, &["connect", "orders", "--user", "alice", "-n", "errors-here"]).await,
        said(&admin, &["connect", "dbu/alice", "-n", "errors-here"]).await,
        said(&admin, &["queries", "alice-orders", "-n", "errors-here"]).await,
        said(&admin, &["sesions"]).await,
        said(&admin, &["sessions", "--usr", "alice"]).await,
        said(&admin, &["plan"]).await,
    ];
    insta::assert_snapshot!("errors", all.join("\n"));
}
