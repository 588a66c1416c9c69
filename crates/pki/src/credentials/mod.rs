//! What users prove themselves with: client certificates and password verifiers.
//!
//! Nothing here reads a clock: times come in as arguments.

mod ca;
mod certificate;
pub mod password;
mod signing;

use rolecall_engine::{Class, Error, Reason};

pub use ca::Ca;
pub use certificate::{CLOCK_SKEW, Certificate, answer, issue, throw_away};

use crate::pem;

/// The certificates of a text as PEM, and nothing else in it; `None` where there is none.
pub fn only_certificates(text: &str) -> Option<String> {
    pem::certificates(text).ok().map(|certificates| pem::encode_certificates(&certificates))
}

/// A fault in what an author gave; `attempted` names it.
fn invalid(reason: Reason, attempted: &str, detail: impl Into<String>, remedy: &str) -> Error {
    Error {
        class: Class::Invalid,
        reason,
        attempted: attempted.to_owned(),
        code: String::new(),
        detail: detail.into(),
        remedy: remedy.to_owned(),
    }
}
