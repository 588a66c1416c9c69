//! Faults, one after another, on a real API server and real databases, while sessions start and end all the time.
//!
//! After each fault a checker says which account differs from what the live sessions explain. It reads only the API
//! server and the catalogues, tries logins, and shares no code with the operator: this crate depends on none of the
//! crates that ship.
//!
//! | module | contents |
//! |---|---|
//! | [`world`] | the cluster, the servers, the objects |
//! | [`operator`] | the operator's processes: started, armed, killed, frozen |
//! | [`link`] | the network before a server: cut, silent, slow |
//! | [`churn`] | sessions that start and end |
//! | [`schedule`] | the kinds of faults, and which comes when |
//! | [`fault`] | what each does |
//! | [`checker`] | what is read afterwards, and what is wrong with it |
//! | [`report`] | the table at the end |
//!
//! `cargo xtask chaos --minutes 10 --seed 1` runs it; docs/reliability.md has the kinds of faults and of violations.

pub mod checker;
pub mod churn;
pub mod fault;
pub mod link;
pub mod objects;
pub mod operator;
pub mod report;
pub mod schedule;
pub mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

use checker::Checker;
use churn::Churn;
use report::{Report, Round};
use schedule::{Kind, Schedule};
use world::World;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program under test, with debug assertions: those of a release have no kill points.
    pub operator: PathBuf,
    /// What the schedule follows from.
    pub seed: u64,
    /// No fault is begun later than this after the first.
    pub time: Duration,
    /// At most so many faults.
    pub faults: usize,
    /// Only these kinds; every kind, where there is none.
    pub kinds: Vec<Kind>,
    /// How long things may take to heal.
    pub patience: Duration,
}

/// Lets faults happen until the time is over.
///
/// # Errors
/// When a component does not start. What the operator does wrong is in the report.
pub async fn run(options: Options) -> Result<Report> {
    // One TLS provider for all clients of the process; a test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut world = World::start(&options.operator).await?;
    let churn = Churn::start(&world, options.seed);
    let mut checker = Checker::default();
    let mut report = Report::new(options.seed);
    let first = checker.heal(&world, options.patience).await;
    eprintln!("    0 before the first        {first}");
    report.add(Round { kind: None, detail: String::new(), outcome: first });
    let begun = Instant::now();
    let mut schedule = Schedule::new(options.seed, &options.kinds);
    for number in 1..=options.faults {
        if begun.elapsed() >= options.time {
            break;
        }
        let kind = schedule.next_kind();
        churn.resume();
        let detail = fault::inflict(kind, &mut world, &mut checker, schedule.random()).await;
        churn.pause().await;
        let detail = match detail {
            Ok(detail) => detail,
            Err(error) => {
                // What failed is the test, not what is tested.
                report.failed(kind, &error);
                world.recover().await?;
                format!("not inflicted: {error:#}")
            }
        };
        let outcome = checker.heal(&world, options.patience).await;
        eprintln!("{number:>5} {:<22} {outcome} {detail}", kind.name());
        if !outcome.violations.is_empty() {
            eprintln!("{}", world.operator.log_since_last());
        }
        report.add(Round { kind: Some(kind), detail, outcome });
    }
    report.sessions = churn.stop().await;
    report.took = begun.elapsed();
    Ok(report)
}
