//! Credentials and addresses of a DatabaseAdmin that change while accounts are enabled.

use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase};
use rolecall_testbed::{PgVersion, Postgres};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{phase, reason_of};
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::{Value, json};

use crate::checks::{
    admin_ready, admin_reports, nothing_secret_is_shown, reading, secret, trigger_reconcile,
};

#[tokio::test]
async fn a_rotated_client_certificate_is_used_once_the_old_one_is_refused() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;

    // From now on the server accepts the admin user by password only; by certificate it is refused.
    let hba = format!("hostssl all {ADMIN_USER} all scram-sha-256\n{}", Postgres::default_hba());
    env.pg.set_hba(&hba).await?;
    env.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" password 'rotated'")).await?;
    disconnect(&env).await?;
    env.delete::<DatabaseSession>("first").await?;
    admin_reports(&env, "LoginFailed", "the method cert").await?;

    secret(&env, "rotated", json!({"password": "rotated"})).await?;
    let auth = json!({"x509": null, "password": {"secretRef": {"name": "rotated", "key": "password"}}});
    env.admin(json!({"spec": {"auth": auth}})).await?;
    env.gone::<DatabaseSession>("first").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    nothing_secret_is_shown(&env).await
}

#[tokio::test]
async fn a_secret_with_a_new_certificate_is_read_without_a_change_of_the_admin() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    let broken = env.pg.expired_client_cert(ADMIN_USER)?;
    env.tls_secret("orders-admin-cert", &broken.cert_pem, &broken.key_pem).await?;
    disconnect(&env).await?;
    env.session("alice-orders", json!({})).await?;
    admin_reports(&env, "TlsFailed", "renew it").await?;

    let renewed = env.pg.client_cert(ADMIN_USER)?;
    env.tls_secret("orders-admin-cert", &renewed.cert_pem, &renewed.key_pem).await?;
    env.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn credentials_that_do_not_work_do_not_keep_an_access_from_ending() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let broken = env.pg.client_cert("somebody-else")?;
    env.tls_secret("orders-admin-cert", &broken.cert_pem, &broken.key_pem).await?;
    trigger_reconcile(&env).await?;
    admin_reports(&env, "LoginFailed", "common name").await?;

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_address_that_leads_to_the_same_server_is_taken_at_once() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let uri = format!("127.0.0.1:{}", env.pg.port());
    env.admin(json!({"spec": {"uri": uri}})).await?;
    let moved = |admin: &DatabaseAdmin| {
        admin.status.as_ref().and_then(|s| s.endpoint.as_ref()).is_some_and(|used| used.uri == uri)
    };
    env.until("orders", "moved", moved).await?;
    let follows = |session: &DatabaseSession| {
        let connection = session.status.as_ref().and_then(|status| status.connection.as_ref());
        connection.is_some_and(|connection| connection.host == "127.0.0.1")
    };
    env.until("alice-orders", "showing the new address", follows).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await
}

#[tokio::test]
async fn an_address_of_another_server_waits_until_the_accounts_are_disabled() -> Result<()> {
    let env = TestEnv::start().await?;
    let other = elsewhere(&env).await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    env.admin(to(&other)).await?;
    admin_reports(&env, "LiveAccounts", "end the sessions").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));

    env.session("second", json!({})).await?;
    env.pending("second", "LiveAccounts").await?;
    env.delete_and_wait::<DatabaseSession>("first").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    env.active("second").await?;
    let there =
        other.value("postgres", "select 1 from pg_roles where rolname like 'alice%' and rolcanlogin").await?;
    assert!(there.is_some());
    env.delete_and_wait::<DatabaseSession>("second").await
}

