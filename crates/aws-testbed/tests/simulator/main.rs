//! The simulator of Redshift, as a client sees it: each thing that it enforces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dropping;
mod logins;
mod names;
mod rights;
mod sessions;
mod transactions;
mod visibility;

use rolecall_aws_testbed::redshift::{Admin, Kind, Object, Redshift};
use tokio_postgres::{Client, SimpleQueryMessage};

/// A simulator with a superuser, and a connection of it.
struct Cluster {
    redshift: Redshift,
    admin: Client,
}

const ADMIN: &str = "teleport-admin";

impl Cluster {
    async fn start() -> Self {
        Self::with(Admin::Superuser).await
    }

    async fn with(admin: Admin) -> Self {
        let redshift = Redshift::start().await.unwrap();
        let password = redshift.create_admin(ADMIN, admin).unwrap();
        let admin = redshift.connect(ADMIN, &password, "dev").await.unwrap();
        Self { redshift, admin }
    }

    /// Another connection of the admin user.
    async fn another(&self) -> Client {
        self.redshift.sql("dev", &format!("alter user \"{ADMIN}\" password 'Passw0rd1'")).await.unwrap();
        self.redshift.connect(ADMIN, "Passw0rd1", "dev").await.unwrap()
    }

    fn table(&self, database: &str, schema: &str, name: &str, owner: Option<&str>) {
        let object = Object { owner, ..Object::new(Kind::Table, schema, name) };
        self.redshift.create_object(database, &object).unwrap();
    }

    /// A temporary password for a user, and the login name.
    fn temporary(&self, user: &str) -> (String, String) {
        let login = format!("IAM:{user}");
        let (password, _) = self.redshift.issue_password(&login, jiff::SignedDuration::from_mins(15));
        (login, password)
    }
}

async fn run(client: &Client, text: &str) {
    if let Err(error) = client.simple_query(text).await {
        panic!("{text}: {error:?}");
    }
}

/// The rows as text, with `|` between columns and `-` for null.
async fn rows(client: &Client, text: &str) -> Vec<String> {
    let messages = client.simple_query(text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("-")).collect();
            rows.push(values.join("|"));
        }
    }
    rows
}

/// The SQLSTATE with which a text is refused.
async fn refusal(client: &Client, text: &str) -> String {
    match client.simple_query(text).await {
        Ok(_) => panic!("{text}: not refused"),
        Err(error) => error.code().unwrap_or_else(|| panic!("{text}: {error:?}")).code().to_owned(),
    }
}

#[tokio::test]
async fn only_the_documented_statements_reads_and_functions_are_there() {
    let cluster = Cluster::start().await;
    cluster.redshift.sql("dev", "create role r").await.unwrap();
    for (text, code) in [
        ("SET ROLE r", "42601"),
        ("CREATE ROLE s LOGIN", "42601"),
        ("CREATE ROLE IF NOT EXISTS s", "42601"),
        ("ALTER USER \"teleport-admin\" NOSUPERUSER", "42601"),
        ("SAVEPOINT s", "42601"),
        ("DO $$ BEGIN END $$", "42601"),
        ("LISTEN x", "42601"),
        ("SELECT rolname FROM pg_roles", "42P01"),
        ("SELECT * FROM pg_catalog.pg_authid", "42P01"),
        ("SELECT * FROM pg_auth_members", "42P01"),
        ("SELECT * FROM pg_shdescription", "42P01"),
        ("SELECT pg_advisory_lock(1)", "42883"),
        ("SELECT shobj_description(1, 'pg_authid')", "42883"),
        ("SELECT pg_stat_clear_snapshot()", "42883"),
        ("SELECT array_agg(usename) FROM pg_user", "42883"),
        ("SELECT string_agg(usename, ',') FROM pg_user", "42883"),
        ("SELECT pid FROM pg_stat_activity", "42703"),
        ("SHOW server_version_num", "42704"),
        ("SET lock_timeout TO 1000", "42704"),
        ("SET standard_conforming_strings TO on", "42704"),
        ("SELECT pg_terminate_backend(process) FROM stv_sessions", "0A000"),
        ("SELECT user_name FROM svv_user_info WHERE pg_backend_pid() = 1", "0A000"),
        ("SELECT s.process FROM stv_sessions s JOIN pg_user u ON u.usename = s.user_name", "0A000"),
    ] {
        assert_eq!(refusal(&cluster.admin, text).await, code, "{text}");
    }
    assert!(rows(&cluster.admin, "SELECT version()").await[0].starts_with("PostgreSQL 8.0.2 on "));
}
