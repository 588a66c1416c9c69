//! The operator in memory: an API server, database servers and a clock that do what real ones do, and go wrong in every
//! way that real ones do, in virtual time.
//!
//! | module | contents |
//! |---|---|
//! | `cluster` | everything around the operator: time, chance, faults |
//! | `store`, `api`, `watching` | the API server: what it stores, answers, and sends to watches |
//! | `server`, `network` | the database servers, and how they are reached |
//! | `life` | the operator, from a start to a crash |
//! | `operation`, `approvals` | what can happen; what people decide |
//! | `evidence`, `checks` | what was seen and said, and what is checked at every write |
//! | `oracle`, `convergence` | what should be in the end |
//! | `lifecycle` | the test: histories are generated, run, and shrunk where one fails |
//! | `invariants` | shows that each invariant fails where something is broken on purpose |
//! | `moves` | from which phase to which a session may go |
//! | `requests` | what a session asks of the API server |
//! | `walk` | which files a session enters until it is Active |
//!
//! `ROLECALL_SIMULATION_CASES` says how many histories are tried, `ROLECALL_SIMULATION_SEED` which, and
//! `ROLECALL_SIMULATION_TRACE=1` prints everything that happened in the one that failed.

mod api;
mod approvals;
mod checks;
mod cluster;
mod convergence;
mod evidence;
mod invariants;
mod life;
mod lifecycle;
mod moves;
mod network;
mod operation;
mod oracle;
mod requests;
mod server;
mod store;
mod walk;
mod watching;
