//! Orders of applying and of pruning.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, ProvisioningRole, SessionPhase,
};
use rolecall_testbed::rows;
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{is_ready, phase, reason_of};
use serde_json::Value;

use super::{apply, of_kind, team, versions};

const SESSION: &str = "alice-orders";

/// Waits until everything is as its manifest says.
async fn ready(env: &TestEnv) -> Result<()> {
    env.active(SESSION).await?;
    env.until("orders", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?;
    env.until("hr-reader", "Ready", |role: &ProvisioningRole| is_ready(role)).await?;
    env.until("hr-objects", "Ready", |rule: &DbObjectImportRule| is_ready(rule)).await?;
    env.until("alice", "Ready", |user: &DatabaseUser| is_ready(user)).await?;
    Ok(())
}

/// Deletes an object, as a tool that prunes does, and does not wait.
async fn prune(env: &TestEnv, manifest: &Value) -> Result<()> {
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
    let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let api: Api<DynamicObject> = Api::namespaced_with(env.client.clone(), &env.namespace, &resource);
    let name = text(&manifest["metadata"]["name"]);
    api.delete(&name, &DeleteParams::default()).await.with_context(|| format!("deleting {kind} {name}"))?;
    Ok(())
}

/// No login, no membership, no connection, no Secret is left.
async fn nothing_is_left(env: &TestEnv) -> Result<()> {
    env.gone::<DatabaseSession>(SESSION).await?;
    env.gone::<DatabaseAdmin>("orders").await?;
    let account = env.account().await?.context("the account is kept")?;
    ensure!(account.is_disabled(), "{account:?}");
    let none = async || {
        let secrets: Vec<Secret> = env.list().await?;
        Ok(secrets.is_empty())
    };
    env.eventually("every Secret is gone", none).await
}

#[tokio::test]
async fn everything_may_be_applied_and_pruned_in_any_order_in_one_go() -> Result<()> {
    let (env, mut manifests) = team().await?;
    for round in 0..3 {
        let seed: u64 = rand::rng().random();
        let mut random = StdRng::seed_from_u64(seed);
        let order = |manifests: &[Value]| {
            let name = |manifest: &Value| format!("{} {}", manifest["kind"], manifest["metadata"]["name"]);
            manifests.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        manifests.shuffle(&mut random);
        apply(&env, &manifests).await?;
        let applied = order(&manifests);
        ready(&env).await.with_context(|| format!("round {round}, applied as {applied}"))?;
        let client = env.login(SESSION).await?;
        rows(&client, "select * from hr.people").await.context("the permissions on objects")?;

        // Applied again, nothing moves. The operator may still write what it has found.
        let unmoved = async || {
            let before = versions(&apply(&env, &manifests).await?)?;
            Ok(before == versions(&apply(&env, &manifests).await?)?)
        };
        env.eventually("the same manifests make no difference", unmoved).await?;

        manifests.shuffle(&mut random);
        for manifest in &manifests {
            prune(&env, manifest).await?;
        }
        let pruned = order(&manifests);
        nothing_is_left(&env).await.with_context(|| format!("round {round}, pruned as {pruned}"))?;
        ensure!(rows(&client, "select 1").await.is_err(), "the connection is open, pruned as {pruned}");
    }
    let log = env.log();
    ensure!(!log.contains("abandoned") && !log.contains("OrphanEnded"), "an access was orphaned:\n{log}");
    Ok(())
}

#[tokio::test]
async fn pruning_what_a_session_depends_on_ends_access_and_its_return_starts_it_again() -> Result<()> {
    let (env, manifests) = team().await?;
    apply(&env, &manifests).await?;
    for (kind, reason) in [("DatabaseUser", "UserNotFound"), ("ProvisioningRole", "RoleNotFound")] {
        ready(&env).await?;
        let client = env.login(SESSION).await?;
        let manifest = of_kind(&manifests, kind)?;
        prune(&env, manifest).await?;
        env.pending(SESSION, reason).await?;
        let account = env.account().await?.context("the account is kept")?;
        ensure!(account.is_disabled(), "without its {kind}: {account:?}");
        ensure!(rows(&client, "select 1").await.is_err(), "the connection is open without its {kind}");
        env.apply(manifest.clone()).await?;
    }
    ready(&env).await?;

    // A rule is no reason to end: objects are labelled otherwise, and a deny could no longer be seen.
    prune(&env, of_kind(&manifests, "DbObjectImportRule")?).await?;
    let denied = async || {
        let client = env.login(SESSION).await?;
        Ok(rows(&client, "select * from hr.people").await.is_err())
    };
    env.eventually("the permission that came from the rule is revoked", denied).await?;

    // The admin goes when its accesses are ended, and the session stays and waits.
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    let account = env.account().await?.context("the account is kept")?;
    ensure!(account.is_disabled(), "{account:?}");
    let over = |session: &DatabaseSession| {
        phase(session) == SessionPhase::Pending && reason_of(session) == "DatabaseNotFound"
    };
    let session = env.until(SESSION, "waiting for its database", over).await?;
    ensure!(session.finalizers().is_empty(), "{:?}", session.finalizers());
    Ok(())
}
