//! Parse, Bind, Describe, Execute: as drivers send them, without parameters.

use std::collections::HashMap;

use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete};
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::{PgWireBackendMessage as Backend, PgWireFrontendMessage as Frontend};

use super::stream::{Closed, Stream, Wire};
use super::{error_response, put_rows, rows};
use crate::redshift::error::{SqlError, SqlResult};
use crate::redshift::session::{self, Connection};
use crate::redshift::sql::{Statement, parse};

/// The prepared statements and portals of a connection. An unnamed one has an empty name.
#[derive(Default)]
pub(super) struct Extended {
    statements: HashMap<String, Option<Statement>>,
    portals: HashMap<String, (Option<Statement>, Vec<i16>)>,
    /// After an error everything is skipped until Sync.
    failed: bool,
}

impl Extended {
    /// Sync: what the server began itself is committed.
    pub(super) fn synchronize(&mut self, connection: &mut Connection) {
        self.failed = false;
        connection.finish();
    }

    pub(super) async fn handle<S: Stream>(
        &mut self,
        wire: &mut Wire<S>,
        connection: &mut Connection,
        message: Frontend,
    ) -> Result<(), Closed> {
        if self.failed {
            return Ok(());
        }
        match self.answer(connection, message).await {
            Ok(Answer::Message(message)) => wire.put(&message),
            Ok(Answer::Described(first, second)) => {
                first.map_or(Ok(()), |first| wire.put(&first))?;
                wire.put(&second)
            }
            Ok(Answer::Done(done, formats)) => put_rows(wire, done, &formats),
            Err(error) => {
                self.failed = true;
                wire.put(&error_response("ERROR", &error))?;
                wire.flush().await
            }
        }
    }

    async fn answer(&mut self, connection: &mut Connection, message: Frontend) -> SqlResult<Answer> {
        match message {
            Frontend::Parse(message) => {
                let mut statements = parse(&message.query)?;
                if statements.len() > 1 {
                    return Err(SqlError::new(
                        "42601",
                        "cannot insert multiple commands into a prepared statement",
                    ));
                }
                self.statements.insert(message.name.unwrap_or_default(), statements.pop());
                Ok(Answer::Message(Backend::ParseComplete(ParseComplete::new())))
            }
            Frontend::Bind(message) => {
                if !message.parameters.is_empty() {
                    return Err(SqlError::new("0A000", "the simulator takes no parameters"));
                }
                let statement = self.statement(message.statement_name.as_deref())?.clone();
                let portal = message.portal_name.unwrap_or_default();
                self.portals.insert(portal, (statement, message.result_column_format_codes));
                Ok(Answer::Message(Backend::BindComplete(BindComplete::new())))
            }
            Frontend::Describe(message) if message.target_type == b'S' => {
                let statement = self.statement(message.name.as_deref())?;
                let parameters = Backend::ParameterDescription(ParameterDescription::new(Vec::new()));
                Ok(Answer::Described(Some(parameters), description(statement.as_ref(), &[])?))
            }
            Frontend::Describe(message) => {
                let (statement, formats) = self.portal(message.name.as_deref())?;
                Ok(Answer::Described(None, description(statement.as_ref(), formats)?))
            }
            Frontend::Execute(message) => {
                let (statement, formats) = self.portal(message.name.as_deref())?;
                match statement {
                    Some(statement) => {
                        Ok(Answer::Done(connection.execute(statement).await?, formats.clone()))
                    }
                    None => Ok(Answer::Message(Backend::EmptyQueryResponse(EmptyQueryResponse::new()))),
                }
            }
            Frontend::Close(message) => {
                let name = message.name.unwrap_or_default();
                if message.target_type == b'S' {
                    self.statements.remove(&name);
                } else {
                    self.portals.remove(&name);
                }
                Ok(Answer::Message(Backend::CloseComplete(CloseComplete::new())))
            }
            _ => Err(SqlError::new("08P01", "unexpected message")),
        }
    }

    fn statement(&self, name: Option<&str>) -> SqlResult<&Option<Statement>> {
        let missing = || SqlError::new("26000", "prepared statement does not exist");
        self.statements.get(name.unwrap_or_default()).ok_or_else(missing)
    }

    fn portal(&self, name: Option<&str>) -> SqlResult<&(Option<Statement>, Vec<i16>)> {
        self.portals
            .get(name.unwrap_or_default())
            .ok_or_else(|| SqlError::new("34000", "portal does not exist"))
    }
}

enum Answer {
    Message(Backend),
    Described(Option<Backend>, Backend),
    Done(session::Done, Vec<i16>),
}

fn description(statement: Option<&Statement>, formats: &[i16]) -> SqlResult<Backend> {
    let columns = statement.map(session::columns).transpose()?.flatten();
    Ok(match columns {
        Some(columns) => rows::description(&columns, formats),
        None => Backend::NoData(NoData::new()),
    })
}
