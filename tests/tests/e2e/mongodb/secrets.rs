//! What sessions are handed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::DatabaseSession;
use rolecall_tests::{MongoWorld, mongo};
use serde_json::json;

use super::is_over;
use crate::secrecy::{EVERYTHING, assert_not_published, private_lines};

#[tokio::test]
async fn the_secret_holds_a_uri_and_one_pem_that_clients_take_as_they_are() -> Result<()> {
    let world = MongoWorld::start().await?;
    world.session("alice-orders", json!({"ttl": "5m"})).await?;
    world.active("alice-orders").await?;
    let object: Secret = world.get("alice-orders").await?;
    assert_eq!(object.type_.as_deref(), Some("servicebinding.io/mongodb"));
    let secret = world.secret("alice-orders").await?;
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
    let (app, port) = (&world.app, world.mongo().ports()[0]);
    assert_eq!((secret["type"].as_str(), &secret["database"]), ("mongodb", app));
    assert_eq!((secret["host"].as_str(), secret["port"].clone()), ("localhost", port.to_string()));
    assert_eq!(secret["username"], format!("CN={}", world.alice));
    assert_eq!(
        secret["uri"],
        format!(
            "mongodb://localhost:{port}/{app}?tls=true&authMechanism=MONGODB-X509\
             &authSource=%24external&replicaSet=rolecall"
        )
    );
    assert_eq!(secret["tls.pem"], format!("{}{}", secret["tls.crt"], secret["tls.key"]));
    world.login("alice-orders").await.map(drop)
}

#[tokio::test]
async fn the_one_pem_is_renewed_with_certificate_and_key() -> Result<()> {
    let world = MongoWorld::start().await?;
    let credentials = json!({"x509": {"caSecretRef": {"name": "orders-client-ca"}, "ttl": "24s"}});
    world.admin(json!({"spec": {"userCredentials": credentials}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let first = world.secret("alice-orders").await?;
    let renewed = async || Ok(world.secret("alice-orders").await?["tls.crt"] != first["tls.crt"]);
    world.eventually("the certificate is renewed", renewed).await?;
    let second = world.secret("alice-orders").await?;
    assert_eq!(second["tls.pem"], format!("{}{}", second["tls.crt"], second["tls.key"]));
    assert_ne!(second["tls.pem"], first["tls.pem"]);
    let client = mongo::login_with(&second).await?;
    assert!(world.read(&client).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn keys_are_never_published() -> Result<()> {
    let world = MongoWorld::builder().log_filter(EVERYTHING).start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let mut secrets = Vec::new();
    for name in ["alice-orders", "orders-admin-cert", "orders-client-ca"] {
        secrets.extend(private_lines(&world.secret(name).await?["tls.key"]));
    }
    // What cannot be read is complained about without being quoted.
    let canary = "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZ";
    let broken = format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----\n");
    world.tls_secret("broken", &world.mongo().client_cert(&world.admin_user)?.cert_pem, &broken).await?;
    let auth = json!({"x509": {"secretRef": {"name": "broken"}}});
    world.admin(json!({"metadata": {"name": "broken"}, "spec": {"auth": auth}})).await?;
    world.session("alice-broken", json!({"database": "broken"})).await?;
    world.pending("alice-broken", "SecretInvalid").await?;
    secrets.push(canary.to_owned());
    world.login("alice-orders").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_not_published(&world, &world.alice, &secrets).await
}

#[tokio::test]
async fn a_certificate_request_is_answered_in_the_status() -> Result<()> {
    let world = MongoWorld::start().await?;
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
    let request = serde_json::to_value(ByteString(request.into_bytes()))?;
    world.session("alice-orders", json!({"certificateRequest": request, "ttl": "5m"})).await?;
    let status = world.active("alice-orders").await?.status.context("a status")?;
    assert!(world.find::<Secret>("alice-orders").await?.is_none());
    let ByteString(certificate) = status.certificate.context("a certificate")?;
    let connection = status.connection.context("an address")?;
    let uri = format!(
        "mongodb://{}:{}/?tls=true&authMechanism=MONGODB-X509&authSource=%24external",
        connection.host, connection.port
    );
    let secret = BTreeMap::from([
        ("uri".to_owned(), uri),
        ("tls.pem".to_owned(), String::from_utf8(certificate)? + &key.serialize_pem()),
        ("ca.crt".to_owned(), world.mongo().server_ca_pem().to_owned()),
    ]);
    let client = mongo::login_with(&secret).await?;
    assert!(world.read(&client).await?.is_some());
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&world, &client).await?;
    assert!(mongo::login_with(&secret).await.is_err(), "the certificate alone opens nothing");
    Ok(())
}

#[tokio::test]
async fn without_user_credentials_no_secret_is_made() -> Result<()> {
    let world = MongoWorld::builder().without_user_credentials().start().await?;
    world.session("alice-orders", json!({})).await?;
    let session = world.active("alice-orders").await?;
    assert!(session.status.is_some_and(|status| status.credentials_secret_ref.is_none()));
    assert!(world.find::<Secret>("alice-orders").await?.is_none());
    let own = world.mongo().client_cert(&world.alice)?;
    let client = world.mongo().connect(&own).await?;
    assert!(world.read(&client).await?.is_some());
    Ok(())
}
