//! The credentials of users.

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::{DatabaseSession, SessionPhase};
use rolecall_testbed::{Certificate, rows};
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use rolecall_tests::{Credentials, TestEnv};
use serde_json::json;

#[tokio::test]
async fn each_session_has_its_own_certificate_in_a_secret_with_the_service_binding_keys() -> Result<()> {
    let env = TestEnv::start().await?;
    for name in ["one", "two"] {
        env.session(name, json!({"ttl": "5m"})).await?;
    }
    let session = env.active("one").await?;
    env.active("two").await?;

    let (one, two) = (env.secret("one").await?, env.secret("two").await?);
    let keys: Vec<&str> = one.keys().map(String::as_str).collect();
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
            "sslmode",
            "sslrootcert",
            "tls.crt",
            "tls.key",
            "tls.pk8",
            "type",
            "uri",
            "username"
        ]
    );
    assert_eq!(
        (one["type"].as_str(), one["username"].as_str(), one["database"].as_str()),
        ("postgresql", ALICE, "app")
    );
    assert_eq!((one["provider"].as_str(), one["sslmode"].as_str()), ("rolecall", "verify-full"));
    assert_eq!((&one["certificates"], &one["private-key"]), (&one["tls.crt"], &one["tls.key"]));
    assert!(one.contains_key(&one["sslrootcert"]), "it names the file of the authorities");
    assert_eq!((one["host"].as_str(), one["port"].clone()), ("localhost", env.pg.port().to_string()));
    let uri = format!("postgresql://alice%40example.com@localhost:{}/app?sslmode=verify-full", env.pg.port());
    assert_eq!(one["uri"], uri);
    assert_ne!(one["tls.crt"], two["tls.crt"]);
    assert_ne!(one["tls.key"], two["tls.key"]);

    let facts = Facts::of(one["tls.crt"].as_bytes())?;
    assert_eq!((facts.common_name.as_str(), facts.client_only), (ALICE, true));
    let status = session.status.context("a status")?;
    let bound = status.binding.context("what a Provisioned Service has")?;
    assert_eq!((bound.name.as_str(), status.credentials_secret_ref), ("one", Some(bound.clone())));
    let expires = status.expires_at.context("an end")?.0;
    let difference = expires.duration_since(facts.not_after).abs();
    assert!(difference.as_secs() <= 1, "it ends with the session: {difference}");

    let secret: Secret = env.get("one").await?;
    assert_eq!(secret.type_.as_deref(), Some("servicebinding.io/postgresql"));
    let owners = secret.owner_references();
    assert!(
        owners.len() == 1
            && owners[0].controller == Some(true)
            && Some(&owners[0].uid) == session.metadata.uid.as_ref()
    );
    env.login("one").await?;
    env.login("two").await?;
    Ok(())
}

