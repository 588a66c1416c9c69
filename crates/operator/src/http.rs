//! `/livez`, `/readyz` and `/metrics`.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Shared;
use crate::coverage::Coverage;
use crate::metrics::Format;
use crate::observe::observe;

/// How long a leader has for its first list. One that takes longer lacks a right, or a kind is not installed.
const FIRST_LIST: Duration = Duration::from_secs(60);

/// How long beyond the longest reconcile nothing may be worked on while something waits.
const STANDSTILL: Duration = Duration::from_secs(60);

/// What the probes answer.
#[derive(Clone, Debug, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    leading: Arc<OnceLock<Instant>>,
    coverage: Arc<Coverage>,
}

impl Health {
    /// Alive, not ready.
    pub fn new(coverage: Arc<Coverage>) -> Self {
        Self { coverage, ..Self::default() }
    }

    /// From now on it should work.
    pub fn set_leading(&self) {
        self.leading.get_or_init(Instant::now);
    }

    /// What there is a right to has been listed and is worked on. It depends on no database.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The operator is shutting down.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// A replica that waits for the lead is ready: it does what it should. So is one that works where it may.
    fn answer(&self) -> (StatusCode, String) {
        if self.stopping.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
        }
        let lacking = self.coverage.lacking();
        let lacking = match lacking.is_empty() {
            true => String::new(),
            false => format!("no right to list and watch: {}\n", lacking.join(", ")),
        };
        if self.ready.load(Ordering::Relaxed) {
            return (StatusCode::OK, format!("working\n{lacking}"));
        }
        let Some(since) = self.leading.get() else {
            return (StatusCode::OK, "waiting for the lead\n".to_owned());
        };
        let unlisted = self.coverage.unlisted().join(", ");
        let code =
            if since.elapsed() < FIRST_LIST { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, format!("waiting for the first list of: {unlisted}\n{lacking}"))
    }

    /// It leads, and is not shutting down.
    fn is_working(&self) -> bool {
        self.leading.get().is_some() && !self.stopping.load(Ordering::Relaxed)
    }
}

/// Serves until the task is aborted.
///
/// # Errors
///
/// When the address is not available.
pub async fn serve(
    listen: SocketAddr,
    shared: Arc<Shared>,
    health: Health,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = bind(listen).with_context(|| format!("listening on {listen}"))?;
    let address = listener.local_addr().with_context(|| format!("listening on {listen}"))?;
    tracing::info!(%address, "serving /livez, /readyz and /metrics");
    let router = Router::new()
        .route("/livez", get(livez).with_state((Arc::clone(&shared), health.clone())))
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

/// Alive, unless something waits that no worker takes. It depends on no server: a reconcile that waits for one ends in
/// time.
async fn livez(State((shared, health)): State<(Arc<Shared>, Health)>) -> (StatusCode, String) {
    let still = shared.queue.stalled_for();
    // Before it leads nobody works, and that is well.
    if !health.is_working() || still < shared.settings.reconcile_timeout + STANDSTILL {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::INTERNAL_SERVER_ERROR, format!("nothing was worked on for {} s\n", still.as_secs()))
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    health.answer()
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::asked_for(accept);
    ([(header::CONTENT_TYPE, format.content_type())], shared.metrics.render(format, observe(&shared)))
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
        let health = Health::default();
        health.coverage.needs(&None, "DatabaseAdmin");
        health.coverage.needs(&None, "DatabaseUser");
        tokio::time::advance(FIRST_LIST).await;
        assert_eq!(health.answer(), (StatusCode::OK, "waiting for the lead\n".to_owned()));
        health.set_leading();
        assert_eq!(health.answer().0, StatusCode::OK, "it takes a moment");
        health.coverage.listed(&None, "DatabaseUser");
        tokio::time::advance(FIRST_LIST).await;
        let (code, text) = health.answer();
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "waiting for the first list of: DatabaseAdmin\n");
        health.coverage.missing(&None, "DatabaseAdmin");
        assert_eq!(health.answer().1, "waiting for the first list of: DatabaseAdmin (not installed)\n");
        health.coverage.listed(&None, "DatabaseAdmin");
        health.set_ready();
        assert_eq!(health.answer(), (StatusCode::OK, "working\n".to_owned()));
        health.coverage.refused(&Some("shop".into()), "DatabaseUser");
        let text = "working\nno right to list and watch: DatabaseUser in shop\n";
        assert_eq!(health.answer(), (StatusCode::OK, text.to_owned()));
        health.set_stopping();
        assert_eq!(health.answer().0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_works_on_nothing_although_something_waits_is_not_alive() {
        let (shared, health) = (Shared::alone(), Health::default());
        let admin = crate::model::ObjectKey { namespace: "shop".into(), name: "orders".into() };
        shared.queue.add(crate::model::ReconcileKey::Admin(admin), crate::model::Priority::Normal);
        let alive = async || livez(State((Arc::clone(&shared), health.clone()))).await.0;
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(alive().await, StatusCode::OK, "one that waits for the lead works on nothing");
        health.set_leading();
        assert_eq!(alive().await, StatusCode::INTERNAL_SERVER_ERROR);
        let _taken = shared.queue.take(crate::model::Priority::Normal).await;
        assert_eq!(alive().await, StatusCode::OK);
    }
}
