//! The conformance suite, on the fake, on PostgreSQL 15 to 18, on MongoDB, and on a simulator of Redshift.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

#[path = "../../postgres/tests/common/mod.rs"]
mod common;
mod harness;

use std::time::Instant;

use futures::StreamExt;
use harness::{Admin, FakeServer, MongoServer, RealServer, RedshiftServer, Rights, vectors};
use rolecall_engine::Engine as _;
use rolecall_engine_conformance::{self as conformance, Case, Harness};
use rolecall_testbed::{Mongo, PgVersion, Postgres};

/// Runs every case, and only then says which of them failed.
async fn run_all(name: &str, harness: &dyn Harness) {
    run_these(name, conformance::all(), harness).await;
}

async fn run_these(name: &str, cases: Vec<Case>, harness: &dyn Harness) {
    let started = Instant::now();
    let outcomes: Vec<_> = futures::stream::iter(&cases)
        .map(async |case| (case.name, (case.run)(harness).await))
        .buffer_unordered(6)
        .collect()
        .await;
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|(case, outcome)| outcome.as_ref().err().map(|why| format!("{case}: {why}")))
        .collect();
    println!("{name}: {}/{} in {:.1?}", outcomes.len() - failed.len(), outcomes.len(), started.elapsed());
    assert!(failed.is_empty(), "{name}:\n{}", failed.join("\n\n"));
}

async fn run_vectors(version: PgVersion) {
    let server = RealServer::new(Postgres::shared(version).await.unwrap(), Admin::CreateRole).await;
    vectors::run(&version.to_string(), &server).await;
}

async fn run_on(version: PgVersion, admin: Admin) {
    let server = RealServer::new(Postgres::shared(version).await.unwrap(), admin).await;
    run_all(&format!("{version}, {admin:?}"), &server).await;
    println!("{:?}", server.pg_engine().stats());
}

async fn run_on_mongodb(mongo: &'static Mongo, rights: Rights) {
    let server = MongoServer::new(mongo, rights).await;
    let cases = match rights {
        Rights::Sets => conformance::all(),
        Rights::Documented | Rights::OneDatabase | Rights::CreatesOnly | Rights::More => {
            conformance::accounts()
        }
    };
    run_these(&format!("MongoDB, {rights:?}"), cases, &server).await;
    println!("{:?}", server.engine().stats());
}

#[tokio::test]
async fn fake() {
    run_all("fake", &FakeServer::default()).await;
}

#[tokio::test]
async fn postgres_15() {
    run_on(PgVersion::V15, Admin::CreateRole).await;
}

#[tokio::test]
async fn postgres_16() {
    run_on(PgVersion::V16, Admin::CreateRole).await;
}

#[tokio::test]
async fn postgres_17() {
    run_on(PgVersion::V17, Admin::CreateRole).await;
}

#[tokio::test]
async fn postgres_18() {
    run_on(PgVersion::V18, Admin::CreateRole).await;
}

#[tokio::test]
async fn postgres_19() {
    run_on(PgVersion::V19, Admin::CreateRole).await;
}

#[tokio::test]
async fn postgres_16_through_creator_roles() {
    run_on(PgVersion::V16, Admin::CreateRoleThroughCreators).await;
}

#[tokio::test]
async fn postgres_18_through_creator_roles() {
    run_on(PgVersion::V18, Admin::CreateRoleThroughCreators).await;
}

#[tokio::test]
async fn postgres_19_through_creator_roles() {
    run_on(PgVersion::V19, Admin::CreateRoleThroughCreators).await;
}

#[tokio::test]
async fn postgres_15_as_an_admin_user_without_inherit() {
    run_on(PgVersion::V15, Admin::CreateRoleNoInherit).await;
}

#[tokio::test]
async fn postgres_16_as_an_admin_user_without_inherit() {
    run_on(PgVersion::V16, Admin::CreateRoleNoInherit).await;
}

#[tokio::test]
async fn postgres_15_as_a_superuser() {
    run_on(PgVersion::V15, Admin::Superuser).await;
}

#[tokio::test]
async fn postgres_17_as_a_superuser() {
    run_on(PgVersion::V17, Admin::Superuser).await;
}

#[tokio::test]
async fn postgres_19_as_a_superuser() {
    run_on(PgVersion::V19, Admin::Superuser).await;
}

#[tokio::test]
async fn vectors_on_the_fake() {
    vectors::run("fake", &FakeServer::default()).await;
}

#[tokio::test]
async fn vectors_on_postgres_15() {
    run_vectors(PgVersion::V15).await;
}

#[tokio::test]
async fn vectors_on_postgres_16() {
    run_vectors(PgVersion::V16).await;
}

#[tokio::test]
async fn vectors_on_postgres_17() {
    run_vectors(PgVersion::V17).await;
}

#[tokio::test]
async fn vectors_on_postgres_18() {
    run_vectors(PgVersion::V18).await;
}

#[tokio::test]
async fn vectors_on_postgres_19() {
    run_vectors(PgVersion::V19).await;
}

#[tokio::test]
async fn postgres_that_speaks_german() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::german().start().await.unwrap()));
    let server = RealServer::new(pg, Admin::CreateRole).await;
    run_all("German", &server).await;
    vectors::run("German", &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_as_documented() {
    run_on_mongodb(Mongo::shared().await.unwrap(), Rights::Documented).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_with_roles_of_one_database() {
    run_on_mongodb(Mongo::shared().await.unwrap(), Rights::OneDatabase).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_that_creates_roles_without_seeing_them() {
    run_on_mongodb(Mongo::shared().await.unwrap(), Rights::CreatesOnly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_with_more_rights() {
    run_on_mongodb(Mongo::shared().await.unwrap(), Rights::More).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_with_permission_sets() {
    run_on_mongodb(Mongo::shared().await.unwrap(), Rights::Sets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_standalone() {
    let mongo = Mongo::builder().standalone().start().await.unwrap();
    run_on_mongodb(Box::leak(Box::new(mongo)), Rights::Sets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_on_mongodb() {
    let server = MongoServer::new(Mongo::shared().await.unwrap(), Rights::Documented).await;
    vectors::mongo::run(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redshift() {
    let server = RedshiftServer::new().await;
    run_all("Redshift, simulated", &server).await;
    println!("{:?}", server.engine().stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_on_redshift() {
    vectors::redshift::run(&RedshiftServer::new().await).await;
}
