//! Credentials and addresses of a DatabaseAdmin that change while accounts are enabled.

use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase};
use rolecall_testbed::{PgVersion, Postgres};
use rolecall_tests::World;
use rolecall_tests::objects::{phase, reason_of};
use rolecall_tests::world::ADMIN_USER;
use serde_json::{Value, json};

use crate::checks::{admin_ready, admin_tells, look_again, nothing_secret_is_shown, reading, secret};

#[tokio::test]
async fn a_rotated_client_certificate_is_used_once_the_old_one_is_refused() -> Result<()> {
    let world = World::start().await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;

    // From now on the admin user proves itself by password, as far as the server goes; by certificate it is refused.
    let hba = format!("hostssl all {ADMIN_USER} all scram-sha-256\n{}", Postgres::default_hba());
    world.pg.set_hba(&hba).await?;
    world.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" password 'rotated'")).await?;
    disconnect(&world).await?;
    world.delete::<DatabaseSession>("first").await?;
    admin_tells(&world, "LoginFailed", "the method cert").await?;

    secret(&world, "rotated", json!({"password": "rotated"})).await?;
    let auth = json!({"x509": null, "password": {"secretRef": {"name": "rotated", "key": "password"}}});
    world.admin(json!({"spec": {"auth": auth}})).await?;
    world.gone::<DatabaseSession>("first").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    nothing_secret_is_shown(&world).await
}

#[tokio::test]
async fn a_secret_with_a_new_certificate_is_read_without_a_change_of_the_admin() -> Result<()> {
    let world = World::start().await?;
    admin_ready(&world).await?;
    let broken = world.pg.expired_client_cert(ADMIN_USER)?;
    world.tls_secret("orders-admin-cert", &broken.cert_pem, &broken.key_pem).await?;
    disconnect(&world).await?;
    world.session("alice-orders", json!({})).await?;
    admin_tells(&world, "TlsFailed", "renew it").await?;

    let renewed = world.pg.client_cert(ADMIN_USER)?;
    world.tls_secret("orders-admin-cert", &renewed.cert_pem, &renewed.key_pem).await?;
    world.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn credentials_that_do_not_work_do_not_keep_an_access_from_ending() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let broken = world.pg.client_cert("somebody-else")?;
    world.tls_secret("orders-admin-cert", &broken.cert_pem, &broken.key_pem).await?;
    look_again(&world).await?;
    admin_tells(&world, "LoginFailed", "common name").await?;

    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn an_address_that_leads_to_the_same_server_is_taken_at_once() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let uri = format!("127.0.0.1:{}", world.pg.port());
    world.admin(json!({"spec": {"uri": uri}})).await?;
    let moved = |admin: &DatabaseAdmin| {
        admin.status.as_ref().and_then(|s| s.endpoint.as_ref()).is_some_and(|used| used.uri == uri)
    };
    world.until("orders", "moved", moved).await?;
    let follows = |session: &DatabaseSession| {
        let connection = session.status.as_ref().and_then(|status| status.connection.as_ref());
        connection.is_some_and(|connection| connection.host == "127.0.0.1")
    };
    world.until("alice-orders", "telling the new address", follows).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await
}

#[tokio::test]
async fn an_address_of_another_server_waits_until_the_accounts_are_disabled() -> Result<()> {
    let world = World::start().await?;
    let other = elsewhere(&world).await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    world.admin(to(&other)).await?;
    admin_tells(&world, "LiveAccounts", "end the sessions").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));

    world.session("second", json!({})).await?;
    world.pending("second", "LiveAccounts").await?;
    world.delete_and_wait::<DatabaseSession>("first").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    world.active("second").await?;
    let there =
        other.value("postgres", "select 1 from pg_roles where rolname like 'alice%' and rolcanlogin").await?;
    assert!(there.is_some());
    world.delete_and_wait::<DatabaseSession>("second").await
}

#[tokio::test]
async fn a_start_that_is_under_way_keeps_the_server_when_the_address_changes() -> Result<()> {
    let world = World::start().await?;
    let other = elsewhere(&world).await?;
    admin_ready(&world).await?;
    let mut blocker = world.pg.superuser("postgres").await?;
    let reading = reading(&world, "first", &mut blocker).await?;
    world.admin(to(&other)).await?;
    let log = world.operator.as_ref().context("an operator")?.log();
    log.wait_for("waiting for reconciles of its accounts").await?;
    // That the other server is not taken meanwhile cannot be waited for.
    tokio::time::sleep(Duration::from_millis(700)).await;
    reading.rollback().await?;

    world.until("first", "Active", |session| phase(session) == SessionPhase::Active).await?;
    admin_tells(&world, "LiveAccounts", "end the sessions").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    world.delete_and_wait::<DatabaseSession>("first").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    world.session("second", json!({})).await?;
    world.active("second").await.map(drop)
}

#[tokio::test]
async fn an_operator_that_starts_after_the_address_changed_still_ends_accesses_on_the_old_server()
-> Result<()> {
    let mut world = World::builder().without_objects().start().await?;
    let other = elsewhere(&world).await?;
    // One password and one bundle of CAs for both, and both trust the CA of users, so that nothing but the address
    // changes.
    let clients = [&world.pg, &other].map(|server| server.client_authority().cert_pem());
    other.set_client_cas(&clients.concat()).await?;
    for server in [&world.pg, &other] {
        server.create_password_user("by-password", "of-both", "createrole").await?;
        server.sql("postgres", "grant reader to \"by-password\" with admin option").await?;
    }
    let both = format!("{}{}", world.pg.server_ca_pem(), other.server_ca_pem());
    secret(&world, "of-both", json!({"ca.crt": both, "password": "of-both"})).await?;
    let spec = json!({
        "adminUser": {"name": "by-password"},
        "tls": {"caSecretRef": {"name": "of-both"}},
        "auth": {"x509": null, "password": {"secretRef": {"name": "of-both", "key": "password"}}},
    });
    world.admin(json!({"spec": spec})).await?;
    world.role("reader", json!({})).await?;
    world.user("alice", json!({"username": rolecall_tests::world::ALICE})).await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    world.crash_operator().await;
    world.patch::<DatabaseAdmin>("orders", json!({"spec": {"uri": other.address()}})).await?;
    world.start_operator().await?;
    admin_tells(&world, "LiveAccounts", "end the sessions").await?;

    world.delete_and_wait::<DatabaseSession>("first").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    let moved = |admin: &DatabaseAdmin| reason_of(admin) == "Succeeded";
    world.until("orders", "moved", moved).await.map(drop)
}

/// Another server, which takes the same credentials.
pub(crate) async fn elsewhere(world: &World) -> Result<Postgres> {
    // Servers of one version share their identity here.
    let other = Postgres::start(PgVersion::V16).await?;
    let admin = other.create_admin(ADMIN_USER).await?;
    other
        .sql("postgres", &format!("create role reader; grant reader to \"{ADMIN_USER}\" with admin option"))
        .await?;
    other.sql("postgres", "create database app").await?;
    world.tls_secret("elsewhere-cert", &admin.cert_pem, &admin.key_pem).await?;
    let users = other.client_authority();
    world.tls_secret("elsewhere-clients", users.cert_pem(), users.key_pem()).await?;
    secret(world, "elsewhere-ca", json!({"ca.crt": other.server_ca_pem()})).await?;
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
async fn disconnect(world: &World) -> Result<()> {
    let all =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ADMIN_USER}'");
    world.pg.sql("postgres", &all).await.map(drop)?;
    Ok(())
}
