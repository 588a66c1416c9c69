//! The audit log as it is written: a thread of its own seals each entry into the chain and writes it, many at once where
//! many wait, and answers when it is safe.
//!
//! What must not happen without its line ([`Need::Before`]) does not happen while lines cannot be written. What happens
//! anyway, such as the end of an access ([`Need::Kept`]), is kept in memory and written once that is possible again.

mod sink;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures::future::BoxFuture;
use rolecall_ledger::{Chain, Entry, Event, Head, Key};
use tokio::sync::oneshot;

use crate::metrics::AuditCounters;
use crate::ports::{AuditLog, Need, Unwritten};
use sink::{File, Sink, Stderr};
use writer::{Message, Writer};

/// How many lines may wait, in memory, for a sink that does not take them.
const WAITING: usize = 16_384;
/// How long what must not happen without its line waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what happens anyway waits for its line.
const KEPT_PATIENCE: Duration = Duration::from_secs(2);
/// How long the last lines may take at the end.
const LAST: Duration = Duration::from_secs(3);

/// Where the audit log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// To standard error, beside the operator's own log.
    #[default]
    Stderr,
    /// To the end of a file. It may be renamed at any time: then a new one is begun.
    File(PathBuf),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stderr" => Ok(Self::Stderr),
            path if path.starts_with('/') => Ok(Self::File(path.into())),
            other => Err(format!("{other:?} is neither `stderr` nor the absolute path of a file")),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    queue: SyncSender<Message>,
    head: Arc<Mutex<Option<Head>>>,
    lost: Arc<AtomicU64>,
    /// Somebody has waited in vain: nobody who does not have to waits again before a line was written.
    stuck: Arc<AtomicBool>,
    counters: AuditCounters,
}

impl Ledger {
    /// Starts the thread, which ends with the last of these. `key_file`: the key that lines are sealed with.
    ///
    /// # Errors
    ///
    /// A key that cannot be used. Where lines cannot be written is found out with the first.
    pub fn start(target: &Target, key_file: Option<&PathBuf>) -> anyhow::Result<Self> {
        let key = key_file.map(|path| {
            let content = std::fs::read(path)
                .with_context(|| format!("reading the key of the audit log {}", path.display()))?;
            Key::new(&content).with_context(|| format!("the key of the audit log {}", path.display()))
        });
        let sink: Box<dyn Sink> = match target {
            Target::Stderr => Box::new(Stderr),
            Target::File(path) => Box::new(File::new(path.clone())),
        };
        Self::with_sink(sink, key.transpose()?)
    }

    fn with_sink(sink: Box<dyn Sink>, key: Option<Key>) -> anyhow::Result<Self> {
        let (queue, messages) = sync_channel(WAITING);
        let chain = Chain::new(format!("{:016x}", rand::random::<u64>()), key);
        let start = Entry {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            writer: crate::host::name(),
            algorithm: chain.algorithm().to_owned(),
            ..Entry::new(Event::Start)
        };
        let (head, lost, stuck) = (Arc::default(), Arc::default(), Arc::default());
        let counters = AuditCounters::default();
        let writer = Writer::new(sink, chain, start, Arc::clone(&head), Arc::clone(&lost), counters.clone());
        let freed = Arc::clone(&stuck);
        std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || writer.run(&messages, &freed))
            .context("starting the thread of the audit log")?;
        Ok(Self { queue, head, lost, stuck, counters })
    }

    fn send(&self, message: Message) -> Result<(), Unwritten> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => Unwritten::new("too many lines wait for a log that takes none"),
            TrySendError::Disconnected(_) => Unwritten::new("its thread has ended"),
        })
    }
}

impl AuditLog for Ledger {
    fn write(&self, entry: Entry, need: Need) -> BoxFuture<'_, Result<(), Unwritten>> {
        let (done, written) = oneshot::channel();
        let sent = self.send(Message::Write { entry: Box::new(entry), need, done });
        Box::pin(async move {
            if let Err(error) = sent {
                if need == Need::Kept {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    self.counters.lost.inc();
                }
                return Err(error);
            }
            let patience = match need {
                Need::Before => PATIENCE,
                Need::Kept if self.stuck.load(Ordering::Relaxed) => Duration::ZERO,
                Need::Kept => KEPT_PATIENCE,
            };
            match tokio::time::timeout(patience, written).await {
                Ok(Ok(written)) => written,
                Ok(Err(_)) => Err(Unwritten::new("its thread has ended")),
                Err(_) => {
                    self.stuck.store(true, Ordering::Relaxed);
                    Err(Unwritten::new(format!("it took nothing for {} s", patience.as_secs())))
                }
            }
        })
    }

    fn begin(&self, published: Option<String>) {
        if let Err(error) = self.send(Message::Begin { published }) {
            tracing::error!(%error, "the audit log cannot begin");
        }
    }

    fn head(&self) -> Option<Head> {
        // A poisoned lock means that a thread panicked between two assignments; what it holds is whole.
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counters(&self) -> AuditCounters {
        self.counters.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let (done, closed) = oneshot::channel();
        let sent = self.send(Message::Close { done });
        Box::pin(async move {
            if sent.is_err() || tokio::time::timeout(LAST, closed).await.is_err() {
                tracing::warn!("the last lines of the audit log were not written in time");
            }
        })
    }
}

#[cfg(test)]
mod tests;
