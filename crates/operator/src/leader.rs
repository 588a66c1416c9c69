//! Leader election by Lease: only one of several replicas works.
//!
//! Who leads renews the Lease every few seconds. Who waits takes it when it was given up, or when it has not changed
//! for as long as it lasts. A leader whose renewals do not arrive stops before that: an API server that is out of its
//! reach need not be out of the reach of the others, and two leaders would undo each other's work.
//!
//! A Lease is no fence: a leader that lost it may still have a statement under way. What keeps two of them from
//! harming each other are the checks that the engines make under the account's lock.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1 as coordination;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::api_client::{bounded, post_params};
use crate::api_writer::is_conflict;
use crate::args::Args;
use crate::audit::Audit;
use crate::drain::{Annotations, Drain, Mode};

pub(crate) const LEASE: &str = "rolecall-operator";
/// Annotation of the Lease: the last line of the audit log that was written when it was renewed.
pub const AUDIT_HEAD: &str = "rolecall.dev/audit-head";
/// How long a Lease is valid without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How long after a renewal that arrived the lead is given up. What was sent to servers before can finish until the
/// Lease has run out.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// How soon a renewal that failed is tried again, and how often one that waits reads the Lease.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the API server has for an answer about the Lease.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The lead. Without leader election it is always there.
#[derive(Debug)]
pub struct Lease {
    lost: CancellationToken,
    /// What the leader before this one published of the audit log.
    published: Option<String>,
    renewal: Option<(Candidate, JoinHandle<()>)>,
    /// Follows what others ask for on a Lease that nobody has.
    follower: Option<JoinHandle<()>>,
}

/// A replica that may lead.
#[derive(Clone, Debug)]
struct Candidate {
    leases: Api<coordination::Lease>,
    identity: String,
    drain: Arc<Drain>,
    audit: Arc<Audit>,
}

/// Waits for the lead. `None`: `stop` came first. `drain` follows what others ask for on the Lease, from before the lead
/// is there until it is given up; also without leader election.
///
/// # Errors
///
/// When the API server does not let it have a Lease.
pub async fn wait(
    client: &Client,
    args: &Args,
    drain: &Arc<Drain>,
    audit: &Arc<Audit>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Lease>> {
    let lost = CancellationToken::new();
    let namespace = lease_namespace(client, args.leader_election_namespace.as_deref());
    let candidate = Candidate {
        leases: Api::namespaced(client.clone(), &namespace),
        identity: identity(),
        drain: Arc::clone(drain),
        audit: Arc::clone(audit),
    };
    if !args.leader_elect {
        candidate.follow_once().await;
        let follower = tokio::spawn(async move { candidate.follow().await });
        return Ok(Some(Lease { lost, published: None, renewal: None, follower: Some(follower) }));
    }
    tracing::info!(%namespace, lease = LEASE, identity = %candidate.identity, "waiting for the lead");
    let taken = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(None),
        taken = candidate.take() => taken,
    };
    let (lease, since) = taken.with_context(|| format!("taking the Lease {namespace}/{LEASE}"))?;
    tracing::info!("leading");
    let published = lease.metadata.annotations.as_ref().and_then(|all| all.get(AUDIT_HEAD)).cloned();
    let (keeper, lost_then) = (candidate.clone(), lost.clone());
    let task = tokio::spawn(async move {
        // Also where this panics: nobody renews it any more.
        let _lost = lost_then.drop_guard();
        keeper.renew_until_lost(lease, since).await;
    });
    Ok(Some(Lease { lost, published, renewal: Some((candidate, task)), follower: None }))
}

impl Lease {
    /// Cancelled when the lead is lost.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// The last line of the audit log that the leader before this one published.
    pub fn published(&self) -> Option<String> {
        self.published.clone()
    }

    /// Gives the lead up, so that another replica need not wait until it runs out.
    pub async fn release(self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
        let Some((candidate, task)) = self.renewal else { return };
        if self.lost.is_cancelled() {
            return;
        }
        task.abort();
        let _ = task.await;
        if let Err(error) = candidate.release().await {
            tracing::warn!(%error, "the Lease could not be released; it expires by itself");
        }
    }
}

impl Candidate {
    /// Waits until the Lease is this one's. The instant is one before the API server knew.
    async fn take(&self) -> kube::Result<(coordination::Lease, Instant)> {
        let mut observed = Observed::default();
        loop {
            let begun = Instant::now();
            match self.try_to_take(&mut observed).await {
                Ok(Some(lease)) => return Ok((lease, begun)),
                Ok(None) => {}
                Err(kube::Error::Api(status)) if is_final(status.code) => {
                    return Err(kube::Error::Api(status));
                }
                Err(error) => tracing::warn!(%error, "the Lease cannot be read or taken; trying again"),
            }
            sleep(AGAIN).await;
        }
    }

