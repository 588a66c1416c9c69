//! Stands in for AWS where there is none: in tests, in the demo and in benchmarks. Nothing that ships uses it.
//!
//! Each double is stricter than the service is known to be, so that what passes here has a chance there. None of them
//! is AWS: what they say about it is what documents, drivers and reports say.

pub mod front;
pub mod rds;
pub mod redshift;
pub mod sigv4;
