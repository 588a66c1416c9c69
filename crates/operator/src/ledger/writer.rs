//! The thread that writes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rolecall_engine::kill_point;
use rolecall_ledger::accesses::last_line;
use rolecall_ledger::{Chain, Entry, Event, Head};
use tokio::sync::oneshot;

use super::sink::Sink;
use crate::metrics::AuditCounters;
use crate::ports::{Need, Unwritten};

/// How many entries are written at once.
const AT_ONCE: usize = 256;
/// How many entries are kept that could not be written.
const KEPT: usize = 16_384;
/// How soon it is tried again to write them.
const AGAIN: Duration = Duration::from_secs(1);
/// After how much silence a line says that there is nothing to say.
const CHECKPOINT: Duration = Duration::from_secs(600);

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Message {
    /// An entry is to be written.
    Write { entry: Box<Entry>, need: Need, done: oneshot::Sender<Result<(), Unwritten>> },
    /// The chain begins. `published`: what the operator before this one published last.
    Begin { published: Option<String> },
    /// The chain ends.
    Close { done: oneshot::Sender<()> },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    sink: Box<dyn Sink>,
    chain: Chain,
    start: Entry,
    /// What could not be written yet.
    kept: VecDeque<Entry>,
    /// The last thing in the sink is no line break.
    torn: bool,
    fails: bool,
    head: Arc<Mutex<Option<Head>>>,
    lost: Arc<AtomicU64>,
    counters: AuditCounters,
}

/// An entry that somebody waits for.
struct Waiting {
    entry: Entry,
    need: Need,
    done: oneshot::Sender<Result<(), Unwritten>>,
}

impl Writer {
    /// Nothing is written yet. `start`: the first line, but for what it follows.
    pub(super) fn new(
        sink: Box<dyn Sink>,
        chain: Chain,
        start: Entry,
        head: Arc<Mutex<Option<Head>>>,
        lost: Arc<AtomicU64>,
        counters: AuditCounters,
    ) -> Self {
        Self { sink, chain, start, kept: VecDeque::new(), torn: false, fails: false, head, lost, counters }
    }

