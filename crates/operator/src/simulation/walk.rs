//! The walk of one session from the watch event to Active, as docs/architecture.md lists it.

use std::fmt::{Debug, Write};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolecall_api::{DatabaseSession, SessionPhase};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::cluster::{Cluster, locked};
use super::life::Life;
use super::operation::{Operation, SESSIONS};
use crate::model::WALK;
use crate::model::session::phase;

/// The files that were entered, each with the key that it was entered with.
#[derive(Clone, Default)]
struct Entered(Arc<Mutex<Vec<(String, &'static str)>>>);

impl<S: Subscriber> Layer<S> for Entered {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let file = metadata.file().and_then(|file| Some(file.rsplit_once("operator/src/")?.1));
        if let Some(file) = file.filter(|_| metadata.target() == WALK) {
            let mut key = Key(String::new());
            event.record(&mut key);
            locked(&self.0).push((key.0, file));
        }
    }
}

struct Key(String);

impl Visit for Key {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "key" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// The files that docs/architecture.md lists.
fn documented() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/architecture.md");
    let text = fs::read_to_string(path).unwrap();
    let listed = text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    let file =
        |line: &str| Some(line.split_once("(../crates/operator/src/")?.1.split_once(')')?.0.to_owned());
    listed.filter_map(file).collect()
}

fn start(session: usize, user: usize) -> Operation {
    Operation::CreateSession { session, user, admin: 0, database: Some("app"), ttl: None, keep: 0 }
}

#[test]
fn a_session_enters_the_files_that_the_documentation_lists_each_once_in_their_order() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let entered = Entered::default();
    let subscriber = tracing_subscriber::registry().with(entered.clone());
    let _default = tracing::subscriber::set_default(subscriber);
    let cluster = Cluster::new(1);
    cluster.set_up(false);
    let life = Life::begin(&cluster);
    let start = |session, user| {
        life.during(|| cluster.carry_out(&start(session, user)));
        life.live(Duration::from_secs(30));
    };
    // Tests beside this one may have made an event known while nobody subscribed on their threads.
    start(1, 1);
    tracing::callsite::rebuild_interest_cache();
    locked(&entered.0).clear();
    start(0, 0);
    let session: DatabaseSession = cluster.store().get(SESSIONS[0]).unwrap();
    assert_eq!(phase(&session), SessionPhase::Active);

    let entered = std::mem::take(&mut *locked(&entered.0));
    let of_session = |key: &str| key.contains("alice") || key.contains(SESSIONS[0]);
    let mut walk: Vec<&str> = Vec::new();
    for (_, file) in entered.iter().filter(|(key, _)| of_session(key)) {
        if !walk.contains(file) {
            walk.push(file);
        }
    }
    assert_eq!(walk, documented());
    assert!(walk.len() <= 10, "{walk:?}");

    let mut steps: Vec<&str> = Vec::new();
    for (_, file) in entered.iter().filter(|(key, file)| of_session(key) && file.starts_with("account/")) {
        if steps.last() != Some(file) {
            assert!(!steps.contains(file), "{file} is entered again after {steps:?}");
            steps.push(file);
        }
        if *file == "account/write.rs" {
            break;
        }
    }
}
