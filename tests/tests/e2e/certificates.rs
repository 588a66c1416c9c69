//! The CA that signs users' certificates: what of it is published, and whether the server accepts it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase, conditions};
use rolecall_testbed::Authority;
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{is_ready, message_of, phase, reason_of};
use serde_json::json;

use crate::checks::{admin_ready, admin_reports, condition, secret, session_reports, trigger_reconcile};
use crate::credentials::request;

const ROOT: &str = include_str!("../../../crates/pki/tests/certificates/ca-domain.crt");
const INTERMEDIATE: &str = include_str!("../../../crates/pki/tests/certificates/ca-intermediate.crt");
const KEY: &str = include_str!("../../../crates/pki/tests/certificates/ca-intermediate.key");

/// A test environment whose users' CA is an intermediate one with a name like those of Active Directory, and whose
/// Secrets contain more than they should.
async fn careless() -> Result<TestEnv> {
    let env = TestEnv::builder().without_operator().start().await?;
    env.pg.set_client_cas(&format!("{}{ROOT}", env.pg.client_authority().cert_pem())).await?;
    env.tls_secret("orders-client-ca", &format!("{INTERMEDIATE}{KEY}{ROOT}"), KEY).await?;
    let bundle = format!("made by hunter2\n{}{KEY}", env.pg.server_ca_pem());
    secret(&env, "orders-ca", json!({"ca.crt": bundle})).await?;
    Ok(env)
}

/// No line of the key is in it.
fn holds_no_key(text: &str) -> Result<()> {
    for line in KEY.lines().filter(|line| line.len() > 15 && !line.starts_with("-----")) {
        ensure!(!text.contains(line), "it contains the CA's key:\n{text}");
    }
    ensure!(!text.contains("hunter2"), "it contains something other than certificates:\n{text}");
    Ok(())
}

fn answer(session: &DatabaseSession) -> Option<String> {
    let ByteString(pem) = session.status.as_ref()?.certificate.clone()?;
    String::from_utf8(pem).ok()
}

#[tokio::test]
async fn a_key_beside_the_cas_certificate_reaches_nobody() -> Result<()> {
    let mut env = careless().await?;
    env.start_operator().await?;
    let (request, _) = request("CN=anything")?;
    env.session("with-secret", json!({})).await?;
    env.active("with-secret").await?;
    env.session("with-request", json!({"certificateRequest": request})).await?;
    let answered = answer(&env.active("with-request").await?).context("a certificate")?;
    holds_no_key(&answered)?;
    ensure!(answered.contains(INTERMEDIATE) && answered.contains(ROOT), "{answered}");
    for (key, value) in env.secret("with-secret").await? {
        holds_no_key(&value).with_context(|| key.clone())?;
        let is_its_own = ["tls.key", "private-key"].contains(&key.as_str());
        ensure!(is_its_own || !value.contains("PRIVATE KEY"), "{key}: {value}");
    }
    env.login("with-secret").await?;
    let shown = serde_json::to_string(&env.list::<DatabaseSession>().await?)?
        + &serde_json::to_string(&env.list::<DatabaseAdmin>().await?)?
        + &env.log();
    holds_no_key(&shown)
}

#[tokio::test]
async fn a_key_that_was_handed_out_by_an_earlier_operator_is_taken_back() -> Result<()> {
    let mut env = careless().await?;
    env.start_operator().await?;
    let (request, _) = request("CN=anything")?;
    env.session("with-secret", json!({})).await?;
    env.active("with-secret").await?;
    env.session("with-request", json!({"certificateRequest": request})).await?;
    let answered = answer(&env.active("with-request").await?).context("a certificate")?;
    let handed = env.secret("with-secret").await?;
    env.crash_operator().await;

    let leaked = json!({"stringData": {"tls.crt": format!("{}{KEY}", handed["tls.crt"])}});
    env.patch::<Secret>("with-secret", leaked).await?;
    let leaked = ByteString(format!("{answered}{KEY}").into_bytes());
    let status = kube::api::Patch::Merge(json!({"status": {"certificate": leaked}}));
    let api = env.api::<DatabaseSession>();
    api.patch_status("with-request", &kube::api::PatchParams::default(), &status).await?;
    env.start_operator().await?;
    let clean = |text: Option<&str>| text.is_some_and(|text| holds_no_key(text).is_ok());
    env.until::<DatabaseSession>("with-request", "without the key", |session| {
        clean(answer(session).as_deref())
    })
    .await?;
    let crt = |secret: &Secret| {
        let ByteString(pem) = secret.data.as_ref()?.get("tls.crt")?.clone();
        String::from_utf8(pem).ok()
    };
    env.until::<Secret>("with-secret", "without the key", |secret| clean(crt(secret).as_deref())).await?;
    env.login("with-secret").await?;
    Ok(())
}

