//! Invariants that hold whatever happens, in whatever order.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use rolecall_api::{DatabaseAdmin, DatabaseSession};
use rolecall_engine::Class;

use super::cluster::Cluster;
use super::convergence::{security, unsettled};
use super::invariants::Break;
use super::life::Life;
use super::moves::Move;
use super::operation::{ADMINS, Operation, SESSIONS, Step, USERS, steps};
use super::oracle::Grants;
use super::server::OTHERS;
use super::store::When;

/// How many histories are tried, where `ROLECALL_SIMULATION_CASES` does not say.
const CASES: u32 = 48;
/// Which histories are tried, where `ROLECALL_SIMULATION_SEED` does not say.
const SEED: u32 = 1;
/// How long a history is at most.
const STEPS: usize = 40;
/// A change of policy has reached every live session after so long, where nothing goes wrong.
const REACH: Duration = Duration::from_secs(10);
/// Retries are further apart than this at no time.
const SETTLING: Duration = Duration::from_secs(100);
/// Everything has settled after so long, where nothing goes wrong any more.
const CONVERGENCE: u32 = 60;

#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) seed: u64,
    pub(super) passwords: bool,
    /// Admission puts the finalizer on sessions, at first.
    pub(super) admission: bool,
    pub(super) steps: Vec<Step>,
    /// What is broken on purpose.
    pub(super) broken: Option<Break>,
}

fn history() -> impl Strategy<Value = History> {
    let passwords = prop_oneof![1 => Just(false), 1 => Just(true)];
    (any::<u64>(), passwords, any::<bool>(), steps(STEPS)).prop_map(|(seed, passwords, admission, steps)| {
        History { seed, passwords, admission, steps, broken: None }
    })
}

struct Run {
    cluster: Arc<Cluster>,
    life: Life,
}

impl Run {
    fn new(history: &History) -> Self {
        let cluster = Cluster::new(history.seed);
        if let Some(broken) = history.broken {
            let _ = cluster.broken.set(broken);
        }
        cluster.carry_out(&Operation::Admission(history.admission));
        cluster.set_up(history.passwords);
        let life = Life::begin(&cluster);
        Self { cluster, life }
    }

    /// Lets time pass, whatever becomes of the operator.
    fn live(&mut self, time: Duration) {
        if !self.life.live(time) {
            // The old one has to be gone before the new one starts.
            let cluster = Arc::clone(&self.cluster);
            take_place(&mut self.life, || Life::begin(&cluster));
            self.live(time);
        }
    }

    fn carry_out(&mut self, operation: &Operation) {
        self.life.during(|| self.cluster.carry_out(operation));
    }

    fn check(&self, what: &str) -> Result<(), TestCaseError> {
        self.life.during(|| self.cluster.check_servers());
        let violations = std::mem::take(&mut self.cluster.evidence().violations);
        if violations.is_empty() {
            return Ok(());
        }
        Err(TestCaseError::fail(format!("{what}: {}\n{}", violations.join("\n"), self.cluster.trace())))
    }

    fn check_none(&self, what: &str, problems: Vec<String>) -> Result<(), TestCaseError> {
        for problem in problems {
            self.cluster.violated(format!("{what}: {problem}"));
        }
        self.check(what)
    }

    fn security(&self) -> Vec<String> {
        self.life.during(|| security(&self.cluster))
    }
}

fn take_place(life: &mut Life, begin: impl FnOnce() -> Life) {
    life.end();
    *life = begin();
}

/// What was seen in a history.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// How often each kind of line was written to the audit log.
    pub(super) lines: BTreeMap<String, u32>,
    /// From which phase to which sessions went.
    pub(super) moves: BTreeSet<Move>,
}

/// One history, from beginning to end.
pub(super) fn run(history: &History) -> Result<Seen, TestCaseError> {
    let mut run = Run::new(history);
    let (mut calm, mut since_change) = (true, Duration::ZERO);
    for (number, step) in history.steps.iter().enumerate() {
        let what = format!("step {number}");
        run.carry_out(&step.operation);
        run.live(step.pause);
        run.check(&what)?;
        if matches!(step.operation, Operation::Repair) {
            run.live(SETTLING);
            run.cluster.evidence().excused.clear();
            calm = true;
            since_change = SETTLING;
        } else if step.operation.is_of_people() {
            since_change = step.pause;
        } else {
            calm = false;
        }
        if calm && since_change >= REACH {
            run.check_none(&what, run.security())?;
        }
    }
    end(&mut run)?;
    let mut evidence = run.cluster.evidence();
    Ok(Seen { lines: std::mem::take(&mut evidence.lines), moves: std::mem::take(&mut evidence.moves) })
}

