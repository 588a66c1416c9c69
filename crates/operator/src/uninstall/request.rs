//! Asking the running operator to drain, on its Lease.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;

use crate::api_client::bounded;
use crate::api_writer::is_conflict;
use crate::drain::{ANSWER, Annotations, HEARD, LAPSES_AFTER, REQUEST};
use crate::leader::{LEASE, PATIENCE};

/// How often a write is tried that others come before: the leader renews the Lease all the time.
const ATTEMPTS: usize = 20;

/// How old a request may be whose answer counts, and how long the sessions may take to be read then: together less than the
/// time after which it lapses.
pub(super) const FRESH: Duration = Duration::from_secs(LAPSES_AFTER.as_secs() / 3);

/// What the operator said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// It has heard of the request.
    pub(super) heard: bool,
    /// It drains, since before the request was renewed now, and will for [`FRESH`] at least.
    pub(super) drained: bool,
}

/// A request to drain, of one process.
#[derive(Debug)]
pub(super) struct Request {
    leases: Api<Lease>,
    /// Tells it from the request of another process.
    id: String,
    /// How often it was renewed.
    renewals: u64,
    /// When it was renewed last, at the latest.
    renewed: Option<Instant>,
}

impl Request {
    /// One that nobody knows of yet.
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        let leases = Api::namespaced(client.clone(), namespace);
        Self { leases, id: format!("{:08x}", rand::random::<u32>()), renewals: 0, renewed: None }
    }

    /// Makes it known, or that it still holds.
    pub(super) async fn renew(&mut self) -> anyhow::Result<Reply> {
        // Whoever lapses it has seen it later than it was sent.
        let fresh = self.renewed.is_some_and(|renewed| renewed.elapsed() < FRESH);
        let (before, own, sent) = (self.value(), self.own(), Instant::now());
        self.renewals += 1;
        let value = self.value();
        let mut reply = Reply { heard: false, drained: false };
        let change = |annotations: &mut Annotations| {
            reply = Reply {
                heard: annotations.get(HEARD).is_some_and(|value| value.starts_with(&own)),
                drained: fresh && annotations.get(ANSWER) == Some(&before),
            };
            annotations.insert(REQUEST.to_owned(), value.clone());
        };
        self.change(change)
            .await
            .with_context(|| format!("asking the operator to drain, on the Lease {LEASE}"))?;
        self.renewed = Some(sent);
        Ok(reply)
    }

    /// Takes it back, but not that of another process.
    pub(super) async fn withdraw(&self) -> anyhow::Result<()> {
        let own = self.own();
        let change = |annotations: &mut Annotations| {
            if annotations.get(REQUEST).is_some_and(|value| value.starts_with(&own)) {
                annotations.remove(REQUEST);
            }
        };
        self.change(change).await.with_context(|| format!("taking the request back, on the Lease {LEASE}"))
    }

    fn value(&self) -> String {
        format!("{}{}", self.own(), self.renewals)
    }

    /// What all its values begin with.
    fn own(&self) -> String {
        format!("{}-", self.id)
    }

    async fn change(&self, mut change: impl FnMut(&mut Annotations)) -> kube::Result<()> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let written = match bounded(PATIENCE, self.leases.get_opt(LEASE)).await? {
                Some(mut lease) => {
                    change(lease.metadata.annotations.get_or_insert_default());
                    bounded(PATIENCE, self.leases.replace(LEASE, &PostParams::default(), &lease)).await
                }
                None => {
                    let mut metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
                    change(metadata.annotations.get_or_insert_default());
                    let lease = Lease { metadata, spec: None };
                    bounded(PATIENCE, self.leases.create(&PostParams::default(), &lease)).await
                }
            };
            match written {
                Err(error) if is_conflict(&error) && attempts < ATTEMPTS => {}
                written => return written.map(drop),
            }
        }
    }
}
