//! The network before a server, as a forwarder of bytes: TLS goes through as it is.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Answers of a new connection that pass at once, so that it is the statements that are slow and not the handshake.
const QUICK_ANSWERS: usize = 12;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything passes.
    Whole,
    /// Every connection ends, new ones too.
    Cut,
    /// Nothing passes, without an error; connections from now stay dead.
    Silent,
    /// Each answer is late by this.
    Slow(Duration),
    /// Each answer is late by something up to this: those of several connections come out of order.
    Jumbled(Duration),
}

/// See the module. It ends when this value is dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: watch::Sender<(State, u16)>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// One that leads to this port of this machine.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let own = listener.local_addr()?.port();
        let state = watch::Sender::new((State::Whole, port));
        let states = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((client, _)) = listener.accept() => { connections.spawn(carry(client, states.subscribe())); }
                    // So that those that have ended are forgotten.
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { port: own, state, _task: AbortOnDropHandle::new(task) })
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// It is like this from now on.
    pub fn set(&self, state: State) {
        self.state.send_modify(|now| now.0 = state);
    }

    /// It leads to another port from now on. Connections to the previous one end.
    pub fn lead_to(&self, port: u16) {
        self.state.send_modify(|now| now.1 = port);
    }
}

async fn carry(mut client: TcpStream, mut state: watch::Receiver<(State, u16)>) {
    let (was, port) = *state.borrow_and_update();
    match was {
        State::Cut => return,
        State::Silent => return std::future::pending().await,
        State::Whole | State::Slow(_) | State::Jumbled(_) => {}
    }
    let Ok(mut server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await else { return };
    let silent = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let answers = answers(from_server, to_client, state.clone());
        let requests = requests(from_client, to_server);
        tokio::select! {
            () = async { tokio::join!(requests, answers); } => false,
            silent = ended(&mut state, port) => silent,
        }
    };
    if silent {
        // Both stay open, and neither hears of the other again.
        std::future::pending::<()>().await;
    }
}

/// Waits until connections end; true where they are not told.
async fn ended(state: &mut watch::Receiver<(State, u16)>, port: u16) -> bool {
    loop {
        let (now, leads_to) = *state.borrow_and_update();
        match now {
            State::Silent => return true,
            State::Cut => return false,
            _ if leads_to != port => return false,
            State::Whole | State::Slow(_) | State::Jumbled(_) => {}
        }
        if state.changed().await.is_err() {
            return false;
        }
    }
}

async fn requests(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    // Either end may go at any time.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: watch::Receiver<(State, u16)>,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        passed += 1;
        let late = match state.borrow().0 {
            State::Slow(late) if passed > QUICK_ANSWERS => late,
            State::Jumbled(most) => most.mul_f64(rand::random::<f64>().powi(2)),
            _ => Duration::ZERO,
        };
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte with itself.
    async fn echo() -> Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Ok(port)
    }

    #[tokio::test]
    async fn a_network_that_is_cut_ends_connections_and_one_that_is_silent_does_not() -> Result<()> {
        let link = Link::to(echo().await?).await?;
        let mut stream = TcpStream::connect(("127.0.0.1", link.port())).await?;
        stream.write_all(b"a").await?;
        assert_eq!(stream.read_u8().await?, b'a');
        link.set(State::Cut);
        assert!(stream.read_u8().await.is_err(), "it ends");

        link.set(State::Whole);
        let mut stream = TcpStream::connect(("127.0.0.1", link.port())).await?;
        stream.write_all(b"b").await?;
        assert_eq!(stream.read_u8().await?, b'b');
        link.set(State::Silent);
        stream.write_all(b"c").await?;
        let heard = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await;
        assert!(heard.is_err(), "nothing is heard, not even an end");
        Ok(())
    }

    #[tokio::test]
    async fn answers_of_several_connections_come_out_of_order_where_the_network_is_jumbled() -> Result<()> {
        let link = Link::to(echo().await?).await?;
        link.set(State::Jumbled(Duration::from_millis(300)));
        let ask = async |number: u8| {
            let mut stream = TcpStream::connect(("127.0.0.1", link.port())).await?;
            stream.write_all(&[number]).await?;
            anyhow::Ok((stream.read_u8().await?, tokio::time::Instant::now()))
        };
        let mut answers = Vec::new();
        for answer in futures::future::join_all((0..16).map(ask)).await {
            answers.push(answer?);
        }
        assert!(!answers.is_sorted_by_key(|(_, at)| *at), "{answers:?}");
        Ok(())
    }
}
