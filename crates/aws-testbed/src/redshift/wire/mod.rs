//! The wire: version 3 of PostgreSQL's protocol, over TLS, with simple and extended queries (without parameters).

mod extended;
mod rows;
mod startup;
mod stream;

use std::sync::Arc;

use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ErrorResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::{PgWireBackendMessage as Backend, PgWireFrontendMessage as Frontend};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::error::SqlError;
use super::session::{Connection, Done, Status};
use super::shared::Shared;
use stream::{Closed, Stream, Wire};

/// Serves one connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream, tls: TlsAcceptor) {
    let cut = shared.until_cut();
    // Cut off without a word: whoever is at the other end sees a broken connection.
    let _ = cut.run_until_cancelled(converse(shared, socket, tls)).await;
}

async fn converse(shared: Arc<Shared>, socket: TcpStream, tls: TlsAcceptor) -> Result<(), Closed> {
    shared.thawed().await;
    let mut wire = startup::encrypted(Arc::clone(&shared), socket, tls).await?;
    let session = startup::log_in(&shared, &mut wire).await?;
    let kill = session.kill.clone();
    let connection = Connection::new(shared, session);
    // What is going on is dropped, with its transaction and its session.
    if kill.run_until_cancelled(queries(&mut wire, connection)).await.is_none() {
        wire.fatal(&SqlError::new("57P01", "terminating connection due to administrator command")).await?;
    }
    Ok(())
}

async fn queries<S: Stream>(wire: &mut Wire<S>, mut connection: Connection) -> Result<(), Closed> {
    let mut extended = extended::Extended::default();
    loop {
        match wire.read().await? {
            Frontend::Query(query) => simple(wire, &mut connection, &query.query).await?,
            Frontend::Terminate(_) => return Ok(()),
            Frontend::Sync(_) => {
                extended.synchronize(&mut connection);
                ready(wire, &connection);
                wire.flush().await?;
            }
            Frontend::Flush(_) => wire.flush().await?,
            message => extended.handle(wire, &mut connection, message).await?,
        }
    }
}

async fn simple<S: Stream>(
    wire: &mut Wire<S>,
    connection: &mut Connection,
    text: &str,
) -> Result<(), Closed> {
    let (done, error) = connection.simple(text).await;
    if done.is_empty() && error.is_none() {
        wire.put(&Backend::EmptyQueryResponse(EmptyQueryResponse::new()))?;
    }
    for one in done {
        if let Some(columns) = &one.columns {
            wire.put(&rows::description(columns, &[]))?;
        }
        put_rows(wire, one, &[])?;
    }
    if let Some(error) = error {
        wire.put(&error_response("ERROR", &error))?;
    }
    ready(wire, connection);
    wire.flush().await
}

/// The rows, in these formats, and that it is done.
fn put_rows<S: Stream>(wire: &mut Wire<S>, done: Done, formats: &[i16]) -> Result<(), Closed> {
    for row in &done.rows {
        wire.put(&rows::row(row, done.columns.as_deref().unwrap_or_default(), formats))?;
    }
    wire.put(&Backend::CommandComplete(CommandComplete::new(done.tag)))
}

fn ready<S: Stream>(wire: &mut Wire<S>, connection: &Connection) {
    let status = match connection.status() {
        Status::Idle => TransactionStatus::Idle,
        Status::InTransaction => TransactionStatus::Transaction,
        Status::Failed => TransactionStatus::Error,
    };
    // It is short enough.
    let _ = wire.put(&Backend::ReadyForQuery(ReadyForQuery::new(status)));
}

fn error_response(severity: &str, error: &SqlError) -> Backend {
    let fields = [(b'S', severity), (b'C', error.code), (b'M', error.message.as_str())];
    let fields = fields.map(|(field, text)| (field, text.to_owned()));
    Backend::ErrorResponse(ErrorResponse::new(fields.to_vec()))
}
