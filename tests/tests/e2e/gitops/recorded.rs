//! Objects of every kind in every phase, as far as tools look at them, are as recorded in `recorded/`. What Argo CD, Flux
//! and Helm make of the recorded ones is tested with xtask (`tests/gitops.rs`). To record anew: `INSTA_UPDATE=always`.

use anyhow::{Context, Result};
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRule, EndReason, ProvisioningRole,
    SessionPhase, conditions,
};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{Conditions, Kind, is_ready, reason_of};
use serde_json::{Value, json};

/// What tools look at, without what differs each time.
fn plain(object: &impl Kind) -> Result<Value> {
    let object = serde_json::to_value(object)?;
    let (metadata, status) = (&object["metadata"], &object["status"]);
    let conditions = status["conditions"].as_array().context("conditions")?.iter().map(|condition| {
        let kind = &condition["type"];
        json!({
            "type": kind,
            "status": condition["status"],
            "reason": condition["reason"],
            "message": format!("The message of {}", kind.as_str().unwrap_or_default()),
        })
    });
    let mut plain = json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": {"name": metadata["name"], "generation": metadata["generation"]},
        "spec": {},
        "status": {"conditions": conditions.collect::<Vec<_>>()},
    });
    if metadata["deletionTimestamp"].is_string() {
        plain["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        plain["metadata"]["finalizers"] = metadata["finalizers"].clone();
    }
    if object["spec"]["suspend"] == true {
        plain["spec"]["suspend"] = true.into();
    }
    for name in ["observedGeneration", "phase", "endReason"] {
        if !status[name].is_null() {
            plain["status"][name] = status[name].clone();
        }
    }
    Ok(plain)
}

/// Compares an object with the recorded one.
fn assert_recorded(state: &str, object: &impl Kind) -> Result<()> {
    let plain = plain(object)?;
    let name = format!("{}.{state}", plain["kind"].as_str().context("a kind")?);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("recorded");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_yaml_snapshot!(name, plain));
    Ok(())
}

/// Compares an object, read now, with the recorded one.
async fn recorded<K: Kind>(env: &TestEnv, name: &str, state: &str) -> Result<()> {
    assert_recorded(state, &env.get::<K>(name).await?)
}

/// Compares an object with the recorded one when it has this reason, and Stalled or not.
async fn once<K: Kind + Conditions>(
    env: &TestEnv,
    name: &str,
    reason: &str,
    stalled: bool,
    state: &str,
) -> Result<()> {
    let wanted = |object: &K| {
        reason_of(object) == reason
            && conditions::is_true(object.conditions(), conditions::STALLED) == stalled
    };
    assert_recorded(state, &env.until(name, &format!("{state} ({reason})"), wanted).await?)
}

async fn rule(env: &TestEnv, name: &str, tables: &str) -> Result<()> {
    let manifest = json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DbObjectImportRule",
        "metadata": {"name": name},
        "spec": {"databaseLabels": {"*": ["*"]}, "mappings": [{"match": {"tableNames": [tables]}, "addLabels": {"a": "b"}}]},
    });
    env.apply(manifest).await.map(drop)
}

