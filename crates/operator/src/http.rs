//! `/livez`, `/readyz` and `/metrics`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use socket2::{Domain, Protocol, Socket, Type};
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
    // Each with why that has not come about yet, where that is known.
    unlisted: Arc<Mutex<BTreeMap<String, Option<&'static str>>>>,
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
        self.unlisted().insert(what.to_owned(), None);
    }

    /// This cannot be listed.
    pub fn lacks(&self, what: &str, why: &'static str) {
        if let Some(known) = self.unlisted().get_mut(what) {
            *known = Some(why);
        }
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
        let told = |(what, why): (&String, &Option<&str>)| match why {
            Some(why) => format!("{what} ({why})"),
            None => what.clone(),
        };
        let unlisted = self.unlisted().iter().map(told).collect::<Vec<_>>().join(", ");
        let code =
            if since.elapsed() < FIRST_LIST { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, format!("waiting for the first list of: {unlisted}\n"))
    }

    fn unlisted(&self) -> MutexGuard<'_, BTreeMap<String, Option<&'static str>>> {
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
    let listener = bind(listen).with_context(|| format!("listening on {listen}"))?;
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

/// Every IPv6 address means every address, whatever the machine's setting says: probes come by either family. Where the
/// machine has no IPv6 it means every IPv4 address.
fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    let every = listen.ip() == Ipv6Addr::UNSPECIFIED;
    let listener = match listener(listen, every) {
        Err(error) if every && error.kind() != ErrorKind::AddrInUse => {
            listener(SocketAddr::from((Ipv4Addr::UNSPECIFIED, listen.port())), false)?
        }
        other => other?,
    };
    TcpListener::from_std(listener)
}

fn listener(listen: SocketAddr, both_families: bool) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    if both_families {
        socket.set_only_v6(false)?;
    }
    // A restart need not wait for connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(128)?;
    Ok(socket.into())
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

    #[tokio::test]
    async fn every_address_answers_probes_of_either_family() {
        let listener = bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // Where the machine has IPv6 at all.
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
        let taken = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }

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
        health.lacks("DatabaseUser", "it is listed by now");
        let (code, text) = health.answer();
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "waiting for the first list of: DatabaseAdmin\n");
        health.lacks("DatabaseAdmin", "not installed");
        assert_eq!(health.answer().1, "waiting for the first list of: DatabaseAdmin (not installed)\n");
        health.has("DatabaseAdmin");
        health.set_ready();
        assert_eq!(health.answer(), (StatusCode::OK, "working\n".to_owned()));
        health.set_stopping();
        assert_eq!(health.answer().0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
