//! What the API server refuses to write for one session blocks no other.

use anyhow::{Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use rolecall_api::{DatabaseSession, DatabaseUser, EndReason};
use rolecall_tests::objects::{is_ready, message_of};
use rolecall_tests::{Account, BaseEnv, Credentials, TestEnv};
use serde_json::json;

/// An admission policy that refuses writes of one object in the namespace of a test environment.
struct Refusal<'a> {
    base: &'a BaseEnv,
    name: String,
}

impl<'a> Refusal<'a> {
    /// Of a resource (`secrets`, `databasesessions/status`) of this name.
    async fn of(base: &'a BaseEnv, group: &str, resource: &str, object: &str) -> Result<Self> {
        let name = format!("{}-{}", base.namespace, resource.replace('/', "-"));
        let policy = json!({
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [group], "apiVersions": ["*"], "resources": [resource],
                    "operations": ["CREATE", "UPDATE"],
                }]},
                "validations": [
                    {"expression": format!("object.metadata.name != '{object}'"), "message": "not in this house"},
                ],
            },
        });
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": base.namespace}});
        let binding = json!({
            "metadata": {"name": name},
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": selector},
            },
        });
        let params = PostParams::default();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(base.client.clone());
        policies.create(&params, &serde_json::from_value(policy)?).await?;
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(base.client.clone());
        bindings.create(&params, &serde_json::from_value(binding)?).await?;
        Ok(Self { base, name })
    }

    async fn lift(self) -> Result<()> {
        let client = || self.base.client.clone();
        let params = DeleteParams::default();
        Api::<ValidatingAdmissionPolicyBinding>::all(client()).delete(&self.name, &params).await?;
        Api::<ValidatingAdmissionPolicy>::all(client()).delete(&self.name, &params).await?;
        Ok(())
    }
}

/// No Secret of this name can be created any more.
async fn refuse_secret<'a>(base: &'a BaseEnv, name: &str) -> Result<Refusal<'a>> {
    let refusal = Refusal::of(base, "", "secrets", name).await?;
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let try_it = PostParams { dry_run: true, ..PostParams::default() };
    base.eventually("the Secret is refused", async || {
        Ok(base.api::<Secret>().create(&try_it, &secret).await.is_err())
    })
    .await?;
    Ok(refusal)
}

#[tokio::test]
async fn a_session_whose_secret_is_refused_waits_and_the_others_of_its_account_end() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let env = TestEnv::builder().credentials(credentials).start().await?;
        let refusal = refuse_secret(&env, "refused").await?;
        env.session("lives", json!({"ttl": "1h"})).await?;
        env.active("lives").await?;
        let secret: Secret = env.get("lives").await?;
        env.session("refused", json!({})).await?;
        let waiting = env.pending("refused", "ApiRefused").await?;
        assert!(message_of(&waiting).contains("not in this house"), "{}", message_of(&waiting));
        // It is retried, and that disturbs nobody.
        env.patch::<DatabaseUser>("alice", json!({"spec": {"traits": {"team": ["blue"]}}})).await?;
        env.session("second", json!({"ttl": "1h"})).await?;
        env.active("second").await?;
        assert_eq!(env.get::<Secret>("lives").await?.metadata.uid, secret.metadata.uid);
        assert_eq!(env.get::<Secret>("lives").await?.data, secret.data, "{credentials:?}");
        let client = env.login("lives").await?;

        env.patch::<DatabaseSession>("second", json!({"spec": {"ttl": "1s"}})).await?;
        env.ended("second", EndReason::Expired).await?;
        assert!(client.query_one("select 1", &[]).await.is_ok());
        env.patch::<DatabaseSession>("lives", json!({"spec": {"ttl": "1s"}})).await?;
        env.ended("lives", EndReason::Expired).await?;
        assert!(client.query_one("select 1", &[]).await.is_err());
        assert!(env.account().await?.is_some_and(|account| account.is_disabled()), "{credentials:?}");
        env.pending("refused", "ApiRefused").await?;

        refusal.lift().await?;
        env.active("refused").await?;
        env.login("refused").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_status_that_is_refused_keeps_no_other_from_being_written() -> Result<()> {
    let env = TestEnv::start().await?;
    for name in ["a-refused", "b-written"] {
        env.session(name, json!({"ttl": "1h"})).await?;
        env.active(name).await?;
    }
    let refusal = Refusal::of(&env, "rolecall.dev", "databasesessions/status", "a-refused").await?;
    let try_it = PatchParams { dry_run: true, ..PatchParams::default() };
    let change = Patch::Merge(json!({"status": {"observedGeneration": 99}}));
    env.eventually("the status is refused", async || {
        Ok(env.api::<DatabaseSession>().patch_status("a-refused", &try_it, &change).await.is_err())
    })
    .await?;
    env.patch::<DatabaseUser>("alice", json!({"spec": {"suspend": true}})).await?;
    env.ended("b-written", EndReason::UserSuspended).await?;
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    refusal.lift().await?;
    env.ended("a-refused", EndReason::UserSuspended).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_in_the_way_of_a_new_password_is_reported_until_it_is_gone() -> Result<()> {
    let env = TestEnv::builder().credentials(Credentials::Password).start().await?;
    for name in ["stays", "goes"] {
        env.session(name, json!({})).await?;
        env.active(name).await?;
    }
    env.delete_and_wait::<Secret>("stays").await?;
    let foreign = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stays"}});
    env.apply(foreign).await?;
    env.delete_and_wait::<DatabaseSession>("goes").await?;
    let reported =
        |session: &DatabaseSession| message_of(session).contains("does not belong to this session");
    env.until("stays", "in conflict", reported).await?;
    env.delete_and_wait::<Secret>("stays").await?;
    env.until("stays", "well again", |session: &DatabaseSession| is_ready(session)).await?;
    ensure!(env.login("stays").await.is_ok(), "the Secret has the new password");
    Ok(())
}
