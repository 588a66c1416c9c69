//! A metadata service of a node that counts who comes, and gives keys to whoever asks as version 2 wants it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rolecall_aws_testbed::sigv4::Keys;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const TOKEN: &str = "of-the-session";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

pub(crate) struct Metadata {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Metadata {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        Self { address, connections, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// The keys of the node.
    pub(crate) fn keys() -> Keys {
        Keys::new("ASIANODE", "secret-of-the-node", Some("session-of-the-node/+="))
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers one request.
async fn serve(mut stream: TcpStream) {
    let mut request = String::new();
    while !request.contains("\r\n\r\n") {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => request.push_str(&String::from_utf8_lossy(&buffer[..length])),
            _ => return,
        }
    }
    let (status, headers, body) = answer(&request);
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    // Whoever left does not count.
    let _ = stream.write_all(text.as_bytes()).await;
}

fn answer(request: &str) -> (&'static str, &'static str, String) {
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if (method, path) == ("PUT", "/latest/api/token") {
        return ("200 OK", "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", TOKEN.to_owned());
    }
    if !request.contains(TOKEN) {
        return ("401 Unauthorized", "", String::new());
    }
    match path.strip_prefix(ROLES) {
        Some("") => ("200 OK", "", "node".to_owned()),
        Some("node") => {
            let keys = Metadata::keys();
            let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
            let body = serde_json::json!({
                "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
                "AccessKeyId": keys.access_key_id, "SecretAccessKey": keys.secret,
                "Token": keys.session_token, "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            });
            ("200 OK", "", body.to_string())
        }
        _ => ("404 Not Found", "", String::new()),
    }
}
