//! Messages on a stream.

use std::sync::Arc;

use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireBackendMessage as Backend, PgWireFrontendMessage as Frontend};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::redshift::error::SqlError;
use crate::redshift::shared::Shared;

/// The connection is over: the client went, or broke the protocol.
#[derive(Debug)]
pub(super) struct Closed;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stream with what was read and what is to be written.
pub(super) struct Wire<S> {
    shared: Arc<Shared>,
    stream: S,
    input: BytesMut,
    output: BytesMut,
    pub(super) context: DecodeContext,
}

impl<S: Stream> Wire<S> {
    pub(super) fn new(shared: Arc<Shared>, stream: S) -> Self {
        Self {
            shared,
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            context: DecodeContext::default(),
        }
    }

    /// The bare stream, before anything of what follows was read.
    pub(super) fn into_stream(self) -> Result<S, Closed> {
        if self.input.is_empty() { Ok(self.stream) } else { Err(Closed) }
    }

    /// The next message. It waits while the server is frozen.
    pub(super) async fn read(&mut self) -> Result<Frontend, Closed> {
        loop {
            if let Some(message) = Frontend::decode(&mut self.input, &self.context).map_err(|_| Closed)? {
                self.shared.thawed().await;
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.input).await.map_err(|_| Closed)? == 0 {
                return Err(Closed);
            }
        }
    }

    pub(super) fn put(&mut self, message: &Backend) -> Result<(), Closed> {
        message.encode(&mut self.output).map_err(|_| Closed)
    }

    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    pub(super) async fn flush(&mut self) -> Result<(), Closed> {
        self.shared.thawed().await;
        let output = self.output.split();
        self.stream.write_all(&output).await.map_err(|_| Closed)?;
        self.stream.flush().await.map_err(|_| Closed)
    }

    /// Says why the connection ends, and ends it.
    pub(super) async fn fatal(&mut self, error: &SqlError) -> Result<(), Closed> {
        self.put(&super::error_response("FATAL", error))?;
        self.flush().await?;
        self.stream.shutdown().await.map_err(|_| Closed)
    }
}
