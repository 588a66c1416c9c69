//! Sessions that have the operator's finalizer from the beginning, by an admission policy, and those that have not.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::DatabaseSession;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_operator::uninstall::{self, Options};
use rolecall_testbed::Identity;
use rolecall_tests::base_env::BaseEnv;
use rolecall_tests::test_env::ALICE;
use rolecall_tests::{TIMEOUT, TestEnv, cluster};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const POLICY: &str = include_str!("../../../deploy/finalizer/session_finalizer.yaml");

/// Puts the policy in force in the namespace of a test; false: the API server has no such policies.
async fn mark_sessions(env: &BaseEnv) -> Result<bool> {
    let cluster = cluster::cluster().await?;
    let served = cluster.kubectl(&["get", "--raw", "/apis/admissionregistration.k8s.io/v1"]).await?;
    if !served.contains("\"mutatingadmissionpolicies\"") {
        return Ok(false);
    }
    let name = binding(env);
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "matchResources": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": env.namespace}},
            },
        },
    });
    let policy = POLICY.replace("name: rolecall-session-finalizer", &format!("name: {name}"));
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("{policy}\n---\n{binding}"))?;
    cluster.kubectl(&["apply", "--server-side", "--filename", &file.path().display().to_string()]).await?;
    env.eventually("the policy is in force", async || marks(env).await).await?;
    Ok(true)
}

fn binding(env: &BaseEnv) -> String {
    format!("finalizer-{}", env.namespace)
}

/// Does a session that is made now have the finalizer?
async fn marks(env: &BaseEnv) -> Result<bool> {
    let file = tempfile::NamedTempFile::new()?;
    let session = json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DatabaseSession",
        "metadata": {"name": "probe", "namespace": env.namespace, "finalizers": ["example.com/mine"]},
        "spec": {"user": "alice", "database": "orders"},
    });
    std::fs::write(file.path(), session.to_string())?;
    let path = file.path().display().to_string();
    let create =
        ["create", "--dry-run=server", "--output=jsonpath={.metadata.finalizers}", "--filename", &path];
    let finalizers = cluster::cluster().await?.kubectl(&create).await?;
    ensure!(finalizers.contains("example.com/mine"), "those of others stay: {finalizers}");
    Ok(finalizers.contains(ACCOUNT_FINALIZER))
}

/// Takes the policy away again, whatever became of the test.
async fn clean_up(env: &BaseEnv, result: Result<()>) -> Result<()> {
    for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
        cluster::cluster().await?.kubectl(&["delete", "--ignore-not-found", kind, &binding(env)]).await?;
    }
    result
}

/// Who has written the finalizer of a session.
fn marked_by(session: &DatabaseSession) -> Vec<String> {
    let key = format!("v:\"{ACCOUNT_FINALIZER}\"");
    let entries = session.managed_fields().iter().filter(|entry| entry.subresource.is_none());
    let owns = entries.filter(|entry| {
        entry.fields_v1.as_ref().is_some_and(|fields| !fields.0["f:metadata"]["f:finalizers"][&key].is_null())
    });
    owns.filter_map(|entry| entry.manager.clone()).collect()
}

async fn user_of_secret(env: &BaseEnv, name: &str) -> Result<Option<String>> {
    let secret: Secret = env.get(name).await?;
    Ok(secret.annotations().get(USERNAME_ANNOTATION).cloned())
}

#[tokio::test]
async fn without_the_policy_the_operator_marks_a_session_before_its_start() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("s", json!({})).await?;
    let session = env.active("s").await?;
    ensure!(marked_by(&session) == ["rolecall-operator"], "{:?}", session.managed_fields());
    ensure!(session.annotations().get(USERNAME_ANNOTATION).map(String::as_str) == Some(ALICE));
    env.delete_and_wait::<DatabaseSession>("s").await
}

#[tokio::test]
async fn with_the_policy_the_first_write_of_the_operator_is_that_it_is_active() -> Result<()> {
    let mut env = TestEnv::start().await?;
    if !mark_sessions(&env).await? {
        return Ok(());
    }
    let result = marked_session(&mut env).await;
    clean_up(&env, result).await
}

