//! One behaviour per test, on a real API server and real PostgreSQL servers.

mod accounts;
mod admin_conditions;
mod admin_drift;
mod admin_secrets;
mod bad_input_account;
mod bad_input_names;
mod bad_input_policy;
mod bad_input_server;
mod checks;
mod credentials;
mod deletion_admin;
mod deletion_namespace;
mod deletion_outage;
mod endings;
mod idle;
mod leader;
mod mongodb;
mod permissions;
mod policy;
mod process;
mod restart;
mod secrecy;
mod sessions;
mod status;
mod suspend;
mod vectors;
