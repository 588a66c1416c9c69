//! A connection pooler between the operator and the server.

use anyhow::Result;
use rolecall_api::DatabaseSession;
use rolecall_testbed::{PgBouncer, PoolMode, Postgres, rows};
use rolecall_tests::TestEnv;
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::{admin_ready, admin_reports, capable, session_reports};

const IGNORING: &str = "ignore_startup_parameters = options, extra_float_digits";

#[tokio::test]
async fn a_pooler_is_reported_nothing_starts_behind_it_and_accesses_end() -> Result<()> {
    let hba = format!("{}{}", PgBouncer::server_hba(), Postgres::default_hba());
    for settings in [IGNORING, ""] {
        let env = TestEnv::builder().hba(&hba).start().await?;
        env.session("alice-orders", json!({})).await?;
        env.active("alice-orders").await?;
        let client = env.login("alice-orders").await?;

        // The name of the server becomes that of a pooler.
        let users = [ADMIN_USER, ALICE];
        let pooler = PgBouncer::start(&env.pg, PoolMode::Transaction, &users, settings).await?;
        let address = format!("127.0.0.1:{}", pooler.port());
        env.admin(json!({"spec": {"uri": address}})).await?;
        admin_reports(&env, "PoolerInBetween", "let uri name the server itself").await?;
        capable(&env, "False", "PoolerInBetween").await?;
        env.session("alice-again", json!({})).await?;
        session_reports(&env, "alice-again", "PoolerInBetween", "let uri name the server itself").await?;

        // The connection that the operator had is somebody else's by now.
        let admin = env.pg.client_cert(ADMIN_USER)?;
        let other = env.pg.connect_through(pooler.port(), "postgres", &admin).await?;
        rows(&other, "begin; select 1").await?;
        env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        assert!(client.simple_query("select 1").await.is_err());
        assert!(env.account().await?.is_some_and(|account| account.is_disabled()));

        env.admin(json!({"spec": {"uri": env.pg.address()}})).await?;
        admin_ready(&env).await?;
        env.active("alice-again").await?;
    }
    Ok(())
}
