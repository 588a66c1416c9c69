//! One request to an API of AWS.

use std::io::Cursor;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rolecall_pki::tls;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may be, in bytes: they have some hundreds.
const LONGEST: usize = 256 * 1024;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// Posts over TLS with the system's roots, or without TLS where the address is `http://`, which is for doubles in tests.
pub(crate) async fn post(url: &str, headers: &[(String, String)], body: Vec<u8>) -> Result<Answer, String> {
    let mut request = http::Request::post(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Cursor::new(body))).map_err(|error| error.to_string())?;
    let tls = tls::client(&tls::Tls::default(), None).map_err(|error| error.to_string())?;
    let connector: HttpsConnector<HttpConnector> = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls.config)
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let asked = async {
        let answer = client.request(request).await.map_err(|error| with_causes(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status, text: String::from_utf8_lossy(&body).into_owned() })
    };
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
