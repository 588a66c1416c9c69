//! `/livez`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Shared;

/// What the probes answer.
#[derive(Clone, Debug)]
pub struct Health {
    ready: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
}

impl Health {
    /// Alive, not ready.
    pub fn new() -> Self {
        Self { ready: Arc::default(), stopping: Arc::default() }
    }

    /// Everything has been listed and the workers run. It depends on no database.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The operator is on its way out.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
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

/// A replica that waits for the lead is ready: it does what it should.
async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.stopping.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "working\n")
    } else {
        (StatusCode::OK, "waiting for the lead, or for the first list\n")
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let body = shared.metrics.render(&shared);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
}