#[tokio::test]
async fn every_phase_of_every_kind_is_as_recorded() -> Result<()> {
    let mut env = TestEnv::builder().without_operator().start().await?;
    rule(&env, "all", "*").await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    fresh(&env).await?;

    env.start_operator().await?;
    assert_recorded("active", &env.active("alice-orders").await?)?;
    assert_recorded("ready", &env.until("orders", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?)?;
    assert_recorded("ready", &env.until("alice", "Ready", |user: &DatabaseUser| is_ready(user)).await?)?;
    assert_recorded("ready", &env.until("reader", "Ready", |role: &ProvisioningRole| is_ready(role)).await?)?;
    assert_recorded("ready", &env.until("all", "Ready", |rule: &DbObjectImportRule| is_ready(rule)).await?)?;

    waiting(&env).await?;
    stalled(&env).await?;
    env.session("over", json!({"ttl": "1s"})).await?;
    assert_recorded("ended", &env.ended("over", EndReason::Expired).await?)?;
    env.session("never", json!({"ttl": "1h", "startDeadline": "1s", "dbRoles": ["none"]})).await?;
    assert_recorded("rejected", &env.rejected("never", "AccessDenied").await?)?;
    env.user("dora", json!({"suspend": true})).await?;
    once::<DatabaseUser>(&env, "dora", "UserSuspended", false, "suspended").await?;

    suspended(&env).await?;
    unreachable(&mut env).await?;
    changed(&env).await
}

/// As the API server makes them, before an operator has seen them.
async fn fresh(env: &TestEnv) -> Result<()> {
    recorded::<DatabaseAdmin>(env, "orders", "fresh").await?;
    recorded::<ProvisioningRole>(env, "reader", "fresh").await?;
    recorded::<DatabaseUser>(env, "alice", "fresh").await?;
    recorded::<DbObjectImportRule>(env, "all", "fresh").await?;
    recorded::<DatabaseSession>(env, "alice-orders", "fresh").await
}

/// What they need may still come.
async fn waiting(env: &TestEnv) -> Result<()> {
    let secret =
        json!({"metadata": {"name": "later"}, "spec": {"auth": {"x509": {"secretRef": {"name": "none"}}}}});
    env.admin(secret).await?;
    once::<DatabaseAdmin>(env, "later", "SecretNotFound", false, "waiting").await?;
    env.user("bob", json!({"roles": ["none"]})).await?;
    once::<DatabaseUser>(env, "bob", "RoleNotFound", false, "waiting").await?;
    env.session("early", json!({"user": "nobody"})).await?;
    once::<DatabaseSession>(env, "early", "UserNotFound", false, "waiting").await
}

/// Only a person can help.
async fn stalled(env: &TestEnv) -> Result<()> {
    env.tls_secret("broken", "no certificate", "no key").await?;
    let broken = json!({"metadata": {"name": "broken"}, "spec": {"auth": {"x509": {"secretRef": {"name": "broken"}}}}});
    env.admin(broken).await?;
    once::<DatabaseAdmin>(env, "broken", "SecretInvalid", true, "stalled").await?;
    env.role("broken", json!({"allow": {"dbLabelsExpression": "labels["}})).await?;
    let invalid = |role: &ProvisioningRole| conditions::is_true(role.conditions(), conditions::STALLED);
    assert_recorded("stalled", &env.until("broken", "Stalled", invalid).await?)?;
    env.user("carol", json!({"roles": ["broken"]})).await?;
    once::<DatabaseUser>(env, "carol", "RoleInvalid", true, "stalled").await?;
    rule(env, "broken", "^($").await?;
    let invalid = |rule: &DbObjectImportRule| conditions::is_true(rule.conditions(), conditions::STALLED);
    assert_recorded("stalled", &env.until("broken", "Stalled", invalid).await?)?;
    env.session("denied", json!({"dbRoles": ["none"]})).await?;
    once::<DatabaseSession>(env, "denied", "AccessDenied", true, "stalled").await
}

/// While the database is switched off, endings wait until somebody switches it on.
async fn suspended(env: &TestEnv) -> Result<()> {
    env.session("expires", json!({"ttl": "3s"})).await?;
    env.active("expires").await?;
    let suspend = |value: bool| json!({"spec": {"suspend": value}});
    env.patch::<DatabaseAdmin>("orders", suspend(true)).await?;
    once::<DatabaseAdmin>(env, "orders", "DatabaseSuspended", false, "suspended").await?;
    let ending = env.phase("expires", SessionPhase::Ending, "DatabaseSuspended").await?;
    assert_recorded("ending-suspended", &ending)?;
    env.patch::<DatabaseAdmin>("orders", suspend(false)).await?;
    env.ended("expires", EndReason::Expired).await.map(drop)
}

/// The server is down.
async fn unreachable(env: &mut TestEnv) -> Result<()> {
    for (name, spec) in [("lapses", json!({"ttl": "3s"})), ("pruned", json!({}))] {
        env.session(name, spec).await?;
        env.active(name).await?;
    }
    env.pg.stop().await;
    env.delete::<DatabaseSession>("pruned").await?;
    assert_recorded("deleted", &env.phase("pruned", SessionPhase::Ending, "DatabaseUnreachable").await?)?;
    assert_recorded("ending", &env.phase("lapses", SessionPhase::Ending, "DatabaseUnreachable").await?)?;
    env.session("late", json!({})).await?;
    assert_recorded("unreachable", &env.pending("late", "DatabaseUnreachable").await?)?;
    once::<DatabaseAdmin>(env, "orders", "DatabaseUnreachable", false, "unreachable").await?;
    // The operator would end its sessions: nobody has seen the deletion yet.
    env.crash_operator().await;
    env.delete::<DatabaseAdmin>("orders").await?;
    let deleted = |admin: &DatabaseAdmin| admin.metadata.deletion_timestamp.is_some();
    assert_recorded("deleted", &env.until("orders", "being deleted", deleted).await?)
}

/// Changed, and the operator has not seen it yet.
async fn changed(env: &TestEnv) -> Result<()> {
    let spec = json!({"spec": {"labels": {"a": "b"}}});
    assert_recorded("changed", &env.patch::<DatabaseAdmin>("later", spec).await?)?;
    let spec = json!({"spec": {"traits": {"a": ["b"]}}});
    assert_recorded("changed", &env.patch::<DatabaseUser>("alice", spec).await?)?;
    let spec = json!({"spec": {"options": {"maxSessionTtl": "9h"}}});
    assert_recorded("changed", &env.patch::<ProvisioningRole>("reader", spec).await?)?;
    let spec = json!({"spec": {"priority": 7}});
    assert_recorded("changed", &env.patch::<DbObjectImportRule>("all", spec).await?)?;
    let spec = json!({"spec": {"ttl": "2h"}});
    assert_recorded("changed", &env.patch::<DatabaseSession>("alice-orders", spec).await?)
}
