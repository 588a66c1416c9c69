//! Whatever a user does to keep its access, it is gone when the session has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_api::{DatabaseSession, DatabaseUser, EndReason, SessionPhase};
use rolecall_testbed::{Certificate, PgVersion, rows};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::message_of;
use rolecall_tests::test_env::ALICE;
use serde_json::json;

/// A live session, and a connection of its user on which `statements` were run.
async fn connected_with(statements: &str) -> Result<(TestEnv, tokio_postgres::Client)> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    rows(&client, statements).await?;
    Ok((env, client))
}

/// Deleting the session ends the connection; nothing can be done with it or with a new one.
async fn ends_all(env: &TestEnv, client: &tokio_postgres::Client) -> Result<()> {
    let secret = env.secret("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.simple_query("select * from orders").await.is_err());
    assert!(env.login_with(&secret).await.is_err());
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_open_transaction_is_rolled_back_and_ended() -> Result<()> {
    let (env, client) = connected_with("begin; update orders set note = 'changed' where id = 1").await?;
    ends_all(&env, &client).await?;
    let note = env.pg.value("app", "select note from orders where id = 1").await?;
    assert_eq!(note.as_deref(), Some("first"));
    Ok(())
}

#[tokio::test]
async fn a_connection_that_took_on_another_role_is_ended() -> Result<()> {
    let (env, client) = connected_with("set role writer").await?;
    ends_all(&env, &client).await
}

#[tokio::test]
async fn a_prepared_statement_and_a_cursor_end_with_their_connection() -> Result<()> {
    let declare = "prepare mine as select * from orders; begin; declare c cursor for select * from orders";
    let (env, client) = connected_with(declare).await?;
    let prepared = client.prepare("select note from orders").await?;
    ends_all(&env, &client).await?;
    assert!(client.query(&prepared, &[]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_statement_that_runs_is_ended() -> Result<()> {
    let (env, client) = connected_with("select 1").await?;
    let running = tokio::spawn(async move { client.simple_query("select pg_sleep(600)").await.is_err() });
    let sleeps =
        format!("select count(*) from pg_stat_activity where usename = '{ALICE}' and query like '%sleep%'");
    while env.pg.value("postgres", &sleeps).await?.as_deref() != Some("1") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(running.await?, "it ends with an error");
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_user_that_connects_again_and_again_is_out_when_its_session_has_ended() -> Result<()> {
    let (env, _client) = connected_with("select 1").await?;
    let env = Arc::new(env);
    let secret = env.secret("alice-orders").await?;
    let identity = Certificate {
        common_name: ALICE.to_owned(),
        cert_pem: secret["tls.crt"].clone(),
        key_pem: secret["tls.key"].clone(),
    };
    let over = Arc::new(AtomicBool::new(false));
    let hammer = |_| {
        let (env, identity, over) = (Arc::clone(&env), identity.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut clients = Vec::new();
            let mut late = 0_usize;
            for _ in 0..2_000 {
                // Read first: a login that began after the end is what must not succeed.
                let ended = over.load(Ordering::SeqCst);
                match env.pg.connect("app", &identity).await {
                    Ok(_) if ended => late += 1,
                    Ok(client) => clients.push(client),
                    Err(_) if ended => break,
                    Err(_) => {}
                }
            }
            (clients, late)
        })
    };
    let hammers: Vec<_> = (0..3).map(hammer).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    over.store(true, Ordering::SeqCst);
    let account = env.account().await?;
    assert!(account.as_ref().is_some_and(|account| account.is_disabled()), "{account:?}");
    for hammer in hammers {
        let (clients, late) = hammer.await?;
        assert_eq!(late, 0, "logins after the end");
        for client in clients {
            assert!(client.simple_query("select 1").await.is_err(), "a connection outlived the session");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_prepared_transaction_delays_no_end_and_blocks_the_next_start() -> Result<()> {
    let prepare = "begin; update orders set note = 'prepared' where id = 1; prepare transaction 'mine'";
    let (env, client) = connected_with(prepare).await?;
    ends_all(&env, &client).await?;
    env.session("again", json!({})).await?;
    let waiting = env.pending("again", "LeftoverMembership").await?;
    assert!(message_of(&waiting).contains("ROLLBACK PREPARED 'mine'"), "{}", message_of(&waiting));
    env.pg.superuser("app").await?.simple_query("rollback prepared 'mine'").await?;
    env.active("again").await?;
    Ok(())
}

#[tokio::test]
async fn a_membership_that_only_another_can_revoke_delays_no_end_and_is_reported() -> Result<()> {
    let env = TestEnv::builder().version(PgVersion::V17).start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    // Granted by the superuser: the REVOKE of the admin user only warns.
    env.pg.sql("postgres", &format!("grant writer to \"{ALICE}\"")).await?;

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.simple_query("select 1").await.is_err());
    let account = env.account().await?.context("the account is kept")?;
    assert!(!account.login && account.backends == 0);
    let reported = |user: &DatabaseUser| {
        let accounts = user.status.iter().flat_map(|status| &status.accounts);
        accounts.filter_map(|account| account.message.as_deref()).any(|message| {
            message.contains("REVOKE \"writer\"") && message.contains("GRANTED BY \"postgres\"")
        })
    };
    env.until("alice", "reporting the membership", reported).await?;

    env.session("again", json!({})).await?;
    let waiting = env.pending("again", "LeftoverMembership").await?;
    assert!(message_of(&waiting).contains("REVOKE \"writer\""), "{}", message_of(&waiting));
    env.pg.sql("postgres", &format!("revoke writer from \"{ALICE}\"")).await?;
    env.active("again").await?;
    Ok(())
}

#[tokio::test]
async fn an_end_waits_for_a_server_that_is_down() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "3s"})).await?;
    env.session("deleted", json!({})).await?;
    env.active("alice-orders").await?;
    env.active("deleted").await?;
    env.pg.stop().await;
    env.delete::<DatabaseSession>("deleted").await?;
    env.phase("alice-orders", SessionPhase::Ending, "DatabaseUnreachable").await?;
    env.phase("deleted", SessionPhase::Ending, "DatabaseUnreachable").await?;
    env.pg.start_again().await?;
    env.ended("alice-orders", EndReason::Expired).await?;
    env.gone::<DatabaseSession>("deleted").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_end_survives_a_crash_of_the_server_right_after() -> Result<()> {
    let env = TestEnv::builder().setting("synchronous_commit", "off").start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    env.pg.kill().await;
    env.pg.start_again().await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}
