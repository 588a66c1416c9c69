//! Whether the operator may go now: a pure function of what one round showed.

use std::time::Duration;

/// How long an operator has to hear of it: longer than it takes until another replica has the Lease of one that
/// was killed.
const ANSWERS_WITHIN: Duration = Duration::from_secs(45);

/// What one round showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// The operator had answered that it drains, just before the sessions were read.
    pub(super) answered: bool,
    /// It has heard at all of what is asked.
    pub(super) heard: bool,
    /// For how long this has been going on.
    pub(super) waited: Duration,
    /// How many sessions may have access.
    pub(super) open: usize,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// No session has access, and none can get it.
    Done,
    /// No session has access, and there is nobody who could give it one.
    Nobody,
    /// Not yet.
    Wait,
    /// It took too long.
    GiveUp,
}

/// What to do after a round.
pub(super) fn next(round: Round, timeout: Duration) -> Next {
    let Round { answered, heard, waited, open } = round;
    // Without an operator waiting longer changes nothing.
    let patience = if heard { timeout } else { timeout.min(ANSWERS_WITHIN) };
    match (open, answered) {
        (0, true) => Next::Done,
        _ if waited < patience => Next::Wait,
        (0, false) if !heard => Next::Nobody,
        _ => Next::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, open: usize, answered: bool, heard: bool) -> Next {
        let waited = Duration::from_secs(seconds);
        next(Round { answered, heard, waited, open }, Duration::from_secs(240))
    }

    #[test]
    fn it_may_go_when_it_drains_and_nothing_is_open() {
        assert_eq!(after(1, 0, true, true), Next::Done);
        assert_eq!(after(1, 0, false, false), Next::Wait, "a session may be starting");
        assert_eq!(after(239, 0, false, true), Next::Wait, "another replica may lead now");
        assert_eq!(after(1, 1, true, true), Next::Wait);
    }

    #[test]
    fn a_session_that_cannot_be_ended_keeps_it() {
        assert_eq!(after(239, 1, true, true), Next::Wait);
        assert_eq!(after(240, 1, true, true), Next::GiveUp);
        assert_eq!(after(240, 0, false, true), Next::GiveUp, "nobody says that none starts");
    }

    #[test]
    fn without_an_operator_nobody_waits_for_long() {
        assert_eq!(after(44, 1, false, false), Next::Wait);
        assert_eq!(after(45, 1, false, false), Next::GiveUp);
        assert_eq!(after(45, 0, false, false), Next::Nobody);
        assert_eq!(
            after(46, 0, false, true),
            Next::Wait,
            "a reconcile from before may still start a session"
        );
    }
}
