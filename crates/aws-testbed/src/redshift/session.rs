//! One connection's statements, its transaction and its settings.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::catalog::ObjectKey;
use super::error::{SqlError, SqlResult};
use super::read::{Column, Reader, Row, Type, Value};
use super::shared::Shared;
use super::sql::{Statement, parse};
use super::state::{Claimed, Session, State};
use super::{read, run};

/// The parameters that can be set, with their defaults.
const PARAMETERS: [(&str, &str); 15] = [
    ("search_path", "\"$user\", public"),
    ("statement_timeout", "0"),
    ("application_name", ""),
    ("query_group", "default"),
    ("datestyle", "ISO, MDY"),
    ("timezone", "UTC"),
    ("extra_float_digits", "0"),
    ("client_encoding", "UTF8"),
    ("enable_case_sensitive_identifier", "off"),
    ("enable_result_cache_for_session", "on"),
    ("describe_field_name_in_uppercase", "off"),
    ("wlm_query_slot_count", "1"),
    ("transaction_isolation", "serializable"),
    ("server_version", "8.0.2"),
    ("max_failed_login_attempts", "5"),
];

/// What a statement did.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) tag: String,
    /// None where it answers no rows.
    pub(super) columns: Option<Vec<Column>>,
    pub(super) rows: Vec<Row>,
}

/// Whether a transaction is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Idle,
    InTransaction,
    Failed,
}

