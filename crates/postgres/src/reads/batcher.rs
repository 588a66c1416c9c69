//! Calls that want to read at the same time share a message.
//!
//! The first becomes the leader and reads for itself. Whoever comes while it reads waits; the next leader takes all
//! who wait along. No call waits for others to join: alone, it costs what it would without batching.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecall_engine::is_urgent;
use rolecall_engine::{Class, Error};
use tokio::sync::oneshot;

use crate::reads::observe::{self, Question, Reading};
use crate::transport::server::{Place, Server};

/// More in one message would gain nothing, and make all callers wait for the last.
const MOST: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Batcher {
    batches: Mutex<HashMap<BatchKey, Arc<Batch>>>,
}

/// Where something is read, and whether that is urgent: such questions do not wait for what others read.
type BatchKey = (Place, bool);

/// A call that has joined a batch. Where nobody is in it any more, there is no batch: logical databases have names that users choose.
struct Joined<'a> {
    batcher: &'a Batcher,
    key: BatchKey,
    batch: Arc<Batch>,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let mut batches = self.batcher.batches();
        // The one in the map, and this one.
        if Arc::strong_count(&self.batch) == 2 {
            batches.remove(&self.key);
        }
    }
}

impl std::ops::Deref for Joined<'_> {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

/// The calls that wait to read in one place.
#[derive(Debug, Default)]
struct Batch {
    waiting: Mutex<Vec<Waiting>>,
    leader: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    question: Question,
    answer: oneshot::Sender<Result<Reading, Error>>,
}

impl Batcher {
    /// Reads the answer to a question, with those of others where they are asked at the same time.
    pub(crate) async fn read(
        &self,
        server: &Server,
        place: &Place,
        question: Question,
    ) -> Result<Reading, Error> {
        let key = (place.clone(), is_urgent());
        let batch = Arc::clone(self.batches().entry(key.clone()).or_default());
        let batch = Joined { batcher: self, key, batch };
        'asking: loop {
            let (answer, mut answered) = oneshot::channel();
            batch.waiting().push(Waiting { question: question.clone(), answer });
            let _leader = tokio::select! {
                biased;
                result = &mut answered => match result {
                    Ok(result) => return result,
                    // The leader was dropped before it answered: ask again.
                    Err(_) => continue 'asking,
                },
                leader = batch.leader.lock() => leader,
            };
            // Nobody else leads now. So the question is answered, or given up, or still waits.
            loop {
                match answered.try_recv() {
                    Ok(result) => return result,
                    Err(oneshot::error::TryRecvError::Closed) => continue 'asking,
                    Err(oneshot::error::TryRecvError::Empty) => answer_all(server, place, batch.take()).await,
                }
            }
        }
    }

    fn batches(&self) -> MutexGuard<'_, HashMap<BatchKey, Arc<Batch>>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who have waited longest. Whoever has gone away is left out.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        waiting.retain(|one| !one.answer.is_closed());
        let most = waiting.len().min(MOST);
        waiting.drain(..most).collect()
    }
}

async fn answer_all(server: &Server, place: &Place, batch: Vec<Waiting>) {
    let questions: Vec<Question> = batch.iter().map(|one| one.question.clone()).collect();
    match read(server, place, &questions).await {
        Ok(readings) => {
            for (one, reading) in batch.into_iter().zip(readings) {
                // Whoever asked may have gone away.
                let _ = one.answer.send(Ok(reading));
            }
        }
        // One name that the server cannot process must not fail all the others.
        Err(error) if error.class == Class::Refused && batch.len() > 1 => {
            for one in batch {
                let result = read(server, place, std::slice::from_ref(&one.question)).await;
                let _ = one.answer.send(result.map(|mut readings| readings.pop().unwrap_or_default()));
            }
        }
        Err(error) => {
            for one in batch {
                let _ = one.answer.send(Err(error.clone()));
            }
        }
    }
}

async fn read(server: &Server, place: &Place, questions: &[Question]) -> Result<Vec<Reading>, Error> {
    let reply = server.run(place, &observe::message(questions)).await?;
    observe::readings(questions, &reply)
}
