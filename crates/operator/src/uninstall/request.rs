//! Asking the running operator to drain, on its Lease.

use anyhow::Context;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::api_client::bounded;
use crate::api_writer::is_conflict;
use crate::drain::{ANSWER, Annotations, REQUEST};
use crate::leader::{LEASE, PATIENCE};

/// How often a write is tried that others come before: the leader renews the Lease all the time.
const ATTEMPTS: usize = 20;

/// A request to drain, of one process.
#[derive(Debug)]
pub(super) struct Request {
    leases: Api<Lease>,
    /// Tells it from the request of another process.
    id: String,
    /// How often it was renewed.
    renewals: u64,
}

impl Request {
    /// One that nobody knows of yet.
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        let leases = Api::namespaced(client.clone(), namespace);
        Self { leases, id: format!("{:08x}", rand::random::<u32>()), renewals: 0 }
    }

    /// Makes it known, or that it still holds. Returns whether the operator has answered since it was made known last.
    pub(super) async fn renew(&mut self) -> anyhow::Result<bool> {
        let before = self.value();
        self.renewals += 1;
        let value = self.value();
        let mut answered = false;
        let change = |annotations: &mut Annotations| {
            answered = annotations.get(ANSWER) == Some(&before);
            annotations.insert(REQUEST.to_owned(), value.clone());
        };
        self.change(change)
            .await
            .with_context(|| format!("asking the operator to drain, on the Lease {LEASE}"))?;
        Ok(answered)
    }

    /// Takes it back.
    pub(super) async fn withdraw(&self) -> anyhow::Result<()> {
        let change = |annotations: &mut Annotations| drop(annotations.remove(REQUEST));
        self.change(change).await.with_context(|| format!("taking the request back, on the Lease {LEASE}"))
    }

    fn value(&self) -> String {
        format!("{}-{}", self.id, self.renewals)
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
