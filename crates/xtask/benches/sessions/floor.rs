//! The bare client: the writes that cannot be left out, and nothing else.
//!
//! It decides nothing, checks nothing, makes no keys and waits for no watch. It sends, for each session, eight API
//! requests, each right away (start: finalizer, Secret, the statuses of session and user; end: Secret, finalizer, event, the
//! user's status), with the same content as the operator's but for names, and to its own server the statements or commands
//! without which there is no access or no end of it, and a read-back. It has as many connections as the operator.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use rolecall_api::names::{ACCOUNT_FINALIZER, FIELD_MANAGER, USERNAME_ANNOTATION};
use rolecall_api::{DatabaseSession, DatabaseUser};
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::bed::{Bed, username};
use crate::phase::{self, Kind, Side, name};

/// See the module.
pub(crate) struct Floor {
    sessions: Api<DatabaseSession>,
    users: Api<DatabaseUser>,
    secrets: Api<Secret>,
    events: Api<Event>,
    events_sent: AtomicU64,
    accounts: Accounts,
    template: Template,
}

/// What the operator wrote for one session, to be written again under other names.
#[derive(Default)]
struct Template {
    secret: Secret,
    event: Event,
    session_status: Value,
    user_status: Value,
}

impl Floor {
    /// Lets the operator do one session, and learns from it what has to be written.
    pub(crate) async fn new(bed: &Bed) -> anyhow::Result<Self> {
        let namespace = Side::Floor.namespace();
        let accounts = Accounts::new(bed).await?;
        let mut floor = Self {
            sessions: Api::namespaced(bed.client.clone(), namespace),
            users: Api::namespaced(bed.client.clone(), namespace),
            secrets: Api::namespaced(bed.client.clone(), namespace),
            events: Api::namespaced(bed.client.clone(), namespace),
            events_sent: AtomicU64::new(0),
            accounts,
            template: Template::default(),
        };
        phase::at_once(bed, &floor, Side::Operator, Kind::Start, 1, 1).await?;
        // The user's status follows the session's.
        tokio::time::sleep(crate::SETTLE).await;
        floor.template = Template::learn(bed).await?;
        phase::at_once(bed, &floor, Side::Operator, Kind::End, 1, 1).await?;
        floor.template.learn_event(bed).await?;
        bed.forget_accounts(Side::Operator).await?;
        Ok(floor)
    }

    /// What makes a created session Active.
    pub(crate) async fn start(&self, index: usize, session: &DatabaseSession) -> anyhow::Result<()> {
        let (name, user) = (name(index), username(index));
        let finalizer = json!({"metadata": {
            "finalizers": [ACCOUNT_FINALIZER], "annotations": {USERNAME_ANNOTATION: user},
            "resourceVersion": session.resource_version(), "uid": session.uid()}});
        self.sessions.patch(&name, &PatchParams::default(), &Patch::Merge(finalizer)).await?;

        let mut secret = self.template.secret.clone();
        secret.metadata.name = Some(name.clone());
        secret.metadata.owner_references = session.controller_owner_ref(&()).map(|owner| vec![owner]);
        self.secrets.create(&PostParams::default(), &secret).await?;

        self.accounts.start(&user).await?;
        self.apply(&self.sessions, "DatabaseSession", &name, &self.template.session_status).await?;
        self.apply(&self.users, "DatabaseUser", &format!("user{index:04}"), &self.template.user_status).await
    }

    /// What makes a deleted session go.
    pub(crate) async fn end(&self, index: usize) -> anyhow::Result<()> {
        let (name, user) = (name(index), username(index));
        self.accounts.end(&user).await?;
        self.secrets.delete(&name, &DeleteParams::default()).await?;
        let none = json!({"metadata": {"finalizers": []}});
        self.sessions.patch(&name, &PatchParams::default(), &Patch::Merge(none)).await?;
        let mut event = self.template.event.clone();
        event.metadata.name = Some(format!("{name}.{}", self.events_sent.fetch_add(1, Relaxed)));
        self.events.create(&PostParams::default(), &event).await?;
        // An account that is disabled: as long as one that is enabled.
        let mut status = self.template.user_status.clone();
        status["accounts"][0]["phase"] = json!("Disabled");
        self.apply(&self.users, "DatabaseUser", &format!("user{index:04}"), &status).await
    }

    async fn apply<K>(&self, api: &Api<K>, kind: &str, name: &str, status: &Value) -> anyhow::Result<()>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let body = json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
            "status": status});
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status(name, &params, &Patch::Apply(body)).await?;
        Ok(())
    }
}

impl Template {
    async fn learn(bed: &Bed) -> anyhow::Result<Self> {
        let namespace = Side::Operator.namespace();
        let client = || bed.client.clone();
        let session = Api::<DatabaseSession>::namespaced(client(), namespace).get(&name(0)).await?;
        let user = Api::<DatabaseUser>::namespaced(client(), namespace).get("user0000").await?;
        let written = Api::<Secret>::namespaced(client(), namespace).get(&name(0)).await?;
        let mut secret = Secret { type_: written.type_, data: written.data, ..Secret::default() };
        secret.metadata.labels = written.metadata.labels;
        secret.metadata.annotations = written.metadata.annotations;
        Ok(Self {
            secret,
            event: Event::default(),
            session_status: serde_json::to_value(session.status)?,
            user_status: serde_json::to_value(user.status)?,
        })
    }

    /// The event about the end, which the operator sends after it.
    async fn learn_event(&mut self, bed: &Bed) -> anyhow::Result<()> {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let events = Api::<Event>::namespaced(bed.client.clone(), Side::Operator.namespace());
        let written = events.list(&ListParams::default()).await?.items;
        let event = written.into_iter().rfind(|event| event.action.as_deref() == Some("End"));
        self.event = event.context("the operator sent no event about an end")?;
        self.event.metadata = ObjectMeta::default();
        if let Some(regarding) = &mut self.event.regarding {
            regarding.namespace = Some(Side::Floor.namespace().to_owned());
        }
        Ok(())
    }
}
