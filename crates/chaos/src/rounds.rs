//! One fault after another in each lane, and the check after each.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use anyhow::Result;
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard, RwLock};
use tokio::task::{JoinHandle, JoinSet};

use crate::checker::{Catalogues, Checker, Outcome};
use crate::churn::Churn;
use crate::fault;
use crate::lane::Lane;
use crate::report::{Report, Round};
use crate::schedule::{Next, Reach, Schedule};
use crate::teleport_churn;
use crate::world::World;
use crate::{Options, schedule};

/// Lets faults happen until the time is over.
///
/// # Errors
/// When a component does not start. What the operator does wrong is in the report.
pub async fn run(options: Options) -> Result<Report> {
    // One TLS provider for all clients of the process; a test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let rounds = Arc::new(Rounds::start(options).await?);
    rounds.before_the_first().await;
    let mut workers = JoinSet::new();
    for lane in 0..rounds.lanes.len() {
        let (rounds, runtime) = (Arc::clone(&rounds), Handle::current());
        // A thread each, as checking takes processor time.
        workers.spawn_blocking(move || runtime.block_on(rounds.work(lane)));
    }
    while let Some(worked) = workers.join_next().await {
        worked??;
    }
    rounds.end().await
}

/// What all workers share.
struct Rounds {
    /// First: the operators end before what they use.
    lanes: Vec<Mutex<Cell>>,
    churns: Vec<Churn>,
    world: Arc<World>,
    /// What Teleport does meanwhile.
    teleport: JoinHandle<()>,
    /// Who has it alone may break what all lanes share.
    turn: RwLock<()>,
    schedule: std::sync::Mutex<Schedule>,
    report: std::sync::Mutex<Report>,
    begun: Instant,
    options: Options,
}

/// A lane, and who checks it.
struct Cell {
    lane: Lane,
    checker: Checker,
}

impl Rounds {
    async fn start(options: Options) -> Result<Self> {
        let count = options.lanes.max(1);
        let world = Arc::new(World::start(count).await?);
        let catalogues = Arc::new(Catalogues::default());
        let (mut lanes, mut churns) = (Vec::new(), Vec::new());
        for number in 0..count {
            let lane = Lane::start(&world, number, Path::new(&options.operator)).await?;
            churns.push(Churn::start(&lane, options.seed ^ (number as u64) << 32, count));
            lanes.push(Cell { lane, checker: Checker::new(Arc::clone(&catalogues), count) });
        }
        world.cluster.take_snapshot().await?;
        for cell in &mut lanes {
            cell.lane.operator.restart().await?;
        }
        let schedule = Schedule::new(options.seed, &options.kinds, &options.weights);
        let teleport = teleport_churn::start(Arc::clone(&world), options.seed);
        Ok(Self {
            lanes: lanes.into_iter().map(Mutex::new).collect(),
            churns,
            world,
            teleport,
            turn: RwLock::new(()),
            schedule: std::sync::Mutex::new(schedule),
            report: std::sync::Mutex::new(Report::new(options.seed)),
            begun: Instant::now(),
            options,
        })
    }

    async fn before_the_first(&self) {
        let mut cells = self.all().await;
        let outcome = self.heal_all(&mut cells).await;
        self.note(Round {
            number: 0,
            kind: None,
            detail: String::new(),
            log: log(&cells, &outcome),
            outcome,
        });
    }