#[tokio::test]
async fn the_secret_goes_with_the_access_and_not_with_the_object() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "2s"})).await?;
    env.active("alice-orders").await?;
    env.gone::<Secret>("alice-orders").await?;
    env.ended("alice-orders", rolecall_api::EndReason::Expired).await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_renewed_while_the_session_lives() -> Result<()> {
    let env = TestEnv::start().await?;
    let credentials = json!({"x509": {"caSecretRef": {"name": "orders-client-ca"}, "ttl": "24s"}});
    env.admin(json!({"spec": {"userCredentials": credentials}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let first: Secret = env.get("alice-orders").await?;
    let end = Facts::of(&crt(&first)?)?.not_after;
    let renewed =
        env.until::<Secret>("alice-orders", "renewed", |secret| crt(secret).ok() != crt(&first).ok()).await?;
    assert!(Timestamp::now() < end, "before the old one ran out");
    assert!(end.duration_since(Timestamp::now()).as_secs() <= 9, "and not at once");
    assert!(Facts::of(&crt(&renewed)?)?.not_after > end);
    assert_eq!(renewed.uid(), first.uid(), "the Secret stays the same object");
    env.login("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_request_is_answered_in_the_status_and_its_key_stays_with_its_owner() -> Result<()> {
    let env = TestEnv::start().await?;
    let (request, key) = request("CN=root,O=system:masters")?;
    env.session("alice-orders", json!({"certificateRequest": request, "ttl": "5m"})).await?;
    let session = env.active("alice-orders").await?;
    let status = session.status.context("a status")?;
    let ByteString(pem) = status.certificate.context("a certificate")?;
    let facts = Facts::of(&pem)?;
    assert_eq!((facts.common_name.as_str(), facts.client_only), (ALICE, true), "subject and use are ours");
    assert!(env.find::<Secret>("alice-orders").await?.is_none() && status.credentials_secret_ref.is_none());
    let identity =
        Certificate { common_name: ALICE.to_owned(), cert_pem: String::from_utf8(pem)?, key_pem: key };
    let client = env.pg.connect("app", &identity).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.query_one("select 1", &[]).await.is_err());
    assert!(env.pg.connect("app", &identity).await.is_err(), "the certificate alone opens nothing");
    Ok(())
}

#[tokio::test]
async fn who_signed_the_server_certificate_is_reported_to_those_who_read_no_secrets() -> Result<()> {
    let env = TestEnv::start().await?;
    // Somebody keeps certificate and key in one file, with a remark in front.
    let authority = env.pg.client_authority();
    let both = format!("a remark\n{}{}{}", authority.key_pem(), env.pg.server_ca_pem(), authority.cert_pem());
    let with_key = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-ca"},
                          "stringData": {"ca.crt": both}});
    env.apply(with_key).await?;
    let (request, _) = request("CN=anything")?;
    env.session("by-request", json!({"certificateRequest": request})).await?;
    let status = env.active("by-request").await?.status.context("a status")?;
    let bundle = status.connection.and_then(|connection| connection.ca_bundle).context("a bundle")?;
    let bundle = String::from_utf8(bundle.0)?;
    let flat = |pem: &str| pem.lines().collect::<String>();
    assert_eq!(flat(&bundle), flat(env.pg.server_ca_pem()) + &flat(authority.cert_pem()));

    env.session("by-secret", json!({})).await?;
    env.active("by-secret").await?;
    assert_eq!(env.secret("by-secret").await?["ca.crt"], bundle, "the Secret has the same");
    env.login("by-secret").await.map(drop)
}

#[tokio::test]
async fn an_answer_to_a_certificate_request_outlives_a_restart_though_something_is_wrong() -> Result<()> {
    let mut env = TestEnv::start().await?;
    let (request, _) = request("CN=anything")?;
    env.session("alice-orders", json!({"certificateRequest": request})).await?;
    let answer = |session: DatabaseSession| session.status.and_then(|status| status.certificate);
    let before = answer(env.active("alice-orders").await?);
    env.crash_operator().await;
    let by_hand = format!("revoke \"teleport-auto-user\" from \"{ALICE}\" granted by \"{ADMIN_USER}\"");
    env.pg.sql("postgres", &by_hand).await?;
    env.start_operator().await?;
    let reported = env.phase("alice-orders", SessionPhase::Active, "UserConflict").await?;
    assert!(before.is_some() && answer(reported) == before);
    Ok(())
}

#[tokio::test]
async fn a_certificate_request_is_answered_again_before_the_certificate_expires() -> Result<()> {
    let env = TestEnv::start().await?;
    let credentials = json!({"x509": {"caSecretRef": {"name": "orders-client-ca"}, "ttl": "24s"}});
    env.admin(json!({"spec": {"userCredentials": credentials}})).await?;
    let (request, _) = request("CN=anything")?;
    env.session("alice-orders", json!({"certificateRequest": request})).await?;
    let first = certificate(&env.active("alice-orders").await?)?;
    let end = Facts::of(&first)?.not_after;
    let what = "given another certificate";
    let renewed = env
        .until::<DatabaseSession>("alice-orders", what, |s| certificate(s).is_ok_and(|now| now != first))
        .await?;
    assert!(Timestamp::now() < end, "before the old one ran out");
    assert!(Facts::of(&certificate(&renewed)?)?.not_after > end);
    Ok(())
}

#[tokio::test]
async fn a_password_is_shared_by_the_sessions_of_an_account_and_stored_as_a_scram_verifier() -> Result<()> {
    let env = TestEnv::builder().credentials(Credentials::Password).start().await?;
    env.session("one", json!({})).await?;
    env.active("one").await?;
    env.session("two", json!({"databaseName": "app2"})).await?;
    env.active("two").await?;
    let (one, two) = (env.secret("one").await?, env.secret("two").await?);
    assert_eq!(one["password"], two["password"]);
    assert!(one["password"].len() >= 24 && !one.contains_key("tls.key"));
    assert!(one["uri"].contains(&format!(":{}@", one["password"])), "the URI is enough to log in");
    assert_eq!((one["sslmode"].as_str(), one["sslrootcert"].as_str()), ("verify-full", "ca.crt"));
    env.login("one").await?;
    env.login("two").await?;
    let query = format!("select rolpassword from pg_authid where rolname = '{ALICE}'");
    let stored = env.pg.value("postgres", &query).await?.context("a password")?;
    assert!(stored.starts_with("SCRAM-SHA-256$"));
    assert!(!env.pg.log().contains(&one["password"]));
    Ok(())
}

#[tokio::test]
async fn the_password_changes_when_one_of_two_sessions_ends() -> Result<()> {
    let env = TestEnv::builder().credentials(Credentials::Password).start().await?;
    for name in ["one", "two"] {
        env.session(name, json!({})).await?;
        env.active(name).await?;
    }
    let old = env.secret("one").await?;
    let client = env.login("two").await?;
    env.delete_and_wait::<DatabaseSession>("one").await?;

    let refused = env.login_with(&old).await.err().context("the old password is of no use")?;
    let state = refused.downcast_ref::<rolecall_testbed::Error>().and_then(|error| error.sqlstate());
    assert_eq!(state, Some("28P01"));
    assert_ne!(env.secret("two").await?["password"], old["password"]);
    env.login("two").await?;
    assert_eq!(rows(&client, "select 1").await?.len(), 1, "the other session is not disturbed");

    env.delete_and_wait::<DatabaseSession>("two").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn without_user_credentials_no_secret_is_made() -> Result<()> {
    let env = TestEnv::builder().credentials(Credentials::None).start().await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.active("alice-orders").await?;
    assert!(session.status.is_some_and(|status| status.credentials_secret_ref.is_none()));
    assert!(env.find::<Secret>("alice-orders").await?.is_none());
    env.pg.connect("app", &env.pg.client_cert(ALICE)?).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_never_written() -> Result<()> {
    let env = TestEnv::start().await?;
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "alice-orders"}, "stringData": {"a": "b"}});
    env.apply(theirs).await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "SecretConflict").await?;
    assert_eq!(env.secret("alice-orders").await?.len(), 1);
    assert!(env.account().await?.is_none_or(|account| !account.login), "no access without credentials");

    // The session's own may follow before a watch could show that it is gone.
    env.delete::<Secret>("alice-orders").await?;
    env.active("alice-orders").await?;
    Ok(())
}

