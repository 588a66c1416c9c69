//! What is wrong with a stored object, found when it is read.

use std::fmt;

use serde::Serialize;

use crate::one_line::OneLine;

/// One fault of a role or an import rule: where and what it is.
///
/// All faults of an object are reported together, so that its author can fix them in one go. The texts are fit
/// for a condition's message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where in the spec, for example `allow.dbPermissions[0].match["dept"][1]`.
    pub path: String,
    /// What is wrong, and where it helps, what to write instead.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", OneLine(&self.path), OneLine(&self.message))
    }
}

impl std::error::Error for Fault {}

/// Collects the faults of one object while it is read, and counts what may occur in it only so many times.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<Fault>,
    pub(crate) regexes: Count,
    pub(crate) large_regexes: Count,
}

/// How many there are of something.
#[derive(Debug, Default)]
pub(crate) struct Count(usize);

impl Count {
    /// Counts one more, unless there are `most` already.
    pub(crate) fn admit(&mut self, most: usize) -> bool {
        let admitted = self.0 < most;
        self.0 += usize::from(admitted);
        admitted
    }
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a fault at `path`, once. Beyond a hundred none is recorded: nobody reads more.
    pub fn add(&mut self, path: impl fmt::Display, message: impl fmt::Display) {
        const MOST: usize = 100;
        let fault = Fault { path: path.to_string(), message: message.to_string() };
        if self.found.len() < MOST && !self.found.contains(&fault) {
            self.found.push(fault);
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All faults, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Fault> {
        self.found
    }
}
