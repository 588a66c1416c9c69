//! What a conversion reports besides its result.

use std::fmt;

use crate::input::Location;

/// What was found while converting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What could not be carried over: the result says less, or closes more, than the source.
    pub lost: Vec<Finding>,
    /// What the cluster would not take of the result, by the bounds and rules of its kinds.
    pub refused: Vec<Finding>,
    /// What a reader should know or do; nothing is missing.
    pub notes: Vec<Finding>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The document.
    pub place: String,
    /// The resource in it, such as `role developer`.
    pub resource: String,
    /// The field; empty: the resource itself.
    pub field: String,
    /// The message.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.place, self.resource)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.text)
    }
}

/// Reports about one resource.
#[derive(Debug)]
pub(super) struct Reporter<'a> {
    pub(super) place: &'a Location,
    pub(super) resource: String,
    pub(super) report: &'a mut Report,
}

impl Reporter<'_> {
    /// Something could not be carried over.
    pub(super) fn lost(&mut self, field: impl Into<String>, why: impl Into<String>) {
        let finding = self.finding(field.into(), why.into());
        self.report.lost.push(finding);
    }

    /// The cluster would not take the result.
    pub(super) fn refused(&mut self, field: impl Into<String>, why: impl Into<String>) {
        let finding = self.finding(field.into(), why.into());
        self.report.refused.push(finding);
    }

    /// Something that a reader should know.
    pub(super) fn note(&mut self, field: impl Into<String>, text: impl Into<String>) {
        let finding = self.finding(field.into(), text.into());
        self.report.notes.push(finding);
    }

    fn finding(&self, field: String, text: String) -> Finding {
        Finding { place: self.place.to_string(), resource: self.resource.clone(), field, text }
    }
}
