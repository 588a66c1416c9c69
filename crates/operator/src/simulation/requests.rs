//! What a session asks of the API server, one by one. Whoever adds a request adds it here, and says what for.

use std::sync::Arc;
use std::time::Duration;

use rolecall_api::DatabaseSession;

use super::cluster::Cluster;
use super::life::Life;
use super::operation::{ADMINS, Operation};

/// Longer than anything of a session that is put off, and less than until the Secrets of live sessions are looked at.
const AFTERWARDS: u64 = 20;

struct Run {
    cluster: Arc<Cluster>,
    life: Life,
}

impl Run {
    fn new(passwords: bool, admission: bool) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cluster = Cluster::new(1);
        cluster.carry_out(&Operation::Admission(admission));
        cluster.set_up(passwords);
        let life = Life::begin(&cluster);
        life.live(Duration::from_secs(AFTERWARDS));
        Self { cluster, life }
    }

    /// What the operator asks for while something happens, and for so many seconds afterwards. A server's accounts are
    /// counted again after a change: not for each session, but once for all within three seconds.
    fn requests(&self, operations: &[Operation], seconds: u64) -> Vec<String> {
        self.cluster.evidence().requests.clear();
        self.life.during(|| operations.iter().for_each(|operation| self.cluster.carry_out(operation)));
        self.life.live(Duration::from_secs(seconds));
        let requests = std::mem::take(&mut self.cluster.evidence().requests);
        let of_sessions = requests.iter().filter_map(|request| {
            let (what, name) = request.rsplit_once(' ')?;
            let is_of_server = ADMINS.iter().any(|admin| name.starts_with(admin));
            (!is_of_server).then(|| what.to_owned())
        });
        let mut requests: Vec<String> = of_sessions.collect();
        requests.sort();
        requests
    }
}

fn session(session: usize, user: usize, admin: usize) -> Operation {
    Operation::CreateSession { session, user, admin, database: Some("app"), ttl: None, keep: 0 }
}

#[test]
fn a_session_with_a_password_takes_four_requests_to_start_and_four_to_end() {
    let run = Run::new(true, false);
    let start = [
        "ApplyStatus databasesessions",
        "ApplyStatus databaseusers",
        "Create secrets",
        "Merge databasesessions",
    ];
    assert_eq!(run.requests(&[session(0, 0, 0)], AFTERWARDS), start);
    let end = ["ApplyStatus databaseusers", "Delete secrets", "Event Deleted", "Merge databasesessions"];
    assert_eq!(run.requests(&[Operation::DeleteSession(0)], AFTERWARDS), end);
}

#[test]
fn a_session_without_a_secret_takes_three_requests_to_start_and_three_to_end() {
    let run = Run::new(false, false);
    let start = ["ApplyStatus databasesessions", "ApplyStatus databaseusers", "Merge databasesessions"];
    assert_eq!(run.requests(&[session(0, 0, 0)], AFTERWARDS), start);
    let end = ["ApplyStatus databaseusers", "Event Deleted", "Merge databasesessions"];
    assert_eq!(run.requests(&[Operation::DeleteSession(0)], AFTERWARDS), end);
}

#[test]
fn where_admission_puts_the_finalizer_on_it_a_session_with_a_password_takes_three_requests_to_start() {
    let run = Run::new(true, true);
    let start = ["ApplyStatus databasesessions", "ApplyStatus databaseusers", "Create secrets"];
    assert_eq!(run.requests(&[session(0, 0, 0)], AFTERWARDS), start);
    let end = ["ApplyStatus databaseusers", "Delete secrets", "Event Deleted", "Merge databasesessions"];
    assert_eq!(run.requests(&[Operation::DeleteSession(0)], AFTERWARDS), end);
    // What has no Secret is written nevertheless.
    let run = Run::new(false, true);
    let start = ["ApplyStatus databasesessions", "ApplyStatus databaseusers", "Merge databasesessions"];
    assert_eq!(run.requests(&[session(0, 0, 0)], AFTERWARDS), start);
}

#[test]
fn a_session_that_is_deleted_before_its_start_goes_at_once_whatever_its_server_does() {
    let run = Run::new(true, true);
    run.requests(&[Operation::ServerDown { server: 0, down: true }, session(0, 0, 0)], AFTERWARDS);
    let end = ["Event Deleted", "Merge databasesessions"];
    assert_eq!(run.requests(&[Operation::DeleteSession(0)], 2), end);
    assert!(run.cluster.store().all::<DatabaseSession>().is_empty());
}

#[test]
fn what_becomes_of_the_accounts_of_a_user_within_ten_seconds_is_one_request() {
    let users =
        |requests: Vec<String>| requests.iter().filter(|one| *one == "ApplyStatus databaseusers").count();
    let run = Run::new(true, false);
    assert_eq!(users(run.requests(&[session(0, 0, 0), session(1, 0, 1)], 8)), 0);
    let ends = [Operation::DeleteSession(0), Operation::DeleteSession(1), session(2, 0, 0)];
    assert_eq!(users(run.requests(&ends, AFTERWARDS)), 1);
}
