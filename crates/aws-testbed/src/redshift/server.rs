//! Starting and speaking to a simulator.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rolecall_testbed::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_rustls::TlsAcceptor;

use super::settings::{Authentication, Unknowns};
use super::shared::Shared;
use super::wire;

/// Result of the simulator's own functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a simulator could not be started, or refused something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement of the set-up was refused.
    #[error("{message} ({code})")]
    Refused {
        /// The SQLSTATE.
        code: String,
        /// What it said.
        message: String,
    },
    /// A connection of a client failed.
    #[error("connecting: {0:?}")]
    Client(#[source] tokio_postgres::Error),
    /// Certificates and sockets.
    #[error("starting the simulator: {0}")]
    Start(String),
}

impl Error {
    /// The SQLSTATE, where a statement or a login was refused.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Client(error) => error.code().map(tokio_postgres::error::SqlState::code),
            Self::Start(_) => None,
        }
    }
}

/// A simulator, which ends with this value.
#[derive(Debug)]
pub struct Redshift {
    pub(super) shared: Arc<Shared>,
    address: SocketAddr,
    ca_pem: String,
    accepting: JoinHandle<()>,
}

/// How a simulator is started.
#[derive(Clone, Debug, Default)]
pub struct RedshiftBuilder {
    authentication: Authentication,
    unknowns: Unknowns,
    names: Vec<String>,
}

impl RedshiftBuilder {
    /// Asks users for their passwords in another way than MD5. Temporary passwords come in clear text always.
    pub fn authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// Answers what is not known of the server less strictly.
    pub fn unknowns(mut self, unknowns: Unknowns) -> Self {
        self.unknowns = unknowns;
        self
    }

    /// A name that its certificate has beside `localhost`.
    pub fn server_name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When no certificate can be made or no port is free.
    pub async fn start(self) -> Result<Redshift> {
        let failed = |error: &dyn std::fmt::Display| Error::Start(error.to_string());
        let authority = Authority::new("Redshift simulator CA").map_err(|error| failed(&error))?;
        let names: Vec<&str> =
            ["localhost", "127.0.0.1"].into_iter().chain(self.names.iter().map(String::as_str)).collect();
        let certificate = authority.server(&names).map_err(|error| failed(&error))?;
        let chain = CertificateDer::pem_slice_iter(certificate.cert_pem.as_bytes())
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| failed(&error))?;
        let key =
            PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).map_err(|error| failed(&error))?;
        let tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| failed(&error))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let shared = Arc::new(Shared::new(self.authentication, self.unknowns));
        let accepting = tokio::spawn(accept(Arc::clone(&shared), listener, TlsAcceptor::from(Arc::new(tls))));
        Ok(Redshift { shared, address, ca_pem: authority.cert_pem().to_owned(), accepting })
    }
}

impl Redshift {
    /// Starts a cluster with the strict answers to everything.
    ///
    /// # Errors
    /// As [`RedshiftBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// For another kind of cluster.
    pub fn builder() -> RedshiftBuilder {
        RedshiftBuilder::default()
    }

    /// The host under which it is reached.
    pub fn host(&self) -> &'static str {
        "localhost"
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate of the authority that issued its certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A connection as a client makes it.
    ///
    /// # Errors
    /// When the login is refused; [`Error::sqlstate`] says why.
    pub async fn connect(
        &self,
        login: &str,
        password: &str,
        database: &str,
    ) -> Result<tokio_postgres::Client> {
        let mut config = tokio_postgres::Config::new();
        config.host(self.host()).port(self.port()).user(login).password(password).dbname(database);
        config.ssl_mode(SslMode::Require);
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|error| Error::Start(error.to_string()))?;
            roots.add(certificate).map_err(|error| Error::Start(error.to_string()))?;
        }
        let tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Start(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
        let (client, connection) = config.connect(tls).await.map_err(Error::Client)?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Redshift {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.cut();
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: TlsAcceptor) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) if !shared.lock().faults.down => {
                // Small messages go out at once.
                let _ = socket.set_nodelay(true);
                tokio::spawn(wire::serve(Arc::clone(&shared), socket, tls.clone()));
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}
