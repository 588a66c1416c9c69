//! A name that leads to the writer of a cluster, and a server behind it that only reads: a failover is under way, and the
//! name still leads to the writer before. It is resolved anew for each connection.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rolecall_engine::{Class, Error, Reason};

use crate::transport::config::Config;

/// How long a failover may take until the name is taken for one of a reader.
const PATIENCE: Duration = Duration::from_secs(60);

/// Since when the server behind the name only reads.
#[derive(Debug, Default)]
pub(crate) struct ReaderSince(Mutex<Option<Instant>>);

impl ReaderSince {
    /// The server only reads. Is that a failover under way?
    pub(crate) fn note_reader(&self, config: &Config, now: Instant) -> bool {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        should_write(config) && now.duration_since(*since.get_or_insert(now)) < PATIENCE
    }

    /// The server writes.
    pub(crate) fn note_writer(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Does the name lead to a server that writes?
pub(crate) fn should_write(config: &Config) -> bool {
    config.leads_to_writer && !config.read_only
}

/// That the writer only reads, as something that passes.
pub(crate) fn under_way(attempted: String, code: String) -> Error {
    Error {
        class: Class::Unreachable,
        reason: Reason::DatabaseUnreachable,
        attempted,
        code,
        detail: "the name of the cluster's writer leads to a server that only reads: a failover is under way"
            .to_owned(),
        remedy: "it is tried again, and the name is resolved anew".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::config::Auth;

    #[test]
    fn a_writer_that_only_reads_is_waited_for_for_a_minute() {
        let mut config = Config::new("db", 5432, "adm", Auth::Password("x".into()));
        let (since, start) = (ReaderSince::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!since.note_reader(&config, start), "the name says nothing");
        since.note_writer();
        config.leads_to_writer = true;
        assert!(since.note_reader(&config, start) && since.note_reader(&config, at(59)));
        assert!(!since.note_reader(&config, at(60)));
        since.note_writer();
        assert!(since.note_reader(&config, at(100)), "another failover");
        config.read_only = true;
        assert!(!since.note_reader(&config, at(100)), "nothing is to be written");
    }
}
