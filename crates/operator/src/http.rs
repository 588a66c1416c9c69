//! `/livez`, `/readyz` and `/metrics`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Shared;

/// How long a leader has for its first list. One that takes longer lacks a right, or a kind is not installed.
const FIRST_LIST: Duration = Duration::from_secs(60);

/// What the probes answer.
#[derive(Clone, Debug, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    leading: Arc<OnceLock<Instant>>,
    unlisted: Arc<Mutex<BTreeSet<String>>>,
}

impl Health {
    /// Alive, not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on it should work.
    pub fn set_leading(&self) {
        self.leading.get_or_init(Instant::now);
    }

    /// This has to be listed first.
    pub fn needs(&self, what: &str) {
        self.unlisted().insert(what.to_owned());
    }

    /// This was listed.
    pub fn has(&self, what: &str) {
        self.unlisted().remove(what);
    }

    /// Everything has been listed and the workers run. It depends on no database.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The operator is on its way out.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// A replica that waits for the lead is ready: it does what it should.
    fn answer(&self) -> (StatusCode, String) {
        if self.stopping.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
        }
        if self.ready.load(Ordering::Relaxed) {
            return (StatusCode::OK, "working\n".to_owned());
        }
        let Some(since) = self.leading.get() else {
            return (StatusCode::OK, "waiting for the lead\n".to_owned());
        };
        let unlisted = self.unlisted().iter().cloned().collect::<Vec<_>>().join(", ");
        let code =
            if since.elapsed() < FIRST_LIST { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, format!("waiting for the first list of: {unlisted}\n"))
    }

    fn unlisted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set operation leaves it whole.
        self.unlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until the task is aborted.
///
/// # Errors
///
/// When the address cannot be had.
pub async fn serve(
    listen: SocketAddr,
    shared: Arc<Shared>,
    health: Health,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    let address = listener.local_addr().with_context(|| format!("listening on {listen}"))?;
    tracing::info!(%address, "serving /livez, /readyz and /metrics");
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(metrics).with_state(shared));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP server ended");
        }
    }))
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    health.answer()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let body = shared.metrics.render(&shared);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_list_everything_is_not_ready() {
        let health = Health::new();
        tokio::time::advance(FIRST_LIST).await;
        assert_eq!(health.answer(), (StatusCode::OK, "waiting for the lead\n".to_owned()));
        health.set_leading();
        health.needs("DatabaseAdmin");
        health.needs("DatabaseUser");
        assert_eq!(health.answer().0, StatusCode::OK, "it takes a moment");
        health.has("DatabaseUser");
        tokio::time::advance(FIRST_LIST).await;
        let (code, text) = health.answer();
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "waiting for the first list of: DatabaseAdmin\n");
        health.has("DatabaseAdmin");
        health.set_ready();
        assert_eq!(health.answer(), (StatusCode::OK, "working\n".to_owned()));
        health.set_stopping();
        assert_eq!(health.answer().0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
