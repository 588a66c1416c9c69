//! The table at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::checker::{Outcome, Violation};
use crate::schedule::Kind;

/// The operator's logs of so many faults are shown.
const LOGS: usize = 3;

/// One fault, and what became of it.
#[derive(Clone, Debug)]
pub struct Round {
    /// Which one it was.
    pub number: usize,
    /// Its kind; none before the first.
    pub kind: Option<Kind>,
    /// What it was in detail.
    pub detail: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What the operator wrote about what was wrong; empty where nothing was.
    pub log: String,
}

/// Everything that happened.
#[derive(Clone, Debug)]
pub struct Report {
    seed: u64,
    rounds: Vec<Round>,
    /// Faults that could not be inflicted as a whole, and why.
    pub failed: Vec<(Kind, String)>,
    /// Sessions that were created.
    pub sessions: usize,
    /// How often Teleport gave access beside them.
    pub accesses_of_teleport: usize,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Nothing has happened yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rounds: Vec::new(),
            failed: Vec::new(),
            sessions: 0,
            accesses_of_teleport: 0,
            took: Duration::ZERO,
        }
    }

    /// Adds a fault.
    pub fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// Adds one that could not be inflicted.
    pub fn failed(&mut self, kind: Kind, error: &anyhow::Error) {
        self.failed.push((kind, format!("{error:#}")));
    }

    /// Everything that was wrong.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.rounds.iter().flat_map(|round| &round.outcome.violations)
    }

    /// How many faults there were.
    pub fn faults(&self) -> usize {
        self.rounds.iter().filter(|round| round.kind.is_some()).count()
    }

    /// The kill points that were hit, by name, and how often.
    pub fn kill_points(&self) -> BTreeMap<&str, usize> {
        let mut points = BTreeMap::new();
        let armed = |round: &&Round| matches!(round.kind, Some(Kind::OperatorKillPoint | Kind::LateLeader));
        for round in self.rounds.iter().filter(armed) {
            // What was not reached is none.
            if let Some((_, point)) = round.detail.split_once(": ").filter(|(_, point)| point.contains('(')) {
                *points.entry(point).or_default() += 1;
            }
        }
        points
    }
}

impl fmt::Display for Report {
    /// What went wrong stands first, as it must not be cut off; the table follows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, error) in &self.failed {
            writeln!(f, "not inflicted as a whole: {}: {error}", kind.name())?;
        }
        let wrong: Vec<&Round> =
            self.rounds.iter().filter(|round| !round.outcome.violations.is_empty()).collect();
        for round in &wrong {
            let kind = round.kind.map_or("before the first fault", Kind::name);
            for violation in &round.outcome.violations {
                writeln!(f, "VIOLATION after {} {kind} ({}): {violation}", round.number, round.detail)?;
            }
        }
        for round in wrong.iter().take(LOGS) {
            writeln!(f, "\nthe operator's log after {}:\n{}\n", round.number, round.log)?;
        }
        writeln!(f, "| fault | times | violations | healed, median | healed, longest |")?;
        writeln!(f, "|---|--:|--:|--:|--:|")?;
        for kind in Kind::ALL {
            let of_kind: Vec<&Round> = self.rounds.iter().filter(|round| round.kind == Some(*kind)).collect();
            if !of_kind.is_empty() {
                row(f, kind.name(), &of_kind)?;
            }
        }
        let all: Vec<&Round> = self.rounds.iter().filter(|round| round.kind.is_some()).collect();
        row(f, "all", &all)?;
        writeln!(
            f,
            "\nseed {}, {:.0} s, {} sessions, {} accesses of Teleport's, {} kinds of kill points hit {} times",
            self.seed,
            self.took.as_secs_f64(),
            self.sessions,
            self.accesses_of_teleport,
            self.kill_points().len(),
            self.kill_points().values().sum::<usize>(),
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, rounds: &[&Round]) -> fmt::Result {
    let mut healed: Vec<Duration> = rounds.iter().map(|round| round.outcome.after).collect();
    healed.sort_unstable();
    let violations: usize = rounds.iter().map(|round| round.outcome.violations.len()).sum();
    let seconds = |time: Option<&Duration>| time.copied().unwrap_or_default().as_secs_f64();
    let (median, longest) = (seconds(healed.get(healed.len() / 2)), seconds(healed.last()));
    writeln!(f, "| {name} | {} | {violations} | {median:.1} s | {longest:.1} s |", rounds.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Class;

    #[test]
    fn what_went_wrong_stands_before_the_table() {
        let mut report = Report::new(1);
        let violation = Violation {
            class: Class::LeakedSecret,
            subject: "session-1".to_owned(),
            seen: "it is there".to_owned(),
        };
        report.add(Round {
            number: 7,
            kind: Some(Kind::LateLeader),
            detail: "9: api.writes (Create secrets)".to_owned(),
            outcome: Outcome { violations: vec![violation], ..Outcome::default() },
            log: "wrote a Secret".to_owned(),
        });
        report.failed(Kind::ApiKilled, &anyhow::anyhow!("no port"));
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().take(4).collect();
        assert_eq!(
            lines,
            [
                "not inflicted as a whole: api-server-killed: no port",
                "VIOLATION after 7 late-leader (9: api.writes (Create secrets)): LeakedSecret session-1: it is there",
                "",
                "the operator's log after 7:",
            ]
        );
        assert!(text.contains("wrote a Secret") && text.contains("| late-leader | 1 | 1 |"), "{text}");
        assert_eq!(report.kill_points().len(), 1);
    }
}
