//! The CA that signs users' certificates: what of it is handed out, and whether the server takes it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase, conditions};
use rolecall_testbed::Authority;
use rolecall_tests::World;
use rolecall_tests::objects::{is_ready, message_of, phase, reason_of};
use serde_json::json;

use crate::checks::{admin_ready, admin_tells, condition, look_again, secret, session_tells};
use crate::credentials::request;

const ROOT: &str = include_str!("../../../crates/pki/tests/certificates/ca-domain.crt");
const INTERMEDIATE: &str = include_str!("../../../crates/pki/tests/certificates/ca-intermediate.crt");
const KEY: &str = include_str!("../../../crates/pki/tests/certificates/ca-intermediate.key");

/// A world whose users' CA is an intermediate one with a name of Active Directory's kind, and whose Secrets hold more
/// than they should.
async fn careless() -> Result<World> {
    let world = World::builder().without_operator().start().await?;
    world.pg.set_client_cas(&format!("{}{ROOT}", world.pg.client_authority().cert_pem())).await?;
    world.tls_secret("orders-client-ca", &format!("{INTERMEDIATE}{KEY}{ROOT}"), KEY).await?;
    let bundle = format!("made by hunter2\n{}{KEY}", world.pg.server_ca_pem());
    secret(&world, "orders-ca", json!({"ca.crt": bundle})).await?;
    Ok(world)
}

/// No line of the key is in it.
fn holds_no_key(text: &str) -> Result<()> {
    for line in KEY.lines().filter(|line| line.len() > 15 && !line.starts_with("-----")) {
        ensure!(!text.contains(line), "it holds the CA's key:\n{text}");
    }
    ensure!(!text.contains("hunter2"), "it holds what is no certificate:\n{text}");
    Ok(())
}

fn answer(session: &DatabaseSession) -> Option<String> {
    let ByteString(pem) = session.status.as_ref()?.certificate.clone()?;
    String::from_utf8(pem).ok()
}

#[tokio::test]
async fn a_key_beside_the_cas_certificate_reaches_nobody() -> Result<()> {
    let mut world = careless().await?;
    world.start_operator().await?;
    let (request, _) = request("CN=anything")?;
    world.session("with-secret", json!({})).await?;
    world.active("with-secret").await?;
    world.session("with-request", json!({"certificateRequest": request})).await?;
    let answered = answer(&world.active("with-request").await?).context("a certificate")?;
    holds_no_key(&answered)?;
    ensure!(answered.contains(INTERMEDIATE) && answered.contains(ROOT), "{answered}");
    for (key, value) in world.secret("with-secret").await? {
        holds_no_key(&value).with_context(|| key.clone())?;
        let is_its_own = ["tls.key", "private-key"].contains(&key.as_str());
        ensure!(is_its_own || !value.contains("PRIVATE KEY"), "{key}: {value}");
    }
    world.login("with-secret").await?;
    let shown = serde_json::to_string(&world.list::<DatabaseSession>().await?)?
        + &serde_json::to_string(&world.list::<DatabaseAdmin>().await?)?
        + &world.log();
    holds_no_key(&shown)
}

#[tokio::test]
async fn a_key_that_was_handed_out_by_an_earlier_operator_is_taken_back() -> Result<()> {
    let mut world = careless().await?;
    world.start_operator().await?;
    let (request, _) = request("CN=anything")?;
    world.session("with-secret", json!({})).await?;
    world.active("with-secret").await?;
    world.session("with-request", json!({"certificateRequest": request})).await?;
    let answered = answer(&world.active("with-request").await?).context("a certificate")?;
    let handed = world.secret("with-secret").await?;
    world.crash_operator().await;

    let leaked = json!({"stringData": {"tls.crt": format!("{}{KEY}", handed["tls.crt"])}});
    world.patch::<Secret>("with-secret", leaked).await?;
    let leaked = ByteString(format!("{answered}{KEY}").into_bytes());
    let status = kube::api::Patch::Merge(json!({"status": {"certificate": leaked}}));
    let api = world.api::<DatabaseSession>();
    api.patch_status("with-request", &kube::api::PatchParams::default(), &status).await?;
    world.start_operator().await?;
    let clean = |text: Option<&str>| text.is_some_and(|text| holds_no_key(text).is_ok());
    world
        .until::<DatabaseSession>("with-request", "without the key", |session| {
            clean(answer(session).as_deref())
        })
        .await?;
    let crt = |secret: &Secret| {
        let ByteString(pem) = secret.data.as_ref()?.get("tls.crt")?.clone();
        String::from_utf8(pem).ok()
    };
    world.until::<Secret>("with-secret", "without the key", |secret| clean(crt(secret).as_deref())).await?;
    world.login("with-secret").await?;
    Ok(())
}

