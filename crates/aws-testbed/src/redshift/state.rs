//! Everything behind one lock: what is committed, who is inside, which transactions are open, and what a test wants to
//! go wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::catalog::Catalog;
use super::change::{Change, Resource};
use super::error::{SqlError, SqlResult};
use super::settings::Unknowns;

pub(crate) type TransactionId = u64;

/// How late pg_stat_activity is.
const ACTIVITY_LAG: SignedDuration = SignedDuration::from_secs(10);
/// How many wrong passwords in a row lock a user.
pub(crate) const FAILED_LOGINS: u32 = 5;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) committed: Arc<Catalog>,
    pub(crate) unknowns: Unknowns,
    pub(crate) sessions: BTreeMap<i32, Session>,
    /// Sessions that are over, as long as pg_stat_activity still shows them.
    ended: Vec<(Session, Timestamp)>,
    next_process: i32,
    /// Wrong passwords in a row, by user.
    pub(crate) failed_logins: HashMap<u32, u32>,
    pub(crate) temporary: Vec<Temporary>,
    pub(crate) faults: Faults,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) log: Vec<(String, String)>,
    /// How far the clock is ahead of the machine's.
    pub(crate) ahead: SignedDuration,
    next_transaction: TransactionId,
    /// Counts commits.
    commits: u64,
    /// The last commit that changed it.
    versions: HashMap<Resource, u64>,
    locks: HashMap<Resource, TransactionId>,
    waiting: HashMap<TransactionId, TransactionId>,
    /// Ids of users and roles that open transactions made.
    reserved: BTreeSet<(TransactionId, u32)>,
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) process: i32,
    pub(crate) user: u32,
    /// With the prefix of the kind of login.
    pub(crate) login: String,
    pub(crate) database: String,
    pub(crate) started: Timestamp,
    /// Ends it.
    pub(crate) kill: CancellationToken,
    /// Nobody is at the other end: a test opened it.
    pub(crate) is_phantom: bool,
}

/// A password that GetClusterCredentials handed out.
#[derive(Clone, Debug)]
pub(crate) struct Temporary {
    pub(crate) login: String,
    pub(crate) password: String,
    pub(crate) expires: Timestamp,
}

/// What a test wants to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// The next statements of a kind fail with this code: how many still, the kind, the code.
    pub(crate) fail: Vec<(u32, String, &'static str)>,
    /// Every statement of a kind waits as long; an empty kind is every one.
    pub(crate) delays: Vec<(String, Duration)>,
    /// The next statements of a kind are said to be done, and are not: how many still, and the kind.
    pub(crate) ignored: Vec<(u32, String)>,
    /// The next statements of a kind are done, and get no answer.
    pub(crate) unanswered: Vec<(u32, String)>,
    /// Views that show nothing.
    pub(crate) blank: BTreeSet<String>,
    /// New connections are closed at once.
    pub(crate) down: bool,
}

/// A transaction of a connection.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) id: TransactionId,
    /// Begun by the server for one text, not by BEGIN.
    pub(crate) implicit: bool,
    pub(crate) failed: bool,
    snapshot: u64,
    changes: Vec<Change>,
    touched: BTreeSet<Resource>,
}

/// Whether a transaction may change something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    Yes,
    /// Another one is at it: wait until it is over.
    Wait,
}

