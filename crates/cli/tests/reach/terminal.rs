//! psql in a terminal: Ctrl-C, its size, and what happens when it is closed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::bench::{Answer, Bench, TIMEOUT, eventually};
use crate::postgres::{DATABASE, server};

/// A terminal, from the side of whoever sits in front of it.
struct Terminal {
    side: Option<OwnedFd>,
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs psql in a session, in a terminal of its own.
    fn start(bench: &Bench) -> Self {
        let side = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there is a terminal");
        grantpt(&side).expect("it is ours");
        unlockpt(&side).expect("it is open");
        let name = ptsname(&side, Vec::new()).expect("it has a name");
        let path = PathBuf::from(name.to_string_lossy().into_owned());
        let end = || Stdio::from(File::options().read(true).write(true).open(&path).expect("it is there"));
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(env!("CARGO_BIN_EXE_kubectl-rolecall"));
        bench.set_up(&mut command, &bench.cluster.kubeconfig());
        command.args(DATABASE).args(["--", "-X", "-P", "pager=off"]).env("TERM", "dumb");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        let shown: Arc<Mutex<String>> = Arc::default();
        let (mut reading, writing) = (File::from(side.try_clone().expect("it is open")), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error is the end of the other side.
            while let Ok(length @ 1..) = reading.read(&mut buffer) {
                let mut shown = writing.lock().unwrap_or_else(PoisonError::into_inner);
                shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        Self { side: Some(side), child, shown }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn types(&self, text: &str) {
        let side = self.side.as_ref().expect("it is open").try_clone().expect("it is open");
        File::from(side).write_all(text.as_bytes()).expect("it is read");
    }

    /// Waits until it shows something.
    async fn shows(&self, text: &str) {
        let waited = timeout(TIMEOUT, eventually(text, async || self.shown().contains(text))).await;
        assert!(waited.is_ok(), "{text:?} is not shown:\n{}", self.shown());
    }

    async fn ended(&mut self) {
        timeout(TIMEOUT, self.child.wait()).await.expect("it ends in time").expect("it ends");
    }
}

#[tokio::test]
async fn ctrl_c_cancels_the_query_and_leaves_the_session() {
    let (server, authority) = server("orders-db.terminal.svc").await;
    let bench = Bench::new("terminal", "postgres", "orders-db.terminal.svc:5432").await;
    bench.psql().await;
    bench.server(server.port()).await;
    let _operator = bench.operator(Answer::signed(server.client_authority(), authority.cert_pem()));
    let mut terminal = Terminal::start(&bench);
    terminal.shows("postgres=> ").await;
    terminal.types("select pg_sleep(600);\n");
    let query = "select 1 from pg_stat_activity where usename = 'alice' and state = 'active'";
    let running = async || server.sql("postgres", query).await.is_ok_and(|rows| rows.len() == 1);
    eventually("the query runs", running).await;
    terminal.types("\u{3}");
    terminal.shows("canceling statement due to user request").await;
    assert_eq!(bench.sessions().await, 1);
    terminal.types("select 'still ' || 'here';\n");
    terminal.shows("still here").await;

    let side = terminal.side.as_ref().expect("it is open");
    tcsetwinsize(side, Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 })
        .expect("it is resized");
    terminal.types("\\! stty size\n");
    terminal.shows("33 101").await;

    terminal.types("\\q\n");
    terminal.ended().await;
    assert_eq!(bench.sessions().await, 0, "{}", terminal.shown());
}

#[tokio::test]
async fn a_closed_terminal_ends_the_session() {
    let (server, authority) = server("orders-db.closed.svc").await;
    let bench = Bench::new("closed", "postgres", "orders-db.closed.svc:5432").await;
    bench.psql().await;
    bench.server(server.port()).await;
    let _operator = bench.operator(Answer::signed(server.client_authority(), authority.cert_pem()));
    let mut terminal = Terminal::start(&bench);
    terminal.shows("postgres=> ").await;
    assert_eq!(bench.sessions().await, 1);
    // The reader holds the terminal open: what the kernel does when it is closed is to send this.
    let pid = terminal.child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
    let pid = pid.expect("it runs");
    rustix::process::kill_process_group(pid, rustix::process::Signal::HUP).expect("it is there");
    terminal.side = None;
    terminal.ended().await;
    bench.ended().await;
}
