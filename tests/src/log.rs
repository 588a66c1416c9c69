//! What an operator wrote.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tracing_subscriber::fmt::MakeWriter;

/// The log of one operator, as it grows.
#[derive(Clone, Debug)]
pub struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    grew: watch::Sender<()>,
}

impl Default for Log {
    fn default() -> Self {
        Self { bytes: Arc::default(), grew: watch::Sender::new(()) }
    }
}

impl Log {
    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Adds to it.
    pub fn append(&self, bytes: &[u8]) {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        self.grew.send_replace(());
    }

    /// Waits until it contains `text`.
    ///
    /// # Errors
    /// When it does not within [`TIMEOUT`](crate::TIMEOUT).
    pub async fn wait_for(&self, text: &str) -> anyhow::Result<()> {
        let mut grew = self.grew.subscribe();
        let found = async {
            while !self.text().contains(text) {
                // The sender is this log's own: it cannot be gone.
                let _ = grew.changed().await;
            }
        };
        tokio::time::timeout(crate::TIMEOUT, found)
            .await
            .map_err(|_| anyhow::anyhow!("the operator did not write {text:?}. Its log:\n{}", self.text()))
    }

    /// Waits for the line that says where the operator serves HTTP.
    ///
    /// # Errors
    /// When it does not come within [`TIMEOUT`](crate::TIMEOUT).
    pub async fn address(&self) -> anyhow::Result<SocketAddr> {
        const HOST: &str = "127.0.0.1:";
        self.wait_for(HOST).await?;
        let text = self.text();
        let port = text.split_once(HOST).map_or("", |(_, rest)| rest);
        let port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        Ok(format!("{HOST}{port}").parse()?)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
