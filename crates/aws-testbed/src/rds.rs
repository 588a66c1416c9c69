//! Logins with an IAM token before a real PostgreSQL, as RDS does them.
//!
//! The front takes what clients send, over TLS only. It passes the beginning of a session on to the server, whose
//! `pg_hba.conf` says who it is ([`HBA`]): a member of `rds_iam`, through whatever membership, has to bring a token, which
//! the front verifies; everybody else proves a password to the server, through the front. The rest is passed on as it is.
//!
//! Stricter than RDS: a token has to be escaped as botocore does it, no longer than needed, and clocks may be five
//! minutes apart. What RDS restricts inside the server (`rds.restrict_password_commands`, for example) is not imitated:
//! the server is PostgreSQL, with an admin user that is no superuser.

mod relay;
mod wire;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use crate::sigv4::Keyring;

/// Lines of `pg_hba.conf` for the server behind a front: who is in `rds_iam` has shown a token to the front.
pub const HBA: &str = "\
host all +rds_iam 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
";

/// Statements that give a server the roles of RDS. Whoever is called `admin` in them is no superuser.
pub const ROLES: &str = "\
create role rdsadmin superuser nologin;
create role rds_iam nologin;
create role rds_password nologin;
create role rds_replication nologin;
create role rds_superuser nologin;
grant pg_monitor, pg_signal_backend, rds_replication, rds_password to rds_superuser with admin option;
";

/// How the front fails.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The network.
    #[error("the front cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The certificate or the key.
    #[error("the front's certificate cannot be used: {0}")]
    Certificate(String),
}

/// What a front stands for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name and port that tokens have to be signed for, as `host:port`.
    pub endpoint: String,
    /// The region that they have to be signed for.
    pub region: String,
    /// Whose signatures count.
    pub keyring: Keyring,
    /// The certificate that is shown, with its chain, as PEM.
    pub cert_pem: String,
    /// Its key, as PEM.
    pub key_pem: String,
}

/// A front that runs until it is dropped.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What its connections share.
#[derive(Debug)]
struct Shared {
    endpoint: String,
    region: String,
    keyring: Keyring,
    upstream: Mutex<SocketAddr>,
    /// Tokens that are refused whatever they are.
    refusing: AtomicU64,
    seen: Mutex<Seen>,
}

/// What the front has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Tokens that let somebody in, each once however often it was used.
    pub tokens: BTreeSet<String>,
    /// Logins with a token.
    pub logins: u64,
    /// Why tokens were refused.
    pub refused: Vec<String>,
}

impl Front {
    /// Starts a front on a free port of this machine, before the server at `upstream`.
    ///
    /// # Errors
    /// A certificate that cannot be used, no free port.
    pub async fn start(identity: Identity, upstream: SocketAddr) -> Result<Self, FrontError> {
        let certificate = |error: &dyn std::fmt::Display| FrontError::Certificate(error.to_string());
        let chain = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| certificate(&error))?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
            .map_err(|error| certificate(&error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| certificate(&error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| certificate(&error))?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            endpoint: identity.endpoint,
            region: identity.region,
            keyring: identity.keyring,
            upstream: Mutex::new(upstream),
            refusing: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }

    /// Refuses that many tokens from now on, however good they are.
    pub fn refuse(&self, tokens: u64) {
        self.shared.refusing.store(tokens, SeqCst);
    }

    /// Leads to another server from now on, as a name does after a failover. Connections that are open stay.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upstream(&self) -> SocketAddr {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is one of the tokens to be refused that were asked for?
    fn refuses_this_one(&self) -> bool {
        self.refusing.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    // A connection that breaks is the client's or the server's affair.
                    let _ = relay::serve(stream, acceptor, &shared).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(shared: &Shared) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(shared.upstream()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