#[tokio::test]
async fn a_start_that_is_under_way_keeps_the_server_when_the_address_changes() -> Result<()> {
    let env = TestEnv::start().await?;
    let other = elsewhere(&env).await?;
    admin_ready(&env).await?;
    let mut blocker = env.pg.superuser("postgres").await?;
    let reading = reading(&env, "first", &mut blocker).await?;
    env.admin(to(&other)).await?;
    let log = env.operator.as_ref().context("an operator")?.log();
    log.wait_for("waiting for reconciles of its accounts").await?;
    // That the other server is not used meanwhile cannot be waited for.
    tokio::time::sleep(Duration::from_millis(700)).await;
    reading.rollback().await?;

    env.until("first", "Active", |session| phase(session) == SessionPhase::Active).await?;
    admin_reports(&env, "LiveAccounts", "end the sessions").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    env.delete_and_wait::<DatabaseSession>("first").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    env.session("second", json!({})).await?;
    env.active("second").await.map(drop)
}

#[tokio::test]
async fn an_operator_that_starts_after_the_address_changed_still_ends_accesses_on_the_old_server()
-> Result<()> {
    let mut env = TestEnv::builder().without_objects().start().await?;
    let other = elsewhere(&env).await?;
    // One password and one bundle of CAs for both, and both trust the CA of users, so that nothing but the address
    // changes.
    let clients = [&env.pg, &other].map(|server| server.client_authority().cert_pem());
    other.set_client_cas(&clients.concat()).await?;
    for server in [&env.pg, &other] {
        server.create_password_user("by-password", "of-both", "createrole").await?;
        server.sql("postgres", "grant reader to \"by-password\" with admin option").await?;
    }
    let both = format!("{}{}", env.pg.server_ca_pem(), other.server_ca_pem());
    secret(&env, "of-both", json!({"ca.crt": both, "password": "of-both"})).await?;
    let spec = json!({
        "adminUser": {"name": "by-password"},
        "tls": {"caSecretRef": {"name": "of-both"}},
        "auth": {"x509": null, "password": {"secretRef": {"name": "of-both", "key": "password"}}},
    });
    env.admin(json!({"spec": spec})).await?;
    env.role("reader", json!({})).await?;
    env.user("alice", json!({"username": rolecall_tests::test_env::ALICE})).await?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    env.crash_operator().await;
    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"uri": other.address()}})).await?;
    env.start_operator().await?;
    admin_reports(&env, "LiveAccounts", "end the sessions").await?;

    env.delete_and_wait::<DatabaseSession>("first").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    let moved = |admin: &DatabaseAdmin| reason_of(admin) == "Succeeded";
    env.until("orders", "moved", moved).await.map(drop)
}

/// Another server, which takes the same credentials.
pub(crate) async fn elsewhere(env: &TestEnv) -> Result<Postgres> {
    // Servers of one version share their identity here.
    let other = Postgres::start(PgVersion::V16).await?;
    let admin = other.create_admin(ADMIN_USER).await?;
    other
        .sql("postgres", &format!("create role reader; grant reader to \"{ADMIN_USER}\" with admin option"))
        .await?;
    other.sql("postgres", "create database app").await?;
    env.tls_secret("elsewhere-cert", &admin.cert_pem, &admin.key_pem).await?;
    let users = other.client_authority();
    env.tls_secret("elsewhere-clients", users.cert_pem(), users.key_pem()).await?;
    secret(env, "elsewhere-ca", json!({"ca.crt": other.server_ca_pem()})).await?;
    Ok(other)
}

/// A change of a DatabaseAdmin that names another server.
pub(crate) fn to(other: &Postgres) -> Value {
    json!({"spec": {
        "uri": other.address(),
        "tls": {"caSecretRef": {"name": "elsewhere-ca"}},
        "auth": {"x509": {"secretRef": {"name": "elsewhere-cert"}}},
        "userCredentials": {"x509": {"caSecretRef": {"name": "elsewhere-clients"}}},
    }})
}

/// Ends the operator's connections, so that it has to log in again.
async fn disconnect(env: &TestEnv) -> Result<()> {
    let all =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ADMIN_USER}'");
    env.pg.sql("postgres", &all).await.map(drop)?;
    Ok(())
}
