//! Reaching a server: who it is, and who the admin user is.

use std::time::{Duration, Instant};

use rolecall_engine::{Class, Engine as _, Error, Needs, Reason};
use rolecall_mongodb::{Address, ClientCertificate, Mongodb};
use rolecall_pki::tls::TlsMode;
use rolecall_testbed::{Certificate, Mongo, MongoAdmin};

use crate::bench::Bench;

fn identity(certificate: &Certificate) -> ClientCertificate {
    ClientCertificate { cert_pem: certificate.cert_pem.clone(), key_pem: certificate.key_pem.clone().into() }
}

async fn bench() -> Bench<'static> {
    Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await
}

async fn refused(config: rolecall_mongodb::Config) -> Error {
    let error = Mongodb::new(config).unwrap().preflight(&Needs::default()).await.unwrap_err();
    assert!(!error.remedy.is_empty(), "{error}");
    assert!(!format!("{error:?} {error}").contains("PRIVATE KEY"), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_ca_is_not_trusted() {
    let bench = bench().await;
    let mut config = bench.config();
    config.tls.ca_pem = Some(bench.mongo.client_authority().cert_pem().to_owned());
    let error = refused(config).await;
    assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::TlsFailed), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_another_name_is_not_trusted() {
    let bench = bench().await;
    let mut config = bench.config();
    let port = bench.mongo.ports()[0];
    // Its certificate names localhost and 127.0.0.1.
    config.address = Address::parse(&format!("127.0.0.2:{port}")).unwrap();
    let error = refused(config).await;
    assert!(matches!(error.reason, Reason::TlsFailed | Reason::DatabaseUnreachable), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_user_that_does_not_exist_is_not_let_in() {
    let bench = bench().await;
    let mut config = bench.config();
    config.admin_user = "nobody".to_owned();
    config.certificate = identity(&bench.mongo.client_cert("nobody").unwrap());
    let error = refused(config).await;
    assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::LoginFailed), "{error}");
    assert!(error.remedy.contains("CN=nobody"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_of_the_admin_user_is_reported() {
    let bench = bench().await;
    let mut config = bench.config();
    config.certificate = identity(&bench.mongo.expired_client_cert(&bench.admin).unwrap());
    let error = refused(config).await;
    assert_eq!(error.class, Class::Unreachable, "{error}");
    assert!(error.detail.contains("has expired at") && error.remedy.contains("renew it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_reported_before_anything_is_dialled() {
    let bench = bench().await;
    let other = bench.mongo.client_cert("somebody-else").unwrap();
    let mut configs = Vec::new();
    let mut config = bench.config();
    config.certificate = identity(&other);
    configs.push((config, Reason::SecretInvalid, "CN=somebody-else"));
    let mut config = bench.config();
    config.certificate.key_pem = other.key_pem.clone().into();
    configs.push((config, Reason::SecretInvalid, "does not belong"));
    let mut config = bench.config();
    config.certificate.cert_pem = "no PEM".to_owned();
    configs.push((config, Reason::SecretInvalid, "no certificate"));
    let mut config = bench.config();
    config.tls.ca_pem = Some(String::new());
    configs.push((config, Reason::SecretInvalid, "CA"));
    for mode in [TlsMode::VerifyCa, TlsMode::Disable] {
        let mut config = bench.config();
        config.tls.mode = mode;
        configs.push((config, Reason::TlsFailed, "VerifyFull"));
    }
    let mut config = bench.config();
    config.tls.server_name = Some("other".to_owned());
    configs.push((config, Reason::TlsFailed, "VerifyFull"));
    for (config, reason, text) in configs {
        let error = Mongodb::new(config).unwrap_err();
        assert_eq!((error.class, error.reason), (Class::Invalid, reason), "{error}");
        assert!(error.to_string().contains(text), "{text}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up_in_time_and_used_again_when_it_answers() {
    let mongo = Mongo::start().await.unwrap();
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    let mut config = bench.config();
    config.connect_timeout = Duration::from_secs(1);
    config.command_timeout = Duration::from_secs(2);
    let engine = Mongodb::new(config).unwrap();
    engine.preflight(&Needs::default()).await.unwrap();
    mongo.pause(0).await;
    let begun = Instant::now();
    let error = engine.preflight(&Needs::default()).await.unwrap_err();
    assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::DatabaseUnreachable), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    mongo.unpause(0).await;
    crate::bench::until("it answers again", async || engine.preflight(&Needs::default()).await.is_ok()).await;
    // And after a restart.
    mongo.kill(0).await;
    engine.preflight(&Needs::default()).await.unwrap_err();
    mongo.start_again(0).await.unwrap();
    crate::bench::until("it answers again", async || engine.preflight(&Needs::default()).await.is_ok()).await;
}
