//! Statements on one connection, and what their failures mean.

use std::pin::pin;

use futures::StreamExt;
use rolecall_engine::{Class, Error, Reason};
use tokio_postgres::error::Severity;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::rows::Row;
use super::sqlstate;
use super::statement::{Needs, Statement};
use crate::quote::identifier;

/// Sends statements in one message and reads their answers; with an error, the number of the statement that failed.
pub(crate) async fn exchange(
    client: &Client,
    statements: &[Statement],
) -> Result<Vec<Vec<Row>>, (usize, tokio_postgres::Error)> {
    let texts: Vec<&str> = statements.iter().map(|statement| statement.sql.as_str()).collect();
    let stream = client.simple_query_raw(&texts.join(";\n")).await.map_err(|error| (0, error))?;
    let (mut stream, mut answers, mut rows) = (pin!(stream), Vec::new(), Vec::new());
    while let Some(item) = stream.next().await {
        match item {
            Ok(SimpleQueryMessage::Row(row)) => rows.push(texts_of(&row)),
            Ok(SimpleQueryMessage::CommandComplete(_)) => answers.push(std::mem::take(&mut rows)),
            Ok(_) => {}
            Err(error) => return Err((answers.len(), error)),
        }
    }
    Ok(answers)
}

fn texts_of(row: &SimpleQueryRow) -> Row {
    (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()
}

/// What the server, or the connection, said about a statement.
pub(crate) fn said(statement: &Statement, error: &tokio_postgres::Error, admin_user: &str) -> Error {
    let attempted = statement.what.clone();
    let Some(db) = error.as_db_error() else {
        let detail = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let remedy = "check the address, the server and the network between".to_owned();
        let (class, reason) = (Class::Unreachable, Reason::DatabaseUnreachable);
        return Error { class, reason, attempted, code: String::new(), detail, remedy };
    };
    let code = db.code().code().to_owned();
    let (class, reason) = match db.parsed_severity() {
        Some(Severity::Fatal | Severity::Panic) => sqlstate::meaning_of_login(&code),
        _ => sqlstate::meaning(&code),
    };
    let detail = match db.detail() {
        Some(detail) => format!("{} ({})", db.message(), detail.replace('\n', ", ")),
        None => db.message().to_owned(),
    };
    let error = Error { class, reason, attempted, code, detail, remedy: String::new() };
    explained(error, &statement.needs, admin_user)
}

/// Adds what a refusal means for this statement.
fn explained(error: Error, needs: &Needs, admin_user: &str) -> Error {
    if error.code != sqlstate::INSUFFICIENT_PRIVILEGE {
        return error;
    }
    let admin = identifier(admin_user);
    let (reason, remedy) = match needs {
        Needs::Nothing => return error,
        Needs::Users => (Reason::MissingCreateRole, format!("run GRANT ROLE \"sys:superuser\" TO {admin}")),
        Needs::Role(role) => (
            Reason::MissingAdminOption,
            format!("run GRANT ROLE {} TO {admin} WITH ADMIN OPTION", identifier(role)),
        ),
        Needs::Superuser => (
            Reason::MissingSystemAccess,
            format!("run ALTER USER {admin} PASSWORD 'md5<32 random hexadecimal digits>' CREATEUSER"),
        ),
    };
    Error { reason, remedy, ..error }
}
