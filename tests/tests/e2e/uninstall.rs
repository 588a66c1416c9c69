//! Preparing an uninstall: every access ends, and none starts, without a change of any object of a user.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, ResourceExt};
use rolecall_api::{DatabaseAdmin, EndReason, SessionPhase};
use rolecall_operator::uninstall::{self, Options};
use rolecall_testbed::{Identity, rows};
use rolecall_tests::objects::{phase, reason_of};
use rolecall_tests::{TestEnv, cluster};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// A test environment whose operator may read the Lease in its namespace, but needs none to work.
pub(crate) async fn env() -> Result<TestEnv> {
    let mut env = TestEnv::builder().without_operator().start().await?;
    env.apply_yaml(include_str!("../../../deploy/rbac/leader_election_role.yaml")).await?;
    env.apply(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "rolecall-leader-election"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rolecall-leader-election"},
        "subjects": [{"kind": "ServiceAccount", "name": "rolecall-operator", "namespace": "rolecall-system"}],
    }))
    .await?;
    start_operator(&mut env).await?;
    Ok(env)
}

async fn start_operator(env: &mut TestEnv) -> Result<()> {
    let operator = env.another_operator(&[&format!("--leader-election-namespace={}", env.namespace)]).await?;
    operator.ready().await?;
    env.operator = Some(operator);
    Ok(())
}

fn options(env: &TestEnv, timeout: u64) -> Options {
    Options {
        namespaces: vec![env.namespace.clone()],
        lease_namespace: Some(env.namespace.clone()),
        timeout: Duration::from_secs(timeout),
        kinds_too: false,
        release: None,
        finalizer_binding: None,
        force: false,
    }
}

/// With the operator's rights, as the hook of the chart does it. Returns what was said, the end included.
async fn prepare(options: &Options) -> Result<String> {
    let identity = Identity::service_account("rolecall-system", "rolecall-operator");
    let client = Client::try_from(cluster::config_of(&identity).await?)?;
    let mut said = String::new();
    let mut say = |line: String| said += &(line + "\n");
    let last = uninstall::prepare(&client, options, &mut say, &CancellationToken::new()).await?;
    Ok(said + &last)
}

#[tokio::test]
async fn every_access_ends_none_starts_and_all_come_back_when_the_request_lapses() -> Result<()> {
    let mut env = env().await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("standing", json!({})).await?;
    env.active("timed").await?;
    env.active("standing").await?;
    let client = env.login("standing").await?;
    let before: DatabaseAdmin = env.get("orders").await?;

    let said = prepare(&options(&env, 60)).await?;
    assert!(said.ends_with("No session has access."), "{said}");
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    assert!(client.query_one("select 1", &[]).await.is_err());
    env.ended("timed", EndReason::Uninstalled).await?;
    env.pending("standing", "Uninstalled").await?;
    env.session("new", json!({})).await?;
    env.pending("new", "Uninstalled").await?;
    let after: DatabaseAdmin = env.get("orders").await?;
    assert_eq!(before.metadata.generation, after.metadata.generation, "nothing of a user is changed");

    // Another process, as after a new installation, waits until nobody asks any more.
    env.operator.take().context("an operator")?.stop().await?;
    start_operator(&mut env).await?;
    env.pending("standing", "Uninstalled").await?;
    env.active("standing").await?;
    env.active("new").await?;
    env.login("standing").await?;
    assert_eq!(phase(&env.get("timed").await?), SessionPhase::Ended);
    let lease: Lease = env.get("rolecall-operator").await?;
    assert!(lease.annotations().is_empty(), "{:?}", lease.annotations());
    Ok(())
}

#[tokio::test]
async fn an_access_that_cannot_be_ended_refuses_the_uninstall_and_the_operator_goes_on() -> Result<()> {
    let env = env().await?;
    env.session("standing", json!({})).await?;
    env.active("standing").await?;
    env.pg.stop().await;
    let error = prepare(&options(&env, 20)).await.expect_err("its login is open").to_string();
    assert!(error.starts_with("1 session may still have access after"), "{error}");
    assert!(
        error.contains(&format!("  {}/standing (Ending): DatabaseUnreachable: ", env.namespace)),
        "{error}"
    );
    let said = prepare(&Options { force: true, ..options(&env, 6) }).await?;
    assert!(said.contains("/standing (") && said.contains("Uninstalled nevertheless"), "{said}");

    env.pg.start_again().await?;
    env.until("standing", "Pending", |session: &rolecall_api::DatabaseSession| {
        phase(session) == SessionPhase::Pending && reason_of(session) == "Uninstalled"
    })
    .await?;
    env.active("standing").await?;
    rows(&env.login("standing").await?, "select 1").await?;
    Ok(())
}

#[tokio::test]
async fn without_an_operator_open_accesses_refuse_the_uninstall() -> Result<()> {
    let mut env = env().await?;
    let nothing_is_open = prepare(&options(&env, 20)).await?;
    assert!(nothing_is_open.ends_with("No session has access."), "{nothing_is_open}");
    env.session("standing", json!({})).await?;
    env.pending("standing", "Uninstalled").await?;
    env.active("standing").await?;
    env.operator.take().context("an operator")?.stop().await?;
    let error = prepare(&options(&env, 3)).await.expect_err("a login is open").to_string();
    assert!(error.contains("/standing (Active)") && error.contains("No operator has answered"), "{error}");
    Ok(())
}

#[tokio::test]
async fn objects_that_would_stay_terminating_refuse_the_uninstall_before_any_access_ends() -> Result<()> {
    let env = env().await?;
    env.session("standing", json!({})).await?;
    env.active("standing").await?;
    let named = format!("  {}/orders\n", env.namespace);
    let error = prepare(&Options { kinds_too: true, ..options(&env, 20) }).await.expect_err("a finalizer");
    assert!(error.to_string().contains(&named), "{error}");

    let release = format!("{}/release", env.namespace);
    let annotations =
        json!({"meta.helm.sh/release-namespace": env.namespace, "meta.helm.sh/release-name": "release"});
    env.patch::<DatabaseAdmin>("orders", json!({"metadata": {"annotations": annotations}})).await?;
    let error =
        prepare(&Options { release: Some(release), ..options(&env, 20) }).await.expect_err("it is in it");
    assert!(error.to_string().contains(&named), "{error}");
    assert_eq!(phase(&env.get("standing").await?), SessionPhase::Active);
    Ok(())
}
