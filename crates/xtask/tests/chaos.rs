//! A selection of the faults of `cargo xtask chaos`, with fixed seeds: about a minute.

use std::time::Duration;

use anyhow::{Result, ensure};
use rolecall_chaos::Options;
use rolecall_chaos::schedule::Kind;
use rolecall_xtask::operator::{Profile, build};

/// What heals within seconds. The others are left to `cargo xtask chaos`.
const KINDS: [Kind; 12] = [
    Kind::OperatorKilled,
    Kind::OperatorKillPoint,
    Kind::TwoLeaders,
    Kind::LateLeader,
    Kind::DatabaseKilled,
    Kind::DatabaseReadOnly,
    Kind::DatabaseFailedOver,
    Kind::MongoElection,
    Kind::ApiUnreachable,
    Kind::SecretDeleted,
    Kind::FinalizerRemoved,
    Kind::AccountChanged,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_of_some_faults_accounts_are_what_live_sessions_explain() -> Result<()> {
    let options = Options {
        operator: build(Profile::Dev)?,
        seed: 1,
        // All of them, however slow the machine is.
        time: Duration::MAX,
        faults: 16,
        kinds: KINDS.to_vec(),
        weights: Vec::new(),
        lanes: 1,
        progress: 1,
        patience: Duration::from_secs(180),
    };
    let report = rolecall_chaos::run(options).await?;
    let sound = report.failed.is_empty() && report.violations().next().is_none();
    ensure!(sound, "{report}");
    ensure!(report.faults() == 16, "only {} faults\n{report}", report.faults());
    // Otherwise the operator was not killed where it was meant to be.
    ensure!(!report.kill_points().is_empty(), "no kill point was reached\n{report}");
    println!("{report}");
    Ok(())
}
