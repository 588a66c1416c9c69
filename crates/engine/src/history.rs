//! Where a server is in its history: what distinguishes a primary from the standby that took its place.
//!
//! A server keeps its identity over a failover, but a standby that lagged behind has not heard of the last changes: of
//! the end of an access, say. So whoever ended an access has to notice.

use std::fmt;

use futures::future::BoxFuture;

/// Where a server is in the course of its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The branch of its changes: each promotion begins another one (PostgreSQL: `timeline 2`; MongoDB: `term 7`).
    /// Empty where the server does not say.
    pub branch: String,
    /// The run of the server process.
    pub run: String,
    /// How far its changes have come (PostgreSQL: the LSN; MongoDB: the optime); 0 where the server does not say.
    pub position: u64,
}

/// What happened between two reads of a server's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryChange {
    /// Another server was promoted, or this one recovered to another point: the last changes may be lost.
    Branched {
        /// The branch before.
        from: String,
        /// The branch now.
        to: String,
    },
    /// The same branch, but less far on it: the server was set back to an earlier state.
    SetBack,
    /// The server was started again.
    Restarted,
}

impl History {
    /// What happened since `before`; `None`: nothing but changes.
    pub fn change_since(&self, before: &Self) -> Option<HistoryChange> {
        if self.branch != before.branch && !self.branch.is_empty() && !before.branch.is_empty() {
            let (from, to) = (before.branch.clone(), self.branch.clone());
            return Some(HistoryChange::Branched { from, to });
        }
        if self.run == before.run {
            return None;
        }
        if self.position != 0 && self.position < before.position {
            return Some(HistoryChange::SetBack);
        }
        Some(HistoryChange::Restarted)
    }
}

impl HistoryChange {
    /// Can the server have lost changes that it had confirmed?
    pub fn may_have_lost(&self) -> bool {
        !matches!(self, Self::Restarted)
    }
}

impl fmt::Display for HistoryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branched { from, to } => write!(f, "failover from {from} to {to}"),
            Self::SetBack => f.write_str("the server was set back to an earlier state"),
            Self::Restarted => f.write_str("the server was started again"),
        }
    }
}

/// A server whose history is watched: see [`Engine::watch_history`](crate::Engine::watch_history).
pub struct HistoryWatch {
    /// Where it is in its history.
    pub history: History,
    /// It takes changes: it is no standby.
    pub primary: bool,
    /// Ends when a connection to the server breaks, or another member is primary: the server may be another
    /// one by then. Until this is dropped a connection is kept for it, where there is one to spare.
    pub lost: BoxFuture<'static, ()>,
}

impl fmt::Debug for HistoryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { history, primary, lost: _ } = self;
        f.debug_struct("HistoryWatch")
            .field("history", history)
            .field("primary", primary)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(branch: &str, run: &str, position: u64) -> History {
        History { branch: branch.to_owned(), run: run.to_owned(), position }
    }

    #[test]
    fn a_promotion_is_distinguished_from_a_restart_and_a_restore() {
        let before = at("timeline 1", "monday", 100);
        let branched = HistoryChange::Branched { from: "timeline 1".into(), to: "timeline 2".into() };
        assert_eq!(at("timeline 1", "monday", 200).change_since(&before), None);
        assert_eq!(at("timeline 2", "sunday", 50).change_since(&before), Some(branched.clone()));
        // A promotion is one whether or not the standby was further than what was seen of the primary.
        assert_eq!(at("timeline 2", "sunday", 500).change_since(&before), Some(branched));
        assert_eq!(at("timeline 1", "tuesday", 100).change_since(&before), Some(HistoryChange::Restarted));
        assert_eq!(at("timeline 1", "tuesday", 99).change_since(&before), Some(HistoryChange::SetBack));
    }

    #[test]
    fn what_a_server_does_not_report_is_no_change() {
        let known = at("timeline 1", "monday", 100);
        let untold = at("", "monday", 0);
        assert_eq!(untold.change_since(&known), None);
        assert_eq!(known.change_since(&untold), None);
        assert_eq!(at("", "tuesday", 0).change_since(&known), Some(HistoryChange::Restarted));
    }

    #[test]
    fn only_a_restart_loses_nothing() {
        let branched = HistoryChange::Branched { from: "term 1".into(), to: "term 2".into() };
        assert!(branched.may_have_lost() && HistoryChange::SetBack.may_have_lost());
        assert!(!HistoryChange::Restarted.may_have_lost());
    }
}
