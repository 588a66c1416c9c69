//! What the API server refuses to write for one session holds up no other.

use anyhow::{Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use rolecall_api::{DatabaseSession, DatabaseUser, EndReason};
use rolecall_tests::objects::{is_ready, message_of};
use rolecall_tests::{Account, Credentials, Scene, World};
use serde_json::json;

/// An admission policy that refuses writes of one object in the namespace of a scene.
struct Refusal<'a> {
    scene: &'a Scene,
    name: String,
}

impl<'a> Refusal<'a> {
    /// Of a resource (`secrets`, `databasesessions/status`) of this name.
    async fn of(scene: &'a Scene, group: &str, resource: &str, object: &str) -> Result<Self> {
        let name = format!("{}-{}", scene.namespace, resource.replace('/', "-"));
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
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}});
        let binding = json!({
            "metadata": {"name": name},
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": selector},
            },
        });
        let params = PostParams::default();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(scene.client.clone());
        policies.create(&params, &serde_json::from_value(policy)?).await?;
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(scene.client.clone());
        bindings.create(&params, &serde_json::from_value(binding)?).await?;
        Ok(Self { scene, name })
    }

    async fn lift(self) -> Result<()> {
        let client = || self.scene.client.clone();
        let params = DeleteParams::default();
        Api::<ValidatingAdmissionPolicyBinding>::all(client()).delete(&self.name, &params).await?;
        Api::<ValidatingAdmissionPolicy>::all(client()).delete(&self.name, &params).await?;
        Ok(())
    }
}

/// No Secret of this name can be created any more.
async fn refuse_secret<'a>(scene: &'a Scene, name: &str) -> Result<Refusal<'a>> {
    let refusal = Refusal::of(scene, "", "secrets", name).await?;
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let try_it = PostParams { dry_run: true, ..PostParams::default() };
    scene
        .eventually("the Secret is refused", async || {
            Ok(scene.api::<Secret>().create(&try_it, &secret).await.is_err())
        })
        .await?;
    Ok(refusal)
}

#[tokio::test]
async fn a_session_whose_secret_is_refused_waits_and_the_others_of_its_account_end() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let world = World::builder().credentials(credentials).start().await?;
        let refusal = refuse_secret(&world, "refused").await?;
        world.session("lives", json!({"ttl": "1h"})).await?;
        world.active("lives").await?;
        let secret: Secret = world.get("lives").await?;
        world.session("refused", json!({})).await?;
        let waiting = world.pending("refused", "ApiRefused").await?;
        assert!(message_of(&waiting).contains("not in this house"), "{}", message_of(&waiting));
        // It is tried again, and that disturbs nobody.
        world.patch::<DatabaseUser>("alice", json!({"spec": {"traits": {"team": ["blue"]}}})).await?;
        world.session("second", json!({"ttl": "1h"})).await?;
        world.active("second").await?;
        assert_eq!(world.get::<Secret>("lives").await?.metadata.uid, secret.metadata.uid);
        assert_eq!(world.get::<Secret>("lives").await?.data, secret.data, "{credentials:?}");
        let client = world.login("lives").await?;

        world.patch::<DatabaseSession>("second", json!({"spec": {"ttl": "1s"}})).await?;
        world.ended("second", EndReason::Expired).await?;
        assert!(client.query_one("select 1", &[]).await.is_ok());
        world.patch::<DatabaseSession>("lives", json!({"spec": {"ttl": "1s"}})).await?;
        world.ended("lives", EndReason::Expired).await?;
        assert!(client.query_one("select 1", &[]).await.is_err());
        assert!(world.account().await?.is_some_and(|account| account.is_disabled()), "{credentials:?}");
        world.pending("refused", "ApiRefused").await?;

        refusal.lift().await?;
        world.active("refused").await?;
        world.login("refused").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_status_that_is_refused_keeps_no_other_from_being_written() -> Result<()> {
    let world = World::start().await?;
    for name in ["a-refused", "b-written"] {
        world.session(name, json!({"ttl": "1h"})).await?;
        world.active(name).await?;
    }
    let refusal = Refusal::of(&world, "rolecall.dev", "databasesessions/status", "a-refused").await?;
    let try_it = PatchParams { dry_run: true, ..PatchParams::default() };
    let change = Patch::Merge(json!({"status": {"observedGeneration": 99}}));
    world
        .eventually("the status is refused", async || {
            Ok(world.api::<DatabaseSession>().patch_status("a-refused", &try_it, &change).await.is_err())
        })
        .await?;
    world.patch::<DatabaseUser>("alice", json!({"spec": {"suspend": true}})).await?;
    world.ended("b-written", EndReason::UserSuspended).await?;
    world.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    refusal.lift().await?;
    world.ended("a-refused", EndReason::UserSuspended).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_in_the_way_of_a_new_password_is_reported_until_it_is_gone() -> Result<()> {
    let world = World::builder().credentials(Credentials::Password).start().await?;
    for name in ["stays", "goes"] {
        world.session(name, json!({})).await?;
        world.active(name).await?;
    }
    world.delete_and_wait::<Secret>("stays").await?;
    let foreign = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stays"}});
    world.apply(foreign).await?;
    world.delete_and_wait::<DatabaseSession>("goes").await?;
    let told = |session: &DatabaseSession| message_of(session).contains("does not belong to this session");
    world.until("stays", "in conflict", told).await?;
    world.delete_and_wait::<Secret>("stays").await?;
    world.until("stays", "well again", |session: &DatabaseSession| is_ready(session)).await?;
    ensure!(world.login("stays").await.is_ok(), "the Secret holds the new password");
    Ok(())
}
