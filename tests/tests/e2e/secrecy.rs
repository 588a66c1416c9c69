//! Nothing secret is ever published: not in logs, events, statuses or metrics.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, ProvisioningRole};
use rolecall_tests::objects::Kind;
use rolecall_tests::scene::Scene;
use rolecall_tests::world::{ADMIN_USER, ALICE};
use rolecall_tests::{Credentials, World};
use serde_json::json;

/// More than anybody turns on in production.
pub(crate) const EVERYTHING: &str = "debug,rolecall_operator=trace,rolecall_engine=trace,rolecall_postgres=trace,rolecall_mongodb=trace,rolecall_pki=trace,rolecall_api=trace,kube=trace";

#[tokio::test]
async fn keys_are_never_published() -> Result<()> {
    let world = World::builder().log_filter(EVERYTHING).start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let mut secrets = private_lines(&world.secret("alice-orders").await?["tls.key"]);
    secrets.extend(private_lines(&world.secret("orders-admin-cert").await?["tls.key"]));
    secrets.extend(private_lines(&world.secret("orders-client-ca").await?["tls.key"]));

    // What cannot be read is complained about without being quoted.
    let canary = "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZ";
    let broken = format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----\n");
    world.tls_secret("broken", &world.pg.client_cert(ADMIN_USER)?.cert_pem, &broken).await?;
    let auth = json!({"metadata": {"name": "broken"}, "spec": {"auth": {"x509": {"secretRef": {"name": "broken"}}}}});
    world.admin(auth).await?;
    world.session("alice-broken", json!({"database": "broken"})).await?;
    world.pending("alice-broken", "SecretInvalid").await?;
    secrets.push(canary.to_owned());

    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_not_published(&world, ALICE, &secrets).await
}

#[tokio::test]
async fn passwords_and_their_verifiers_are_never_published() -> Result<()> {
    const ADMIN_PASSWORD: &str = "canary-of-the-admin";
    let hba = "hostssl all all all scram-sha-256";
    let world = World::builder()
        .credentials(Credentials::Password)
        .hba(hba)
        .setting("log_statement", "all")
        .log_filter(EVERYTHING)
        .without_objects()
        .start()
        .await?;
    world.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" password '{ADMIN_PASSWORD}'")).await?;
    let before = world.pg.log().len();
    let secret = |name: &str, value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": value}});
    world.apply(secret("right", ADMIN_PASSWORD)).await?;
    world.apply(secret("wrong", "canary-of-a-wrong-one")).await?;
    let admin = |name: &str, secret: &str| {
        let password = json!({"secretRef": {"name": secret, "key": "password"}});
        json!({"metadata": {"name": name}, "spec": {"auth": {"x509": null, "password": password}}})
    };
    world.admin(admin("orders", "right")).await?;
    world.admin(admin("mistaken", "wrong")).await?;
    world.role("reader", json!({})).await?;
    world.user("alice", json!({"username": ALICE})).await?;
    for name in ["one", "two"] {
        world.session(name, json!({})).await?;
        world.active(name).await?;
    }
    world.session("mistaken", json!({"database": "mistaken"})).await?;
    world.pending("mistaken", "LoginFailed").await?;
    let first = world.secret("one").await?["password"].clone();
    world.login("one").await?;
    world.delete_and_wait::<DatabaseSession>("one").await?;
    let second = world.secret("two").await?["password"].clone();
    let verifier = format!("select rolpassword from pg_authid where rolname = '{ALICE}'");
    let verifier = world.pg.value("postgres", &verifier).await?.context("a verifier")?;
    let passwords = [first, second, ADMIN_PASSWORD.to_owned(), "canary-of-a-wrong-one".to_owned()];

    let server = world.pg.log();
    for password in &passwords {
        assert!(!server[before..].contains(password.as_str()), "the server's log holds a password");
    }
    let mut secrets = passwords.to_vec();
    secrets.push(verifier);
    secrets.push("SCRAM-SHA-256$".to_owned());
    assert_not_published(&world, ALICE, &secrets).await
}

/// The lines between the markers: any of them gives the key away.
pub(crate) fn private_lines(pem: &str) -> Vec<String> {
    pem.lines().filter(|line| !line.starts_with("-----") && line.len() > 8).map(str::to_owned).collect()
}

/// Nothing that can be read contains any of these. The log does say what happened to the user.
pub(crate) async fn assert_not_published(world: &Scene, user: &str, secrets: &[String]) -> Result<()> {
    assert!(!secrets.is_empty() && secrets.iter().all(|secret| secret.len() > 8));
    let mut places = BTreeMap::from([("log".to_owned(), world.log())]);
    let operator = world.operator.as_ref().context("an operator")?;
    places.insert("metrics".to_owned(), operator.get("/metrics").await?);
    objects::<DatabaseAdmin>(world, &mut places).await?;
    objects::<DatabaseSession>(world, &mut places).await?;
    objects::<DatabaseUser>(world, &mut places).await?;
    objects::<ProvisioningRole>(world, &mut places).await?;
    objects::<Event>(world, &mut places).await?;
    for secret in world.list::<Secret>().await? {
        places.insert(format!("Secret {}", secret.name_any()), serde_json::to_string(&secret.metadata)?);
    }
    assert!(places["log"].contains(user), "the log says what happened");
    for (place, text) in &places {
        for secret in secrets {
            assert!(!text.contains(secret.as_str()), "{place} holds a secret");
        }
    }
    Ok(())
}

async fn objects<K: Kind>(world: &Scene, places: &mut BTreeMap<String, String>) -> Result<()> {
    for object in world.list::<K>().await? {
        places.insert(format!("{} {}", K::kind(&()), object.name_any()), serde_json::to_string(&object)?);
    }
    Ok(())
}
