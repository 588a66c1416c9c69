//! `rolecall-operator prepare-uninstall`: ends every access before the operator goes. Afterwards nobody would.
//!
//! This process ends nothing itself. It asks the running operator to drain (see [`crate::drain`]), by an annotation of
//! the Lease, and reads the sessions until none may have access or has its finalizer. So it needs no right that the operator
//! lacks, and no object of a user is changed. Before, it deletes what puts that finalizer on new sessions.

mod decide;
mod left;
mod request;

use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use kube::api::DeleteParams;
use kube::{Api, Client, Config};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api_client::bounded;
use crate::leader::{PATIENCE, is_final, lease_namespace};
use decide::{Next, Round};
use left::Left;
use request::{FRESH, Reply, Request};

/// How often the sessions are read.
const EVERY: Duration = Duration::from_secs(2);

const FORCED: &str = "Uninstalled nevertheless, as uninstall.force says.";

/// What is to be prepared, and how far it may go.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces of the operator; none: all.
    pub namespaces: Vec<String>,
    /// The namespace of the operator's Lease; none: that of the client.
    pub lease_namespace: Option<String>,
    /// How long accesses may take to end.
    pub timeout: Duration,
    /// The kinds are deleted too, with every object.
    pub kinds_too: bool,
    /// `NAMESPACE/NAME` of the Helm release that is deleted, with the objects in it.
    pub release: Option<String>,
    /// The MutatingAdmissionPolicyBinding that puts the operator's finalizer on sessions.
    pub finalizer_binding: Option<String>,
    /// Succeed when the time is over, whatever is left.
    pub force: bool,
}

/// Ends all accesses, and returns what is said at the end. `say` gets the progress. `stop`: nobody waits any longer.
///
/// # Errors
///
/// With what is left when accesses could not be ended in time (unless forced) or objects have finalizers that only an
/// operator takes off, or what the API server refused. The operator goes on as before then.
pub async fn run(
    options: &Options,
    say: &mut (dyn FnMut(String) + Send),
    stop: &CancellationToken,
) -> anyhow::Result<String> {
    let config = Config::infer().await.context("finding the API server (KUBECONFIG, or in-cluster)")?;
    let client = Client::try_from(config).context("preparing the connection to the API server")?;
    prepare(&client, options, say, stop).await
}

/// As [`run`], with a given client for the API server.
///
/// # Errors
///
/// As [`run`].
pub async fn prepare(
    client: &Client,
    options: &Options,
    say: &mut (dyn FnMut(String) + Send),
    stop: &CancellationToken,
) -> anyhow::Result<String> {
    let namespace = lease_namespace(client, options.lease_namespace.as_deref());
    let mut request = Request::new(client, &namespace);
    // Admission puts the finalizer on no session any more.
    let mut stopped = false;
    let drained = tokio::select! {
        biased;
        () = stop.cancelled() => Err(anyhow::anyhow!("stopped before every access had ended")),
        drained = drain(client, options, &mut request, &mut stopped, say) => drained,
    };
    let drained = match drained {
        Err(error) if options.force && !stop.is_cancelled() => {
            say(format!("{error:#}"));
            return Ok(FORCED.to_owned());
        }
        drained => drained,
    };
    if drained.is_err() {
        if stopped {
            say("Until the next helm upgrade or rollback the operator marks sessions itself.".to_owned());
        }
        match request.withdraw().await {
            Ok(()) => say("The operator goes on: sessions start again.".to_owned()),
            Err(error) => say(format!(
                "The operator could not be told to go on, and does so by itself within {} s: {error:#}",
                crate::drain::LAPSES_AFTER.as_secs()
            )),
        }
    }
    drained
}

async fn drain(
    client: &Client,
    options: &Options,
    request: &mut Request,
    stopped: &mut bool,
    say: &mut (dyn FnMut(String) + Send),
) -> anyhow::Result<String> {
    let (begun, mut heard, mut said) = (Instant::now(), false, String::new());
    let left = retried(options, begun, say, async || Left::read(client, options).await).await?;
    if let Some(refusal) = left.finalizers() {
        if !options.force {
            bail!(refusal);
        }
        say(refusal);
    }
    if let Some(binding) = &options.finalizer_binding {
        match retried(options, begun, say, async || stop_marking(client, binding).await).await {
            Err(error) if options.force => say(format!("{error:#}")),
            result => {
                result?;
                *stopped = true;
            }
        }
    }
    say(format!("Waiting up to {} s until every access has ended.", options.timeout.as_secs()));
    loop {
        // In this order: what is read then was decided by a draining operator.
        let round = async || {
            let reply = request.renew().await?;
            let left = timeout(FRESH, Left::read(client, options)).await;
            Ok((reply, left.context("reading the sessions took too long")??))
        };
        let (reply, left): (Reply, Left) = retried(options, begun, say, round).await?;
        heard |= reply.heard || reply.drained;
        let round = Round { answered: reply.drained, heard, waited: begun.elapsed(), open: left.open() };
        match decide::next(round, options.timeout) {
            Next::Done => return Ok(left.done()),
            Next::Nobody => {
                return Ok(format!("No operator answers, so none can start a session. {}", left.done()));
            }
            Next::Wait => {
                let progress = left.progress(heard);
                if progress != said {
                    say(progress.clone());
                    said = progress;
                }
                sleep(EVERY).await;
            }
            Next::GiveUp => {
                bail!(left.refusal(heard, begun.elapsed()));
            }
        }
    }
}

/// No session gets the operator's finalizer from admission any more. Those that have it already are let go by the operator.
async fn stop_marking(client: &Client, binding: &str) -> anyhow::Result<()> {
    let bindings: Api<MutatingAdmissionPolicyBinding> = Api::all(client.clone());
    match bounded(PATIENCE, bindings.delete(binding, &DeleteParams::default())).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop).with_context(|| {
            format!(
                "deleting the MutatingAdmissionPolicyBinding {binding}, which puts the operator's finalizer on sessions; delete it by \
                 hand (kubectl delete mutatingadmissionpolicybinding {binding}) and uninstall again"
            )
        }),
    }
}

/// Does something that needs the API server, again and again until the time is over; what it refuses for good once.
async fn retried<T>(
    options: &Options,
    begun: Instant,
    say: &mut (dyn FnMut(String) + Send),
    mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    loop {
        match attempt().await {
            Err(error) if !is_refused(&error) && begun.elapsed() < options.timeout => {
                say(format!("Trying again: {error:#}"));
                sleep(EVERY).await;
            }
            result => return result,
        }
    }
}

/// Did the API server say no, in a way that does not change by itself?
fn is_refused(error: &anyhow::Error) -> bool {
    let api = error.chain().find_map(|cause| cause.downcast_ref::<kube::Error>());
    // 410: a list changed too much between two of its pages.
    matches!(api, Some(kube::Error::Api(status)) if status.code != 410 && is_final(status.code))
}
