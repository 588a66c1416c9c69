//! The progress of a login.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// Has the TLS handshake succeeded? A missing answer after that may concern the logical database alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicBool>);

impl Progress {
    pub(crate) fn is_past_tls(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The same TLS, which records its success.
    pub(crate) fn watch<T>(&self, tls: T) -> Watched<T> {
        Watched { tls, progress: self.clone() }
    }
}

/// TLS that records when the handshake has succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Watched<T> {
    tls: T,
    progress: Progress,
}

impl<S, T: MakeTlsConnect<S>> MakeTlsConnect<S> for Watched<T>
where
    T::Stream: 'static,
    <T::TlsConnect as TlsConnect<S>>::Future: Send + 'static,
    <T::TlsConnect as TlsConnect<S>>::Error: 'static,
{
    type Stream = T::Stream;
    type TlsConnect = Watched<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(self.progress.watch(self.tls.make_tls_connect(domain)?))
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for Watched<T>
where
    T::Stream: 'static,
    T::Future: Send + 'static,
    T::Error: 'static,
{
    type Stream = T::Stream;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<T::Stream, T::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.tls.connect(stream);
        let progress = self.progress;
        Box::pin(async move {
            let connected = connecting.await;
            progress.0.store(connected.is_ok(), Ordering::Relaxed);
            connected
        })
    }
}
