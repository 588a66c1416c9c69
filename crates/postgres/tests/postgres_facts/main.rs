//! What PostgreSQL 15 to 19 do, as far as the code relies on it: one test for each fact and version.
//!
//! A fact that a new version changes fails here, under its own name, before it fails anywhere else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

#[path = "../common/mod.rs"]
mod common;

mod leftovers;
mod locks;
mod logins;
mod rights;
mod session;

use common::{Bench, Client, literal, quote, unique};
use rolecall_testbed::{PgVersion, rows};

/// Makes a test of each fact for each version.
macro_rules! facts {
    ($($fact:ident),* $(,)?) => {
        $(mod $fact {
            use crate::{Fixture, PgVersion};

            #[tokio::test]
            async fn v15() {
                super::$fact(&Fixture::new(PgVersion::V15).await).await;
            }

            #[tokio::test]
            async fn v16() {
                super::$fact(&Fixture::new(PgVersion::V16).await).await;
            }

            #[tokio::test]
            async fn v17() {
                super::$fact(&Fixture::new(PgVersion::V17).await).await;
            }

            #[tokio::test]
            async fn v18() {
                super::$fact(&Fixture::new(PgVersion::V18).await).await;
            }

            #[tokio::test]
            async fn v19() {
                super::$fact(&Fixture::new(PgVersion::V19).await).await;
            }
        })*
    };
}
pub(crate) use facts;

/// A server, an admin user with CREATEROLE on it, and names that nobody else uses.
struct Fixture {
    bench: Bench,
    major: u16,
}

impl Fixture {
    async fn new(version: PgVersion) -> Self {
        Self { bench: Bench::new(version).await, major: version.major() }
    }

    /// A connection of the admin user.
    async fn admin(&self) -> Client {
        self.admin_in("postgres").await
    }

    async fn admin_in(&self, database: &str) -> Client {
        self.bench.pg.connect(database, &self.bench.certificate).await.unwrap()
    }

    async fn superuser(&self) -> Client {
        self.bench.pg.superuser("postgres").await.unwrap()
    }

    async fn login(&self, user: &str) -> Client {
        self.bench.login(user).await.unwrap()
    }

    /// A user that the admin user has created.
    async fn user(&self) -> String {
        let user = unique("user");
        ok(&self.admin().await, &format!("create role {user} login")).await;
        user
    }

    /// A role that the admin user may hand out.
    async fn role(&self) -> String {
        self.bench.role("role").await
    }

    async fn sql(&self, statements: &str) {
        self.bench.sql(statements).await;
    }

    async fn value(&self, query: &str) -> String {
        self.bench.value(query).await
    }

    /// 16 and later.
    fn has_grantors(&self) -> bool {
        self.major >= 16
    }
}

/// Runs statements that must work.
async fn ok(client: &Client, statements: &str) -> Vec<Vec<Option<String>>> {
    rows(client, statements).await.unwrap_or_else(|error| panic!("{statements}: {error}"))
}

/// The SQLSTATE that statements fail with; empty when they work.
async fn code(client: &Client, statements: &str) -> String {
    match rows(client, statements).await {
        Ok(_) => String::new(),
        Err(error) => error.sqlstate().unwrap_or("none").to_owned(),
    }
}

/// The first column of the first row.
async fn one(client: &Client, query: &str) -> String {
    ok(client, query)
        .await
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next())
        .flatten()
        .unwrap_or_default()
}