    async fn try_to_take(&self, observed: &mut Observed) -> kube::Result<Option<coordination::Lease>> {
        let found = bounded(PATIENCE, self.leases.get_opt(LEASE)).await?;
        self.observe(found.as_ref());
        let taken = match found {
            Some(lease) => {
                // A write that seemed to fail may have arrived.
                let ours = holder(&lease) == Some(&self.identity);
                if !ours && !observed.is_free(&lease, Instant::now()) {
                    return Ok(None);
                }
                let before = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
                let lease = coordination::Lease { spec: Some(self.spec(before.saturating_add(1))), ..lease };
                bounded(PATIENCE, self.leases.replace(LEASE, &post_params(), &lease)).await
            }
            None => {
                let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
                let lease = coordination::Lease { metadata, spec: Some(self.spec(0)) };
                bounded(PATIENCE, self.leases.create(&post_params(), &lease)).await
            }
        };
        match taken {
            Ok(lease) => {
                self.observe(Some(&lease));
                Ok(Some(lease))
            }
            // Another one was faster.
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, transitions: i32) -> coordination::LeaseSpec {
        let now = MicroTime(Timestamp::now());
        coordination::LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            lease_transitions: Some(transitions),
            ..coordination::LeaseSpec::default()
        }
    }

    /// Renews the Lease until it is lost. `renewed`: it was certainly held from then on.
    async fn renew_until_lost(&self, mut lease: coordination::Lease, mut renewed: Instant) {
        loop {
            sleep_until(renewed + if self.drain.mode() != Mode::Normal { AGAIN } else { RENEW_EVERY }).await;
            match timeout_at(renewed + GIVE_UP_AFTER, self.renew(&mut lease)).await {
                Ok(Some(sent)) => renewed = sent,
                Ok(None) => {
                    tracing::error!("the Lease has another holder, or was deleted");
                    return;
                }
                Err(_) => {
                    tracing::error!("the Lease could not be renewed for {} s", GIVE_UP_AFTER.as_secs());
                    return;
                }
            }
        }
    }

    /// Renews the Lease once, however often that has to be tried, and returns since when it is valid again. `None`: it
    /// is not this one's any more.
    async fn renew(&self, lease: &mut coordination::Lease) -> Option<Instant> {
        loop {
            let sent = Instant::now();
            lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
            let annotations = lease.metadata.annotations.get_or_insert_default();
            self.drain.answer(annotations, sent);
            self.publish(annotations);
            match bounded(PATIENCE, self.leases.replace(LEASE, &post_params(), lease)).await {
                Ok(newest) => {
                    self.observe(Some(&newest));
                    *lease = newest;
                    return Some(sent);
                }
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
                    match bounded(PATIENCE, self.leases.get_opt(LEASE)).await {
                        // Somebody annotated it, or a renewal arrived whose answer did not.
                        Ok(Some(newest)) if holder(&newest) == Some(&self.identity) => {
                            self.observe(Some(&newest));
                            *lease = newest;
                            continue;
                        }
                        Ok(_) => return None,
                        Err(error) => tracing::warn!(%error, "the Lease could not be read"),
                    }
                }
                Err(error) => tracing::warn!(%error, "the Lease could not be renewed"),
            }
            sleep(AGAIN).await;
        }
    }

    /// Says which line of the audit log is the last, where that costs nothing: whoever cuts the log off does not reach
    /// this.
    fn publish(&self, annotations: &mut Annotations) {
        if let Some(head) = self.audit.head() {
            annotations.insert(AUDIT_HEAD.to_owned(), head.to_string());
        }
    }

    fn observe(&self, lease: Option<&coordination::Lease>) {
        let annotations = lease.and_then(|lease| lease.metadata.annotations.as_ref());
        self.drain.observe(annotations, Instant::now());
    }

    /// Without leader election: reads the Lease again and again, for what others ask for.
    async fn follow(&self) {
        loop {
            sleep(if self.drain.mode() != Mode::Normal { AGAIN } else { RENEW_EVERY }).await;
            self.follow_once().await;
        }
    }

    async fn follow_once(&self) {
        let answered = async {
            let found = bounded(PATIENCE, self.leases.get_opt(LEASE)).await?;
            self.observe(found.as_ref());
            let Some(mut lease) = found else { return Ok(()) };
            if self.drain.answer(lease.metadata.annotations.get_or_insert_default(), Instant::now()) {
                bounded(PATIENCE, self.leases.replace(LEASE, &post_params(), &lease)).await?;
            }
            Ok::<(), kube::Error>(())
        };
        if let Err(error) = answered.await {
            self.drain.expire(Instant::now());
            // Whoever asks waits for an answer, and says that there is none.
            tracing::debug!(%error, "the Lease could not be read, or not answered on");
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = bounded(PATIENCE, self.leases.get_opt(LEASE)).await? else { return Ok(()) };
        if holder(&lease) != Some(&self.identity) {
            return Ok(());
        }
        let spec = lease.spec.get_or_insert_default();
        (spec.holder_identity, spec.acquire_time, spec.renew_time) = (None, None, None);
        self.publish(lease.metadata.annotations.get_or_insert_default());
        bounded(PATIENCE, self.leases.replace(LEASE, &post_params(), &lease)).await.map(drop)
    }
}

