//! Certificates as people have them: what is taken, and what is said about the rest.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mongodb::bson::doc;
use rolecall_engine::{AccountName, Engine as _, Needs, Reason};
use rolecall_mongodb::{ClientCertificate, Mongodb};
use rolecall_pki::credentials::{Ca, issue, throw_away};
use rolecall_testbed::{Authority, Certificate, Mongo, MongoAdmin};
use secrecy::ExposeSecret;

use crate::bench::{Bench, wanted};

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../../pki/tests/certificates/", $name))
    };
}

const NAMED: [(&str, &str); 5] = [
    (file!("ca-domain.crt"), file!("ca-domain.key")),
    (file!("ca-several.crt"), file!("ca-several.key")),
    (file!("ca-multivalued.crt"), file!("ca-multivalued.key")),
    (file!("ca-t61.crt"), file!("ca-t61.key")),
    (file!("ca-bmp.crt"), file!("ca-bmp.key")),
];

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_a_ca_with_any_name_let_their_holders_in() {
    let all: String = NAMED.iter().map(|(cert, _)| *cert).collect();
    let mongo = Mongo::builder().client_cas(&all).start().await.unwrap();
    let bench = Bench::new(&mongo, MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    bench.bring(&wanted(&user, &[])).await.unwrap();
    let account = AccountName::new(&user).unwrap();
    let below = (file!("ca-intermediate.crt"), file!("ca-intermediate.key"));
    for (cert, key) in NAMED.into_iter().chain([below]) {
        let ca = Ca::from_pem(cert, &key.into(), now()).unwrap();
        let shown = throw_away(&ca, now()).unwrap();
        assert_eq!(bench.engine.check_client_ca(&shown).await.unwrap(), None);
        let (certificate, key) = issue(&ca, &account, now(), now() + Duration::from_secs(600)).unwrap();
        let identity = Certificate {
            common_name: user.clone(),
            cert_pem: certificate.chain_pem,
            key_pem: key.expose_secret().to_owned(),
        };
        let client = mongo.connect(&identity).await.unwrap();
        client.database("admin").run_command(doc! { "connectionStatus": 1 }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_the_server_does_not_trust_is_reported_and_nothing_is_created() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let check = async |authority: &Authority| {
        let ca = Ca::from_pem(authority.cert_pem(), &authority.key_pem().into(), now()).unwrap();
        bench.engine.check_client_ca(&throw_away(&ca, now()).unwrap()).await.unwrap()
    };
    assert_eq!(check(bench.mongo.client_authority()).await, None);
    let finding = check(&Authority::new("Rolecall test client CA").unwrap()).await.unwrap();
    assert_eq!(finding.reason, Reason::ClientCaNotTrusted);
    for text in ["net.tls.CAFile", "CN=Rolecall test client CA", "cannot log in"] {
        assert!(finding.message.contains(text), "{}", finding.message);
    }
    let users = bench.run("$external", doc! { "usersInfo": 1 }).await;
    assert!(!users.to_string().contains("nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_certificate_are_reported_with_their_remedy() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let with = |cert: &str, key: &str| {
        let mut config = bench.config();
        config.admin_user = "admin".to_owned();
        config.certificate = ClientCertificate { cert_pem: cert.to_owned(), key_pem: key.to_owned().into() };
        config
    };
    for (cert, key, detail, remedy) in [
        (file!("admin-v1.crt"), file!("admin.key"), "version 1", "openssl x509 -req"),
        (file!("admin-for-servers.crt"), file!("admin-encrypted.key"), "encrypted", "openssl pkey"),
        (file!("admin-for-servers.crt"), file!("server.key"), "does not belong", "-pubkey"),
        (file!("admin-curve.crt"), file!("admin-curve.key"), "secp256k1", "P-256"),
    ] {
        let error = Mongodb::new(with(cert, key)).unwrap_err();
        assert_eq!(error.reason, Reason::SecretInvalid, "{error}");
        assert!(error.detail.contains(detail) && error.remedy.contains(remedy), "{error}");
    }
    let mut other_ca = bench.config();
    other_ca.tls.ca_pem = Some(file!("root.crt").to_owned());
    let for_servers = with(file!("admin-for-servers.crt"), file!("admin.key"));
    let mut unknown = bench.config();
    let made = Authority::new("another CA").unwrap().client(&bench.admin).unwrap();
    unknown.certificate = ClientCertificate { cert_pem: made.cert_pem, key_pem: made.key_pem.into() };
    for (config, detail, remedy) in [
        (other_ca, "is signed by CN=Rolecall test server CA", "caSecretRef"),
        (for_servers, "lacks clientAuth", "extendedKeyUsage=clientAuth"),
        (unknown, "CN=another CA", "net.tls.CAFile"),
    ] {
        let error = Mongodb::new(config).unwrap().preflight(&Needs::default()).await.unwrap_err();
        assert!(error.detail.contains(detail) && error.remedy.contains(remedy), "{error}");
        assert!(!error.to_string().contains("Other("), "{error}");
    }
}
