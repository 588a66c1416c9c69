//! The failure of an attempt for which several wait.

use rolecall_engine::Error;
use tokio::time::Instant;

/// The last failure. Where attempts come one after another, each bounded, whoever waits for one takes its failure: to
/// try again in turn would bound nothing.
#[derive(Debug, Default)]
pub(crate) struct LastFailure(Option<(Instant, Error)>);

impl LastFailure {
    /// That of an attempt which ended after this time.
    pub(crate) fn since(&self, time: Instant) -> Option<Error> {
        self.0.as_ref().filter(|(ended, _)| *ended > time).map(|(_, error)| error.clone())
    }

    /// An attempt has just failed.
    pub(crate) fn record(&mut self, error: Error) -> Error {
        self.0 = Some((Instant::now(), error.clone()));
        error
    }
}
