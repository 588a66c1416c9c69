//! One connection through the front.

use std::io;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::wire::{self, CANCEL_REQUEST, First, GSS_REQUEST, SSL_REQUEST, Typed};
use super::{Shared, connect};
use crate::sigv4::verify_rds_token;

pub(super) async fn serve(mut client: TcpStream, acceptor: TlsAcceptor, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    loop {
        let first = First::read(&mut client).await?;
        match first.code {
            SSL_REQUEST => {
                client.write_all(b"S").await?;
                let mut client = acceptor.accept(client).await?;
                let first = First::read(&mut client).await?;
                return session(client, first, shared).await;
            }
            GSS_REQUEST => client.write_all(b"N").await?,
            CANCEL_REQUEST => return cancel(&first, shared).await,
            // `rds.force_ssl` is on.
            _ => {
                let user = first.parameter("user").unwrap_or_default();
                let text = format!("no pg_hba.conf entry for user {user:?}, no encryption");
                return client.write_all(&wire::refuse(&text)).await;
            }
        }
    }
}

async fn session<C>(mut client: C, first: First, shared: &Shared) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    if first.code == CANCEL_REQUEST {
        return cancel(&first, shared).await;
    }
    let user = first.parameter("user").ok_or_else(|| wire::malformed("the startup message"))?;
    let mut server = connect(shared).await?;
    server.write_all(&first.bytes).await?;
    let answer = Typed::read(&mut server).await?;
    if answer.is_authentication_ok() {
        // The server knows it for a member of rds_iam.
        client.write_all(&wire::ask_for_password()).await?;
        let password = Typed::read(&mut client).await?;
        let token = password.body.strip_suffix(&[0]).filter(|_| password.kind == b'p');
        let token = token.ok_or_else(|| wire::malformed("the password"))?;
        if let Err(why) = check(&String::from_utf8_lossy(token), &user, &first, shared) {
            shared.seen().refused.push(why);
            let text = format!("PAM authentication failed for user {user:?}");
            client.write_all(&wire::refuse(&text)).await?;
            return client.shutdown().await;
        }
    }
    client.write_all(&answer.bytes()).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Is it a token for this user?
fn check(token: &str, user: &str, first: &First, shared: &Shared) -> Result<(), String> {
    if first.parameter("replication").is_some() {
        return Err("a replication connection".to_owned());
    }
    if shared.refuses_this_one() {
        return Err("refused as asked for".to_owned());
    }
    let Shared { endpoint, region, keyring, .. } = shared;
    verify_rds_token(token, user, endpoint, region, keyring, Timestamp::now())
        .map_err(|refused| refused.to_string())?;
    let mut seen = shared.seen();
    seen.logins += 1;
    seen.tokens.insert(token.to_owned());
    Ok(())
}

async fn cancel(first: &First, shared: &Shared) -> io::Result<()> {
    let mut server = connect(shared).await?;
    server.write_all(&first.bytes).await?;
    // It answers nothing, and closes the connection.
    server.read_u8().await.map(drop).or(Ok(()))
}
