//! A network between an operator and the API server that can fail.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use kube::Config;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster;

/// A network between two programs: connections to it reach the API server until it is cut.
///
/// It forwards bytes and knows nothing of them, so that TLS goes through as it is.
#[derive(Debug)]
pub struct Network {
    address: SocketAddr,
    link: watch::Sender<Link>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Whole,
    Cut,
    Silent,
}

impl Network {
    /// One that is whole.
    ///
    /// # Errors
    /// When there is no cluster or no port for it.
    pub async fn to_api_server() -> Result<Self> {
        let url = cluster::cluster().await?.url();
        let server: SocketAddr = url.trim_start_matches("https://").parse().context("the API server")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (link, state) = watch::channel(Link::Whole);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server, state.clone()));
            }
        });
        Ok(Self { address, link, _task: AbortOnDropHandle::new(task) })
    }

    /// How an operator reaches the API server through it.
    ///
    /// # Errors
    /// When there is no cluster.
    pub async fn operator_config(&self) -> Result<Config> {
        let mut config = cluster::operator_config().await?;
        config.cluster_url = format!("https://{}", self.address).parse()?;
        Ok(config)
    }

    /// Every connection ends, and no new one is made.
    pub fn cut(&self) {
        self.link.send_replace(Link::Cut);
    }

    /// Nothing arrives any more, without an error. Connections from now until it is restored stay dead, like those of a
    /// node that is gone.
    pub fn silence(&self) {
        self.link.send_replace(Link::Silent);
    }

    /// New connections are made again.
    pub fn restore(&self) {
        self.link.send_replace(Link::Whole);
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, mut link: watch::Receiver<Link>) {
    let was = *link.borrow_and_update();
    if was == Link::Whole {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = link.changed() => {}
        }
        if *link.borrow() == Link::Silent {
            // Neither side hears of the other again.
            std::future::pending::<()>().await;
        }
    } else if was == Link::Silent {
        std::future::pending::<()>().await;
    }
}
