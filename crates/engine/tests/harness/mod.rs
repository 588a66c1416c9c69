//! What the conformance suite runs on.

mod fake;
mod real;

pub(crate) use fake::FakeServer;
pub(crate) use real::{Admin, RealServer};
