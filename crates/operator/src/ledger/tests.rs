use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use proptest::prelude::*;
use rolecall_ledger::{Accesses, Lines, verify};

use super::*;

/// What somebody reads who reads a sink.
#[derive(Clone, Debug, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Bytes {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Lines {
        let mut lines = Lines::default();
        lines.add("f", &self.text());
        lines
    }
}

/// A sink that takes so many bytes and then fails, each time that it is told how many.
#[derive(Debug)]
struct Limited {
    bytes: Bytes,
    room: Arc<Mutex<usize>>,
    syncs: Arc<AtomicBool>,
}

impl Sink for Limited {
    fn append(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut room = self.room.lock().unwrap();
        let taken = bytes.len().min(*room);
        *room -= taken;
        self.bytes.0.lock().unwrap().extend_from_slice(&bytes[..taken]);
        let full = || Err(io::ErrorKind::StorageFull.into());
        (taken, if taken == bytes.len() { Ok(()) } else { full() })
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.syncs.load(Ordering::Relaxed) { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }

    fn tail(&mut self) -> Option<String> {
        Some(self.bytes.text())
    }
}

struct Log {
    ledger: Ledger,
    bytes: Bytes,
    room: Arc<Mutex<usize>>,
    syncs: Arc<AtomicBool>,
}

fn log_after(bytes: Bytes) -> Log {
    let (room, syncs) = (Arc::new(Mutex::new(usize::MAX)), Arc::new(AtomicBool::new(true)));
    let sink = Limited { bytes: bytes.clone(), room: Arc::clone(&room), syncs: Arc::clone(&syncs) };
    let ledger = Ledger::with_sink(Box::new(sink), None).unwrap();
    Log { ledger, bytes, room, syncs }
}

fn entry(event: Event, uid: &str) -> Entry {
    Entry { uid: uid.to_owned(), ..Entry::new(event) }
}

fn is_whole(lines: &Lines) -> bool {
    verify(lines, &Default::default()).unwrap().ok
}

#[tokio::test]
async fn each_line_is_there_when_it_is_said_to_be_written() {
    let Log { ledger, bytes, .. } = log_after(Bytes::default());
    let all: Vec<String> = (0..500).map(|number| format!("u{number}")).collect();
    let writes = all.iter().map(async |uid| {
        ledger.write(entry(Event::Granting, uid), Need::Before).await.unwrap();
        assert!(bytes.text().contains(&format!("\"{uid}\"")), "{uid}");
    });
    futures::future::join_all(writes).await;
    ledger.close().await;
    let lines = bytes.lines();
    assert!(is_whole(&lines));
    let verification = verify(&lines, &Default::default()).unwrap();
    assert_eq!((verification.chains[0].lines, verification.chains[0].stopped), (502, true));
    assert_eq!(ledger.head().unwrap().to_string(), verification.chains[0].head);
}

#[tokio::test]
async fn a_full_disk_refuses_what_needs_its_line_and_keeps_what_happens_anyway() {
    let Log { ledger, bytes, room, .. } = log_after(Bytes::default());
    ledger.write(entry(Event::Granting, "before"), Need::Before).await.unwrap();
    // Half a line fits.
    *room.lock().unwrap() = 50;
    let refused = ledger.write(entry(Event::Granting, "refused"), Need::Before).await.unwrap_err();
    assert!(refused.to_string().contains("space"), "{refused}");
    assert!(ledger.write(entry(Event::Ended, "kept"), Need::Kept).await.is_err());
    assert_eq!(ledger.counters().waiting.get(), 1);
    *room.lock().unwrap() = usize::MAX;
    ledger.write(entry(Event::Granting, "after"), Need::Before).await.unwrap();
    let lines = bytes.lines();
    assert!(is_whole(&lines), "{}", bytes.text());
    let uids: Vec<_> = lines.found.iter().filter_map(|line| line.fields.get("uid")?.as_str()).collect();
    assert_eq!(uids, ["before", "kept", "after"], "{}", bytes.text());
    assert_eq!(lines.broken.len(), 1, "half a line stays, on a line of its own");
    assert_eq!(ledger.counters().waiting.get(), 0);
}

#[tokio::test]
async fn what_was_kept_is_written_though_nothing_else_happens() {
    let Log { ledger, bytes, room, .. } = log_after(Bytes::default());
    *room.lock().unwrap() = 0;
    assert!(ledger.write(entry(Event::Ended, "kept"), Need::Kept).await.is_err());
    *room.lock().unwrap() = usize::MAX;
    while !bytes.text().contains("kept") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_line_that_may_not_survive_is_not_said_to_be_written() {
    let Log { ledger, bytes, syncs, .. } = log_after(Bytes::default());
    ledger.write(entry(Event::Granting, "before"), Need::Before).await.unwrap();
    syncs.store(false, Ordering::Relaxed);
    assert!(ledger.write(entry(Event::Granting, "refused"), Need::Before).await.is_err());
    syncs.store(true, Ordering::Relaxed);
    ledger.write(entry(Event::Granting, "after"), Need::Before).await.unwrap();
    assert!(is_whole(&bytes.lines()), "{}", bytes.text());
}

#[tokio::test]
async fn the_next_process_names_the_last_line_of_the_one_before() {
    let bytes = Bytes::default();
    let first = log_after(bytes.clone()).ledger;
    first.write(entry(Event::Active, "a"), Need::Before).await.unwrap();
    let head = first.head().unwrap();
    // It crashes.
    drop(first);
    let second = log_after(bytes.clone()).ledger;
    second.begin(Some(head.to_string()));
    second.write(entry(Event::Ended, "a"), Need::Kept).await.unwrap();
    let lines = bytes.lines();
    assert!(is_whole(&lines));
    let start = lines.found.iter().rfind(|line| line.fields["event"] == "start").unwrap();
    assert_eq!(start.fields["follows"], head.to_string());
    assert_eq!(start.fields["published"], head.to_string());
    assert_eq!(Accesses::of(&lines).accesses.len(), 1);
}

/// A sink that takes nothing until it is let.
#[derive(Debug)]
struct Stuck {
    release: Receiver<()>,
}

impl Sink for Stuck {
    fn append(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let _ = self.release.recv();
        (bytes.len(), Ok(()))
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn tail(&mut self) -> Option<String> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_nobody_reads_holds_up_no_end() {
    let (let_go, release): (Sender<()>, _) = channel();
    let ledger = Ledger::with_sink(Box::new(Stuck { release }), None).unwrap();
    let begun = tokio::time::Instant::now();
    assert!(ledger.write(entry(Event::Granting, "a"), Need::Before).await.is_err());
    assert_eq!(begun.elapsed(), PATIENCE);
    for number in 0..100 {
        assert!(ledger.write(entry(Event::Ended, &format!("e{number}")), Need::Kept).await.is_err());
    }
    assert!(begun.elapsed() < PATIENCE + Duration::from_millis(200), "{:?}", begun.elapsed());
    drop(let_go);
}

#[test]
fn a_file_that_is_renamed_is_followed_by_another() {
    let directory = std::env::temp_dir().join(format!("rolecall-ledger-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("audit.jsonl");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let ledger = Ledger::start(&Target::File(path.clone()), None).unwrap();
        ledger.write(entry(Event::Granting, "a"), Need::Before).await.unwrap();
        std::fs::rename(&path, directory.join("old")).unwrap();
        ledger.write(entry(Event::Active, "a"), Need::Before).await.unwrap();
        ledger.close().await;
    });
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let (old, new) = (read("old"), read("audit.jsonl"));
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!((old.lines().count(), new.lines().count()), (2, 2));
    let mut lines = Lines::default();
    lines.add("old", &old);
    lines.add("new", &new);
    assert!(is_whole(&lines));
}

#[test]
fn a_target_is_standard_error_or_a_file() {
    assert_eq!("stderr".parse(), Ok(Target::Stderr));
    assert_eq!("/var/log/audit".parse(), Ok(Target::File("/var/log/audit".into())));
    assert!("audit.log".parse::<Target>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_fails_the_chain_is_whole_and_what_was_confirmed_is_in_it(
        steps in prop::collection::vec((0_usize..900, any::<bool>(), any::<bool>()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (bytes, confirmed) = runtime.block_on(async {
            let Log { ledger, bytes, room, syncs } = log_after(Bytes::default());
            let mut confirmed = Vec::new();
            for (number, (space, sync, kept)) in steps.into_iter().enumerate() {
                *room.lock().unwrap() = space;
                syncs.store(sync, Ordering::Relaxed);
                let uid = format!("u{number}");
                let need = if kept { Need::Kept } else { Need::Before };
                if ledger.write(entry(Event::Ended, &uid), need).await.is_ok() || kept {
                    confirmed.push(uid);
                }
            }
            *room.lock().unwrap() = usize::MAX;
            syncs.store(true, Ordering::Relaxed);
            ledger.write(entry(Event::Granting, "last"), Need::Before).await.unwrap();
            (bytes, confirmed)
        });
        let lines = bytes.lines();
        let found = verify(&lines, &Default::default()).unwrap();
        prop_assert!(found.ok, "{:?}\n{}", found, bytes.text());
        for uid in confirmed {
            prop_assert!(bytes.text().contains(&format!("\"{uid}\"")), "{} is not in\n{}", uid, bytes.text());
        }
    }
}
