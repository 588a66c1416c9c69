//! One behaviour per test, on a real API server and real PostgreSQL servers.

mod credentials;
mod policy;
mod sessions;
