//! Sessions that other people have to approve: with real users, their rights, and the admission policies.

mod admission;
mod audit;
mod commands;
mod deciding;
mod engines;
mod live;
mod load;
mod quota;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use rolecall_api::{DatabaseSession, DatabaseSessionDecision, SessionRequest};
use rolecall_testbed::Identity;
use rolecall_tests::base_env::BaseEnv;
use rolecall_tests::{TIMEOUT, TestEnv, cluster};
use serde_json::{Value, json};

/// What operators are started with where the admission policies are in force, as they are in the tests' cluster.
const ENFORCED: &str = "--admission-enforced";

/// Who asks for sessions: whoever the tests themselves are.
async fn asks(env: &BaseEnv) -> Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(env.client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.context("a name")
}

/// An environment in which the role `reader` asks for approval.
async fn start(approval: Value) -> Result<TestEnv> {
    let env = TestEnv::builder().flag(ENFORCED).start().await?;
    ask_for(&env, approval).await?;
    Ok(env)
}

/// The role `reader` asks for approval from now on.
async fn ask_for(env: &BaseEnv, approval: Value) -> Result<()> {
    env.role("reader", json!({"options": {"approval": approval}})).await
}

/// Asks for a session of alice.
async fn ask(env: &BaseEnv, name: &str, spec: Value) -> Result<()> {
    let mine = json!({"requestedBy": asks(env).await?, "reason": "INC-1234"});
    env.session(name, rolecall_tests::objects::merged(&mine, &spec)).await
}

/// Waits until a session waits for approval, and gives what it asks for.
async fn request(env: &BaseEnv, name: &str) -> Result<SessionRequest> {
    env.pending(name, "AwaitingApproval").await?;
    let asks =
        |session: &DatabaseSession| session.status.as_ref().is_some_and(|status| status.request.is_some());
    let session = env.until(name, "one that asks", asks).await?;
    session.status.and_then(|status| status.request).context("a request")
}

/// Somebody who may approve, by the ClusterRole for that.
struct Approver {
    name: String,
    client: Client,
    namespace: String,
}

impl Approver {
    async fn new(env: &BaseEnv, name: &str, group: Option<&str>) -> Result<Self> {
        let cluster = cluster::cluster().await?;
        let user = format!("--user={name}");
        let role = "--clusterrole=rolecall-approve";
        cluster.kubectl(&["create", "rolebinding", name, role, &user, "-n", &env.namespace]).await?;
        let identity = Identity::Certificate { name: name.to_owned(), group: group.map(str::to_owned) };
        let client = Client::try_from(cluster::config_of(&identity).await?)?;
        Ok(Self { name: name.to_owned(), client, namespace: env.namespace.clone() })
    }

    fn api(&self) -> Api<DatabaseSessionDecision> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A decision about a request, as `kubectl rolecall approve` writes it.
    fn decision(
        &self,
        name: &str,
        request: &SessionRequest,
        decision: &str,
    ) -> Result<DatabaseSessionDecision> {
        let (session, uid) = (&request.session.name, &request.session.uid);
        Ok(serde_json::from_value(json!({
            "apiVersion": "rolecall.dev/v1alpha1",
            "kind": "DatabaseSessionDecision",
            "metadata": {
                "name": name,
                "ownerReferences": [{
                    "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession", "name": session, "uid": uid,
                }],
            },
            "spec": {
                "sessionRef": {"name": session, "uid": uid},
                "requestHash": request.hash,
                "requestedBy": request.requested_by,
                "roles": ["reader"],
                "decision": decision,
                "decidedBy": self.name,
                "reason": "as agreed",
            },
        }))?)
    }

    /// Decides, as soon as the rights are in force.
    async fn decides(&self, decision: &DatabaseSessionDecision) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.api().create(&PostParams::default(), decision).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 403 => {
                    ensure!(Instant::now() < deadline, "{}: {}", self.name, status.message);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn approves(&self, request: &SessionRequest) -> Result<String> {
        let name = format!("{}-{}-{}", request.session.name, self.name, &request.hash[7..15]);
        self.decides(&self.decision(&name, request, "Approve")?).await?;
        Ok(name)
    }

    async fn denies(&self, request: &SessionRequest) -> Result<()> {
        let name = format!("{}-{}-no", request.session.name, self.name);
        self.decides(&self.decision(&name, request, "Deny")?).await
    }

    async fn takes_back(&self, name: &str) -> Result<()> {
        self.api().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }
}

/// How many people a session says have approved it, for its one role.
fn given(session: &DatabaseSession) -> Option<u32> {
    Some(session.status.as_ref()?.approval.as_ref()?.needs.first()?.given)
}

/// Nothing was done for a session: no finalizer, no Secret, no account.
async fn assert_nothing_was_done(env: &TestEnv, name: &str) -> Result<()> {
    let session: DatabaseSession = env.get(name).await?;
    ensure!(session.finalizers().is_empty(), "{:?}", session.finalizers());
    ensure!(env.find::<k8s_openapi::api::core::v1::Secret>(name).await?.is_none(), "there is a Secret");
    ensure!(env.account().await?.is_none(), "there is an account");
    Ok(())
}
