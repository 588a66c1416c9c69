//! Reaching a server from here.
//!
//! A [`Route`] is found in this order: the address that somebody asked for; the server's own name, where it resolves
//! here; and where it is the name of a Service or a Pod of the cluster, a port that is forwarded through the API server.
//! A route changes where is dialled and nothing else: a certificate is still checked against the server's own name.

mod endpoints;
mod forward;
mod lookup;
mod name;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use kube::Client;
use rolecall_resolve::parse_postgres_address;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

pub(crate) use forward::LocalPort;
pub(crate) use name::ClusterName;

use crate::input::Cluster;
use endpoints::PodPort;
use lookup::Found;

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to come up.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// The end of a message for somebody who knows another way.
const ANOTHER_WAY: &str =
    "name an address that leads to the server with --address HOST:PORT, for example that of a tunnel";

/// How a server is reached from here.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    host: String,
    port: u16,
    means: Means,
}

#[derive(Clone)]
enum Means {
    /// At an address that somebody named.
    Asked(SocketAddr),
    /// By its own name, which resolves here.
    Direct(Vec<SocketAddr>),
    /// Through the API server; at first to this Pod.
    Forward { client: Client, name: ClusterName, first: PodPort },
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked(address) => f.debug_tuple("Asked").field(address).finish(),
            Self::Direct(addresses) => f.debug_tuple("Direct").field(addresses).finish(),
            Self::Forward { first, .. } => f.debug_tuple("Forward").field(first).finish(),
        }
    }
}

impl Route {
    /// Finds a route to a server. `host`, `port`: its own; `asked`: the `HOST:PORT` of `--address`. Nothing is dialled
    /// but the API server.
    ///
    /// # Errors
    ///
    /// An address that is none, a name that leads nowhere, a Service without a ready Pod, missing rights: each says what
    /// to do.
    pub(crate) async fn find(
        cluster: &Cluster,
        host: &str,
        port: u16,
        asked: Option<&str>,
    ) -> anyhow::Result<Self> {
        let means = match asked {
            Some(asked) => Means::Asked(address(asked).await.context("reading --address")?),
            None => unasked(cluster, host, port).await?,
        };
        Ok(Self { host: host.to_owned(), port, means })
    }

    /// Whether it leads through the API server.
    pub(crate) fn is_forwarded(&self) -> bool {
        matches!(self.means, Means::Forward { .. })
    }

    /// Whether the server's own name leads there, without any help.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.means, Means::Direct(_))
    }

    /// The server's own host.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The route in words, to end a sentence that begins with "connecting".
    pub(crate) fn describe(&self) -> String {
        let Self { host, port, means } = self;
        match means {
            Means::Asked(address) => format!("to {address} in place of {host}:{port}"),
            Means::Direct(_) => format!("to {host}:{port}"),
            Means::Forward { first, .. } => {
                format!("to {host}:{port} by a port-forward through the API server, to {first}")
            }
        }
    }

    /// A connection to the server.
    ///
    /// # Errors
    ///
    /// That there is none, and why.
    pub(crate) async fn dial(&self) -> anyhow::Result<Stream> {
        match &self.means {
            Means::Asked(address) => dial(&[*address], &address.to_string()).await,
            Means::Direct(addresses) => dial(addresses, &format!("{}:{}", self.host, self.port)).await,
            Means::Forward { client, name, .. } => {
                // Asked anew: the Pods may be other ones by now.
                let Found::Pods(pods) = lookup::find(client, name, self.port).await? else {
                    bail!("{} is no Service of the cluster any more", self.host);
                };
                let mut last = None;
                for pod in pods {
                    match forward::stream(client, &pod).await {
                        Ok(stream) => return Ok(Stream::Forwarded(stream)),
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.unwrap_or_else(|| anyhow!("{} has no Pod", self.host)))
            }
        }
    }

    /// An address for a program that dials for itself. Where the route leads through the API server it is that of a
    /// local port, which is open as long as what is returned with it.
    ///
    /// # Errors
    ///
    /// No local port can be opened.
    pub(crate) async fn local(self) -> anyhow::Result<(SocketAddr, Option<LocalPort>)> {
        match &self.means {
            Means::Asked(address) => Ok((*address, None)),
            Means::Direct(addresses) => {
                let first = addresses.first().copied();
                Ok((first.with_context(|| format!("{} has no address", self.host))?, None))
            }
            Means::Forward { .. } => {
                let port = LocalPort::open(self).await?;
                Ok((port.address(), Some(port)))
            }
        }
    }
}

/// Where a driver dials in place of the server's own address. A port that was opened for it closes with this.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    /// What to dial.
    pub(crate) address: SocketAddr,
    _open: Option<LocalPort>,
}

