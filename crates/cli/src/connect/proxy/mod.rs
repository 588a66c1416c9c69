//! A local port for clients that know neither certificates that are renewed nor port-forwards: they log in here with a
//! password that counts as long as this runs, and this logs in to the server as the session's user, over TLS.
//!
//! Each connection logs in anew, with the credentials as they are then. What comes after the login goes through
//! unread.

mod login;
mod startup;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rolecall_pki::tls::{self, Identity as ClientIdentity, ServerFacts, Tls, TlsMode};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{ServerName, UnixTime};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::credentials::Credentials;
use super::session::Access;
use crate::output;
use crate::reach::Route;
use startup::Request;

/// How long a client may take to say what it wants, and a server to answer it.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What the proxy needs to log in.
pub(super) struct Upstream {
    /// The way to the server.
    pub(super) route: Route,
    /// How the server proves itself.
    pub(super) tls: Tls,
    /// The name that its certificate must carry.
    pub(super) server_name: String,
    /// How the user proves itself, where that is not the certificate.
    pub(super) credentials: Credentials,
    /// The started session.
    pub(super) access: Access,
    /// The logical database, where a client names none.
    pub(super) database: String,
    /// Certificate and key, as PEM.
    pub(super) identity: Arc<RwLock<Option<(String, SecretString)>>>,
}

/// The proxy. It ends, with every connection, when this is dropped.
pub(super) struct Proxy {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens on this machine. `port`: 0 for any; `password`: what clients log in with.
    ///
    /// # Errors
    ///
    /// There is no port, or not this one.
    pub(super) async fn open(upstream: Upstream, port: u16, password: SecretString) -> anyhow::Result<Self> {
        let opening = || format!("opening the local port {port}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(opening)?;
        let address = listener.local_addr().with_context(opening)?;
        let task = tokio::spawn(serve(listener, Arc::new(upstream), Arc::new(password)));
        Ok(Self { address, _task: AbortOnDropHandle::new(task) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, upstream: Arc<Upstream>, password: Arc<SecretString>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let (upstream, password) = (Arc::clone(&upstream), Arc::clone(&password));
                    connections.spawn(async move {
                        if let Err(error) = carry(client, &upstream, &password).await {
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

async fn carry(mut client: TcpStream, upstream: &Upstream, password: &SecretString) -> anyhow::Result<()> {
    client.set_nodelay(true).context("a client's connection")?;
    let logged_in = timeout(LOGIN_TIMEOUT, log_in(&mut client, upstream, password)).await;
    let Some(mut server) = logged_in.map_err(|_| anyhow!("no login for {LOGIN_TIMEOUT:?}"))?? else {
        return Ok(());
    };
    // How it ended is the business of the two ends.
    let _ = copy_bidirectional(&mut client, &mut server).await;
    Ok(())
}

/// The server's connection after the login of a client; `None` where there is nothing to carry.
async fn log_in(
    client: &mut TcpStream,
    upstream: &Upstream,
    password: &SecretString,
) -> anyhow::Result<Option<Box<dyn Connection>>> {
    let startup = match startup::read(client).await {
        Ok(Some(Request::Startup(startup))) => startup,
        Ok(Some(Request::Cancel(message))) => {
            let mut server = upstream.connect().await.context("passing on a cancellation")?;
            server.write_all(&message).await.context("passing on a cancellation")?;
            // The server closes it when it has read it.
            let _ = timeout(LOGIN_TIMEOUT, server.read(&mut [0])).await;
            return Ok(None);
        }
        // It only looked whether somebody listens.
        Ok(None) => return Ok(None),
        Err(error) => return Err(error.context("reading what a client asks for")),
    };
    client.write_all(&startup::ASK_PASSWORD).await.context("answering a client")?;
    let given = startup::read_password(client).await.context("reading a client's password")?;
    if !same(given.expose_secret().as_bytes(), password.expose_secret().as_bytes()) {
        let said = "this is not the password that kubectl rolecall connect --proxy shows";
        client.write_all(&startup::refusal("28P01", said)).await.context("answering a client")?;
        return Ok(None);
    }
    let opened = async {
        let mut server = upstream.connect().await?;
        let login = upstream.credentials.login(&upstream.access).await?;
        let user = login.as_ref().map_or(&upstream.access.username, |login| &login.username);
        let message = startup.of(user, &upstream.database);
        let secret = login.as_ref().map(|login| &login.secret);
        let answer = login::log_in(&mut server, &message, user, secret).await?;
        anyhow::Ok((server, answer))
    };
    match opened.await {
        Ok((server, login::Answer { bytes, accepted })) => {
            client.write_all(&bytes).await.context("answering a client")?;
            Ok(accepted.then_some(server))
        }
        Err(error) => {
            let error = refused_certificate(error);
            let said = format!("{error:#}");
            client.write_all(&startup::refusal("08001", &said)).await.context("answering a client")?;
            Err(error)
        }
    }
}

/// Says what to do where the server does not take the certificate, which with TLS 1.3 shows after the handshake.
fn refused_certificate(error: anyhow::Error) -> anyhow::Error {
    let refused = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().and_then(tls::refused_as_a_client)
    };
    match error.chain().find_map(refused) {
        Some(_) => error.context(
            "the server does not take the session's certificate; if it ran out, it is renewed within a minute: connect again",
        ),
        None => error,
    }
}

/// Compares without telling by its duration where the difference is.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let differences = given.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == expected.len() && differences == 0
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Upstream {
    /// A connection to the server, over TLS where that is asked for.
    async fn connect(&self) -> anyhow::Result<Box<dyn Connection>> {
        let mut stream = self.route.dial().await?;
        if self.tls.mode == TlsMode::Disable {
            return Ok(Box::new(stream));
        }
        let attempt = || format!("connecting {}", self.route.describe());
        stream.write_all(&startup::SSL_REQUEST).await.with_context(attempt)?;
        if stream.read_u8().await.with_context(attempt)? != b'S' {
            let refused = anyhow!("the server does not speak TLS; let whoever administers it set ssl = on");
            return Err(refused.context(attempt()));
        }
        let identity = self.identity.read().unwrap_or_else(PoisonError::into_inner).clone();
        let provider = aws_lc_rs::default_provider();
        let shown = identity.map(|(certificate, key)| ClientIdentity::new(&certificate, &key, &provider));
        let shown = shown.transpose()?.as_ref().map(tls::always);
        let tls::TlsClient { config, verifier } = tls::client(&self.tls, shown)?;
        let name = ServerName::try_from(self.server_name.clone()).with_context(attempt)?;
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(self.refused(error, &verifier).context(attempt())),
        }
    }

    fn refused(&self, error: io::Error, verifier: &tls::Verifier) -> anyhow::Error {
        let Some(why) = tls::tls_error(&error) else { return error.into() };
        let chain = verifier.refused();
        let facts = ServerFacts {
            host: &self.server_name,
            chain: &chain,
            trusted: verifier.trusted(),
            trusts_leaves: true,
            name_remedy: "set tls.serverName of the DatabaseAdmin to a name that it has",
        };
        let fault = tls::handshake(why, facts, None, UnixTime::now());
        anyhow!("{}; {}", fault.detail, fault.remedy)
    }
}