impl State {
    pub(crate) fn new(unknowns: Unknowns) -> Self {
        Self {
            committed: Arc::new(Catalog::new()),
            unknowns,
            sessions: BTreeMap::new(),
            ended: Vec::new(),
            next_process: 1_073_750_000,
            failed_logins: HashMap::new(),
            temporary: Vec::new(),
            faults: Faults::default(),
            counts: BTreeMap::new(),
            log: Vec::new(),
            ahead: SignedDuration::ZERO,
            next_transaction: 1,
            commits: 0,
            versions: HashMap::new(),
            locks: HashMap::new(),
            waiting: HashMap::new(),
            reserved: BTreeSet::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn count(&mut self, kind: String) {
        *self.counts.entry(kind).or_default() += 1;
    }

    pub(crate) fn begin(&mut self, implicit: bool) -> Transaction {
        let id = self.next_transaction;
        self.next_transaction += 1;
        Transaction {
            id,
            implicit,
            failed: false,
            snapshot: self.commits,
            changes: Vec::new(),
            touched: BTreeSet::new(),
        }
    }

    /// What a transaction sees: what is committed at this moment, and its own changes.
    pub(crate) fn view(&self, transaction: &Transaction) -> Arc<Catalog> {
        if transaction.changes.is_empty() {
            return Arc::clone(&self.committed);
        }
        let mut catalog = Catalog::clone(&self.committed);
        transaction.changes.iter().for_each(|change| catalog.apply(change));
        Arc::new(catalog)
    }

    /// Claims what a statement changes.
    ///
    /// # Errors
    /// XX000 when another transaction changed it since this one began, and when two wait for each other.
    pub(crate) fn claim(&mut self, tx: &mut Transaction, resources: &[Resource]) -> SqlResult<Claimed> {
        self.waiting.remove(&tx.id);
        for resource in resources {
            if self.versions.get(resource).is_some_and(|version| *version > tx.snapshot) {
                return Err(SqlError::conflict());
            }
            match self.locks.get(resource) {
                Some(holder) if *holder != tx.id => {
                    let holder = *holder;
                    if self.waits_for(holder, tx.id) {
                        return Err(SqlError::conflict());
                    }
                    self.waiting.insert(tx.id, holder);
                    return Ok(Claimed::Wait);
                }
                _ => {}
            }
        }
        for resource in resources {
            self.locks.insert(resource.clone(), tx.id);
            tx.touched.insert(resource.clone());
        }
        Ok(Claimed::Yes)
    }

    fn waits_for(&self, mut one: TransactionId, other: TransactionId) -> bool {
        while let Some(next) = self.waiting.get(&one) {
            if *next == other {
                return true;
            }
            one = *next;
        }
        false
    }

    /// Records what a statement changed, after its claim.
    pub(crate) fn record(&self, tx: &mut Transaction, changes: Vec<Change>) {
        tx.changes.extend(changes);
    }

    /// An id for a new user or role: one more than the highest there is.
    pub(crate) fn next_id(&mut self, tx: &Transaction) -> u32 {
        let view = self.view(tx);
        let known = view.users.keys().chain(view.roles.keys()).max().copied().unwrap_or(0);
        let reserved = self.reserved.iter().map(|(_, id)| *id).max().unwrap_or(0);
        let id = known.max(reserved) + 1;
        self.reserved.insert((tx.id, id));
        id
    }

    pub(crate) fn commit(&mut self, tx: Transaction) {
        if !tx.changes.is_empty() {
            self.commits += 1;
            let catalog = Arc::make_mut(&mut self.committed);
            tx.changes.iter().for_each(|change| catalog.apply(change));
            for resource in &tx.touched {
                self.versions.insert(resource.clone(), self.commits);
            }
            // A new password lets a locked user in again.
            for change in &tx.changes {
                if let Change::User(user) = change {
                    self.failed_logins.remove(&user.id);
                }
            }
        }
        self.release(tx.id);
    }

    pub(crate) fn release(&mut self, id: TransactionId) {
        self.locks.retain(|_, holder| *holder != id);
        self.waiting.remove(&id);
        self.reserved.retain(|(transaction, _)| *transaction != id);
    }

    pub(crate) fn open(&mut self, user: u32, login: &str, database: &str) -> Session {
        self.next_process += 7;
        let session = Session {
            process: self.next_process,
            user,
            login: login.to_owned(),
            database: database.to_owned(),
            started: self.now(),
            kill: CancellationToken::new(),
            is_phantom: false,
        };
        self.sessions.insert(session.process, session.clone());
        session
    }

    /// Ends a session, which takes as long as its connection needs to notice.
    pub(crate) fn terminate(&mut self, process: i32) {
        let Some(session) = self.sessions.get(&process) else {
            return;
        };
        session.kill.cancel();
        if session.is_phantom {
            self.close(process);
        }
    }

    pub(crate) fn close(&mut self, process: i32) {
        if let Some(session) = self.sessions.remove(&process) {
            self.ended.push((session, self.now()));
        }
    }

    /// The sessions as pg_stat_activity has them.
    pub(crate) fn activity(&self) -> Vec<Session> {
        let now = self.now();
        let is_shown = |since: Timestamp| now.duration_since(since) >= ACTIVITY_LAG;
        let open = self.sessions.values().filter(|session| is_shown(session.started));
        let over = self.ended.iter().filter(|(session, at)| !is_shown(*at) && is_shown(session.started));
        open.chain(over.map(|(session, _)| session)).cloned().collect()
    }

    /// The fault for a statement of this kind, if a test wants one.
    pub(crate) fn fault(&mut self, kind: &str) -> Option<SqlError> {
        let found =
            self.faults.fail.iter_mut().find(|(left, of, _)| *left > 0 && (of.is_empty() || of == kind))?;
        found.0 -= 1;
        Some(match found.2 {
            "XX000" => SqlError::conflict(),
            code => SqlError::new(code, "refused because the test wants it"),
        })
    }

    /// Whether a statement of this kind is to be ignored.
    pub(crate) fn is_ignored(&mut self, kind: &str) -> bool {
        is_next(&mut self.faults.ignored, kind)
    }

    /// Whether a statement of this kind gets no answer.
    pub(crate) fn is_unanswered(&mut self, kind: &str) -> bool {
        is_next(&mut self.faults.unanswered, kind)
    }

    pub(crate) fn delay(&self, kind: &str) -> Duration {
        let delays = self.faults.delays.iter().filter(|(of, _)| of.is_empty() || of == kind);
        delays.map(|(_, delay)| *delay).sum()
    }
}

/// Counts one down, where one of the kind is left.
fn is_next(faults: &mut [(u32, String)], kind: &str) -> bool {
    let found = faults.iter_mut().find(|(left, of)| *left > 0 && of == kind);
    found.map(|(left, _)| *left -= 1).is_some()
}
