//! From the first byte to the first query.

use std::sync::Arc;

use pgwire::messages::startup::{Authentication as Request, BackendKeyData, ParameterStatus, SecretKey};
use pgwire::messages::{
    PgWireBackendMessage as Backend, PgWireFrontendMessage as Frontend,
    SslNegotiationMetaMessage as Negotiation,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stream::{Closed, Stream, Wire};
use crate::redshift::error::SqlError;
use crate::redshift::login::{self, Proof};
use crate::redshift::settings::Authentication;
use crate::redshift::shared::Shared;
use crate::redshift::state::Session;

/// What the server says of itself.
const STATUS: [(&str, &str); 9] = [
    ("server_version", "8.0.2"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    // Results are as text whatever version a driver asks for.
    ("server_protocol_version", "0"),
    ("datashare_enabled", "on"),
    ("padb_version", "1.0.219674"),
];

/// The stream once it is encrypted. Plain connections are refused.
pub(super) async fn encrypted(
    shared: Arc<Shared>,
    socket: TcpStream,
    tls: TlsAcceptor,
) -> Result<Wire<TlsStream<TcpStream>>, Closed> {
    let mut wire = Wire::new(Arc::clone(&shared), socket);
    loop {
        match wire.read().await? {
            Frontend::SslNegotiation(Negotiation::PostgresSsl(_)) => break,
            Frontend::SslNegotiation(Negotiation::PostgresGss(_)) => {
                wire.put_bytes(b"N");
                wire.flush().await?;
            }
            _ => {
                let message = "no pg_hba.conf entry for this host: SSL off";
                wire.fatal(&SqlError::new("28000", message)).await?;
                return Err(Closed);
            }
        }
    }
    wire.put_bytes(b"S");
    wire.flush().await?;
    let stream = tls.accept(wire.into_stream()?).await.map_err(|_| Closed)?;
    let mut wire = Wire::new(shared, stream);
    wire.context.awaiting_frontend_ssl = false;
    Ok(wire)
}

/// Asks for the password and opens a session.
pub(super) async fn log_in<S: Stream>(shared: &Arc<Shared>, wire: &mut Wire<S>) -> Result<Session, Closed> {
    // A request to cancel is on a connection of its own; nothing here takes so long that it matters.
    let Frontend::Startup(startup) = wire.read().await? else {
        return Err(Closed);
    };
    wire.context.awaiting_frontend_startup = false;
    let parameter = |name: &str| startup.parameters.get(name).cloned();
    let Some(user) = parameter("user") else {
        wire.fatal(&SqlError::new("28000", "no user name specified in startup packet")).await?;
        return Err(Closed);
    };
    let database = parameter("database").unwrap_or_else(|| user.clone());
    let proof = proof(shared, wire, &user).await?;
    let opened = {
        let mut state = shared.lock();
        state.count("login".to_owned());
        login::open(&mut state, &user, &database, &proof)
    };
    let session = match opened {
        Ok(session) => session,
        Err(error) => {
            wire.fatal(&error).await?;
            return Err(Closed);
        }
    };
    // Whatever goes wrong from here on must not leave the session behind.
    let welcomed = welcome(wire, &session).await;
    if welcomed.is_err() {
        shared.lock().close(session.process);
    }
    welcomed.map(|()| session)
}

async fn welcome<S: Stream>(wire: &mut Wire<S>, session: &Session) -> Result<(), Closed> {
    wire.put(&Backend::Authentication(Request::Ok))?;
    for (name, value) in STATUS {
        wire.put(&Backend::ParameterStatus(ParameterStatus::new(name.to_owned(), value.to_owned())))?;
    }
    wire.put(&Backend::BackendKeyData(BackendKeyData::new(session.process, SecretKey::I32(7))))?;
    let idle = pgwire::messages::response::TransactionStatus::Idle;
    wire.put(&Backend::ReadyForQuery(pgwire::messages::response::ReadyForQuery::new(idle)))?;
    wire.flush().await
}

/// Temporary passwords are asked for in clear text: nothing is stored that another way could be compared with.
async fn proof<S: Stream>(shared: &Shared, wire: &mut Wire<S>, user: &str) -> Result<Proof, Closed> {
    let is_temporary = login::user_of(user).1;
    match shared.authentication {
        Authentication::Md5 if !is_temporary => {
            let salt: [u8; 4] = rand::random();
            wire.put(&Backend::Authentication(Request::MD5Password(salt.to_vec())))?;
            wire.flush().await?;
            Ok(Proof::Md5 { salt, response: password(wire).await? })
        }
        Authentication::Digest if !is_temporary => digest(shared, wire, user).await,
        _ => {
            wire.put(&Backend::Authentication(Request::CleartextPassword))?;
            wire.flush().await?;
            Ok(Proof::Clear(password(wire).await?))
        }
    }
}

async fn password<S: Stream>(wire: &mut Wire<S>) -> Result<String, Closed> {
    match wire.read().await? {
        Frontend::PasswordMessageFamily(message) => {
            message.into_password().map(|message| message.password).map_err(|_| Closed)
        }
        _ => Err(Closed),
    }
}

/// Code 13, which is Redshift's own: an algorithm (0 is SHA-256), a salt and a nonce; the answer is a message `d`.
async fn digest<S: Stream>(shared: &Shared, wire: &mut Wire<S>, user: &str) -> Result<Proof, Closed> {
    let salt = {
        let state = shared.lock();
        match state.committed.user(user).and_then(|user| user.password.clone()) {
            Some(crate::redshift::catalog::Password::Sha256 { salt, .. }) => salt.into_bytes(),
            _ => b"salt".to_vec(),
        }
    };
    let server_nonce = rand::random::<[u8; 16]>().to_vec();
    let mut body = [13_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat();
    for part in [&salt, &server_nonce] {
        body.extend_from_slice(&length(part));
        body.extend_from_slice(part);
    }
    wire.put_bytes(b"R");
    let total = u32::try_from(body.len() + 4).map_err(|_| Closed)?;
    wire.put_bytes(&total.to_be_bytes());
    wire.put_bytes(&body);
    wire.flush().await?;
    let Frontend::CopyData(answer) = wire.read().await? else {
        return Err(Closed);
    };
    let (response, rest) = part(&answer.data)?;
    let (client_nonce, _) = part(rest)?;
    Ok(Proof::Digest { salt, server_nonce, client_nonce: client_nonce.to_vec(), response: response.to_vec() })
}

fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or_default().to_be_bytes()
}

/// A part with its length before it, and what follows.
fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), Closed> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Closed)?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or(Closed)
}
