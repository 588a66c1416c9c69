//! Certificates and passwords that are made here let their holders in.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rolecall_engine::account::Credential;
use rolecall_engine::{AccountName, Desired, Dialect, Want};
use rolecall_pki::credentials::{Ca, answer, issue, password};
use rolecall_testbed::{Certificate, PgVersion, Postgres};
use secrecy::ExposeSecret;

use crate::common::{Bench, enabled, ended, live, unique};

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap()
}

fn authority(bench: &Bench) -> Ca {
    let authority = bench.pg.client_authority();
    Ca::from_pem(authority.cert_pem(), &authority.key_pem().into(), now()).unwrap()
}

#[tokio::test]
async fn a_certificate_lets_its_holder_in() {
    let bench = Bench::new(PgVersion::V17).await;
    let ca = authority(&bench);
    for base in ["alice", "Älice@example.com", "🦀 with spaces", "say \"hi\""] {
        let user = unique(base);
        bench.reach(&enabled(&user, &[])).await;
        let account = AccountName::new(&user).unwrap();
        let (certificate, key) = issue(&ca, &account, now(), now() + Duration::from_secs(60)).unwrap();
        let identity = Certificate {
            common_name: user.clone(),
            cert_pem: certificate.chain_pem,
            key_pem: key.expose_secret().to_owned(),
        };
        let client = bench.pg.connect("postgres", &identity).await.unwrap();
        let who = rolecall_testbed::rows(&client, "select current_user").await.unwrap();
        assert_eq!(who[0][0].as_deref(), Some(user.as_str()));
    }
}

#[tokio::test]
async fn a_certificate_that_was_asked_for_lets_its_holder_in() {
    let bench = Bench::new(PgVersion::V17).await;
    let user = unique("alice");
    bench.reach(&enabled(&user, &[])).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let account = AccountName::new(&user).unwrap();
    let certificate =
        answer(&authority(&bench), &request, &account, now(), now() + Duration::from_secs(60)).unwrap();
    let identity =
        Certificate { common_name: user, cert_pem: certificate.chain_pem, key_pem: key.serialize_pem() };
    assert!(bench.pg.connect("postgres", &identity).await.is_ok());
}

fn with_password(mut desired: Desired, password: Option<&secrecy::SecretString>) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        let verifier = |text| password::verifier(Dialect::PostgreSql, &desired.account, text);
        enabled.credential = Credential::Password { set: password.map(verifier) };
    }
    desired
}

#[tokio::test]
async fn a_password_lets_its_holder_in_until_it_is_changed() {
    // Certificates for admin users, passwords for all others.
    let lines = ["0.0.0.0/0", "::/0"]
        .map(|from| format!("hostssl all /^admin {from} cert\nhostssl all all {from} scram-sha-256\n"));
    let server = Postgres::builder(PgVersion::V17).hba(&lines.concat()).start().await.unwrap();
    let bench = Bench::on(Box::leak(Box::new(server)), "createrole").await;
    let user = unique("alice");
    let (first, second) = (password::generate().unwrap(), password::generate().unwrap());
    let desired = enabled(&user, &[]);
    let login = async |password: &secrecy::SecretString| {
        bench.pg.connect_with_password("postgres", &user, password.expose_secret()).await.is_ok()
    };
    bench.reach(&with_password(desired.clone(), Some(&first))).await;
    assert!(login(&first).await && !login(&second).await);
    bench.apply(&live(with_password(desired.clone(), Some(&second)))).await.unwrap();
    assert!(!login(&first).await && login(&second).await);
    bench.reach(&live(with_password(desired.clone(), None))).await;
    assert!(login(&second).await);
    bench.reach(&ended(&user, false)).await;
    // Not even a new session brings the old one back.
    bench.reach(&desired).await;
    assert!(!login(&first).await && !login(&second).await);
    // The server has not seen it, its log neither.
    for password in [first, second] {
        assert!(!bench.pg.log().contains(password.expose_secret()));
    }
}
