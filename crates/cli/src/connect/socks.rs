//! A SOCKS proxy for clients that check a server by the name that they dial, as all of MongoDB's do: they ask it for the
//! names, also those of members of a replica set that they discover, and it dials them from here.
//!
//! Of SOCKS 5 (RFC 1928) there is what such a client uses: no authentication, CONNECT. Bytes go through as they are,
//! so that TLS is between client and server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::input::Cluster;
use crate::output;
use crate::reach::{ClusterName, Route};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const HOST_UNREACHABLE: u8 = 4;
const COMMAND_NOT_SUPPORTED: u8 = 7;

/// Where the proxy leads.
pub(super) struct Routes {
    cluster: Cluster,
    known: BTreeMap<(String, u16), Route>,
    namespaces: BTreeSet<String>,
}

impl Routes {
    /// The routes to the servers of an address. Members that are discovered later may lie in the same namespaces.
    pub(super) fn new(cluster: &Cluster, known: BTreeMap<(String, u16), Route>) -> Self {
        let names = known.keys().filter_map(|(host, _)| namespace_of(cluster, host));
        let namespaces = names.collect();
        Self { cluster: cluster.clone(), known, namespaces }
    }

    async fn find(&self, host: &str, port: u16) -> anyhow::Result<Route> {
        if let Some(route) = self.known.get(&(host.to_owned(), port)) {
            return Ok(route.clone());
        }
        // What forwards ports with somebody's rights leads nowhere else with them.
        if !namespace_of(&self.cluster, host).is_some_and(|name| self.namespaces.contains(&name)) {
            bail!("{host}:{port} is none of the servers of the DatabaseAdmin");
        }
        Route::find(&self.cluster, host, port, None).await
    }
}

fn namespace_of(cluster: &Cluster, host: &str) -> Option<String> {
    let (name, _) = ClusterName::parse(host, cluster.namespace_name())?;
    Some(name.namespace().to_owned())
}

/// The proxy. It ends, with every connection, when this is dropped.
pub(super) struct Socks {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Socks {
    /// Listens on this machine.
    ///
    /// # Errors
    ///
    /// There is no port, or not this one. `port`: 0 for any.
    pub(super) async fn open(routes: Routes, port: u16) -> anyhow::Result<Self> {
        let opening = || format!("opening the local port {port}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(opening)?;
        let address = listener.local_addr().with_context(opening)?;
        let task = tokio::spawn(serve(listener, Arc::new(routes)));
        Ok(Self { address, _task: AbortOnDropHandle::new(task) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, routes: Arc<Routes>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let routes = Arc::clone(&routes);
                    connections.spawn(async move {
                        if let Err(error) = carry(client, &routes).await {
                            output::say(format_args!("warning: {error:#}"));
                        }
                    });
                }
                Err(error) => {
                    output::say(format_args!("warning: accepting a connection: {error}"));
                    sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, routes: &Routes) -> anyhow::Result<()> {
    client.set_nodelay(true).context("a client's connection")?;
    let greeting = greet(&mut client).await.context("reading what a client asks for")?;
    client.write_all(&[VERSION, greeting]).await.context("answering a client")?;
    let (command, host, port) = request(&mut client).await.context("reading what a client asks for")?;
    if command != CONNECT {
        return answer(&mut client, COMMAND_NOT_SUPPORTED).await;
    }
    let route = match routes.find(&host, port).await {
        Ok(route) => route,
        Err(error) => {
            answer(&mut client, NOT_ALLOWED).await?;
            return Err(error);
        }
    };
    match route.dial().await {
        Ok(mut server) => {
            answer(&mut client, SUCCEEDED).await?;
            // How it ended is the business of the two ends.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            Ok(())
        }
        Err(error) => {
            answer(&mut client, HOST_UNREACHABLE).await?;
            Err(error)
        }
    }
}

/// Reads the first message: the method to answer.
async fn greet(client: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<u8> {
    let [version, count] = read(client).await?;
    if version != VERSION {
        bail!("it does not speak SOCKS 5");
    }
    let mut methods = vec![0; usize::from(count)];
    client.read_exact(&mut methods).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        bail!("it wants to authenticate, which is of no use here");
    }
    Ok(NO_AUTHENTICATION)
}

/// Reads the second message: command, host and port.
async fn request(client: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<(u8, String, u16)> {
    let [version, command, _, kind] = read(client).await?;
    if version != VERSION {
        bail!("it does not speak SOCKS 5");
    }
    let host = match kind {
        1 => IpAddr::from(Ipv4Addr::from(read::<4>(client).await?)).to_string(),
        4 => IpAddr::from(Ipv6Addr::from(read::<16>(client).await?)).to_string(),
        3 => {
            let [length] = read(client).await?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).context("the name is no text")?
        }
        _ => bail!("it asks for an address of an unknown kind"),
    };
    Ok((command, host, u16::from_be_bytes(read(client).await?)))
}

async fn answer(client: &mut TcpStream, reply: u8) -> anyhow::Result<()> {
    // The address that was dialled from is nobody's business.
    let message = [VERSION, reply, 0, 1, 0, 0, 0, 0, 0, 0];
    client.write_all(&message).await.context("answering a client")
}

async fn read<const N: usize>(client: &mut (impl AsyncRead + Unpin)) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses_are_asked_for() {
        assert_eq!(greet(&mut &[5, 2, 2, 0][..]).await.expect("it is a greeting"), 0);
        for refused in [&[4, 1, 0][..], &[5, 1, 2], &[5, 3, 0]] {
            assert!(greet(&mut { refused }).await.is_err(), "{refused:?}");
        }
        let name = [&[5, 1, 0, 3, 4][..], b"m0.a", &[0x69, 0x89]].concat();
        let asked = request(&mut &name[..]).await.expect("it is a request");
        assert_eq!(asked, (CONNECT, "m0.a".to_owned(), 27017));
        let asked = request(&mut &[5, 2, 0, 1, 10, 0, 0, 7, 0, 1][..]).await.expect("it is a request");
        assert_eq!(asked, (2, "10.0.0.7".to_owned(), 1));
        for refused in [&[5, 1, 0, 9, 1][..], &[5, 1, 0, 3, 4, b'm'], &[4, 1, 0, 1, 10, 0, 0, 7, 0, 1]] {
            assert!(request(&mut { refused }).await.is_err(), "{refused:?}");
        }
    }
}
