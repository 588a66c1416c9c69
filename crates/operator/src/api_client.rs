//! The client for the API server: with timeouts, and with connections that are replaced once one was silent.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;
use kube::api::PostParams;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use rolecall_api::names::FIELD_MANAGER;

use crate::clock_skew::{ClockSkew, Measure};

/// The user agent, as it appears in the API server's audit log.
const NAME: &str = concat!("rolecall-operator/", env!("CARGO_PKG_VERSION"));
/// How long the API server has for one answer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// After so much silence a connection counts as dead. A watch hears a bookmark every minute or so.
const SILENCE: Duration = Duration::from_secs(120);

/// A client as the operator needs it. It does not retry by itself: callers do, with backoff, and can do other work
/// meanwhile.
///
/// # Errors
///
/// When `config` is not usable.
pub fn client(config: &Config, skew: &Arc<ClockSkew>) -> kube::Result<Client> {
    let mut config = config.clone();
    config.headers.push((USER_AGENT, HeaderValue::from_static(NAME)));
    config.default_retry = false;
    config.read_timeout = Some(SILENCE);
    // A connection that waited in the pool is not silent.
    config.reset_reader_on_write = true;
    Ok(ClientBuilder::try_from(config)?.with_layer(&Measure::new(skew)).build())
}

/// How objects are created and replaced: in our name.
#[must_use]
pub fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// A request that is cancelled when no answer comes for so long.
///
/// # Errors
///
/// What the API server answered, or that it did not.
pub async fn bounded<T>(
    patience: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    tokio::time::timeout(patience, request).await.unwrap_or_else(|_| Err(silent(patience)))
}

fn silent(patience: Duration) -> kube::Error {
    kube::Error::Service(format!("no answer for {} s", patience.as_secs()).into())
}

/// A client for many requests at once.
///
/// When the API server is reached another way than before, every connection in the pool may be dead, and each would
/// keep one request waiting. So the first one that is silent ends the whole pool.
#[derive(Clone)]
pub struct ManyRequests {
    config: Config,
    skew: Arc<ClockSkew>,
    // With a number, so that of many that are silent at once only the first one counts.
    current: Arc<RwLock<(u64, Client)>>,
}

impl ManyRequests {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// As [`client`].
    pub fn new(config: Config, skew: &Arc<ClockSkew>) -> kube::Result<Self> {
        let current = Arc::new(RwLock::new((0, client(&config, skew)?)));
        Ok(Self { config, skew: Arc::clone(skew), current })
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// What the API server answered, or that it did not.
    pub async fn ask<T, R>(&self, request: impl FnOnce(Client) -> R) -> kube::Result<T>
    where
        R: Future<Output = kube::Result<T>>,
    {
        let (number, client) = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::time::timeout(PATIENCE, request(client)).await.unwrap_or_else(|_| {
            self.connect_anew(number);
            Err(silent(PATIENCE))
        })
    }

    fn connect_anew(&self, number: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.0 == number {
            match client(&self.config, &self.skew) {
                Ok(client) => *current = (number + 1, client),
                Err(error) => tracing::error!(%error, "no new connection to the API server can be prepared"),
            }
        }
    }
}