/// All faults are repaired: everything settles.
fn end(run: &mut Run) -> Result<(), TestCaseError> {
    run.carry_out(&Operation::Repair);
    for admin in 0..ADMINS.len() {
        run.carry_out(&Operation::SuspendAdmin { admin, suspend: false });
    }
    run.life.during(|| run.cluster.give_back_secrets());
    run.live(SETTLING);
    run.cluster.evidence().excused.clear();
    converge(run, "all faults are repaired")?;
    // What waits for something that will never come is tried again and again.
    let sessions = run.cluster.store().all::<DatabaseSession>();
    for (index, name) in SESSIONS.iter().enumerate() {
        let session = sessions.iter().find(|session| session.metadata.name.as_deref() == Some(*name));
        let in_vain = session.is_some_and(|session| {
            session.spec.database_name.as_deref() == Some("ghost")
                || USERS[3..].contains(&&*session.spec.user)
        });
        if in_vain {
            run.carry_out(&Operation::DeleteSession(index));
        }
    }
    run.live(SETTLING);
    converge(run, "what waits in vain is gone")?;
    // Unused sets and sessions that are over go by themselves.
    run.live(Duration::from_secs(400));
    let writes = run.cluster.evidence().writes;
    run.live(Duration::from_secs(120));
    let written = run.cluster.evidence().writes - writes;
    if written > 0 {
        run.cluster.violated(format!("{written} writes, though nothing happens"));
    }
    run.check("all is quiet")?;
    for session in 0..SESSIONS.len() {
        run.carry_out(&Operation::DeleteSession(session));
    }
    run.live(Duration::from_secs(5));
    for admin in 0..ADMINS.len() {
        run.carry_out(&Operation::SetDeletion { admin, retain: false });
        run.carry_out(&Operation::DeleteAdmin(admin));
    }
    run.live(SETTLING);
    converge(run, "all is deleted")?;
    let admins = run.cluster.store().all::<DatabaseAdmin>().len();
    let left = admins + run.cluster.store().all::<DatabaseSession>().len();
    if left > 0 {
        run.cluster.violated(format!("{left} objects are left"));
    }
    run.check("all is deleted")
}

fn converge(run: &mut Run, what: &str) -> Result<(), TestCaseError> {
    for _ in 0..CONVERGENCE {
        run.check(what)?;
        if run.life.during(|| unsettled(&run.cluster)).is_empty() {
            break;
        }
        run.live(Duration::from_secs(10));
    }
    let problems = run.life.during(|| unsettled(&run.cluster));
    run.check_none(what, problems)
}

#[test]
fn whatever_happens_accesses_are_what_policy_says_and_nothing_wedges() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let set = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = set("ROLECALL_SIMULATION_CASES").unwrap_or(CASES);
    let config = Config { cases, max_shrink_iters: 3_000, failure_persistence: None, ..Config::default() };
    let seed = set("ROLECALL_SIMULATION_SEED").unwrap_or(SEED);
    let mut runner = TestRunner::new_with_rng(config, of_seed(seed));
    let seen = RefCell::new(Seen::default());
    let tried = runner.run(&history(), |history| {
        let (of_this, mut seen) = (run(&history)?, seen.borrow_mut());
        for (what, times) in of_this.lines {
            *seen.lines.entry(what).or_default() += times;
        }
        seen.moves.extend(of_this.moves);
        Ok(())
    });
    match tried {
        Ok(()) => eprintln!("seen: {:?}", seen.borrow()),
        Err(TestError::Fail(why, history)) => {
            let steps: Vec<String> = history.steps.iter().map(|step| format!("{step:?}")).collect();
            panic!(
                "ROLECALL_SIMULATION_SEED={seed}: {why}\nseed {}, passwords {}, admission {}, steps:\n{}",
                history.seed,
                history.passwords,
                history.admission,
                steps.join("\n")
            );
        }
        Err(error) => panic!("{error}"),
    }
}

