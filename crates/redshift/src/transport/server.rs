//! One server, as a place to send statements to.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rolecall_engine::counters::Counters;
use rolecall_engine::{Class, Error, Reason, Stats};

use super::config::{Config, DEFAULT_DATABASE};
use super::connect::Connector;
use super::exchange::{exchange, said};
use super::pool::{Lease, Pool};
use super::rows::Row;
use super::sqlstate;
use super::statement::Statement;

/// The server keeps the time-outs of statements; this much later it is considered gone.
const GRACE: Duration = Duration::from_secs(2);
/// How often, and for how long, something is tried again that met another transaction.
const ATTEMPTS: u32 = 10;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// The logical database that statements run in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TargetDatabase {
    /// In this logical database where it lets the admin user in, else in another one.
    Preferred(String),
    /// In this very database.
    Exactly(String),
}

/// One server. Nothing is connected before the first statement.
#[derive(Debug)]
pub(crate) struct Server {
    pool: Arc<Pool>,
    counters: Arc<Counters>,
}

/// A transaction. What is dropped before [`Transaction::commit`] is undone, and its connection closed.
pub(crate) struct Transaction<'a> {
    server: &'a Server,
    lease: Lease,
}

impl Server {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let counters = Arc::<Counters>::default();
        let connector = Connector::new(config, Arc::clone(&counters))?;
        Ok(Self { pool: Pool::new(connector), counters })
    }

    pub(crate) fn config(&self) -> &Config {
        self.pool.connector().config()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read()
    }

    pub(crate) fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Where what belongs to no database in particular is read and changed.
    pub(crate) fn target_database(&self, session_database: Option<&str>) -> TargetDatabase {
        let own = self.config().default_database.as_deref();
        TargetDatabase::Preferred(own.or(session_database).unwrap_or(DEFAULT_DATABASE).to_owned())
    }

    /// Nobody needs this database any more, but for the admin user where it is its own.
    pub(crate) fn release_database(&self, database: &str) {
        if !matches!(self.target_database(None), TargetDatabase::Preferred(own) if own == database) {
            self.pool.close_idle_in(database);
        }
    }

    /// Reads: all statements in one message. There is no moment that all answers are of.
    pub(crate) async fn read(
        &self,
        run_in: &TargetDatabase,
        statements: &[Statement],
    ) -> Result<Vec<Vec<Row>>, Error> {
        let mut retries = self.retries();
        loop {
            match self.read_once(run_in, statements).await {
                Err(error) if retries.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn read_once(
        &self,
        run_in: &TargetDatabase,
        statements: &[Statement],
    ) -> Result<Vec<Vec<Row>>, Error> {
        let mut lease = self.lease(run_in).await?;
        match self.send(&mut lease, statements).await {
            Err(error) if lease.reused && error.class == Class::Unreachable => {
                drop(lease);
                // Whatever closed this connection has closed the others, too.
                self.pool.close_idle();
                let mut lease = self.lease(run_in).await?;
                self.send(&mut lease, statements).await
            }
            result => result,
        }
    }

    /// Runs one statement by itself. It is not run again: what it did is read back.
    pub(crate) async fn run(
        &self,
        run_in: &TargetDatabase,
        statement: &Statement,
    ) -> Result<Vec<Row>, Error> {
        let mut lease = self.lease(run_in).await?;
        let answers = self.send(&mut lease, std::slice::from_ref(statement)).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, run_in: &TargetDatabase) -> Result<Transaction<'_>, Error> {
        let begin = [Statement::new("beginning a transaction", "BEGIN")];
        let mut lease = self.lease(run_in).await?;
        match self.send(&mut lease, &begin).await {
            Err(error) if lease.reused && error.class == Class::Unreachable => {
                drop(lease);
                self.pool.close_idle();
                lease = self.lease(run_in).await?;
                self.send(&mut lease, &begin).await?;
            }
            result => drop(result?),
        }
        lease.clean = false;
        Ok(Transaction { server: self, lease })
    }

    /// Counts how often something is tried again.
    pub(crate) fn retries(&self) -> Retries<'_> {
        Retries { server: self, begun: Instant::now(), attempt: 0 }
    }

    /// The version of the server: that of the connection at hand.
    pub(crate) async fn version(&self, run_in: &TargetDatabase) -> Result<String, Error> {
        let lease = self.lease(run_in).await?;
        Ok(lease.connection().map(|connection| connection.version.clone()).unwrap_or_default())
    }

    async fn lease(&self, run_in: &TargetDatabase) -> Result<Lease, Error> {
        match run_in {
            TargetDatabase::Preferred(database) => self.pool.any(database).await,
            TargetDatabase::Exactly(database) => self.pool.exactly(database).await,
        }
    }

    async fn send(&self, lease: &mut Lease, statements: &[Statement]) -> Result<Vec<Vec<Row>>, Error> {
        let in_transaction = !lease.clean;
        lease.clean = false;
        self.counters.sent(statements.len());
        let (deadline, begun) = (self.config().statement_timeout + GRACE, Instant::now());
        let first = statements.first().map(|statement| statement.what.clone()).unwrap_or_default();
        let silent = || Error {
            class: Class::Unreachable,
            reason: Reason::DatabaseUnreachable,
            attempted: first.clone(),
            code: String::new(),
            detail: format!(
                "{} has not answered within {} s",
                self.config().address(),
                begun.elapsed().as_secs()
            ),
            remedy: "check the cluster and the network between".to_owned(),
        };
        let Some(connection) = lease.connection() else { return Err(silent()) };
        let answered = tokio::time::timeout(deadline, exchange(&connection.client, statements)).await;
        match answered {
            Err(_) => Err(silent()),
            // Which answer belongs to which statement is not known any more, on this connection and hereafter.
            Ok(Ok(answers)) if answers.len() != statements.len() => Err(Error {
                detail: format!(
                    "{} has given {} answers to {} statements",
                    self.config().address(),
                    answers.len(),
                    statements.len()
                ),
                ..silent()
            }),
            Ok(Ok(answers)) => {
                lease.clean = !in_transaction;
                Ok(answers)
            }
            Ok(Err((number, error))) => {
                let nothing = Statement::new(first, "");
                let statement = statements.get(number).unwrap_or(&nothing);
                let error = said(statement, &error, &self.config().admin_user);
                // After a conflict the connection stays broken, whatever is done on it.
                lease.clean = !in_transaction
                    && !sqlstate::is_conflict(&error.code)
                    && error.class != Class::Unreachable;
                Err(error)
            }
        }
    }
}

