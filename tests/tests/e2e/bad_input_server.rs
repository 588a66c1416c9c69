//! A DatabaseAdmin that does not lead to its server: it says why and what to do, and nothing starts.

use anyhow::Result;
use rolecall_tests::TestEnv;
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::{Value, json};

use crate::checks::{nothing_starts, secret};

/// A test environment whose DatabaseAdmin is changed before the operator reads it.
async fn env_with(change: Value) -> Result<TestEnv> {
    let env = TestEnv::builder().without_objects().start().await?;
    env.role("reader", json!({})).await?;
    env.user("alice", json!({"username": rolecall_tests::test_env::ALICE})).await?;
    env.admin(change).await?;
    Ok(env)
}

#[tokio::test]
async fn a_wrong_port_is_reported() -> Result<()> {
    let env = env_with(json!({"spec": {"uri": "localhost:1"}})).await?;
    nothing_starts(&env, "DatabaseUnreachable", "check the address").await
}

#[tokio::test]
async fn a_host_name_that_does_not_exist_is_reported() -> Result<()> {
    let env = env_with(json!({"spec": {"uri": "orders-db.invalid:5432"}})).await?;
    nothing_starts(&env, "DatabaseUnreachable", "cannot be resolved").await
}

#[tokio::test]
async fn a_wrong_ca_is_reported() -> Result<()> {
    let env = TestEnv::builder().start().await?;
    let wrong = json!({"ca.crt": env.pg.client_authority().cert_pem()});
    secret(&env, "wrong-ca", wrong).await?;
    env.admin(json!({"spec": {"tls": {"caSecretRef": {"name": "wrong-ca"}}}})).await?;
    nothing_starts(&env, "TlsFailed", "correct the CA").await
}

#[tokio::test]
async fn a_server_certificate_made_out_to_another_name_is_reported() -> Result<()> {
    let env = env_with(json!({"spec": {"tls": {"serverName": "orders-db.shop.svc"}}})).await?;
    nothing_starts(&env, "TlsFailed", "set tls.serverName").await
}

#[tokio::test]
async fn an_expired_client_certificate_is_reported() -> Result<()> {
    let env = env_with(with_certificate("expired")).await?;
    let expired = env.pg.expired_client_cert(ADMIN_USER)?;
    env.tls_secret("expired", &expired.cert_pem, &expired.key_pem).await?;
    nothing_starts(&env, "TlsFailed", "has expired: renew it").await
}

#[tokio::test]
async fn the_client_certificate_of_somebody_else_is_reported() -> Result<()> {
    let env = env_with(with_certificate("swapped")).await?;
    let swapped = env.pg.client_cert("somebody-else")?;
    env.tls_secret("swapped", &swapped.cert_pem, &swapped.key_pem).await?;
    nothing_starts(&env, "LoginFailed", "the certificate's common name is its name").await
}

#[tokio::test]
async fn a_client_certificate_that_the_server_does_not_trust_is_reported() -> Result<()> {
    let env = env_with(with_certificate("foreign")).await?;
    let foreign = rolecall_testbed::Authority::new("another CA")?.client(ADMIN_USER)?;
    env.tls_secret("foreign", &foreign.cert_pem, &foreign.key_pem).await?;
    nothing_starts(&env, "TlsFailed", "must be signed by a CA of the server's ssl_ca_file").await
}

#[tokio::test]
async fn a_certificate_with_the_key_of_another_is_reported() -> Result<()> {
    let env = env_with(with_certificate("mixed")).await?;
    let (one, other) = (env.pg.client_cert(ADMIN_USER)?, env.pg.client_cert(ADMIN_USER)?);
    env.tls_secret("mixed", &one.cert_pem, &other.key_pem).await?;
    nothing_starts(&env, "SecretInvalid", "key").await
}

#[tokio::test]
async fn a_missing_secret_is_reported_and_found_once_it_is_there() -> Result<()> {
    let env = env_with(with_certificate("to-come")).await?;
    nothing_starts(&env, "SecretNotFound", "there is no Secret \"to-come\"").await?;

    let certificate = env.pg.client_cert(ADMIN_USER)?;
    env.tls_secret("to-come", &certificate.cert_pem, &certificate.key_pem).await?;
    env.active("alice-orders").await.map(drop)
}

#[tokio::test]
async fn a_missing_key_in_a_secret_is_reported() -> Result<()> {
    let env = env_with(json!({"spec": {"tls": {"caSecretRef": {"key": "root.pem"}}}})).await?;
    nothing_starts(&env, "SecretNotFound", "has no key \"root.pem\"").await
}

#[tokio::test]
async fn a_secret_without_pem_is_reported_and_not_shown() -> Result<()> {
    let env = env_with(with_certificate("garbage")).await?;
    env.tls_secret("garbage", "no certificate at all", "a-password-pasted-by-mistake").await?;
    nothing_starts(&env, "SecretInvalid", "PEM").await
}

#[tokio::test]
async fn a_wrong_admin_password_is_reported_and_not_shown() -> Result<()> {
    let env = TestEnv::builder().without_objects().start().await?;
    env.pg.create_password_user("by-password", "correct horse battery", "createrole").await?;
    secret(&env, "admin-password", json!({"password": "incorrect horse battery"})).await?;
    env.role("reader", json!({})).await?;
    env.user("alice", json!({"username": rolecall_tests::test_env::ALICE})).await?;
    let auth =
        json!({"x509": null, "password": {"secretRef": {"name": "admin-password", "key": "password"}}});
    env.admin(json!({"spec": {"auth": auth, "adminUser": {"name": "by-password"}}})).await?;
    nothing_starts(&env, "LoginFailed", "check the password").await
}

#[tokio::test]
async fn an_ipv6_address_works() -> Result<()> {
    let env = TestEnv::builder().without_objects().start().await?;
    env.role("reader", json!({})).await?;
    env.user("alice", json!({"username": rolecall_tests::test_env::ALICE})).await?;
    env.admin(json!({"spec": {"uri": format!("[::1]:{}", env.pg.port())}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;

    let secret = env.secret("alice-orders").await?;
    assert_eq!(secret["host"], "::1");
    assert!(secret["uri"].contains("@[::1]:"), "{}", secret["uri"]);
    env.login("alice-orders").await.map(drop)
}

fn with_certificate(secret: &str) -> Value {
    json!({"spec": {"auth": {"x509": {"secretRef": {"name": secret}}}}})
}