#[tokio::test]
async fn a_ca_that_was_renewed_waits_for_the_server_and_then_serves_live_sessions_at_once() -> Result<()> {
    let env = TestEnv::start().await?;
    let (request, _) = request("CN=anything")?;
    env.session("first", json!({})).await?;
    env.active("first").await?;
    env.session("with-request", json!({"certificateRequest": request})).await?;
    let answered = answer(&env.active("with-request").await?);
    let before = env.secret("first").await?["tls.crt"].clone();

    // As cert-manager renews it: with another key.
    let renewed = Authority::new("Rolecall test client CA")?;
    env.tls_secret("orders-client-ca", renewed.cert_pem(), renewed.key_pem()).await?;
    trigger_reconcile(&env).await?;
    admin_reports(&env, "ClientCaNotTrusted", "ssl_ca_file").await?;
    env.session("second", json!({})).await?;
    session_reports(&env, "second", "ClientCaNotTrusted", "ssl_ca_file").await?;
    let first: DatabaseSession = env.get("first").await?;
    ensure!(phase(&first) == SessionPhase::Active && is_ready(&first), "what it has works still");
    ensure!(env.secret("first").await?["tls.crt"] == before);
    env.login("first").await?;

    let both = format!("{}{}", env.pg.client_authority().cert_pem(), renewed.cert_pem());
    env.pg.set_client_cas(&both).await?;
    admin_ready(&env).await?;
    env.active("second").await?;
    let changed = |secret: &Secret| {
        let crt = secret.data.as_ref().and_then(|data| data.get("tls.crt"));
        crt.is_some_and(|ByteString(crt)| crt != before.as_bytes())
    };
    env.until::<Secret>("first", "of the new CA", changed).await?;
    let again = |session: &DatabaseSession| answer(session).is_some() && answer(session) != answered;
    env.until::<DatabaseSession>("with-request", "answered again", again).await?;
    // The old one is gone for good.
    env.pg.set_client_cas(renewed.cert_pem()).await?;
    let logs_in = async || Ok(env.login("first").await.is_ok() && env.login("second").await.is_ok());
    env.eventually("both log in", logs_in).await
}

#[tokio::test]
async fn a_live_session_says_that_the_server_does_not_take_its_certificate_any_more() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let trusted = env.pg.client_authority().cert_pem();
    // The admin user logs in by password meanwhile: its certificate is of the same CA.
    env.pg.sql("postgres", "alter role \"teleport-admin\" password 'by-hand'").await?;
    let hba = "hostssl all \"teleport-admin\" all scram-sha-256\nhostssl all all all cert\n";
    env.pg.set_hba(hba).await?;
    secret(&env, "by-hand", json!({"password": "by-hand"})).await?;
    let auth = json!({"x509": null, "password": {"secretRef": {"name": "by-hand", "key": "password"}}});
    env.admin(json!({"spec": {"auth": auth}})).await?;
    let other = Authority::new("another CA")?;
    env.pg.set_client_cas(other.cert_pem()).await?;
    trigger_reconcile(&env).await?;
    admin_reports(&env, "ClientCaNotTrusted", "ssl_ca_file").await?;
    let reported = |session: &DatabaseSession| {
        phase(session) == SessionPhase::Active
            && reason_of(session) == "ClientCaNotTrusted"
            && message_of(session).contains("ssl_ca_file")
    };
    env.until("alice-orders", "reporting it", reported).await?;
    let admin: DatabaseAdmin = env.get("orders").await?;
    ensure!(condition(&admin, conditions::REACHABLE)?.status == "True");
    ensure!(condition(&admin, conditions::CAPABLE)?.reason == "ClientCaNotTrusted");

    env.pg.set_client_cas(trusted).await?;
    env.active("alice-orders").await?;
    // And it ends although no user could log in.
    env.pg.set_client_cas(other.cert_pem()).await?;
    trigger_reconcile(&env).await?;
    admin_reports(&env, "ClientCaNotTrusted", "ssl_ca_file").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    ensure!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn the_keys_of_the_cas_secret_can_be_named() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    let authority = env.pg.client_authority();
    // As CloudNativePG writes it.
    let data = json!({"ca.crt": authority.cert_pem(), "ca.key": authority.key_pem()});
    secret(&env, "cluster-ca", data).await?;
    let named = |more: serde_json::Value| {
        let reference = rolecall_tests::objects::merged(&json!({"name": "cluster-ca"}), &more);
        json!({"spec": {"userCredentials": {"x509": {"caSecretRef": reference}}}})
    };
    env.admin(named(json!({}))).await?;
    let admin = admin_reports(&env, "SecretNotFound", "caSecretRef.certificateKey").await?;
    ensure!(message_of(&admin).contains("ca.crt, ca.key"), "{}", message_of(&admin));
    env.admin(named(json!({"certificateKey": "ca.crt"}))).await?;
    let lacks_key = |admin: &DatabaseAdmin| message_of(admin).contains("caSecretRef.privateKeyKey");
    env.until("orders", "reporting that the other key has to be named, too", lacks_key).await?;
    env.admin(named(json!({"certificateKey": "ca.crt", "privateKeyKey": "ca.key"}))).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.login("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn the_secret_of_a_live_session_follows_the_ca_of_the_server() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let bundle = format!("{}{}", env.pg.server_ca_pem(), Authority::new("the next one")?.cert_pem());
    secret(&env, "orders-ca", json!({"ca.crt": bundle})).await?;
    trigger_reconcile(&env).await?;
    let follows = |secret: &Secret| {
        let ca = secret.data.as_ref().and_then(|data| data.get("ca.crt"));
        ca.is_some_and(|ByteString(ca)| ca == bundle.as_bytes())
    };
    env.until::<Secret>("alice-orders", "with both CAs", follows).await?;
    env.login("alice-orders").await?;
    Ok(())
}