/// A connection. Dropping it rolls back and ends its session.
pub(super) struct Connection {
    shared: Arc<Shared>,
    pub(super) session: Session,
    settings: BTreeMap<String, String>,
    transaction: Option<super::state::Transaction>,
    /// After a conflict nothing works any more.
    poisoned: bool,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, session: Session) -> Self {
        let user = shared.lock().committed.users.get(&session.user).cloned();
        let settings = user.map(|user| user.config).unwrap_or_default();
        Self { shared, session, settings, transaction: None, poisoned: false }
    }

    pub(super) fn status(&self) -> Status {
        match &self.transaction {
            Some(transaction) if transaction.failed => Status::Failed,
            Some(transaction) if !transaction.implicit => Status::InTransaction,
            _ => Status::Idle,
        }
    }

    /// Runs a text of several statements: one transaction, unless it says otherwise itself.
    pub(super) async fn simple(&mut self, text: &str) -> (Vec<Done>, Option<SqlError>) {
        let mut done = Vec::new();
        self.shared.lock().log.push((self.session.login.clone(), text.to_owned()));
        let statements = match parse(text) {
            Ok(statements) => statements,
            Err(error) => {
                self.fail();
                return (done, Some(error));
            }
        };
        for statement in &statements {
            match self.execute(statement).await {
                Ok(_) if self.is_faulty(|state| state.is_unanswered(&statement.kind())) => {}
                Ok(one) => done.push(one),
                Err(error) => return (done, Some(error)),
            }
        }
        self.finish();
        (done, None)
    }

    /// Ends a transaction that the server began itself.
    pub(super) fn finish(&mut self) {
        if let Some(transaction) = self.transaction.take_if(|transaction| transaction.implicit) {
            self.shared.lock().commit(transaction);
            self.shared.changed.notify_waiters();
        }
    }

    /// Runs one statement, which is a transaction of its own until [`Self::finish`] unless one is open.
    ///
    /// # Errors
    /// What the server refuses; the transaction has failed then.
    pub(super) async fn execute(&mut self, statement: &Statement) -> SqlResult<Done> {
        let result = self.attempt(statement).await;
        if let Err(error) = &result {
            self.poisoned |= error.code == "XX000";
            self.fail();
        }
        result
    }

    fn fail(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            self.shared.lock().release(transaction.id);
            self.shared.changed.notify_waiters();
            transaction.failed = true;
        }
        self.transaction.take_if(|transaction| transaction.implicit);
    }

    async fn attempt(&mut self, statement: &Statement) -> SqlResult<Done> {
        let kind = statement.kind();
        // What a test sets up is not counted, and nothing goes wrong with it.
        let is_counted = !self.session.is_phantom;
        let delay = {
            let mut state = self.shared.lock();
            if is_counted {
                state.count(kind.clone());
            }
            state.delay(&kind)
        };
        if self.poisoned {
            return Err(SqlError::conflict());
        }
        let failed = self.status() == Status::Failed;
        if failed && !matches!(statement, Statement::Commit | Statement::Rollback) {
            return Err(SqlError::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        if is_counted && !delay.is_zero() {
            self.within_timeout(tokio::time::sleep(delay)).await?;
        }
        if is_counted && let Some(fault) = self.shared.lock().fault(&kind) {
            return Err(fault);
        }
        if self.is_faulty(|state| state.is_ignored(&kind)) {
            return Ok(done(statement));
        }
        let shared = Arc::clone(&self.shared);
        match statement {
            Statement::Begin => match &mut self.transaction {
                Some(transaction) => transaction.implicit = false,
                None => self.transaction = Some(shared.lock().begin(false)),
            },
            Statement::Commit | Statement::Rollback => return Ok(self.end(statement, failed)),
            other => {
                self.transaction.get_or_insert_with(|| shared.lock().begin(true));
                return self.inside(other).await;
            }
        }
        Ok(done(statement))
    }

    /// Asks for a fault, which what a test sets up never meets.
    fn is_faulty(&self, is_next: impl FnOnce(&mut State) -> bool) -> bool {
        !self.session.is_phantom && is_next(&mut self.shared.lock())
    }

    fn end(&mut self, statement: &Statement, failed: bool) -> Done {
        let commit = *statement == Statement::Commit && !failed;
        if let Some(transaction) = self.transaction.take() {
            let mut state = self.shared.lock();
            if commit {
                state.commit(transaction)
            } else {
                state.release(transaction.id)
            }
            drop(state);
            self.shared.changed.notify_waiters();
        }
        done(if commit { &Statement::Commit } else { &Statement::Rollback })
    }

    /// A statement that is no bracket of a transaction.
    async fn inside(&mut self, statement: &Statement) -> SqlResult<Done> {
        match statement {
            Statement::Set { name, value } => {
                known(name)?;
                self.settings.insert(name.clone(), value.join(", "));
                Ok(done(statement))
            }
            Statement::Show(name) => {
                let value = self.setting(name).ok_or_else(|| unknown(name))?;
                let column = Column { name: name.clone(), of: Type::Text };
                Ok(Done {
                    columns: Some(vec![column]),
                    rows: vec![vec![Value::Text(value)]],
                    ..done(statement)
                })
            }
            Statement::Lock { schema, table } => {
                self.find_table(schema.as_deref(), table)?;
                Ok(done(statement))
            }
            Statement::Select(select) => {
                let shared = Arc::clone(&self.shared);
                let mut state = shared.lock();
                let answer = self.reader(&state, |reader| reader.answer(select))?;
                for process in answer.terminated {
                    state.terminate(process);
                }
                let tag = statement.tag(answer.rows.len());
                Ok(Done { tag, columns: Some(answer.columns), rows: answer.rows })
            }
            writes => self.write(writes).await,
        }
    }

    async fn write(&mut self, statement: &Statement) -> SqlResult<Done> {
        let resources = run::resources(statement, &self.session.database);
        loop {
            let shared = Arc::clone(&self.shared);
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            // From here on no wake is lost.
            changed.as_mut().enable();
            let session = self.session.clone();
            if let Some(transaction) = &mut self.transaction {
                let mut state = shared.lock();
                if state.claim(transaction, &resources)? == Claimed::Yes {
                    let view = state.view(transaction);
                    let actor = run::Actor { user: session.user, database: &session.database };
                    let id = state.next_id(transaction);
                    let changes = run::changes(&view, actor, statement, id)?;
                    state.record(transaction, changes);
                    return Ok(done(statement));
                }
            }
            self.within_timeout(changed).await?;
        }
    }

    /// Waits, but not longer than `statement_timeout`.
    async fn within_timeout(&self, what: impl Future<Output = ()>) -> SqlResult<()> {
        let timeout = self.setting("statement_timeout").and_then(|value| value.parse().ok()).unwrap_or(0);
        if timeout == 0 {
            what.await;
            return Ok(());
        }
        tokio::time::timeout(Duration::from_millis(timeout), what).await.map_err(|_| SqlError::timed_out())
    }

    fn reader<T>(&self, state: &MutexGuard<'_, State>, read: impl FnOnce(&Reader<'_>) -> T) -> T {
        let catalog = match &self.transaction {
            Some(transaction) => state.view(transaction),
            None => Arc::clone(&state.committed),
        };
        let settings = |name: &str| self.setting(name);
        read(&Reader { catalog: &catalog, state, session: &self.session, settings: &settings })
    }

    fn find_table(&self, schema: Option<&str>, table: &str) -> SqlResult<()> {
        let key = ObjectKey::Relation(schema.unwrap_or("public").to_owned(), table.to_owned());
        let state = self.shared.lock();
        let database = state.committed.databases.get(&self.session.database);
        match database.and_then(|database| database.objects.get(&key)) {
            Some(_) => Ok(()),
            None => Err(SqlError::new("42P01", format!("relation \"{table}\" does not exist"))),
        }
    }

    fn setting(&self, name: &str) -> Option<String> {
        let name = name.to_lowercase();
        let default =
            PARAMETERS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        self.settings.get(&name).cloned().or(default)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(transaction) = self.transaction.take() {
            state.release(transaction.id);
        }
        state.close(self.session.process);
        drop(state);
        self.shared.changed.notify_waiters();
    }
}

/// The columns that a statement will answer, for a client that asks before it runs it.
///
/// # Errors
/// When a table, a column or a function is not there.
pub(super) fn columns(statement: &Statement) -> SqlResult<Option<Vec<Column>>> {
    match statement {
        Statement::Select(select) => read::columns(select).map(Some),
        Statement::Show(name) => Ok(Some(vec![Column { name: name.clone(), of: Type::Text }])),
        _ => Ok(None),
    }
}

fn done(statement: &Statement) -> Done {
    Done { tag: statement.tag(0), columns: None, rows: Vec::new() }
}

fn known(name: &str) -> SqlResult<()> {
    if PARAMETERS.iter().any(|(known, _)| *known == name) { Ok(()) } else { Err(unknown(name)) }
}

fn unknown(name: &str) -> SqlError {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}
