//! Messages to the server: sent, answered, and run again when another transaction got in the way.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rolecall_engine::counters::Counters;
use rolecall_engine::{Class, Error, Finding, Reason, Stats};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;

use crate::quote::identifier;
use crate::transport::config::Config;
use crate::transport::connect::{Connection, Connector};
use crate::transport::exchange::{ANSWER, Answer, SILENCE, exchange, said};
use crate::transport::failover;
use crate::transport::message::{Message, Needs, Reply};
use crate::transport::pool::{Dedicated, Lease, Pool};
use crate::transport::rules;
use crate::transport::session::Prepared;
use crate::transport::sqlstate::{
    self, CHANGED, DIVISION_BY_ZERO, INSUFFICIENT_PRIVILEGE, LOCK_NOT_AVAILABLE, OTHER_SESSION,
    QUERY_CANCELED, READ_ONLY, UNDEFINED_DATABASE, UNDEFINED_OBJECT,
};
use crate::transport::standby::{self, STANDBY_TIMEOUT, cancel_waits};
use crate::transport::version::{Dialect, Version};

/// How often a transaction runs again, and for how long in all: conflicts are over in milliseconds, lock time-outs
/// are not.
const ATTEMPTS: u32 = 6;
const RETRY_TIMEOUT: Duration = Duration::from_secs(8);
/// How often a message turns to another logical database.
const MOST_TURNS: usize = 2;
/// The server keeps the time-outs of statements; this much later it is considered gone.
const GRACE: Duration = Duration::from_secs(10);
/// The same where the server has turned out to be busy instead.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// One server, as a place to send messages to.
#[derive(Debug)]
pub(crate) struct Server {
    config: Config,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    version: Mutex<Option<Version>>,
}

/// Which database a message goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Any will do, this one first: roles belong to the whole server.
    Any(String),
    /// This very one.
    Exactly(String),
}

