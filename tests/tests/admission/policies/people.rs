//! People with rights in a namespace, and what they try.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use rolecall_testbed::{Cluster, Identity};
use rolecall_tests::cluster;
use serde_json::{Value, json};

use crate::kinds;

/// Rights and policies take effect a moment after they are stored.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A namespace whose people may write all objects of Rolecall as far as RBAC goes, their status too.
pub(crate) struct People {
    pub(crate) namespace: String,
    pub(crate) cluster: &'static Cluster,
}

/// What somebody tries.
#[derive(Clone, Debug)]
pub(crate) enum Try {
    Create(Value),
    /// Of this kind and name; the status where the patch has one.
    Patch(&'static str, &'static str, Value),
    /// Of this name.
    EndSession(&'static str),
    /// A decision of this name.
    TakeBack(&'static str),
}

/// Who has no account of its own in the namespace.
pub(crate) const OPERATOR: &str = "system:serviceaccount:rolecall-system:rolecall-operator";

impl People {
    pub(crate) async fn of(namespace: &str) -> Result<Self> {
        let cluster = crate::cluster().await?;
        cluster.kubectl(&["create", "namespace", namespace]).await?;
        let people = Self { namespace: namespace.to_owned(), cluster };
        let verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
        let rules = json!([{"apiGroups": ["rolecall.dev"], "resources": ["*"], "verbs": verbs}]);
        people.give(&json!({"kind": "Group", "name": people.group()}), "people", rules).await?;
        Ok(people)
    }

    /// Somebody has a verb on one object of a kind, or on all.
    pub(crate) async fn may(&self, who: &str, verb: &str, plural: &str, names: &[&str]) -> Result<()> {
        let mut rule = json!({"apiGroups": ["rolecall.dev"], "resources": [plural], "verbs": [verb]});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        let (user, role) = (json!({"kind": "User", "name": who}), format!("{who}-{verb}-{plural}"));
        self.give(&user, &role, json!([rule])).await
    }

    async fn give(&self, subject: &Value, role: &str, rules: Value) -> Result<()> {
        let mut subject = subject.clone();
        subject["apiGroup"] = "rbac.authorization.k8s.io".into();
        let metadata = json!({"name": role, "namespace": self.namespace});
        let of = |kind: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata});
        let mut objects = [of("Role"), of("RoleBinding")];
        objects[0]["rules"] = rules;
        objects[1]["roleRef"] =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
        objects[1]["subjects"] = json!([subject]);
        for object in objects {
            self.cluster.apply(&object.to_string()).await?;
        }
        Ok(())
    }

    fn group(&self) -> String {
        format!("people-of-{}", self.namespace)
    }

    /// A person, who logs in with a certificate; a service account, by its token; `admin` has every right.
    pub(crate) async fn client(&self, who: &str) -> Result<Client> {
        let identity = match who.strip_prefix("system:serviceaccount:").and_then(|name| name.split_once(':'))
        {
            Some((namespace, name)) => Identity::service_account(namespace, name),
            None if who == "admin" => Identity::Admin,
            None => Identity::Certificate { name: who.to_owned(), group: Some(self.group()) },
        };
        Ok(Client::try_from(cluster::config_of(&identity).await?)?)
    }

    /// Sends a request and takes no answer of RBAC for one: rights take effect a moment after they are stored.
    pub(crate) async fn send(&self, who: &str, what: &Try, dry_run: bool) -> Result<kube::Result<()>> {
        let client = self.client(who).await?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match request(&client, &self.namespace, what, dry_run).await? {
                Err(kube::Error::Api(status))
                    if status.code == 403 && !status.message.contains("ValidatingAdmissionPolicy") =>
                {
                    ensure!(Instant::now() < deadline, "{who}: {}", status.message);
                }
                answer => return Ok(answer),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Somebody may do that, by and by.
    pub(crate) async fn can(&self, who: &str, what: &Try) -> Result<()> {
        self.until(who, what, true, |answer| answer.is_ok()).await
    }

    /// As [`People::can`], and it is done.
    pub(crate) async fn does(&self, who: &str, what: &Try) -> Result<()> {
        self.until(who, what, false, |answer| answer.is_ok()).await
    }

    /// A policy refuses, by and by, and says this.
    pub(crate) async fn cannot(&self, who: &str, what: &Try, says: &str) -> Result<()> {
        self.until(who, what, true, |answer| {
            matches!(answer, Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(says))
        })
        .await
    }

    async fn until(
        &self,
        who: &str,
        what: &Try,
        dry_run: bool,
        is_right: impl Fn(&kube::Result<()>) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let answer = self.send(who, what, dry_run).await?;
            if is_right(&answer) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{who} tries {what:?} and is answered {answer:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn request(client: &Client, namespace: &str, what: &Try, dry_run: bool) -> Result<kube::Result<()>> {
    let api = |kind: &str| kinds::api(client, kind, namespace);
    Ok(match what {
        Try::Create(object) => {
            let kind = object["kind"].as_str().context("a kind")?;
            let object: DynamicObject = serde_json::from_value(object.clone())?;
            api(kind)?.create(&PostParams { dry_run, ..PostParams::default() }, &object).await.map(drop)
        }
        Try::Patch(kind, name, patch) => {
            let (api, params): (Api<DynamicObject>, _) =
                (api(kind)?, PatchParams { dry_run, ..PatchParams::default() });
            let body = Patch::Merge(patch);
            match patch["status"].is_null() {
                true => api.patch(name, &params, &body).await.map(drop),
                false => api.patch_status(name, &params, &body).await.map(drop),
            }
        }
        Try::EndSession(name) => delete(&api("DatabaseSession")?, name, dry_run).await,
        Try::TakeBack(name) => delete(&api("DatabaseSessionDecision")?, name, dry_run).await,
    })
}

async fn delete(api: &Api<DynamicObject>, name: &str, dry_run: bool) -> kube::Result<()> {
    api.delete(name, &DeleteParams { dry_run, ..DeleteParams::default() }).await.map(drop)
}

/// A decision of somebody about the session `hers`, which has this uid.
pub(crate) fn decision(name: &str, by: &str, uid: &str, more: &Value) -> Value {
    let spec = json!({
        "sessionRef": {"name": "hers", "uid": uid},
        "requestHash": format!("sha256:{}", "0".repeat(64)),
        "requestedBy": "alice@example.com",
        "roles": ["reader"],
        "decision": "Approve",
        "decidedBy": by,
    });
    let mut decision = object("DatabaseSessionDecision", name, rolecall_tests::objects::merged(&spec, more));
    decision["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession", "name": "hers", "uid": uid,
    }]);
    decision
}

/// A session for `alice` on `orders`, with this in its spec.
pub(crate) fn session(name: &str, more: &Value) -> Value {
    let spec = json!({"user": "alice", "database": "orders", "databaseName": "app", "ttl": "1h"});
    object("DatabaseSession", name, rolecall_tests::objects::merged(&spec, more))
}

/// A DatabaseUser with these roles.
pub(crate) fn user(name: &str, roles: &[&str]) -> Value {
    object("DatabaseUser", name, json!({"roles": roles}))
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}
