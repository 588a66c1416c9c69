//! What a line of the audit log costs: processor time of this process, user and system, from the change to the answer
//! that the line is safe. Beside it the floor: the same bytes written and synced to the same disk, and nothing else.
//!
//! `cargo xtask bench ledger`

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use procfs::process::Process;
use rolecall_ledger::{Accesses, Entry, Event, Lines, verify};
use rolecall_operator::ledger::{Ledger, Target};
use rolecall_operator::ports::{AuditLog, Need};

/// What a change may cost.
const BOUND: Duration = Duration::from_micros(200);

fn main() -> Result<()> {
    let lines = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(20_000);
    let directory = tempfile::tempdir_in(std::env::current_dir()?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{lines} lines each; processor time and wall time a line");
    for at_once in [1, 8, 64] {
        let file = directory.path().join(format!("{at_once}.jsonl"));
        let written = runtime.block_on(through_the_ledger(&file, lines, at_once))?;
        println!("ledger, {at_once:>2} at once:         {written}");
        let read = std::fs::read_to_string(&file)?;
        if at_once == 1 {
            let floor = measured(lines, || floor(&read, &directory.path().join("floor")))?;
            println!("floor: write and sync:      {floor}");
            let mut all = Lines::default();
            let check = measured(lines, || {
                all.add("f", &read);
                let found = verify(&all, &Default::default()).map_err(anyhow::Error::msg)?;
                ensure!(found.ok, "it is not whole");
                Ok(())
            })?;
            println!("reading and verifying it:   {check}");
            let follow = measured(lines, || {
                ensure!(!Accesses::of(&all).accesses.is_empty(), "it has no access");
                Ok(())
            })?;
            println!("following its accesses:     {follow}");
            println!("bytes a line:               {}", read.len() / lines.max(1));
        }
        ensure!(written.processor < BOUND, "a line costs more than {BOUND:?}");
    }
    Ok(())
}

async fn through_the_ledger(file: &Path, lines: usize, at_once: usize) -> Result<Cost> {
    let ledger = Arc::new(Ledger::start(&Target::File(file.to_owned()), None)?);
    ledger.begin(None);
    let (begun, processor) = (Instant::now(), processor_time()?);
    let writes = (0..lines).map(|number| {
        let ledger = Arc::clone(&ledger);
        // As the operator does it: each change is reconciled by a task of its own.
        tokio::spawn(async move { ledger.write(entry(number), Need::Before).await })
    });
    let mut written = futures::stream::iter(writes).buffer_unordered(at_once);
    while let Some(line) = written.next().await {
        line.context("a task")?.context("a line")?;
    }
    let cost = Cost::of(lines, begun.elapsed(), processor_time()? - processor);
    ledger.close().await;
    Ok(cost)
}

fn entry(number: usize) -> Entry {
    Entry {
        namespace: "shop".into(),
        session: format!("alice-orders-{number}"),
        uid: format!("6d1f0b3e-3c1c-4a53-9a0f-{number:012}"),
        user: "alice".into(),
        database: "orders".into(),
        database_name: "horizon".into(),
        username: "alice@example.com".into(),
        reason: "Active".into(),
        proven: true,
        why: "INC-1234: the nightly import has failed".into(),
        requested_by: "alice@example.com".into(),
        roles: vec!["developer".into()],
        db_roles: vec!["reader".into(), "writer".into()],
        permissions: [("SELECT".to_owned(), 120), ("UPDATE".to_owned(), 3)].into(),
        ..Entry::new(Event::Active)
    }
}

/// The same lines, each written and synced, by one thread.
fn floor(text: &str, file: &Path) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    for line in text.split_inclusive('\n') {
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
    }
    Ok(())
}

struct Cost {
    processor: Duration,
    wall: Duration,
}

impl Cost {
    fn of(lines: usize, wall: Duration, processor: Duration) -> Self {
        let each = |all: Duration| all / u32::try_from(lines.max(1)).unwrap_or(u32::MAX);
        Self { processor: each(processor), wall: each(wall) }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>7.1} us  {:>8.1} us", 1e6 * self.processor.as_secs_f64(), 1e6 * self.wall.as_secs_f64())
    }
}

fn measured(lines: usize, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (begun, processor) = (Instant::now(), processor_time()?);
    work()?;
    Ok(Cost::of(lines, begun.elapsed(), processor_time()? - processor))
}

/// Of this process, user and system.
fn processor_time() -> Result<Duration> {
    let stat = Process::myself()?.stat()?;
    let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    Ok(Duration::from_secs_f64(seconds))
}
