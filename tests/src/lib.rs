//! Rolecall from end to end, on a real API server and real PostgreSQL servers.
//!
//! A test starts with a [`TestEnv`]: its own namespace in the one cluster of the test binary, its own PostgreSQL
//! server, a DatabaseAdmin `orders`, a ProvisioningRole `reader`, a DatabaseUser `alice`, and an operator.
//!
//! ```no_run
//! use rolecall_tests::TestEnv;
//! use serde_json::json;
//!
//! # async fn example() -> anyhow::Result<()> {
//! let env = TestEnv::start().await?;
//! env.session("alice-orders", json!({"ttl": "1h"})).await?;
//! env.active("alice-orders").await?;
//! let client = env.login("alice-orders").await?;
//! assert!(env.account().await?.is_some_and(|account| account.login));
//! # drop(client);
//! # Ok(())
//! # }
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`cluster`] | the cluster of the test binary, and its clients |
//! | [`base_env`] | what every test starts with: a namespace, its objects, its operators |
//! | [`test_env`] | that, with a PostgreSQL server |
//! | [`rds`] | that, with a front before it that stands for RDS |
//! | [`redshift`] | that, with a simulator of Redshift |
//! | [`mongo`] | that, with a MongoDB server |
//! | [`rebuild`] | objects that are lost without a teardown
//! | [`objects`] | making, changing, reading objects, and waiting for them |
//! | [`accounts`] | what the database shows; logging in as a user |
//! | [`operator`] | the operator in this process: it can be stopped and crashed |
//! | [`forwarder`] | a forwarder in front of several database servers: it can be switched to another one |
//! | [`network`] | the network between an operator and the API server: it can be cut |
//! | [`process`] | the real program: it can be killed |
//! | [`log`] | what an operator wrote |
//!
//! Tests run in parallel. Waits are watches with a deadline; a wait that fails shows the object and what the operators
//! of the test wrote.

pub mod accounts;
pub mod audit;
pub mod base_env;
pub mod cluster;
pub mod forwarder;
pub mod log;
pub mod mongo;
pub mod network;
pub mod objects;
pub mod operator;
pub mod process;
pub mod rds;
pub mod rebuild;
pub mod redshift;
pub mod test_env;

pub use accounts::Account;
pub use base_env::BaseEnv;
pub use forwarder::Forwarder;
pub use mongo::{MongoAccount, MongoTestEnv};
pub use network::Network;
pub use operator::Operator;
pub use process::Process;
pub use test_env::{Credentials, TestEnv, TestEnvBuilder};

use std::time::Duration;

/// How long a test waits for something that should take a moment: long enough for a loaded machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);
