//! The credentials of sessions.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::DatabaseSession;
use rolecall_tests::{MongoTestEnv, mongo};
use serde_json::json;

use super::is_over;
use crate::secrecy::{EVERYTHING, assert_not_published, private_lines};

#[tokio::test]
async fn the_secret_has_a_uri_and_one_pem_that_clients_take_as_they_are() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "5m"})).await?;
    env.active("alice-orders").await?;
    let object: Secret = env.get("alice-orders").await?;
    assert_eq!(object.type_.as_deref(), Some("servicebinding.io/mongodb"));
    let secret = env.secret("alice-orders").await?;
    let keys: Vec<&str> = secret.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "ca.crt",
            "certificates",
            "database",
            "host",
            "port",
            "private-key",
            "provider",
            "tls.crt",
            "tls.key",
            "tls.pem",
            "tls.pk8",
            "type",
            "uri",
            "username"
        ]
    );
    let (app, port) = (&env.app, env.mongo().ports()[0]);
    assert_eq!((secret["type"].as_str(), &secret["database"]), ("mongodb", app));
    assert_eq!((secret["host"].as_str(), secret["port"].clone()), ("localhost", port.to_string()));
    assert_eq!(secret["username"], format!("CN={}", env.alice));
    assert_eq!(
        secret["uri"],
        format!(
            "mongodb://localhost:{port}/{app}?tls=true&authMechanism=MONGODB-X509\
             &authSource=%24external&replicaSet=rolecall"
        )
    );
    assert_eq!(secret["tls.pem"], format!("{}{}", secret["tls.crt"], secret["tls.key"]));
    env.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn the_one_pem_is_renewed_with_certificate_and_key() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    let credentials = json!({"x509": {"caSecretRef": {"name": "orders-client-ca"}, "ttl": "24s"}});
    env.admin(json!({"spec": {"userCredentials": credentials}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let first = env.secret("alice-orders").await?;
    let renewed = async || Ok(env.secret("alice-orders").await?["tls.crt"] != first["tls.crt"]);
    env.eventually("the certificate is renewed", renewed).await?;
    let second = env.secret("alice-orders").await?;
    assert_eq!(second["tls.pem"], format!("{}{}", second["tls.crt"], second["tls.key"]));
    assert_ne!(second["tls.pem"], first["tls.pem"]);
    let client = mongo::login_with(&second).await?;
    assert!(env.read(&client).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn keys_are_never_published() -> Result<()> {
    let env = MongoTestEnv::builder().log_filter(EVERYTHING).start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let mut secrets = Vec::new();
    for name in ["alice-orders", "orders-admin-cert", "orders-client-ca"] {
        secrets.extend(private_lines(&env.secret(name).await?["tls.key"]));
    }
    // What cannot be read is reported without being quoted.
    let canary = "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZ";
    let broken = format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----\n");
    env.tls_secret("broken", &env.mongo().client_cert(&env.admin_user)?.cert_pem, &broken).await?;
    let auth = json!({"x509": {"secretRef": {"name": "broken"}}});
    env.admin(json!({"metadata": {"name": "broken"}, "spec": {"auth": auth}})).await?;
    env.session("alice-broken", json!({"database": "broken"})).await?;
    env.pending("alice-broken", "SecretInvalid").await?;
    secrets.push(canary.to_owned());
    env.login("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_not_published(&env, &env.alice, &secrets).await
}

#[tokio::test]
async fn a_certificate_request_is_answered_in_the_status() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
    let request = serde_json::to_value(ByteString(request.into_bytes()))?;
    env.session("alice-orders", json!({"certificateRequest": request, "ttl": "5m"})).await?;
    let status = env.active("alice-orders").await?.status.context("a status")?;
    assert!(env.find::<Secret>("alice-orders").await?.is_none());
    let ByteString(certificate) = status.certificate.context("a certificate")?;
    let connection = status.connection.context("an address")?;
    let uri = format!(
        "mongodb://{}:{}/?tls=true&authMechanism=MONGODB-X509&authSource=%24external",
        connection.host, connection.port
    );
    let secret = BTreeMap::from([
        ("uri".to_owned(), uri),
        ("tls.pem".to_owned(), String::from_utf8(certificate)? + &key.serialize_pem()),
        ("ca.crt".to_owned(), env.mongo().server_ca_pem().to_owned()),
    ]);
    let client = mongo::login_with(&secret).await?;
    assert!(env.read(&client).await?.is_some());
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&env, &client).await?;
    assert!(mongo::login_with(&secret).await.is_err(), "the certificate alone opens nothing");
    Ok(())
}

#[tokio::test]
async fn without_user_credentials_no_secret_is_made() -> Result<()> {
    let env = MongoTestEnv::builder().without_user_credentials().start().await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.active("alice-orders").await?;
    assert!(session.status.is_some_and(|status| status.credentials_secret_ref.is_none()));
    assert!(env.find::<Secret>("alice-orders").await?.is_none());
    let own = env.mongo().client_cert(&env.alice)?;
    let client = env.mongo().connect(&own).await?;
    assert!(env.read(&client).await?.is_some());
    Ok(())
}
