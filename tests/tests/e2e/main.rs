//! One behaviour per test, on a real API server and real PostgreSQL servers.

mod accounts;
mod credentials;
mod endings;
mod policy;
mod restart;
mod sessions;
mod status;
mod suspend;