async fn marked_session(env: &mut TestEnv) -> Result<()> {
    env.session("s", json!({})).await?;
    let session = env.active("s").await?;
    let managers: Vec<_> = session
        .managed_fields()
        .iter()
        .filter(|entry| entry.subresource.is_none())
        .filter_map(|entry| entry.manager.as_deref())
        .collect();
    ensure!(!managers.contains(&"rolecall-operator"), "{managers:?}");
    ensure!(session.finalizers() == [ACCOUNT_FINALIZER], "{:?}", session.finalizers());
    ensure!(!session.annotations().contains_key(USERNAME_ANNOTATION), "{:?}", session.annotations());
    ensure!(user_of_secret(env, "s").await?.as_deref() == Some(ALICE), "the Secret is the record");
    env.login("s").await?;

    // One that begins while the operator is not there, and another that goes again.
    env.crash_operator().await;
    env.session("later", json!({})).await?;
    env.session("never", json!({})).await?;
    env.delete::<DatabaseSession>("never").await?;
    env.start_operator().await?;
    env.active("later").await?;
    env.gone::<DatabaseSession>("never").await?;
    env.delete_and_wait::<DatabaseSession>("later").await?;
    env.login("s").await?;

    // Nothing exists of one that waits: it goes though its server is down.
    env.session("waits", json!({"databaseName": "none"})).await?;
    env.pending("waits", "DatabaseNameNotFound").await?;
    env.user("nobody", json!({"username": "nobody", "roles": []})).await?;
    env.session("denied", json!({"user": "nobody"})).await?;
    env.pending("denied", "AccessDenied").await?;
    env.pg.stop().await;
    env.delete_and_wait::<DatabaseSession>("waits").await?;
    env.delete_and_wait::<DatabaseSession>("denied").await?;
    env.pg.start_again().await?;
    env.delete_and_wait::<DatabaseSession>("s").await?;
    ensure!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn before_an_uninstall_nobody_marks_sessions_any_more_and_those_marked_are_let_go() -> Result<()> {
    let mut env = crate::uninstall::env().await?;
    if !mark_sessions(&env).await? {
        return Ok(());
    }
    let result = let_go(&mut env).await;
    clean_up(&env, result).await
}

async fn let_go(env: &mut TestEnv) -> Result<()> {
    let cluster = cluster::cluster().await?;
    let name = binding(env);
    let role = [
        ["create", "clusterrole", &name, "--verb=delete"].as_slice(),
        &["--resource=mutatingadmissionpolicybindings.admissionregistration.k8s.io", "--resource-name"],
        &[&name],
    ]
    .concat();
    cluster.kubectl(&role).await?;
    let account = "--serviceaccount=rolecall-system:rolecall-operator";
    let role = format!("--clusterrole={name}");
    cluster.kubectl(&["create", "clusterrolebinding", &name, &role, account]).await?;
    env.session("s", json!({})).await?;
    env.active("s").await?;
    env.session("missing", json!({"database": "missing"})).await?;
    env.session("nobodys", json!({"user": "nobody"})).await?;
    for waits in ["missing", "nobodys"] {
        let marked = |session: &DatabaseSession| !session.finalizers().is_empty();
        env.until(waits, "marked", marked).await?;
    }
    let options = Options {
        namespaces: vec![env.namespace.clone()],
        lease_namespace: Some(env.namespace.clone()),
        timeout: TIMEOUT,
        kinds_too: false,
        release: None,
        finalizer_binding: Some(name.clone()),
        force: false,
    };
    let identity = Identity::service_account("rolecall-system", "rolecall-operator");
    let client = kube::Client::try_from(cluster::config_of(&identity).await?)?;
    uninstall::prepare(&client, &options, &mut |_| {}, &CancellationToken::new()).await?;
    ensure!(!marks(env).await?, "it would stay Terminating");
    for session in env.list::<DatabaseSession>().await? {
        ensure!(session.finalizers().is_empty(), "{} stays Terminating", session.name_any());
    }
    // The operator goes, and whoever is there goes without it.
    env.stop_operator().await?;
    env.session("after", json!({})).await?;
    for session in ["s", "missing", "nobodys", "after"] {
        env.delete_and_wait::<DatabaseSession>(session).await?;
    }
    for kind in ["clusterrolebinding", "clusterrole"] {
        cluster.kubectl(&["delete", kind, &name]).await?;
    }
    Ok(())
}