    /// The work of one lane.
    async fn work(&self, own: usize) -> Result<()> {
        while let Some(next) = self.next() {
            match next.kind.reach() {
                Reach::Lane => {
                    let _turn = self.turn.read().await;
                    self.in_lane(own, next).await?;
                }
                Reach::All => {
                    let _turn = self.turn.write().await;
                    self.in_all(own, next).await?;
                }
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Next> {
        if self.begun.elapsed() >= self.options.time {
            return None;
        }
        let next = locked(&self.schedule).draw();
        (next.number <= self.options.faults).then_some(next)
    }

    async fn in_lane(&self, own: usize, mut next: Next) -> Result<()> {
        let mut cell = self.lanes[own].lock().await;
        let Cell { lane, checker } = &mut *cell;
        self.churns[own].resume();
        let detail = fault::inflict(next.kind, &self.world, lane, checker, &mut next.random).await;
        self.churns[own].pause().await;
        let detail = match detail {
            Ok(detail) => detail,
            Err(error) => {
                // What failed is the test, not what is tested.
                self.note_failure(next.kind, &error);
                lane.recover(&self.world).await?;
                format!("not inflicted: {error:#}")
            }
        };
        let outcome = checker.heal(&self.world, lane, self.options.patience).await;
        let log = log(&[&*cell], &outcome);
        self.note(Round { number: next.number, kind: Some(next.kind), detail, outcome, log });
        Ok(())
    }

    async fn in_all(&self, own: usize, mut next: Next) -> Result<()> {
        let mut cells = self.all().await;
        self.churns.iter().for_each(Churn::resume);
        let Cell { lane, checker } = &mut *cells[own];
        let detail = fault::inflict(next.kind, &self.world, lane, checker, &mut next.random).await;
        join_all(self.churns.iter().map(Churn::pause)).await;
        let detail = match detail {
            Ok(detail) => detail,
            Err(error) => {
                self.note_failure(next.kind, &error);
                self.world.recover().await?;
                for cell in &mut cells {
                    cell.lane.recover(&self.world).await?;
                }
                format!("not inflicted: {error:#}")
            }
        };
        let outcome = self.heal_all(&mut cells).await;
        let log = log(&cells, &outcome);
        self.note(Round { number: next.number, kind: Some(next.kind), detail, outcome, log });
        Ok(())
    }

    async fn all(&self) -> Vec<MutexGuard<'_, Cell>> {
        let mut cells = Vec::new();
        for cell in &self.lanes {
            cells.push(cell.lock().await);
        }
        cells
    }

    async fn heal_all(&self, cells: &mut [MutexGuard<'_, Cell>]) -> Outcome {
        let healed = cells.iter_mut().map(async |cell| {
            let Cell { lane, checker } = &mut **cell;
            checker.heal(&self.world, lane, self.options.patience).await
        });
        Outcome::of_all(join_all(healed).await)
    }

    /// Keeps that a fault could not be inflicted as a whole, and says so.
    fn note_failure(&self, kind: schedule::Kind, error: &anyhow::Error) {
        eprintln!("      {} is not inflicted as a whole: {error:#}", kind.name());
        locked(&self.report).failed(kind, error);
    }

    /// Keeps what became of a fault, and says so.
    fn note(&self, round: Round) {
        let mut report = locked(&self.report);
        let name = round.kind.map_or("before the first", schedule::Kind::name);
        let is_sound = round.outcome.violations.is_empty();
        if self.options.progress <= 1 || !is_sound {
            eprintln!("{:>5} {name:<22} {} {}", round.number, round.outcome, round.detail);
            if !is_sound {
                eprintln!("{}", round.log);
            }
        }
        report.add(round);
        let faults = report.faults();
        if self.options.progress > 1 && faults > 0 && faults.is_multiple_of(self.options.progress) {
            let (time, wrong) = (self.begun.elapsed().as_secs_f64(), report.violations().count());
            let failed = report.failed.len();
            eprintln!(
                "{faults} faults in {time:.0} s: {wrong} violations, {failed} not inflicted as a whole"
            );
        }
    }

    async fn end(self: Arc<Self>) -> Result<Report> {
        // No worker holds it any more.
        let rounds = Arc::into_inner(self).ok_or_else(|| anyhow::anyhow!("a worker has not ended"))?;
        let took = rounds.begun.elapsed();
        let mut report = rounds.report.into_inner().unwrap_or_else(PoisonError::into_inner);
        for churn in rounds.churns {
            report.sessions += churn.stop().await;
        }
        rounds.teleport.abort();
        // It is over when it no longer has the servers; that it was cancelled is no news.
        let _ = rounds.teleport.await;
        report.accesses_of_teleport = rounds.world.teleport.given();
        report.took = took;
        Ok(report)
    }
}

/// What operators wrote about what is wrong.
fn log<C: std::ops::Deref<Target = Cell>>(cells: &[C], outcome: &Outcome) -> String {
    if outcome.violations.is_empty() {
        return String::new();
    }
    let words: Vec<&str> =
        outcome.violations.iter().filter_map(|violation| violation.subject.split(' ').next()).collect();
    cells.iter().map(|cell| cell.lane.operator.log_about(&words)).collect::<Vec<_>>().join("\n")
}

// A poisoned lock means that a thread panicked between two plain changes; what it guards is whole.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
