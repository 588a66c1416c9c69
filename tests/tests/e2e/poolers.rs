//! A connection pooler between the operator and the server.

use anyhow::Result;
use rolecall_api::DatabaseSession;
use rolecall_testbed::{PgBouncer, PoolMode, Postgres, rows};
use rolecall_tests::World;
use rolecall_tests::world::{ADMIN_USER, ALICE};
use serde_json::json;

use crate::checks::{admin_ready, admin_tells, capable, session_tells};

const IGNORING: &str = "ignore_startup_parameters = options, extra_float_digits";

#[tokio::test]
async fn a_pooler_is_reported_nothing_starts_behind_it_and_accesses_end() -> Result<()> {
    let hba = format!("{}{}", PgBouncer::server_hba(), Postgres::default_hba());
    for settings in [IGNORING, ""] {
        let world = World::builder().hba(&hba).start().await?;
        world.session("alice-orders", json!({})).await?;
        world.active("alice-orders").await?;
        let client = world.login("alice-orders").await?;

        // The name of the server becomes that of a pooler.
        let users = [ADMIN_USER, ALICE];
        let pooler = PgBouncer::start(&world.pg, PoolMode::Transaction, &users, settings).await?;
        let address = format!("127.0.0.1:{}", pooler.port());
        world.admin(json!({"spec": {"uri": address}})).await?;
        admin_tells(&world, "PoolerInBetween", "let uri name the server itself").await?;
        capable(&world, "False", "PoolerInBetween").await?;
        world.session("alice-again", json!({})).await?;
        session_tells(&world, "alice-again", "PoolerInBetween", "let uri name the server itself").await?;

        // The connection that the operator had is somebody else's by now.
        let admin = world.pg.client_cert(ADMIN_USER)?;
        let other = world.pg.connect_through(pooler.port(), "postgres", &admin).await?;
        rows(&other, "begin; select 1").await?;
        world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
        assert!(client.simple_query("select 1").await.is_err());
        assert!(world.account().await?.is_some_and(|account| account.is_disabled()));

        world.admin(json!({"spec": {"uri": world.pg.address()}})).await?;
        admin_ready(&world).await?;
        world.active("alice-again").await?;
    }
    Ok(())
}
