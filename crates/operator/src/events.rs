//! Events: sent one after the other by a separate task. No work waits for one, and where the API server does not keep
//! up, some are dropped and counted.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use kube::runtime::events::{Event, EventType};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, oneshot};

use crate::ports::{ApiServer, Published};

/// The longest note that the events API takes.
const MAX_NOTE: usize = 1024;
/// How many may wait.
const WAITING: usize = 1024;
/// How long those that wait may take at the end.
const LAST: Duration = Duration::from_secs(2);

/// How serious an event is.
pub use kube::runtime::events::EventType as Severity;

/// See the module.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Message>,
    dropped: Counter,
}

enum Message {
    Event(Box<Published>),
    /// Everything before this has been sent.
    Flush(oneshot::Sender<()>),
}

impl Events {
    /// Starts the task, which ends with the last of these. `dropped` counts those that were not sent.
    pub fn start(api_server: Arc<dyn ApiServer>, dropped: Counter) -> Self {
        let (queue, messages) = mpsc::channel(WAITING);
        tokio::spawn(publish(messages, api_server));
        Self { queue, dropped }
    }

    /// Queues an event about an object.
    pub fn send(
        &self,
        about: &impl Resource<DynamicType = ()>,
        severity: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_: severity,
            reason: reason.to_owned(),
            note: Some(note[..note.floor_char_boundary(MAX_NOTE)].to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        if self
            .queue
            .try_send(Message::Event(Box::new(Published { event, about: about.object_ref(&()) })))
            .is_err()
        {
            self.dropped.inc();
            tracing::debug!(reason, "an event is left out: too many wait");
        }
    }

    /// Waits a moment for what was sent before.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        };
        if tokio::time::timeout(LAST, flushed).await.is_err() {
            tracing::warn!("the last events could not be published");
        }
    }
}

async fn publish(mut messages: mpsc::Receiver<Message>, api_server: Arc<dyn ApiServer>) {
    while let Some(message) = messages.recv().await {
        match message {
            Message::Event(event) => {
                // Its namespace may be going away; no work depends on it.
                if let Err(error) = api_server.publish(&event).await {
                    tracing::debug!(%error, reason = event.event.reason, "an event could not be published");
                }
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

impl Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
