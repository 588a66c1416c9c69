//! What the conformance suite runs on.

mod collections;
mod fake;
mod mongo;
mod real;
mod redshift;
mod tables;
pub(crate) mod vectors;

pub(crate) use fake::FakeServer;
pub(crate) use mongo::{MongoServer, Rights};
pub(crate) use real::{Admin, RealServer};
pub(crate) use redshift::RedshiftServer;