/// Why a message was not answered.
#[derive(Debug)]
struct Failure {
    error: Error,
    /// Where it ran.
    database: Option<String>,
    /// The statement that failed only reads.
    reads: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, database: None, reads: false }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Server {
    pub(crate) fn new(config: Config, prepared: Prepared) -> Result<Self, Error> {
        let counters = Arc::new(Counters::default());
        let connector = Connector::new(config.clone(), Arc::clone(&counters), prepared)?;
        Ok(Self { config, pool: Pool::new(connector), counters, version: Mutex::default() })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read()
    }

    pub(crate) fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Where the admin user connects on behalf of a session in `session_database`.
    pub(crate) fn place(&self, session_database: Option<&str>) -> Place {
        let database = self.config.default_database.as_deref().or(session_database).unwrap_or("postgres");
        Place::Any(database.to_owned())
    }

    /// Nobody needs this database any more, but for the admin user where it is its own.
    pub(crate) fn release_database(&self, database: &str) {
        let own = matches!(self.place(None), Place::Any(own) if own == database);
        if !own {
            self.pool.close_idle_in(database);
        }
    }

    /// The server's version: the last one seen, else it is asked for.
    pub(crate) async fn version(&self, place: &Place) -> Result<Version, Error> {
        let known = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(version) => Ok(version),
            None => {
                let lease = self.lease(place).await?;
                Ok(lease.connection().map(|connection| connection.version.clone()).unwrap_or_default())
            }
        }
    }

    pub(crate) async fn dialect(&self, place: &Place) -> Result<Dialect, Error> {
        Ok(self.version(place).await?.dialect)
    }

    /// Sends a message and returns its answer. A conflict with another transaction runs it again.
    pub(crate) async fn run(&self, place: &Place, message: &Message) -> Result<Reply, Error> {
        self.run_while(place, message, sqlstate::is_retried).await
    }

    /// As [`Server::run`], but reports a lock time-out at once: the caller knows who holds the lock.
    pub(crate) async fn run_unless_locked(&self, place: &Place, message: &Message) -> Result<Reply, Error> {
        self.run_while(place, message, |code| {
            sqlstate::is_retried(code) && code != sqlstate::LOCK_NOT_AVAILABLE
        })
        .await
    }

    async fn run_while(
        &self,
        place: &Place,
        message: &Message,
        again: impl Fn(&str) -> bool,
    ) -> Result<Reply, Error> {
        let begun = Instant::now();
        let (mut attempt, mut turns) = (0, 0);
        let mut as_admin_user;
        let packed = message.packed();
        let (apart, mut acts) = (message, message.acts());
        let mut message = packed.as_ref().unwrap_or(apart);
        let mut is_packed = packed.is_some();
        let acted = acts;
        loop {
            let Failure { error, database, reads } = match self.attempt(place, message).await {
                Ok(reply) => return Ok(Reply { as_admin_user: acted && !acts, ..reply }),
                Err(failure) => failure,
            };
            if is_packed && says_more_apart(&error) {
                (message, is_packed) = (apart, false);
                if error.code != LOCK_NOT_AVAILABLE {
                    tracing::debug!(%error, "running it statement by statement");
                    continue;
                }
            }
            // What another role may not do, or not any more, the admin user may: it only takes longer.
            if acts && [INSUFFICIENT_PRIVILEGE, UNDEFINED_OBJECT].contains(&error.code.as_str()) {
                tracing::debug!(%error, "running it as the admin user");
                as_admin_user = apart.as_admin_user();
                (message, acts) = (&as_admin_user, false);
                continue;
            }
            if matches!(place, Place::Any(_))
                && turns < MOST_TURNS
                && sqlstate::is_about_the_database(&error.code, reads)
                && let Some(database) = database
            {
                tracing::info!(database, %error, "turning to another logical database");
                self.pool.avoid(&database);
                turns += 1;
                continue;
            }
            if error.code == LOCK_NOT_AVAILABLE {
                // It may be a change of ours, abandoned by an operator before this one, that waits for a standby.
                self.cancel_waits(place).await;
            }
            attempt += 1;
            if !again(&error.code) || attempt == ATTEMPTS || begun.elapsed() > RETRY_TIMEOUT {
                return Err(self.with_rule(place, message, error).await);
            }
            tracing::debug!(attempted = error.attempted, code = error.code, attempt, "running it again");
            self.counters.retried();
            tokio::time::sleep(jittered(Duration::from_millis(5) * 2_u32.pow(attempt))).await;
        }
    }

    /// Sends a message once; twice where the connection turns out to have been broken for some time, the session to be
    /// another than was meant, or where it was taken for one that waits for a standby and was not. Each of our messages may
    /// be run twice: what it did the first time shows, or makes its own check fail.
    async fn attempt(&self, place: &Place, message: &Message) -> Result<Reply, Failure> {
        let begun = Instant::now();
        let mut lease = self.lease(place).await?;
        let reused = lease.reused;
        let mut result = match self.end_abandoned(&mut lease).await {
            Ok(()) => self.send(&mut lease, message, STANDBY_TIMEOUT).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &result
            && OTHER_SESSION.contains(&failure.error.code.as_str())
            && lease.clean
            && lease.connection().is_some_and(Connection::mark_shared)
        {
            let sign = format!("a prepared statement is not what it was, SQLSTATE {}", failure.error.code);
            self.pool.connector().signs().note(sign);
            result = self.send(&mut lease, message, STANDBY_TIMEOUT).await;
        }
        let cancelled = lease.cancelled;
        drop(lease);
        match result {
            Err(failure) if failure.error.class == Class::Unreachable => {
                // Whatever closed this connection has closed the others, too.
                self.pool.close_idle();
                self.pool.note_broken();
                if !reused || begun.elapsed() >= SILENCE {
                    return Err(failure);
                }
            }
            Err(failure) if cancelled && failure.error.code == QUERY_CANCELED => {}
            Err(Failure { error, database, reads }) if error.code == READ_ONLY => {
                // The name may mean another server by now.
                self.pool.close_idle();
                self.pool.note_broken();
                let error = match failover::should_write(&self.config) {
                    true => failover::under_way(error.attempted, error.code),
                    false => error,
                };
                return Err(Failure { error, database, reads });
            }
            Err(failure) => return Err(failure),
            Ok(reply) => return Ok(reply),
        }
        let mut lease = self.lease(place).await?;
        self.send(&mut lease, message, BUSY_TIMEOUT).await
    }

    /// Ends the backends that were given up within a statement, and waits for them: a server that hung carries it out
    /// when it goes on, and nothing that is read before that is final.
    async fn end_abandoned(&self, lease: &mut Lease) -> Result<(), Failure> {
        let backends = self.pool.backends();
        let begun = Instant::now();
        loop {
            let abandoned = backends.abandoned();
            if abandoned.is_empty() {
                return Ok(());
            }
            let reply = self.send(lease, &standby::terminate(&abandoned), BUSY_TIMEOUT).await?;
            let alive: BTreeSet<i32> =
                reply.rows().iter().filter_map(|row| row.get(0)?.parse().ok()).collect();
            backends.forget(&abandoned.difference(&alive).copied().collect());
            if alive.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > ANSWER {
                return Err(standby::still_there(alive.len()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Cancels what an abandoned statement of ours still waits for. It has committed on this server; the wait for the
    /// standby holds its locks, and keeps it out of sight.
    async fn cancel_waits(&self, place: &Place) {
        let (Place::Any(database) | Place::Exactly(database)) = place;
        let Some(mut lease) = self.pool.spare(database).await else { return };
        let waits = cancel_waits();
        match self.send(&mut lease, &waits, BUSY_TIMEOUT).await {
            Ok(reply) if !reply.rows().is_empty() => {
                tracing::warn!(
                    statements = reply.rows().len(),
                    "changes that waited for a synchronous standby were left to this server alone"
                );
            }
            Ok(_) => {}
            Err(Failure { error, .. }) => tracing::debug!(%error, "nothing was cancelled"),
        }
    }

    /// Does something keep connections of its own between here and the server? What shows it, for people.
    pub(crate) async fn pooler(&self, place: &Place) -> Result<Option<Finding>, Error> {
        let mut lease = self.lease(place).await?;
        if let Some(question) = lease.connection().map(Connection::question) {
            let reply = self.send(&mut lease, &question, STANDBY_TIMEOUT).await.map_err(Error::from)?;
            let connection = lease.connection().zip(reply.rows().first());
            if let Some(sign) = connection.and_then(|(connection, answer)| connection.differs(answer)) {
                lease.connection().map(Connection::mark_shared);
                self.pool.connector().signs().note(sign);
            }
        }
        Ok(self.pool.connector().signs().finding(&self.config.address()))
    }

    /// Sends a message that reads, once, and with it the question of [`Server::pooler`]. Returns the answers to the message, and
    /// what is to be reported.
    pub(crate) async fn ask_with_pooler(
        &self,
        place: &Place,
        message: Message,
    ) -> Result<(Vec<Option<String>>, Option<Finding>), Error> {
        let mut lease = self.lease(place).await?;
        self.end_abandoned(&mut lease).await.map_err(Error::from)?;
        let question = lease.connection().map(Connection::question);
        let asked = usize::from(question.is_some());
        let mut whole = question.unwrap_or_default();
        whole.append(message);
        let reply = self.send(&mut lease, &whole, STANDBY_TIMEOUT).await.map_err(Error::from)?;
        let connection = lease.connection().zip(reply.first_row()).filter(|_| asked > 0);
        if let Some(sign) = connection.and_then(|(connection, answer)| connection.differs(answer)) {
            lease.connection().map(Connection::mark_shared);
            self.pool.connector().signs().note(sign);
        }
        let values = reply.values().skip(asked).map(|value| value.map(str::to_owned)).collect();
        Ok((values, self.pool.connector().signs().finding(&self.config.address())))
    }

    async fn lease(&self, place: &Place) -> Result<Lease, Error> {
        let lease = match place {
            Place::Any(database) => self.pool.any(database).await?,
            Place::Exactly(database) => self.pool.exactly(database).await?,
        };
        if !lease.reused
            && let Some(connection) = lease.connection()
        {
            *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.version.clone());
        }
        Ok(lease)
    }

    /// A connection to a database that does not come back; `None` where there is none to spare.
    pub(crate) async fn dedicated(&self, database: &str) -> Result<Option<Dedicated>, Error> {
        self.pool.dedicated(database).await
    }

    /// A connection that is kept so that its end is noticed; `None` where there are too few for that.
    pub(crate) async fn sentinel(&self, database: &str) -> Result<Option<Dedicated>, Error> {
        self.pool.sentinel(database).await
    }

    /// Changes whenever a connection breaks.
    pub(crate) fn broken(&self) -> watch::Receiver<u64> {
        self.pool.broken()
    }

    /// Sends a message on such a connection, and returns its answer.
    pub(crate) async fn send_on(&self, to: &Dedicated, message: &Message) -> Result<Reply, Error> {
        self.counters.sent(message.len());
        let (deadline, begun) = (self.config.statement_timeout + GRACE, Instant::now());
        match tokio::time::timeout(deadline, exchange(&to.connection, message)).await {
            Ok((_, Ok(reply))) => Ok(reply),
            Ok((statement, Err(error))) => Err(said(message.attempted(statement), &error)),
            Err(_) => Err(self.silent(message, begun)),
        }
    }

    /// Sends a message and waits for its answer; of a commit that seems to wait for a standby no longer than `standby_timeout`.
    async fn send(
        &self,
        lease: &mut Lease,
        message: &Message,
        standby_timeout: Duration,
    ) -> Result<Reply, Failure> {
        lease.clean = false;
        self.counters.sent(message.len());
        let (deadline, begun) = (self.config.statement_timeout + GRACE, Instant::now());
        let silent = || Failure::from(self.silent(message, begun));
        let Some(connection) = lease.connection() else { return Err(silent()) };
        let warnings = connection.warnings();
        let answer = Answer::answer(&self.pool, connection, message, standby_timeout, deadline).await;
        let Some(Answer { statement, result, cancelled }) = answer else { return Err(silent()) };
        let warned = connection.warnings() != warnings;
        let mut clean = !connection.client.is_closed() && !cancelled;
        if clean && result.is_err() && message.is_explicit() {
            let rolled_back = tokio::time::timeout(GRACE, connection.client.batch_execute("ROLLBACK")).await;
            clean = matches!(rolled_back, Ok(Ok(())));
        }
        lease.clean = clean;
        lease.cancelled = cancelled;
        match result {
            Ok(reply) => {
                if cancelled {
                    let attempted = message.attempted(message.len());
                    tracing::warn!(attempted, "no synchronous standby has confirmed it in time");
                }
                Ok(Reply { unconfirmed: cancelled, warned, ..reply })
            }
            Err(error) => {
                let code = error.code().map(SqlState::code).unwrap_or_default();
                let (attempted, needs) = message.failed(statement, code == DIVISION_BY_ZERO);
                let reads = message.asks(statement) || matches!(needs, Needs::Truth(_));
                let error = self.explained(said(attempted, &error), needs);
                Err(Failure { error, database: Some(lease.database.clone()), reads })
            }
        }
    }

    /// Adds what a failure means for this statement.
    fn explained(&self, error: Error, needs: Needs) -> Error {
        let admin = identifier(&self.config.admin_user);
        match needs {
            Needs::CreateRole if error.code == INSUFFICIENT_PRIVILEGE => Error {
                reason: Reason::MissingCreateRole,
                remedy: format!("run ALTER ROLE {admin} CREATEROLE"),
                ..error
            },
            Needs::Role(_) if matches!(error.code.as_str(), UNDEFINED_OBJECT | UNDEFINED_DATABASE) => {
                changed(CHANGED, error)
            }
            Needs::AdminOption(roles) | Needs::Role(roles) if error.code == INSUFFICIENT_PRIVILEGE => Error {
                reason: Reason::MissingAdminOption,
                remedy: format!("run GRANT {roles} TO {admin} WITH ADMIN OPTION"),
                ..error
            },
            Needs::Truth(code) if error.code == DIVISION_BY_ZERO => changed(code, error),
            _ => error,
        }
    }

    /// Where a rule of an extension may have refused it: adds which, and what to do.
    async fn with_rule(&self, place: &Place, message: &Message, error: Error) -> Error {
        let known = error.reason == Reason::ServerRefused && error.remedy.is_empty();
        if !known || !sqlstate::is_of_a_rule(&error.code) {
            return error;
        }
        let needs = message.needs_of(&error.attempted);
        let settings = match self.attempt(place, &rules::settings()).await {
            Ok(reply) => rules::read(&reply),
            // They may be hidden from the admin user.
            Err(_) => Vec::new(),
        };
        Error { remedy: rules::remedy(&needs, &settings), ..error }
    }

    fn silent(&self, message: &Message, begun: Instant) -> Error {
        Error {
            class: Class::Unreachable,
            reason: Reason::DatabaseUnreachable,
            attempted: message.attempted(0).to_owned(),
            code: String::new(),
            detail: format!(
                "{} has not answered within {} s",
                self.config.address(),
                begun.elapsed().as_secs()
            ),
            remedy: "check the server and the network between".to_owned(),
        }
    }
}

/// May a block have failed that would not, or say more, as the statements that it is made of? Not where a check of ours failed,
/// the server is at fault, or another transaction was in the way; but a catalogue may be locked that only a block reads.
fn says_more_apart(error: &Error) -> bool {
    let code = error.code.as_str();
    let known = [CHANGED, READ_ONLY, QUERY_CANCELED].contains(&code);
    let conflict = sqlstate::is_retried(code) && code != LOCK_NOT_AVAILABLE;
    error.class != Class::Unreachable && !known && !conflict
}

/// A check within a message has failed.
fn changed(code: &str, error: Error) -> Error {
    let (class, reason) = sqlstate::meaning(code);
    Error {
        class,
        reason,
        code: code.to_owned(),
        detail: "it has changed since it was read".to_owned(),
        ..error
    }
}

/// Between half and all of a time, so that those who collided do not collide again.
pub(crate) fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as u32;
    time / 2 + (time / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
