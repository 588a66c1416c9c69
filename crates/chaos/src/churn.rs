//! Sessions that start and end all the time, while faults happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::lane::{Lane, USERS};
use crate::objects::{Kind, Objects, name_of};
use crate::server::{DATABASE, Server};

/// About so many sessions are there at a time, in one lane alone and in one of many.
const MANY: (usize, usize) = (14, 6);

/// See the module.
#[derive(Debug)]
pub struct Churn {
    running: watch::Sender<bool>,
    stop: Arc<AtomicBool>,
    created: Arc<AtomicUsize>,
    /// Held while something is under way.
    turn: Arc<Mutex<()>>,
    task: JoinHandle<()>,
}

impl Churn {
    /// Begins in one of so many lanes, but does nothing yet: see [`Churn::resume`].
    pub fn start(lane: &Lane, seed: u64, lanes: usize) -> Self {
        let (running, runs) = watch::channel(false);
        let (stop, created, turn) = (Arc::default(), Arc::default(), Arc::default());
        let work = Work {
            objects: lane.objects.clone(),
            random: StdRng::seed_from_u64(seed ^ 0x5e55),
            many: if lanes == 1 { MANY.0 } else { MANY.1 },
            // Lanes share one machine.
            pause: lanes.div_ceil(2) as u64,
            stop: Arc::clone(&stop),
            created: Arc::clone(&created),
            turn: Arc::clone(&turn),
        };
        Self { running, stop, created, turn, task: tokio::spawn(work.go_on(runs)) }
    }

    /// Sessions start and end from now on.
    pub fn resume(&self) {
        self.running.send_replace(true);
    }

    /// Nothing is asked for any more; what was, goes on.
    pub async fn pause(&self) {
        self.running.send_replace(false);
        let _ = self.turn.lock().await;
    }

    /// It is over; returns how many sessions were created.
    pub async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.running.send_replace(true);
        // It ends after what is under way.
        let _ = self.task.await;
        self.created.load(Ordering::Relaxed)
    }
}

struct Work {
    objects: Objects,
    random: StdRng,
    many: usize,
    pause: u64,
    stop: Arc<AtomicBool>,
    created: Arc<AtomicUsize>,
    turn: Arc<Mutex<()>>,
}

impl Work {
    async fn go_on(mut self, mut runs: watch::Receiver<bool>) {
        loop {
            if runs.wait_for(|running| *running).await.is_err() || self.stop.load(Ordering::Relaxed) {
                return;
            }
            {
                let turn = Arc::clone(&self.turn);
                let _turn = turn.lock().await;
                if *runs.borrow() {
                    // The API server may be the one that is broken.
                    let _ = self.once().await;
                }
            }
            let pause = self.random.random_range(20..200) * self.pause;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn once(&mut self) -> anyhow::Result<()> {
        let sessions = self.objects.list(Kind::Session).await?;
        let is_over =
            |session: &&Value| ["Ended", "Rejected"].iter().any(|phase| session["status"]["phase"] == *phase);
        let is_kept = |session: &&Value| session["metadata"]["deletionTimestamp"].is_null();
        let over: Vec<&Value> = sessions.iter().filter(is_over).filter(is_kept).collect();
        let live: Vec<&Value> = sessions.iter().filter(is_kept).filter(|session| !is_over(session)).collect();
        if let Some(session) = over.choose(&mut self.random)
            && over.len() > 3
        {
            return self.objects.delete(Kind::Session, name_of(session)).await;
        }
        let few = live.len() < self.random.random_range(0..2 * self.many);
        match live.choose(&mut self.random) {
            Some(session) if !few => self.objects.delete(Kind::Session, name_of(session)).await,
            _ => {
                let spec = self.spec();
                self.created.fetch_add(1, Ordering::Relaxed);
                self.objects.apply(self.session(spec)).await
            }
        }
    }

    fn spec(&mut self) -> Value {
        let (user, _) = USERS[self.random.random_range(0..USERS.len())];
        let server = Server::ALL[self.random.random_range(0..Server::ALL.len())];
        let mut spec = json!({"user": user, "database": server.name(), "databaseName": DATABASE});
        if self.random.random_bool(0.3) {
            spec["ttl"] = format!("{}s", self.random.random_range(3..30)).into();
        }
        spec
    }

    fn session(&self, spec: Value) -> Value {
        let number = self.created.load(Ordering::Relaxed);
        json!({
            "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession",
            "metadata": {"name": format!("session-{number}")}, "spec": spec,
        })
    }
}