impl Elsewhere {
    /// Finds a route, as [`Route::find`] does. `None`: the server's own address leads there.
    ///
    /// # Errors
    ///
    /// As [`Route::find`], and where no local port can be opened.
    pub(crate) async fn find(
        cluster: &Cluster,
        host: &str,
        port: u16,
        asked: Option<&str>,
    ) -> anyhow::Result<Option<Self>> {
        let route = Route::find(cluster, host, port, asked).await?;
        if route.is_direct() {
            return Ok(None);
        }
        let (address, open) = route.local().await?;
        Ok(Some(Self { address, _open: open }))
    }
}

async fn unasked(cluster: &Cluster, host: &str, port: u16) -> anyhow::Result<Means> {
    let why = match resolve(host, port).await {
        Ok(addresses) => return Ok(Means::Direct(addresses)),
        Err(why) => why,
    };
    let Some((name, certain)) = ClusterName::parse(host, cluster.namespace_name()) else {
        bail!("{host} does not resolve here ({why}); {ANOTHER_WAY}");
    };
    let client = cluster.client();
    match lookup::find(client, &name, port).await {
        Ok(Found::Pods(pods)) => {
            let first = pods.into_iter().next().with_context(|| format!("{host} has no Pod"))?;
            Ok(Means::Forward { client: client.clone(), name, first })
        }
        Ok(Found::Alias(alias)) => match resolve(&alias, port).await {
            Ok(addresses) => Ok(Means::Direct(addresses)),
            Err(why) => bail!("{host} leads to {alias}, which does not resolve here ({why}); {ANOTHER_WAY}"),
        },
        Ok(Found::Missing(service)) => {
            bail!("{host} does not resolve here ({why}), and there is no {}; {ANOTHER_WAY}", &service[4..])
        }
        // A short name may not have been meant as one of the cluster.
        Err(error) if !certain => {
            Err(error.context(format!("{host} does not resolve here ({why}); looking for it in the cluster")))
        }
        Err(error) => Err(error),
    }
}

/// The address that an `HOST:PORT` of the command line means.
async fn address(text: &str) -> anyhow::Result<SocketAddr> {
    let (host, port) = parse_postgres_address(text)?;
    if !text.contains(':') {
        bail!("{text:?} has no port; write HOST:PORT, for example {text}:{port}");
    }
    let found = resolve(&host, port).await.map_err(|why| anyhow!("{host} does not resolve here ({why})"))?;
    // What listens for tunnels listens there at least.
    let v4 = found.iter().find(|address| address.is_ipv4());
    v4.or(found.first()).copied().with_context(|| format!("{host} has no address"))
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = timeout(RESOLVE_TIMEOUT, lookup_host((host, port))).await;
    let found = found.map_err(|_| format!("no answer for {RESOLVE_TIMEOUT:?}"))?;
    let found: Vec<_> = found.map_err(|error| error.to_string())?.collect();
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

async fn dial(addresses: &[SocketAddr], called: &str) -> anyhow::Result<Stream> {
    let connecting = || format!("connecting to {called}");
    let connected = timeout(DIAL_TIMEOUT, TcpStream::connect(addresses)).await;
    let connected = connected.map_err(|_| anyhow!("no answer for {DIAL_TIMEOUT:?}; {ANOTHER_WAY}"));
    let stream = connected.with_context(connecting)?.with_context(connecting)?;
    // Short messages go back and forth.
    stream.set_nodelay(true).with_context(connecting)?;
    Ok(Stream::Direct(stream))
}

/// The rights that forwarding a port takes, as the beginning of a message.
fn rights(namespace: &str) -> String {
    format!(
        "forwarding a port takes these rights in namespace {namespace}: get on services, list on endpointslices and pods, \
         get and create on pods/portforward; ask for them, or {ANOTHER_WAY}"
    )
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over the network.
    Direct(TcpStream),
    /// Through the API server.
    Forwarded(DuplexStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Forwarded(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_write(context, data),
            Self::Forwarded(stream) => Pin::new(stream).poll_write(context, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_flush(context),
            Self::Forwarded(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Forwarded(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_host_and_port() {
        for text in ["127.0.0.1:5432", "[::1]:5432", "localhost:1"] {
            let found = address(text).await.expect(text);
            assert!(found.ip().is_loopback() && text.ends_with(&found.port().to_string()));
        }
        for text in [
            "",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:70000",
            ":5432",
            "[x]:1",
            "postgres://h:1",
            "u@h:1",
        ] {
            let message = format!("{:#}", address(text).await.expect_err(text));
            assert!(message.to_lowercase().contains("host:port"), "{message}");
        }
    }
}
