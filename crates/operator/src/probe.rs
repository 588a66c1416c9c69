//! `rolecall-operator probe`: asks a running operator over HTTP. The image has no other program that could.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// How soon a probe that failed is repeated.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks `url` until it answers 200, and returns the body of that answer.
///
/// # Errors
///
/// When `url` is not one of plain HTTP, or when it did not answer 200 within `patience`: with what it did.
pub async fn run(url: &Uri, patience: Duration) -> anyhow::Result<String> {
    ensure!(
        url.scheme_str() == Some("http"),
        "{url} is not a URL of plain HTTP: write http://HOST:PORT/PATH"
    );
    let deadline = Instant::now() + patience;
    loop {
        let answer = timeout(ANSWER_TIMEOUT, get(url)).await.context("no answer in time").and_then(|got| got);
        match answer {
            Ok(body) => return Ok(body),
            Err(error) if Instant::now() + RETRY_EVERY > deadline => {
                return Err(error.context(format!("asking {url}")));
            }
            Err(_) => sleep(RETRY_EVERY).await,
        }
    }
}

async fn get(url: &Uri) -> anyhow::Result<String> {
    let host = url.host().context("the URL names no host")?;
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let mut stream = TcpStream::connect((address, url.port_u16().unwrap_or(80))).await?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{status}: {}", body.trim());
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    async fn server() -> String {
        let router = Router::new()
            .route("/readyz", get(async || "working\n"))
            .route("/livez", get(async || (StatusCode::INTERNAL_SERVER_ERROR, "stuck\n")));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn an_operator_that_answers_is_well_and_another_one_is_not() {
        let server = server().await;
        let ask = async |path: &str| run(&format!("{server}{path}").parse().unwrap(), Duration::ZERO).await;
        assert_eq!(ask("/readyz").await.unwrap(), "working\n");
        let error = format!("{:#}", ask("/livez").await.unwrap_err());
        assert!(error.ends_with("/livez: HTTP/1.0 500 Internal Server Error: stuck"), "{error}");
        assert!(run(&"https://localhost/".parse().unwrap(), Duration::ZERO).await.is_err());
    }

    #[tokio::test]
    async fn an_operator_that_has_not_started_is_waited_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Uri = format!("http://{}/readyz", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let address = url.authority().unwrap().to_string();
        tokio::spawn(async move {
            sleep(RETRY_EVERY).await;
            let router = Router::new().route("/readyz", get(async || "working\n"));
            axum::serve(tokio::net::TcpListener::bind(address).await.unwrap(), router).await
        });
        assert_eq!(run(&url, Duration::from_secs(60)).await.unwrap(), "working\n");
    }
}
