//! A forwarder in front of several servers, like a load balancer that follows the primary: it can be switched to
//! another one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// See the module. It forwards bytes and knows nothing of them, so that TLS goes through as it is.
#[derive(Debug)]
pub struct Forwarder {
    port: u16,
    target: watch::Sender<Option<u16>>,
    first: Arc<Mutex<Option<Instant>>>,
    _task: AbortOnDropHandle<()>,
}

impl Forwarder {
    /// One that leads to this port of this machine.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let own = listener.local_addr()?.port();
        let target = watch::Sender::new(Some(port));
        let first: Arc<Mutex<Option<Instant>>> = Arc::default();
        let (leads, noted) = (target.clone(), Arc::clone(&first));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, leads.subscribe(), Arc::clone(&noted)));
            }
        });
        Ok(Self { port: own, target, first, _task: AbortOnDropHandle::new(task) })
    }

    /// `localhost:PORT`.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Leads nowhere: every connection ends, new ones too.
    pub fn cut(&self) {
        self.target.send_replace(None);
    }

    /// Leads to another port from now on. Connections to the previous one end.
    pub fn lead_to(&self, port: u16) {
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.target.send_replace(Some(port));
    }

    /// When the first connection was made since it was switched.
    pub fn first_connection(&self) -> Option<Instant> {
        *self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn carry(
    mut client: TcpStream,
    mut target: watch::Receiver<Option<u16>>,
    first: Arc<Mutex<Option<Instant>>>,
) {
    let Some(port) = *target.borrow_and_update() else { return };
    let Ok(mut server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await else { return };
    first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = target.changed() => {}
    }
}
