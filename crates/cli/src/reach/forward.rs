//! Forwarding a port of a Pod through the API server, as `kubectl port-forward` does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::client::UpgradeConnectionError;
use kube::{Api, Client};
use tokio::io::{DuplexStream, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::endpoints::PodPort;
use super::{Route, rights};
use crate::input::plain;
use crate::output;

/// How long the API server and the kubelet may take to open a stream.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A stream to a port of a Pod. What goes wrong on it later is said on standard error.
pub(super) async fn stream(client: &Client, pod: &PodPort) -> anyhow::Result<DuplexStream> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let attempt = || format!("forwarding {pod}");
    let opened = timeout(TIMEOUT, pods.portforward(&pod.name, &[pod.port])).await;
    let opened = opened.map_err(|_| anyhow!("the API server does not answer for {TIMEOUT:?}"));
    let mut forwarder =
        opened.with_context(attempt)?.map_err(|error| because(error, pod)).with_context(attempt)?;
    let (Some(stream), Some(error)) = (forwarder.take_stream(pod.port), forwarder.take_error(pod.port))
    else {
        bail!("forwarding {pod}: there is no stream");
    };
    let attempted = attempt();
    tokio::spawn(async move {
        if let Some(said) = error.await {
            output::say(format_args!("warning: {attempted}: the node says: {}", said.trim()));
        }
    });
    Ok(stream)
}

fn because(error: kube::Error, pod: &PodPort) -> anyhow::Error {
    let kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) = error else {
        return plain(error);
    };
    match status {
        StatusCode::FORBIDDEN => anyhow!("it is not allowed").context(rights(&pod.namespace)),
        StatusCode::NOT_FOUND => anyhow!("the Pod is gone, or not on a node"),
        status => anyhow!("the API server answers {status}; does kubectl port-forward work here?"),
    }
}

/// A port of this machine that leads along a route, for programs that dial for themselves. It closes when this is
/// dropped.
#[derive(Debug)]
pub(crate) struct LocalPort {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl LocalPort {
    pub(super) async fn open(route: Route) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("opening a local port")?;
        let address = listener.local_addr().context("opening a local port")?;
        let task = tokio::spawn(serve(listener, Arc::new(route)));
        Ok(Self { address, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, route: Arc<Route>) {
    // Dropped with this task, and with them every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(carry(client, Arc::clone(&route)));
                }
                // Out of file descriptors, for example: it passes.
                Err(error) => {
                    output::say(format_args!("warning: accepting a connection: {error}"));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, route: Arc<Route>) {
    match route.dial().await {
        Ok(mut server) => {
            // How it ended is the business of the two ends.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        Err(error) => output::say(format_args!("warning: {error:#}")),
    }
}