#[tokio::test]
async fn a_ca_that_was_renewed_waits_for_the_server_and_then_serves_live_sessions_at_once() -> Result<()> {
    let world = World::start().await?;
    let (request, _) = request("CN=anything")?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    world.session("with-request", json!({"certificateRequest": request})).await?;
    let answered = answer(&world.active("with-request").await?);
    let before = world.secret("first").await?["tls.crt"].clone();

    // As cert-manager renews it: with another key.
    let renewed = Authority::new("Rolecall test client CA")?;
    world.tls_secret("orders-client-ca", renewed.cert_pem(), renewed.key_pem()).await?;
    look_again(&world).await?;
    admin_tells(&world, "ClientCaNotTrusted", "ssl_ca_file").await?;
    world.session("second", json!({})).await?;
    session_tells(&world, "second", "ClientCaNotTrusted", "ssl_ca_file").await?;
    let first: DatabaseSession = world.get("first").await?;
    ensure!(phase(&first) == SessionPhase::Active && is_ready(&first), "what it has works still");
    ensure!(world.secret("first").await?["tls.crt"] == before);
    world.login("first").await?;

    let both = format!("{}{}", world.pg.client_authority().cert_pem(), renewed.cert_pem());
    world.pg.set_client_cas(&both).await?;
    admin_ready(&world).await?;
    world.active("second").await?;
    let changed = |secret: &Secret| {
        let crt = secret.data.as_ref().and_then(|data| data.get("tls.crt"));
        crt.is_some_and(|ByteString(crt)| crt != before.as_bytes())
    };
    world.until::<Secret>("first", "of the new CA", changed).await?;
    let anew = |session: &DatabaseSession| answer(session).is_some() && answer(session) != answered;
    world.until::<DatabaseSession>("with-request", "answered again", anew).await?;
    // The old one is gone for good.
    world.pg.set_client_cas(renewed.cert_pem()).await?;
    let logs_in = async || Ok(world.login("first").await.is_ok() && world.login("second").await.is_ok());
    world.eventually("both log in", logs_in).await
}

#[tokio::test]
async fn a_live_session_says_that_the_server_does_not_take_its_certificate_any_more() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let trusted = world.pg.client_authority().cert_pem();
    // The admin user proves itself by password meanwhile: what it has is of the same CA.
    world.pg.sql("postgres", "alter role \"teleport-admin\" password 'by-hand'").await?;
    let hba = "hostssl all \"teleport-admin\" all scram-sha-256\nhostssl all all all cert\n";
    world.pg.set_hba(hba).await?;
    secret(&world, "by-hand", json!({"password": "by-hand"})).await?;
    let auth = json!({"x509": null, "password": {"secretRef": {"name": "by-hand", "key": "password"}}});
    world.admin(json!({"spec": {"auth": auth}})).await?;
    let other = Authority::new("another CA")?;
    world.pg.set_client_cas(other.cert_pem()).await?;
    look_again(&world).await?;
    admin_tells(&world, "ClientCaNotTrusted", "ssl_ca_file").await?;
    let reported = |session: &DatabaseSession| {
        phase(session) == SessionPhase::Active
            && reason_of(session) == "ClientCaNotTrusted"
            && message_of(session).contains("ssl_ca_file")
    };
    world.until("alice-orders", "reporting it", reported).await?;
    let admin: DatabaseAdmin = world.get("orders").await?;
    ensure!(condition(&admin, conditions::REACHABLE)?.status == "True");
    ensure!(condition(&admin, conditions::CAPABLE)?.reason == "ClientCaNotTrusted");

    world.pg.set_client_cas(trusted).await?;
    world.active("alice-orders").await?;
    // And it ends although no user could log in.
    world.pg.set_client_cas(other.cert_pem()).await?;
    look_again(&world).await?;
    admin_tells(&world, "ClientCaNotTrusted", "ssl_ca_file").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    ensure!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn the_keys_of_the_cas_secret_can_be_named() -> Result<()> {
    let world = World::start().await?;
    admin_ready(&world).await?;
    let authority = world.pg.client_authority();
    // As CloudNativePG writes it.
    let data = json!({"ca.crt": authority.cert_pem(), "ca.key": authority.key_pem()});
    secret(&world, "cluster-ca", data).await?;
    let named = |more: serde_json::Value| {
        let reference = rolecall_tests::objects::merged(&json!({"name": "cluster-ca"}), &more);
        json!({"spec": {"userCredentials": {"x509": {"caSecretRef": reference}}}})
    };
    world.admin(named(json!({}))).await?;
    let admin = admin_tells(&world, "SecretNotFound", "caSecretRef.certificateKey").await?;
    ensure!(message_of(&admin).contains("ca.crt, ca.key"), "{}", message_of(&admin));
    world.admin(named(json!({"certificateKey": "ca.crt"}))).await?;
    let lacks_key = |admin: &DatabaseAdmin| message_of(admin).contains("caSecretRef.privateKeyKey");
    world.until("orders", "reporting that the other key has to be named, too", lacks_key).await?;
    world.admin(named(json!({"certificateKey": "ca.crt", "privateKeyKey": "ca.key"}))).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.login("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn the_secret_of_a_live_session_follows_the_ca_of_the_server() -> Result<()> {
    let world = World::start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let bundle = format!("{}{}", world.pg.server_ca_pem(), Authority::new("the next one")?.cert_pem());
    secret(&world, "orders-ca", json!({"ca.crt": bundle})).await?;
    look_again(&world).await?;
    let follows = |secret: &Secret| {
        let ca = secret.data.as_ref().and_then(|data| data.get("ca.crt"));
        ca.is_some_and(|ByteString(ca)| ca == bundle.as_bytes())
    };
    world.until::<Secret>("alice-orders", "with both CAs", follows).await?;
    world.login("alice-orders").await?;
    Ok(())
}
