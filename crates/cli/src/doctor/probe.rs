//! What anybody sees of a server: its address, whether it answers, and what it shows in a TLS handshake.

use std::io;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::future::join_all;
use rolecall_api::{DatabaseAdmin, Protocol};
use rolecall_mongodb::ClientCertificate;
use rolecall_pki::tls::{Inspection, Tls, TlsMode, inspect};
use rolecall_postgres::request_tls;
use rolecall_resolve::{Blocked, mongodb_config, postgres_config, redshift_config};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a server is, going by its DatabaseAdmin.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Host and port of each member that is named.
    pub(super) hosts: Vec<(String, u16)>,
    /// What its certificate is verified by, without the CAs.
    pub(super) tls: Tls,
    /// It is asked for TLS first.
    asks_for_tls: bool,
    /// The hosts are listed by SRV records, which only the driver looks up.
    pub(super) is_srv: bool,
}

/// What was seen of one place.
#[derive(Debug)]
pub(super) struct Probe {
    /// `host:port`, as it was dialled.
    pub(super) address: String,
    /// The name that its certificate must carry.
    pub(super) name: String,
    /// What came of it.
    pub(super) seen: Seen,
}

/// What came of dialling.
#[derive(Debug)]
pub(super) enum Seen {
    /// The name leads nowhere from here.
    NoName(String),
    /// Nothing answers at these addresses.
    NoAnswer(Vec<String>, String),
    /// It answers, and offers no TLS.
    NoTls(Vec<String>),
    /// It answers, and TLS was not asked for, as it is turned off.
    Plain(Vec<String>),
    /// It answers, with something that is no server of this kind.
    Foreign(Vec<String>, String),
    /// It showed this.
    Tls(Vec<String>, Box<Inspection>),
}

impl Probe {
    /// Does a server answer there?
    pub(super) fn answers(&self) -> bool {
        !matches!(self.seen, Seen::NoName(_) | Seen::NoAnswer(..))
    }
}

/// Can this address be used in place of the server's own?
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn check(admin: &DatabaseAdmin, address: Option<&str>) -> anyhow::Result<()> {
    if admin.spec.protocol == Protocol::Mongodb {
        return crate::admin_login::dials_by_name(address);
    }
    if let Some(address) = address {
        rolecall_postgres::parse_address(address).context("reading --address; write HOST:PORT")?;
    }
    Ok(())
}

/// Where the server is. Secrets are not needed for that.
///
/// # Errors
///
/// A server on which nobody can be provisioned, an address that cannot be read.
pub(super) fn places(admin: &DatabaseAdmin, address: Option<&str>) -> anyhow::Result<Places> {
    let because = |blocked: Blocked| anyhow!("{}", blocked.message);
    let (host, port, mut tls) = match admin.spec.protocol {
        Protocol::Mongodb => {
            let nothing = ClientCertificate { cert_pem: String::new(), key_pem: String::new().into() };
            let config = mongodb_config(admin, nothing, None).map_err(because)?;
            return Ok(Places {
                hosts: config.address.hosts().to_vec(),
                is_srv: config.address.is_srv(),
                tls: config.tls,
                asks_for_tls: false,
            });
        }
        Protocol::Postgres => {
            let nothing = rolecall_postgres::Auth::Password(String::new().into());
            let config = postgres_config(admin, nothing, None).map_err(because)?;
            (config.host, config.port, config.tls)
        }
        Protocol::Redshift => {
            let nothing = rolecall_redshift::Auth::Password(String::new().into());
            let config = redshift_config(admin, nothing, None).map_err(because)?;
            (config.host, config.port, config.tls)
        }
    };
    let dialled = match address {
        Some(address) => {
            tls.server_name.get_or_insert(host);
            rolecall_postgres::parse_address(address).context("reading --address; write HOST:PORT")?
        }
        None => (host, port),
    };
    Ok(Places { hosts: vec![dialled], tls, asks_for_tls: true, is_srv: false })
}

/// Dials each place, all at once.
pub(super) async fn probe(places: &Places) -> Vec<Probe> {
    let hosts = places.hosts.iter().filter(|_| !places.is_srv);
    let probes = hosts.map(async |(host, port)| {
        let name = places.tls.server_name.as_ref().unwrap_or(host);
        let seen = dial(host, *port, name, places).await;
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Probe { address, name: name.clone(), seen }
    });
    join_all(probes).await
}

async fn dial(host: &str, port: u16, name: &str, places: &Places) -> Seen {
    let addresses: Vec<std::net::SocketAddr> = match tokio::net::lookup_host((host, port)).await {
        Ok(found) => found.collect(),
        Err(error) => return Seen::NoName(error.to_string()),
    };
    if addresses.is_empty() {
        return Seen::NoName("it has no address".to_owned());
    }
    let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let connected = timeout(PATIENCE, TcpStream::connect(addresses.as_slice())).await;
    let mut stream = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) => return Seen::NoAnswer(shown, error.to_string()),
    };
    if places.tls.mode == TlsMode::Disable {
        return Seen::Plain(shown);
    }
    let handshake = async {
        if places.asks_for_tls && !request_tls(&mut stream).await? {
            return Ok(None);
        }
        inspect(stream, name).await.map(Some)
    };
    match timeout(PATIENCE, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(Some(inspection)) => Seen::Tls(shown, Box::new(inspection)),
        Ok(None) => Seen::NoTls(shown),
        Err(error) => Seen::Foreign(shown, error.to_string()),
    }
}