impl Transaction<'_> {
    /// Runs one statement.
    pub(crate) async fn run(&mut self, statement: &Statement) -> Result<Vec<Row>, Error> {
        let answers = self.server.send(&mut self.lease, std::slice::from_ref(statement)).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Reads: all statements in one message. What this transaction has changed shows.
    pub(crate) async fn read(&mut self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, Error> {
        self.server.send(&mut self.lease, statements).await
    }

    /// Makes what was done last.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.run(&Statement::new("committing", "COMMIT")).await?;
        self.lease.clean = true;
        Ok(())
    }
}

/// How often something was tried that met another transaction.
pub(crate) struct Retries<'a> {
    server: &'a Server,
    begun: Instant,
    attempt: u32,
}

impl Retries<'_> {
    /// Whether to try once more at once, whatever it met.
    pub(crate) fn once_more(&mut self) -> bool {
        self.attempt += 1;
        self.attempt < ATTEMPTS && self.begun.elapsed() < RETRY_TIMEOUT
    }

    /// Waits, and says whether to try once more, on another connection.
    pub(crate) async fn again(&mut self, error: &Error) -> bool {
        self.attempt += 1;
        let is_over = self.attempt == ATTEMPTS || self.begun.elapsed() > RETRY_TIMEOUT;
        if !sqlstate::is_conflict(&error.code) || is_over {
            return false;
        }
        tracing::debug!(
            attempted = error.attempted,
            code = error.code,
            attempt = self.attempt,
            "trying again"
        );
        self.server.counters.retried();
        tokio::time::sleep(jittered(Duration::from_millis(10) * 2_u32.pow(self.attempt))).await;
        true
    }
}

/// Between half and all of a time, so that those who collided do not collide again.
fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as u32;
    time / 2 + (time / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