/// What a certificate says.
struct Facts {
    common_name: String,
    not_after: Timestamp,
    client_only: bool,
}

impl Facts {
    fn of(pem: &[u8]) -> Result<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem)?;
        let certificate = pem.parse_x509()?;
        let subject = certificate.subject();
        let only = subject.iter_attributes().count() == 1;
        let name = subject.iter_common_name().next().filter(|_| only).context("only a common name")?;
        let usage = certificate.extended_key_usage()?.context("what it is for")?.value;
        Ok(Self {
            common_name: name.as_str()?.to_owned(),
            not_after: Timestamp::from_second(certificate.validity().not_after.timestamp())?,
            client_only: usage.client_auth && !usage.server_auth && !usage.any && !certificate.is_ca(),
        })
    }
}

fn crt(secret: &Secret) -> Result<Vec<u8>> {
    Ok(secret.data.as_ref().and_then(|data| data.get("tls.crt")).context("a certificate")?.0.clone())
}

fn certificate(session: &DatabaseSession) -> Result<Vec<u8>> {
    let status = session.status.as_ref().context("a status")?;
    Ok(status.certificate.as_ref().context("a certificate")?.0.clone())
}

/// A certificate request as written in a manifest, and its key.
pub(crate) fn request(subject: &str) -> Result<(String, String)> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(vec!["another.example.com".to_owned()])?;
    params.distinguished_name.push(rcgen::DnType::CommonName, subject);
    let pem = params.serialize_request(&key)?.pem()?;
    let encoded = serde_json::to_value(ByteString(pem.into_bytes()))?;
    Ok((encoded.as_str().context("base64")?.to_owned(), key.serialize_pem()))
}

#[tokio::test]
async fn a_secret_of_a_live_session_that_somebody_deletes_is_made_again() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let env = TestEnv::builder().credentials(credentials).flag("--resync-interval=1s").start().await?;
        env.session("alice-orders", json!({"ttl": "1h"})).await?;
        env.active("alice-orders").await?;
        let before = env.secret("alice-orders").await?;
        let client = env.login("alice-orders").await?;
        env.delete::<Secret>("alice-orders").await?;
        let is_there = async || Ok(env.find::<Secret>("alice-orders").await?.is_some());
        env.eventually("the Secret is there again", is_there).await?;
        env.login("alice-orders").await?;
        rows(&client, "select 1").await.context("the connection lives on")?;
        if credentials == Credentials::Password {
            let password = env.secret("alice-orders").await?["password"].clone();
            assert_eq!(password, before["password"], "other sessions of the account go on with it");
            let other = json!({"stringData": {"password": "something else"}});
            env.patch::<Secret>("alice-orders", other).await?;
            let is_right = async || Ok(env.secret("alice-orders").await?["password"] == password);
            env.eventually("the password is in it again", is_right).await?;
        }
        env.active("alice-orders").await?;
    }
    Ok(())
}
