//! Nothing secret is ever published: not in logs, events, statuses or metrics.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, ProvisioningRole};
use rolecall_tests::base_env::BaseEnv;
use rolecall_tests::objects::Kind;
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use rolecall_tests::{Credentials, TestEnv};
use serde_json::json;

/// More than anybody turns on in production.
pub(crate) const EVERYTHING: &str = "debug,rolecall_operator=trace,rolecall_engine=trace,rolecall_postgres=trace,rolecall_mongodb=trace,rolecall_pki=trace,rolecall_api=trace,kube=trace";

#[tokio::test]
async fn keys_are_never_published() -> Result<()> {
    let env = TestEnv::builder().log_filter(EVERYTHING).start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let mut secrets = private_lines(&env.secret("alice-orders").await?["tls.key"]);
    secrets.extend(private_lines(&env.secret("orders-admin-cert").await?["tls.key"]));
    secrets.extend(private_lines(&env.secret("orders-client-ca").await?["tls.key"]));

    // What cannot be read is reported without being quoted.
    let canary = "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZ";
    let broken = format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----\n");
    env.tls_secret("broken", &env.pg.client_cert(ADMIN_USER)?.cert_pem, &broken).await?;
    let auth = json!({"metadata": {"name": "broken"}, "spec": {"auth": {"x509": {"secretRef": {"name": "broken"}}}}});
    env.admin(auth).await?;
    env.session("alice-broken", json!({"database": "broken"})).await?;
    env.pending("alice-broken", "SecretInvalid").await?;
    secrets.push(canary.to_owned());

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_not_published(&env, ALICE, &secrets).await
}

#[tokio::test]
async fn passwords_and_their_verifiers_are_never_published() -> Result<()> {
    const ADMIN_PASSWORD: &str = "canary-of-the-admin";
    let hba = "hostssl all all all scram-sha-256";
    let env = TestEnv::builder()
        .credentials(Credentials::Password)
        .hba(hba)
        .setting("log_statement", "all")
        .log_filter(EVERYTHING)
        .without_objects()
        .start()
        .await?;
    env.pg.sql("postgres", &format!("alter role \"{ADMIN_USER}\" password '{ADMIN_PASSWORD}'")).await?;
    let before = env.pg.log().len();
    let secret = |name: &str, value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": value}});
    env.apply(secret("right", ADMIN_PASSWORD)).await?;
    env.apply(secret("wrong", "canary-of-a-wrong-one")).await?;
    let admin = |name: &str, secret: &str| {
        let password = json!({"secretRef": {"name": secret, "key": "password"}});
        json!({"metadata": {"name": name}, "spec": {"auth": {"x509": null, "password": password}}})
    };
    env.admin(admin("orders", "right")).await?;
    env.admin(admin("mistaken", "wrong")).await?;
    env.role("reader", json!({})).await?;
    env.user("alice", json!({"username": ALICE})).await?;
    for name in ["one", "two"] {
        env.session(name, json!({})).await?;
        env.active(name).await?;
    }
    env.session("mistaken", json!({"database": "mistaken"})).await?;
    env.pending("mistaken", "LoginFailed").await?;
    let first = env.secret("one").await?["password"].clone();
    env.login("one").await?;
    env.delete_and_wait::<DatabaseSession>("one").await?;
    let second = env.secret("two").await?["password"].clone();
    let verifier = format!("select rolpassword from pg_authid where rolname = '{ALICE}'");
    let verifier = env.pg.value("postgres", &verifier).await?.context("a verifier")?;
    let passwords = [first, second, ADMIN_PASSWORD.to_owned(), "canary-of-a-wrong-one".to_owned()];

    let server = env.pg.log();
    for password in &passwords {
        assert!(!server[before..].contains(password.as_str()), "the server's log contains a password");
    }
    let mut secrets = passwords.to_vec();
    secrets.push(verifier);
    secrets.push("SCRAM-SHA-256$".to_owned());
    assert_not_published(&env, ALICE, &secrets).await
}

/// The lines between the markers: any of them gives the key away.
pub(crate) fn private_lines(pem: &str) -> Vec<String> {
    pem.lines().filter(|line| !line.starts_with("-----") && line.len() > 8).map(str::to_owned).collect()
}

/// Nothing that can be read contains any of these. The log does say what happened to the user.
pub(crate) async fn assert_not_published(env: &BaseEnv, user: &str, secrets: &[String]) -> Result<()> {
    assert!(!secrets.is_empty() && secrets.iter().all(|secret| secret.len() > 8));
    let mut places = BTreeMap::from([("log".to_owned(), env.log())]);
    let operator = env.operator.as_ref().context("an operator")?;
    places.insert("metrics".to_owned(), operator.get("/metrics").await?);
    objects::<DatabaseAdmin>(env, &mut places).await?;
    objects::<DatabaseSession>(env, &mut places).await?;
    objects::<DatabaseUser>(env, &mut places).await?;
    objects::<ProvisioningRole>(env, &mut places).await?;
    objects::<Event>(env, &mut places).await?;
    for secret in env.list::<Secret>().await? {
        places.insert(format!("Secret {}", secret.name_any()), serde_json::to_string(&secret.metadata)?);
    }
    assert!(places["log"].contains(user), "the log says what happened");
    for (place, text) in &places {
        for secret in secrets {
            assert!(!text.contains(secret.as_str()), "{place} contains a secret");
        }
    }
    Ok(())
}

async fn objects<K: Kind>(env: &BaseEnv, places: &mut BTreeMap<String, String>) -> Result<()> {
    for object in env.list::<K>().await? {
        places.insert(format!("{} {}", K::kind(&()), object.name_any()), serde_json::to_string(&object)?);
    }
    Ok(())
}
