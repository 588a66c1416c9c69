//! Faults, one after another, on a real API server and real databases, while sessions start and end all the time.
//!
//! After each fault a checker says which account differs from what the live sessions explain. It reads only the API
//! server and the catalogues, tries logins, and shares no code with the operator: this crate depends on none of the
//! crates that ship.
//!
//! | module | contents |
//! |---|---|
//! | [`server`], [`world`] | the cluster and the servers, which all lanes share |
//! | [`lane`] | a namespace with its users, sessions and operator; several work at once |
//! | [`rounds`] | one fault after another in each lane, and the check after each |
//! | [`operator`] | the operator's processes: started, armed, killed, frozen |
//! | [`link`], [`ways`] | the network between an operator and everything: cut, silent, slow |
//! | [`churn`] | sessions that start and end |
//! | [`teleport`], [`teleport_churn`] | what Teleport does on the same servers |
//! | [`schedule`] | the kinds of faults, and which comes when |
//! | [`fault`] | what each does |
//! | [`checker`] | what is read afterwards, and what is wrong with it |
//! | [`report`] | the table at the end |
//!
//! `cargo xtask chaos --minutes 10 --seed 1` runs it; docs/reliability.md has the kinds of faults and of violations.

pub mod checker;
pub mod churn;
pub mod fault;
pub mod lane;
pub mod link;
pub mod objects;
pub mod operator;
pub mod report;
mod rounds;
pub mod schedule;
pub mod server;
pub mod teleport;
pub mod teleport_churn;
pub mod ways;
pub mod world;

use std::path::PathBuf;
use std::time::Duration;

pub use rounds::run;

use schedule::Kind;

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
    /// How often these kinds come, in place of their usual weights.
    pub weights: Vec<(Kind, u32)>,
    /// In so many lanes faults happen at once.
    pub lanes: usize,
    /// A line is printed each time so many faults have happened; with 1, one for each.
    pub progress: usize,
    /// How long things may take to heal.
    pub patience: Duration,
}