/// What was said in the audit log in a history of these steps.
fn said(passwords: bool, steps: Vec<(Operation, u64)>) -> BTreeMap<String, u32> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    run(&History { seed: 1, passwords, steps: each(steps), ..History::default() }).unwrap().lines
}

/// Operations, each with the seconds until the next.
pub(super) fn each(steps: Vec<(Operation, u64)>) -> Vec<Step> {
    let step = |(operation, seconds)| Step { operation, pause: Duration::from_secs(seconds) };
    steps.into_iter().map(step).collect()
}

/// A session without an end.
pub(super) fn standing(session: usize) -> Operation {
    Operation::CreateSession { session, user: 0, admin: 0, database: Some("app"), ttl: None, keep: 0 }
}

#[test]
fn an_access_that_is_given_up_is_not_called_withdrawn() {
    let down = Operation::ServerDown { server: 0, down: true };
    let said = said(false, vec![(standing(0), 5), (down, 0), (Operation::DeleteAdmin(0), 200)]);
    assert_eq!((said.get("abandoned"), said.get("withdrawn")), (Some(&1), None), "{said:?}");
}

#[test]
fn an_account_that_another_cluster_manages_is_not_said_to_end() {
    let frank = USERS.iter().position(|user| *user == OTHERS).unwrap();
    let create = Operation::CreateSession {
        session: 0,
        user: frank,
        admin: 0,
        database: Some("app"),
        ttl: None,
        keep: 0,
    };
    let said = said(false, vec![(create, 5), (Operation::DeleteSession(0), 60)]);
    assert_eq!((said.get("ending"), said.get("ended")), (None, None), "{said:?}");
}

#[test]
fn a_start_that_is_tried_again_writes_its_secret_once() {
    let fails = Operation::ServerFails { server: 0, after: 1, when: When::Before, class: Class::Transient };
    let said = said(true, vec![(standing(0), 5), (fails, 0), (standing(1), 60)]);
    assert_eq!(said.get("active"), Some(&2), "{said:?}");
}

#[test]
fn a_secret_that_another_operator_wrote_after_the_end_goes() {
    let timed = Operation::CreateSession {
        session: 0,
        user: 0,
        admin: 0,
        database: Some("app"),
        ttl: Some(5),
        keep: 100_000,
    };
    // It would be there when everything has settled.
    let said = said(true, vec![(timed, 20), (Operation::WriteSecretLate(0), 5)]);
    assert_eq!(said.get("ended"), Some(&1), "{said:?}");
}

#[test]
fn no_access_is_given_while_the_audit_log_is_full_and_what_is_there_ends() {
    let full = |full| (Operation::AuditLogFull(full), 0);
    let of = |full_meanwhile| {
        let steps = vec![
            (standing(0), 5),
            full(full_meanwhile),
            (standing(1), 20),
            (Operation::DeleteSession(0), 20),
        ];
        said(false, steps)
    };
    let (said, usual) = (of(true), of(false));
    assert_eq!(
        said.get("waiting"),
        usual.get("waiting").map(|usual| usual + 1).or(Some(1)).as_ref(),
        "{said:?}"
    );
    assert_eq!(
        (said.get("ended"), said.get("active")),
        (usual.get("ended"), usual.get("active")),
        "{said:?}"
    );
}

#[test]
fn a_live_access_gets_no_more_while_the_audit_log_is_full() {
    let more = |full| {
        let role = Operation::SetRole { role: 0, grants: Grants::Writer };
        let repair = if full { (Operation::AuditLogFull(true), 0) } else { (Operation::Repair, 0) };
        said(false, vec![(standing(0), 5), repair, (role, 20), (Operation::Repair, 20)])
    };
    let (held_up, usual) = (more(true), more(false));
    assert_eq!(usual.get("granting"), Some(&2), "{usual:?}");
    assert_eq!(held_up.get("granting"), Some(&2), "{held_up:?}");
    assert_eq!(held_up.get("more while the log was full"), None, "{held_up:?}");
}

fn of_seed(seed: u32) -> proptest::test_runner::TestRng {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &bytes)
}