/// No right to it, or no such namespace: that does not mend itself. A token that is not valid for a moment does, and so
/// does what came too late or too early.
pub(crate) fn is_final(code: u16) -> bool {
    (400..500).contains(&code) && !matches!(code, 401 | 408 | 409 | 425 | 429)
}

/// Who has it; `None` where it was given up.
fn holder(lease: &coordination::Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|identity| !identity.is_empty())
}

/// Since when a Lease has been as it is. Only this machine's clock counts, as another one's may be wrong. An annotation
/// that somebody changes is no renewal.
#[derive(Debug, Default)]
struct Observed(Option<(Option<coordination::LeaseSpec>, Instant)>);

impl Observed {
    /// May it be taken? Because it was given up, or because nobody renewed it for as long as it lasts.
    fn is_free(&mut self, lease: &coordination::Lease, now: Instant) -> bool {
        if holder(lease).is_none() {
            return true;
        }
        match &self.0 {
            Some((seen, since)) if *seen == lease.spec => {
                let lasts = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
                let lasts = lasts.and_then(|seconds| u64::try_from(seconds).ok());
                now.duration_since(*since) >= lasts.map_or(DURATION, Duration::from_secs)
            }
            _ => {
                self.0 = Some((lease.spec.clone(), now));
                false
            }
        }
    }
}

/// The namespace of the Lease: the one that is named, or the client's own.
pub(crate) fn lease_namespace(client: &Client, named: Option<&str>) -> String {
    named.unwrap_or(client.default_namespace()).to_owned()
}

/// Identifies a replica: the Pod's name, and something random for restarts in place.
fn identity() -> String {
    format!("{}-{:08x}", crate::host::name(), rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewal: i64, seconds: i32) -> coordination::Lease {
        coordination::Lease {
            // Somebody annotates it all the time.
            metadata: ObjectMeta {
                resource_version: Some(rand::random::<u32>().to_string()),
                ..ObjectMeta::default()
            },
            spec: Some(coordination::LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(seconds),
                // What another machine's clock says does not matter, only that it is something else.
                renew_time: Timestamp::from_second(renewal).ok().map(MicroTime),
                ..coordination::LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn a_lease_is_free_when_it_was_given_up_or_stayed_unchanged_for_as_long_as_it_lasts() {
        let (mut observed, start) = (Observed::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!observed.is_free(&lease("another", 1, 15), start));
        assert!(!observed.is_free(&lease("another", 1, 15), after(14)));
        assert!(!observed.is_free(&lease("another", 2, 15), after(16)), "renewed meanwhile");
        assert!(!observed.is_free(&lease("another", 2, 15), after(30)));
        assert!(observed.is_free(&lease("another", 2, 15), after(31)));
        assert!(observed.is_free(&lease("", 3, 15), after(31)), "given up");
        assert!(!observed.is_free(&lease("another", 4, 60), after(31)));
        assert!(!observed.is_free(&lease("another", 4, 60), after(90)), "it says itself how long it lasts");
    }

    #[test]
    fn a_replica_waits_on_unless_only_a_person_can_help() {
        for code in [401, 408, 409, 425, 429, 500, 503, 504] {
            assert!(!is_final(code), "{code}");
        }
        for code in [400, 403, 404, 405, 422] {
            assert!(is_final(code), "{code}");
        }
    }

    #[test]
    fn the_lead_is_given_up_before_anybody_can_take_over() {
        let slack = DURATION - GIVE_UP_AFTER;
        assert!(slack >= PATIENCE, "what was sent last may still be on its way");
        assert!(RENEW_EVERY + PATIENCE + AGAIN < GIVE_UP_AFTER, "one renewal may fail");
    }
}
