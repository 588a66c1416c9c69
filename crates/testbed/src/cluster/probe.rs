//! One HTTP request, to learn whether the API server is ready without a Kubernetes client.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificates::{Authority, Certificate, tls_client};
use crate::error::Result;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a GET of `path` is answered with 200. A server that does not answer is not ready, which is not an error.
///
/// # Errors
/// When the certificates cannot be read.
pub(super) async fn is_ok(
    port: u16,
    authority: &Authority,
    identity: &Certificate,
    path: &str,
) -> Result<bool> {
    let connector = TlsConnector::from(Arc::new(tls_client(authority.cert_pem(), Some(identity))?));
    let answer = tokio::time::timeout(TIMEOUT, status_line(&connector, port, path)).await;
    Ok(matches!(answer, Ok(Ok(line)) if line.starts_with("HTTP/1.1 200 ")))
}

async fn status_line(connector: &TlsConnector, port: u16, path: &str) -> std::io::Result<String> {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut tls =
        connector.connect(ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST)), tcp).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).await?;
    let mut start = [0; 64];
    let mut length = 0;
    while length < start.len() && !start[..length].contains(&b'\n') {
        match tls.read(&mut start[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    Ok(String::from_utf8_lossy(&start[..length]).into_owned())
}
