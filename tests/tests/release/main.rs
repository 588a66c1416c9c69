//! One release, from `kubectl apply` to its end, by real Helm: with live sessions, an operator with the rights and the
//! arguments that the chart gives it, and a real server.
//!
//! There is no kubelet. What the Deployment says runs as a process of the test, and so does the Job before an uninstall.

mod helm;
mod pods;

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason, SessionPhase};
use rolecall_testbed::rows;
use rolecall_tests::objects::{phase, reason_of};
use rolecall_tests::{TestEnv, cluster};
use serde_json::{Value, json};

use helm::{Helm, NAMESPACE};
use pods::{Pods, uninstall};

/// The chart as it was before, under a version of its own. Its Job before an uninstall calls a command that is gone: it is
/// not uninstalled here.
const BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/release/rolecall-0.0.9.tgz");
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/rolecall");

/// Nothing of Rolecall waits for its deletion.
async fn assert_nothing_is_terminating() -> Result<()> {
    let kinds = "crd,databaseadmins,databaseusers,databasesessions,databasesessiondecisions,provisioningroles,\
                 dbobjectimportrules";
    for kind in kinds.split(',') {
        let listed = cluster::cluster().await?.kubectl(&["get", kind, "-A", "-o", "json"]).await?;
        let listed: Value = serde_json::from_str(&listed)?;
        for object in listed["items"].as_array().into_iter().flatten() {
            assert!(object["metadata"]["deletionTimestamp"].is_null(), "{object:#}");
        }
    }
    Ok(())
}

/// Takes away what the version before did not have. Helm would ask whose it is.
async fn without_what_came_later() -> Result<()> {
    let cluster = cluster::cluster().await?;
    for part in ["mutating", "admission"] {
        let directory = format!("{DEPLOY}/{part}");
        cluster.kubectl(&["delete", "--ignore-not-found", "-k", &directory]).await?;
    }
    cluster.kubectl(&["delete", "clusterrole", "rolecall-approve"]).await?;
    Ok(())
}

/// And the kind that it did not have, which the program of today, run as that of the version before, waits for when it starts.
async fn without_decisions() -> Result<()> {
    let kind = ["delete", "crd", "databasesessiondecisions.rolecall.dev"];
    cluster::cluster().await?.kubectl(&kind).await?;
    Ok(())
}

/// No login is open, and what sessions say fits that.
async fn assert_closed(env: &TestEnv, standing: &str) -> Result<()> {
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    let session: DatabaseSession = env.get(standing).await?;
    assert_eq!((phase(&session), reason_of(&session)), (SessionPhase::Pending, "Uninstalled"));
    assert_nothing_is_terminating().await
}

#[tokio::test]
async fn a_release_lives_and_goes_without_leaving_a_login_open_or_anything_terminating() -> Result<()> {
    // What `kubectl apply -k deploy` installed, with sessions.
    let env = TestEnv::builder().without_operator().start().await?;
    without_what_came_later().await?;
    let helm = Helm::four().await?;
    let values = format!("rbac.secrets.namespaces={{{}}}", env.namespace);
    let by_kubectl = env.process(&[]).await?;
    env.session("standing", json!({})).await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.active("standing").await?;
    env.active("timed").await?;
    let client = env.login("standing").await?;

    // From kubectl apply to the version before: the sessions do not notice.
    let install = ["upgrade", "rolecall", BEFORE, "--install", "--set", &values];
    let refused = helm.run(&install).await.expect_err("the objects are somebody else's");
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    helm.ok(&[&install[..], &["--take-ownership", "--force-conflicts"]].concat()).await?;
    by_kubectl.stop().await?;
    let mut pods = Pods::start().await?;

    env.active("standing").await?;
    without_decisions().await?;

    // An upgrade, a rollback, an upgrade.
    let upgrade = ["upgrade", "rolecall", CHART, "--reset-then-reuse-values"];
    for step in [&upgrade[..], &["rollback", "rolecall", "1"], &upgrade[..]] {
        helm.ok(step).await?;
        pods.replace().await?;
        rows(&client, "select 1").await.with_context(|| format!("the connection stays: {step:?}"))?;
        let standing: DatabaseSession = env.active("standing").await?;
        assert_eq!(phase(&standing), SessionPhase::Active);
    }

    // The server is down: nothing is uninstalled.
    helm.ok(&[&upgrade[..], &["--set", "uninstall.timeoutSeconds=20"]].concat()).await?;
    env.pg.stop().await;
    let (refused, said) = uninstall(&helm, &mut pods).await?;
    assert!(refused.expect_err("a login is open").contains("rolecall-operator-uninstall"));
    let named = format!("  {}/standing (Ending): DatabaseUnreachable", env.namespace);
    assert!(said.contains(&named), "{said}");
    assert!(pods.are_running(), "the operator is there");
    env.pg.start_again().await?;
    env.ended("timed", EndReason::Uninstalled).await?;
    env.active("standing").await?;
    env.login("standing").await?;

    // It is up: every login is closed.
    helm.ok(&["rollback", "rolecall"]).await?;
    helm.ok(&[&upgrade[..], &["--set", "uninstall.timeoutSeconds=60"]].concat()).await?;
    let (gone, said) = uninstall(&helm, &mut pods).await?;
    gone.map_err(anyhow::Error::msg).with_context(|| said.clone())?;
    assert!(said.contains("No session has access."), "{said}");
    assert!(!pods.are_running(), "its Deployment is gone");
    assert_closed(&env, "standing").await?;

    // Installed again, by Helm 3: what is desired is there again.
    let three = Helm::three().await?;
    three.ok(&["install", "rolecall", CHART, "--set", &values]).await?;
    pods.replace().await?;
    env.active("standing").await?;
    env.login("standing").await?;
    three.ok(&[&upgrade[..], &["--set", "crds.keep=false"]].concat()).await?;
    pods.replace().await?;

    // With the kinds: not before the objects are torn down.
    let (refused, said) = uninstall(&three, &mut pods).await?;
    assert!(refused.is_err() && said.contains(&format!("  {}/orders", env.namespace)), "{said}");
    assert_eq!(phase(&env.get("standing").await?), SessionPhase::Active, "nothing has ended");
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    let (gone, said) = uninstall(&three, &mut pods).await?;
    gone.map_err(anyhow::Error::msg).with_context(|| said.clone())?;
    assert!(env.account().await?.is_none_or(|account| account.is_disabled()));
    let kinds_are_gone = async || {
        let kinds = cluster::cluster().await?.kubectl(&["get", "crd", "--output", "name"]).await?;
        Ok(!kinds.contains(".rolecall.dev"))
    };
    env.eventually("the kinds are gone", kinds_are_gone).await?;
    let left = ["get", "all,roles,rolebindings,serviceaccounts,clusterroles,clusterrolebindings", "-A"];
    let left = [&left[..], &["-l", "app.kubernetes.io/part-of=rolecall", "-o", "name"]].concat();
    assert_eq!(cluster::cluster().await?.kubectl(&left).await?.trim(), "", "in {NAMESPACE} and elsewhere");
    Ok(())
}