    /// Writes what comes until nobody is left who could send anything. `stuck` is taken back with each line.
    pub(super) fn run(mut self, messages: &Receiver<Message>, stuck: &AtomicBool) {
        let mut quiet_since = Instant::now();
        loop {
            let patience = match (self.kept.is_empty(), self.fails) {
                (true, _) => CHECKPOINT.saturating_sub(quiet_since.elapsed()),
                (false, true) => AGAIN,
                (false, false) => Duration::ZERO,
            };
            let (mut waiting, mut closes) = (Vec::new(), None);
            match messages.recv_timeout(patience) {
                Ok(message) => self.take(message, &mut waiting, &mut closes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while waiting.len() < AT_ONCE && closes.is_none() {
                let Ok(message) = messages.try_recv() else { break };
                self.take(message, &mut waiting, &mut closes);
            }
            if waiting.is_empty() && self.kept.is_empty() && closes.is_none() {
                let silent = self.chain.has_begun() && quiet_since.elapsed() >= CHECKPOINT;
                if !silent {
                    continue;
                }
                self.kept.push_back(Entry::new(Event::Checkpoint));
            }
            quiet_since = Instant::now();
            if self.write_all(waiting) {
                stuck.store(false, Ordering::Relaxed);
            }
            if let Some(done) = closes {
                let stop = Entry::new(Event::Stop);
                if self.kept.is_empty() && self.chain.has_begun() {
                    let _ = self.write(&[stop]);
                }
                let _ = done.send(());
                return;
            }
        }
    }

    fn take(
        &mut self,
        message: Message,
        waiting: &mut Vec<Waiting>,
        closes: &mut Option<oneshot::Sender<()>>,
    ) {
        match message {
            Message::Write { entry, need, done } => waiting.push(Waiting { entry: *entry, need, done }),
            Message::Begin { published } => {
                self.start.published = published.unwrap_or_default();
                self.begin();
            }
            Message::Close { done } => *closes = Some(done),
        }
    }

    /// The first line names the last one before it.
    fn begin(&mut self) {
        if self.chain.has_begun() {
            return;
        }
        self.start.follows =
            self.sink.tail().as_deref().and_then(last_line).map(|head| head.to_string()).unwrap_or_default();
        let start = self.start.clone();
        let _ = self.write(&[start]);
    }

    /// Writes what was kept and what is waited for, in this order, and answers. False: nothing was written.
    fn write_all(&mut self, waiting: Vec<Waiting>) -> bool {
        self.begin();
        let mut entries: Vec<Entry> = Vec::with_capacity(self.kept.len().min(AT_ONCE) + waiting.len() + 1);
        let lost = self.lost.swap(0, Ordering::Relaxed);
        entries.extend((lost > 0).then(|| Entry { lines: Some(lost), ..Entry::new(Event::Lost) }));
        let before = entries.len();
        let kept = self.kept.len().min(AT_ONCE);
        entries.extend(self.kept.iter().take(kept).cloned());
        // What waits comes after all that was kept: an end must not be told before its beginning.
        let all_kept = kept == self.kept.len();
        if all_kept {
            entries.extend(waiting.iter().map(|waiting| waiting.entry.clone()));
        }
        let (written, error) = match self.chain.has_begun() {
            true => self.write(&entries),
            false => (0, Some(Unwritten::new("its first line could not be written"))),
        };
        if lost > 0 && written == 0 {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        self.kept.drain(..written.saturating_sub(before).min(kept));
        let waiting_written = if all_kept { written.saturating_sub(before + kept) } else { 0 };
        let error = error.unwrap_or_else(|| Unwritten::new("lines before it have to be written first"));
        let mut answers = Vec::with_capacity(waiting.len());
        for (number, Waiting { entry, need, done }) in waiting.into_iter().enumerate() {
            let is_written = number < waiting_written;
            if !is_written && need == Need::Kept {
                self.keep(entry);
            }
            answers.push((done, if is_written { Ok(()) } else { Err(error.clone()) }));
        }
        self.counters.waiting.set(i64::try_from(self.kept.len()).unwrap_or(i64::MAX));
        for (done, answer) in answers {
            // Whoever asked may wait no longer.
            let _ = done.send(answer);
        }
        written > 0
    }

    fn keep(&mut self, entry: Entry) {
        if self.kept.len() < KEPT {
            self.kept.push_back(entry);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.counters.lost.inc();
        }
    }

    /// Writes entries. How many are safe, and why not all.
    fn write(&mut self, entries: &[Entry]) -> (usize, Option<Unwritten>) {
        let (mut ahead, mut bytes, mut ends) = (self.chain.clone(), Vec::new(), Vec::new());
        if self.torn {
            bytes.push(b'\n');
        }
        for entry in entries {
            let sealed = match ahead.seal(entry, Timestamp::now()) {
                Ok(sealed) => sealed,
                Err(error) => {
                    tracing::error!(%error, "a line of the audit log cannot be made");
                    continue;
                }
            };
            ahead.accept(&sealed.head);
            bytes.extend_from_slice(sealed.text.as_bytes());
            // Without its line break: where only that is missing, the line is there.
            ends.push((bytes.len(), sealed.head));
            bytes.push(b'\n');
        }
        let (taken, appended) = self.sink.append(&bytes);
        let whole = ends.iter().take_while(|(end, _)| *end <= taken).count();
        // They are in the sink, whether they are safe there or not: what comes next follows them.
        if let Some((_, head)) = whole.checked_sub(1).and_then(|last| ends.get(last)) {
            self.chain.accept(head);
        }
        self.torn = match taken.checked_sub(1).and_then(|last| bytes.get(last)) {
            None => self.torn,
            Some(last) => *last != b'\n',
        };
        let synced = self.sink.sync();
        let error = appended.err().or_else(|| synced.as_ref().err().map(copy));
        let safe = if synced.is_ok() { whole } else { 0 };
        self.counters.lines.inc_by(u64::try_from(safe).unwrap_or_default());
        if let Some((_, head)) = safe.checked_sub(1).and_then(|last| ends.get(last)) {
            *self.head.lock().unwrap_or_else(PoisonError::into_inner) = Some(head.clone());
        }
        for _ in 0..safe {
            kill_point::reached("audit.written", "");
        }
        self.report(error.as_ref());
        (safe, error.map(|error| Unwritten::new(error.to_string())))
    }

    /// Says in the log when it begins to fail, and when it works again.
    fn report(&mut self, error: Option<&std::io::Error>) {
        match error {
            Some(error) => {
                self.counters.failures.inc();
                if !self.fails {
                    tracing::error!(%error, "the audit log cannot be written: no access is given until it can; accesses end, and their lines are kept");
                }
            }
            None if self.fails => tracing::info!("the audit log is written again"),
            None => {}
        }
        self.fails = error.is_some();
    }
}

fn copy(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}
