//! The API server in memory: what the store answers, late, and not always.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::core::Status;
use rolecall_api::DatabaseSession;
use rolecall_api::names::ACCOUNT_FINALIZER;
use serde_json::{Value, json};

use super::cluster::{ApiFailure, Cluster};
use super::invariants::Break;
use super::store::{self, When, collection};
use crate::ports::{Address, ApiServer, Clock, Published, Write};

/// How long the operator waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Api(pub(super) Arc<Cluster>);

impl Api {
    /// What is asked for is counted.
    fn note(&self, verb: &str, at: &Address) {
        let kind = at.collection.rsplit('/').next().unwrap_or_default();
        self.0.evidence().requests.push(format!("{verb} {kind} {}", at.name));
    }

    /// A call: it takes its time on the way there and on the way back.
    async fn call<T>(&self, effect: impl FnOnce(&Cluster) -> kube::Result<T>) -> kube::Result<T> {
        let cluster = &*self.0;
        cluster.survive(When::Before).await;
        let (silent, slow, failure) = {
            let mut faults = cluster.faults();
            let mut due = None;
            faults.api_failures.retain_mut(|(left, failure)| {
                let is_due = *left == 0 && due.is_none();
                if is_due {
                    due = Some(*failure);
                }
                *left = left.saturating_sub(1);
                !is_due
            });
            (faults.api_silent, faults.api_slow, due)
        };
        let latencies: &[u64] = if slow { &[0, 500, 2_000, 4_000] } else { &[0, 0, 1, 1, 3, 20, 150] };
        cluster.wait(latencies).await;
        let failure = if silent { Some(ApiFailure::Silence(When::Before)) } else { failure };
        if let Some(failure) = failure {
            cluster.log(|| format!("  the API server fails: {failure:?}"));
        }
        match failure {
            Some(ApiFailure::Silence(When::Before)) => {
                tokio::time::sleep(PATIENCE).await;
                return Err(silence());
            }
            Some(ApiFailure::Conflict) => return Err(refused((409, "Conflict"))),
            Some(ApiFailure::TooMany) => return Err(refused((429, "TooManyRequests"))),
            Some(ApiFailure::Internal(When::Before)) => return Err(refused((500, "InternalError"))),
            Some(ApiFailure::Silence(When::After) | ApiFailure::Internal(When::After)) | None => {}
        }
        let answer = effect(cluster);
        cluster.survive(When::After).await;
        cluster.wait(latencies).await;
        match failure {
            Some(ApiFailure::Internal(_)) => Err(refused((500, "InternalError"))),
            Some(ApiFailure::Silence(_)) => {
                tokio::time::sleep(PATIENCE).await;
                Err(silence())
            }
            _ => answer,
        }
    }
}

impl Cluster {
    /// An object as the operator hears of it: that a session is over may be lost on purpose.
    pub(super) fn forgetting_ends(&self, mut object: Value) -> Value {
        if self.breaks(Break::EndsAreForgotten) && object["status"]["phase"] == "Ended" {
            object["status"] = json!({});
        }
        object
    }
}

impl ApiServer for Api {
    fn get<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, kube::Result<String>> {
        self.note("Get", at);
        Box::pin(self.call(|cluster| {
            let store = cluster.store();
            store.raw(at).map(Value::to_string).ok_or_else(|| refused((404, "NotFound")))
        }))
    }

    fn write<'a>(&'a self, at: &'a Address, write: Write) -> BoxFuture<'a, kube::Result<String>> {
        self.note(&format!("{write:?}"), at);
        Box::pin(async move {
            // What it knew when it decided to write.
            let known = self.0.store().known(at);
            let answer = self
                .call(|cluster| {
                    let now = cluster.clock.now();
                    let kind = format!("{write:?}");
                    let mut store = cluster.store();
                    if cluster.breaks(Break::FinalizersStay)
                        && marks(at, &write) == Some(false)
                        && let Some(stored) = store.raw(at)
                    {
                        return Ok((stored.to_string(), store::version(stored)));
                    }
                    let is_unmarked = cluster.breaks(Break::FinalizersGo) && marks(at, &write) == Some(true);
                    let is_lost = cluster.breaks(Break::SecretsGo)
                        && at.collection == collection::<Secret>()
                        && matches!(write, Write::Create(_));
                    let is_repeated =
                        cluster.breaks(Break::WritesRepeat) && matches!(write, Write::ApplyStatus(_));
                    let again = write.clone();
                    let known = known.is_some() && store.raw(at).map(store::version) == known;
                    let written = store.write(at, write, now);
                    drop(store);
                    cluster.log(|| match &written {
                        Ok(written) => format!("  {kind} {} changes: {}", at.name, written.changes()),
                        Err(refused) => format!("  {kind} {} refused: {refused:?}", at.name),
                    });
                    let written = written.map_err(refused)?;
                    cluster.check_write(at, &kind, &written, known);
                    let repeated = is_repeated.then(|| cluster.store().write(at, again, now));
                    if let Some(Ok(repeated)) = repeated {
                        cluster.check_write(at, &kind, &repeated, true);
                    }
                    if is_unmarked {
                        let none = Write::Merge(json!({"metadata": {"finalizers": []}}));
                        let _ = cluster.store().write(at, none, now);
                    }
                    if is_lost {
                        let _ = cluster.store().write(at, Write::Delete { uid: None }, now);
                    }
                    cluster.stored.notify_waiters();
                    let version = store::version(&written.after);
                    Ok((cluster.forgetting_ends(written.after).to_string(), version))
                })
                .await;
            answer.map(|(text, version)| {
                self.0.store().learnt(at, version);
                text
            })
        })
    }

    fn publish<'a>(&'a self, event: &'a Published) -> BoxFuture<'a, kube::Result<()>> {
        self.0.evidence().requests.push(format!(
            "Event {} {}",
            event.event.reason,
            event.about.name.as_deref().unwrap_or_default()
        ));
        Box::pin(self.call(|cluster| {
            cluster.log(|| {
                let about = event.about.name.as_deref().unwrap_or_default();
                format!("  event {} on {about}: {:?}", event.event.reason, event.event.note)
            });
            Ok(())
        }))
    }
}

/// Does a write put the finalizer on a session (true), or take it off?
fn marks(at: &Address, write: &Write) -> Option<bool> {
    let Write::Merge(patch) = write else { return None };
    let is_of_session = at.collection == collection::<DatabaseSession>();
    let finalizers = patch["metadata"]["finalizers"].as_array().filter(|_| is_of_session)?;
    Some(finalizers.iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER))
}

fn silence() -> kube::Error {
    kube::Error::Service("no answer for 10 s".into())
}

fn refused((code, message): store::Refused) -> kube::Error {
    kube::Error::Api(Box::new(Status { code, ..Status::failure(message, message) }))
}
