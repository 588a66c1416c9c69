//! Certificates as people have them: what is taken, and what is said about the rest.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rolecall_engine::{AccountName, Class, Engine as _, Error, Needs, Reason};
use rolecall_pki::credentials::{Ca, issue, throw_away};
use rolecall_pki::tls::{Tls, TlsMode};
use rolecall_postgres::{Auth, Config, Postgres as Engine};
use rolecall_testbed::{Authority, Certificate, ClientOptions, PgVersion, Postgres};
use secrecy::ExposeSecret;

use crate::common::{Bench, enabled, unique};

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../../pki/tests/certificates/", $name))
    };
}

/// CAs for users as OpenSSL made them, with names that not every library keeps as they are.
const NAMED: [(&str, &str); 6] = [
    (file!("ca-domain.crt"), file!("ca-domain.key")),
    (file!("ca-several.crt"), file!("ca-several.key")),
    (file!("ca-multivalued.crt"), file!("ca-multivalued.key")),
    (file!("ca-t61.crt"), file!("ca-t61.key")),
    (file!("ca-bmp.crt"), file!("ca-bmp.key")),
    (file!("ca-email.crt"), file!("ca-email.key")),
];

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap()
}

fn x509(cert_pem: &str, key_pem: &str) -> Auth {
    Auth::X509 { cert_pem: cert_pem.to_owned(), key_pem: key_pem.to_owned().into() }
}

/// Nothing in it but what a person understands.
fn is_for_people(error: &Error) {
    let text = error.to_string();
    for internal in ["Other(", "OtherError", "Context", "InvalidCertificate", "UnknownIssuer", "put PEM into"]
    {
        assert!(!text.contains(internal), "{text}");
    }
    assert!(!error.remedy.is_empty(), "{text}");
}

/// A server with this certificate, and the error for its admin user with these CAs and this mode of verification.
struct Shop {
    pg: Postgres,
    admin: Certificate,
}

impl Shop {
    async fn with(certificate: &str, key: &str) -> Self {
        Self::builder(Postgres::builder(PgVersion::V17).identity(certificate, key)).await
    }

    async fn builder(builder: rolecall_testbed::PostgresBuilder) -> Self {
        let pg = builder.client_cas(file!("root.crt")).start().await.unwrap();
        let admin = pg.create_admin("admin").await.unwrap();
        Self { pg, admin }
    }

    fn config(&self, ca: Option<&str>, mode: TlsMode) -> Config {
        let mut config = Config::new(
            "localhost",
            self.pg.port(),
            "admin",
            x509(&self.admin.cert_pem, &self.admin.key_pem),
        );
        config.tls = Tls { mode, ca_pem: ca.map(str::to_owned), server_name: None };
        config
    }

    async fn preflight(&self, config: Config) -> Result<(), Error> {
        Engine::new(config)?.preflight(&Needs::default()).await.map(drop)
    }

    async fn refused(&self, config: Config) -> Error {
        let error = self.preflight(config).await.unwrap_err();
        is_for_people(&error);
        error
    }
}

#[tokio::test]
async fn certificates_of_a_ca_with_any_name_let_their_holders_in() {
    let intermediate = file!("ca-intermediate.crt");
    let all: String = NAMED.iter().map(|(cert, _)| *cert).collect();
    let pg = Postgres::builder(PgVersion::V17).client_cas(&all).start().await.unwrap();
    let bench = Bench::on(Box::leak(Box::new(pg)), "createrole").await;
    let user = unique("alice");
    bench.reach(&enabled(&user, &[])).await;
    let account = AccountName::new(&user).unwrap();
    for (cert, key) in NAMED.into_iter().chain([(intermediate, file!("ca-intermediate.key"))]) {
        let ca = Ca::from_pem(cert, &key.into(), now()).unwrap();
        let (certificate, key) = issue(&ca, &account, now(), now() + Duration::from_secs(600)).unwrap();
        let identity = Certificate {
            common_name: user.clone(),
            cert_pem: certificate.chain_pem,
            key_pem: key.expose_secret().to_owned(),
        };
        let shown = throw_away(&ca, now()).unwrap();
        assert_eq!(bench.engine.check_client_ca(&shown).await.unwrap(), None);
        bench.pg.connect("postgres", &identity).await.unwrap();
    }
}

#[tokio::test]
async fn a_ca_that_the_server_does_not_trust_is_reported_without_a_login() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let authority = bench.pg.client_authority();
        let trusted = Ca::from_pem(authority.cert_pem(), &authority.key_pem().into(), now()).unwrap();
        let shown = throw_away(&trusted, now()).unwrap();
        assert_eq!(bench.engine.check_client_ca(&shown).await.unwrap(), None, "{version}");
        // Of the same name, with another key, as after a renewal.
        let renewed = Authority::new("Rolecall test client CA").unwrap();
        let renewed = Ca::from_pem(renewed.cert_pem(), &renewed.key_pem().into(), now()).unwrap();
        let below = Ca::from_pem(file!("ca-intermediate.crt"), &file!("ca-intermediate.key").into(), now());
        for (ca, name) in [(&renewed, "Rolecall test client CA"), (&below.unwrap(), "Shop Issuing CA")] {
            let shown = throw_away(ca, now()).unwrap();
            let finding = bench.engine.check_client_ca(&shown).await.unwrap().unwrap();
            assert_eq!(finding.reason, Reason::ClientCaNotTrusted);
            assert!(
                finding.message.contains("ssl_ca_file") && finding.message.contains(name),
                "{version}: {}",
                finding.message
            );
        }
        assert!(!bench.pg.log().contains("rolecall:nobody@"), "somebody tried to log in");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_no_client_certificate_is_reported() {
    let builder = Postgres::builder(PgVersion::V17).setting("ssl_ca_file", "");
    let pg = builder.hba("hostssl all all all scram-sha-256").start().await.unwrap();
    pg.create_password_user("by-password", "secret", "createrole").await.unwrap();
    let mut config = Config::new("localhost", pg.port(), "by-password", Auth::Password("secret".into()));
    config.tls.ca_pem = Some(pg.server_ca_pem().to_owned());
    let engine = Engine::new(config).unwrap();
    let authority = pg.client_authority();
    let ca = Ca::from_pem(authority.cert_pem(), &authority.key_pem().into(), now()).unwrap();
    let finding = engine.check_client_ca(&throw_away(&ca, now()).unwrap()).await.unwrap().unwrap();
    assert_eq!(finding.reason, Reason::ClientCaNotTrusted);
    assert!(finding.message.contains("asks nobody") && finding.message.contains("ssl_ca_file"));
}

#[tokio::test]
async fn a_certificate_that_is_trusted_itself_is_taken_whatever_its_form() {
    let key = file!("server.key");
    for (certificate, key) in [
        // As PostgreSQL's manual makes them.
        (file!("self-ca.crt"), file!("self-ca.key")),
        (file!("v1.crt"), key),
        (file!("self-v1.crt"), key),
        (file!("common-name.crt"), key),
    ] {
        for tls12 in [false, true] {
            let mut builder = Postgres::builder(PgVersion::V17).identity(certificate, key);
            if tls12 {
                builder = builder.setting("ssl_max_protocol_version", "TLSv1.2");
            }
            let shop = Shop::builder(builder).await;
            let trusted = format!("{}{certificate}", file!("curve-root.crt"));
            for mode in [TlsMode::VerifyFull, TlsMode::VerifyCa] {
                shop.preflight(shop.config(Some(&trusted), mode)).await.unwrap();
            }
            let mut elsewhere = shop.config(Some(certificate), TlsMode::VerifyFull);
            elsewhere.tls.server_name = Some("elsewhere.example".to_owned());
            let error = shop.refused(elsewhere).await;
            assert!(error.detail.contains("not made out to elsewhere.example"), "{error}");
        }
    }
    // Another one of the same name proves nothing.
    let shop = Shop::with(file!("self-v1.crt"), key).await;
    let error = shop.refused(shop.config(Some(file!("self-ca.crt")), TlsMode::VerifyFull)).await;
    assert!(error.detail.contains("version 1") && error.remedy.contains("this very certificate"), "{error}");
}

#[tokio::test]
async fn faults_of_a_servers_certificate_are_reported_with_their_remedy() {
    let key = file!("server.key");
    let root = Some(file!("root.crt"));
    let signed_by_it = Authority::new("dates").unwrap();
    let dated = |options: &ClientOptions| {
        let made = signed_by_it.client_with("localhost", options).unwrap();
        (made.cert_pem, made.key_pem)
    };
    let (expired, expired_key) = dated(&ClientOptions::expired());
    let (young, young_key) = dated(&ClientOptions::not_yet_valid());
    let dates = Some(signed_by_it.cert_pem());
    for (certificate, key, ca, detail, remedy) in [
        (file!("v1.crt"), key, root, "version 1", "openssl x509 -req"),
        (file!("self-ca.crt"), file!("self-ca.key"), root, "CA:TRUE", "this very certificate"),
        (file!("common-name.crt"), key, root, "no subjectAltName", "subjectAltName=DNS:localhost"),
        (file!("other-name.crt"), key, root, "db.example, 192.0.2.1", "tls.serverName"),
        (file!("for-clients.crt"), key, root, "lacks serverAuth", "extendedKeyUsage=serverAuth"),
        (file!("sha1.crt"), key, root, "SHA-1", "-sha256"),
        (file!("curve.crt"), key, Some(file!("curve-root.crt")), "secp256k1", "P-256"),
        (file!("small.crt"), key, Some(file!("small-root.crt")), "1024 bits", "openssl genpkey"),
        (file!("below.crt"), key, root, "signed by CN=between.example", "cat server.crt intermediate.crt"),
        (file!("good.crt"), key, Some(file!("ca-domain.crt")), "not the CA given (DC=com", "caSecretRef"),
        (expired.as_str(), expired_key.as_str(), dates, "ran out at", "openssl x509 -req"),
        (young.as_str(), young_key.as_str(), dates, "not valid yet before", "clocks"),
    ] {
        let shop = Shop::with(certificate, key).await;
        let error = shop.refused(shop.config(ca, TlsMode::VerifyFull)).await;
        assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::TlsFailed), "{error}");
        assert!(error.detail.contains(detail) && error.remedy.contains(remedy), "{error}");
    }
    // The system may have no roots at all.
    let shop = Shop::with(file!("good.crt"), key).await;
    let error = shop.refused(shop.config(None, TlsMode::VerifyFull)).await;
    assert!(error.detail.contains("is given") && error.remedy.contains("spec.tls.caSecretRef"), "{error}");
    // The right ones.
    let chain = format!("{}{}", file!("below.crt"), file!("between.crt"));
    for (certificate, host) in [(file!("good.crt"), "localhost"), (chain.as_str(), "localhost")] {
        let shop = Shop::with(certificate, key).await;
        let config = Config { host: host.to_owned(), ..shop.config(root, TlsMode::VerifyFull) };
        shop.preflight(config).await.unwrap();
    }
}

#[tokio::test]
async fn an_admin_user_with_a_certificate_that_libpq_takes_is_let_in() {
    let shop = Shop::with(file!("good.crt"), file!("server.key")).await;
    let with = |cert: &str, key: &str| Config {
        auth: x509(cert, key),
        ..shop.config(Some(file!("root.crt")), TlsMode::VerifyFull)
    };
    shop.preflight(with(file!("admin-v1.crt"), file!("admin.key"))).await.unwrap();
    let chain = format!("{}{}", file!("admin-below.crt"), file!("between.crt"));
    shop.preflight(with(&chain, file!("admin.key"))).await.unwrap();
    // More than there should be.
    let everything = format!("subject=CN = admin\n{chain}{}", file!("admin.key"));
    shop.preflight(with(&everything, &everything)).await.unwrap();

    let cases = [
        (file!("admin-below.crt"), Reason::TlsFailed, "CN=between.example", "cat admin.crt intermediate.crt"),
        (
            file!("admin-for-servers.crt"),
            Reason::TlsFailed,
            "lacks clientAuth",
            "extendedKeyUsage=clientAuth",
        ),
    ];
    for (cert, reason, detail, remedy) in cases {
        let error = shop.refused(with(cert, file!("admin.key"))).await;
        assert_eq!(error.reason, reason, "{error}");
        assert!(error.detail.contains(detail) && error.remedy.contains(remedy), "{error}");
    }
    let authority = shop.pg.client_authority();
    for (options, detail, remedy) in [
        (ClientOptions::expired(), "has expired at", "renew it"),
        (ClientOptions::not_yet_valid(), "is not valid before", "clocks"),
    ] {
        let made = authority.client_with("admin", &options).unwrap();
        let error = shop.refused(with(&made.cert_pem, &made.key_pem)).await;
        assert!(error.detail.contains(detail) && error.remedy.contains(remedy), "{error}");
    }
    let v1 = file!("admin-v1.crt");
    for (cert, key, detail, remedy) in [
        (v1, file!("admin-encrypted.key"), "encrypted", "openssl pkey"),
        (v1, file!("admin-encrypted-old.key"), "encrypted", "openssl pkey"),
        (v1, file!("server.key"), "does not belong", "-pubkey"),
        (file!("admin-curve.crt"), file!("admin-curve.key"), "secp256k1", "P-256"),
        (v1, v1, "a certificate instead", "tls.key"),
        (file!("admin.key"), file!("admin.key"), "a private key instead", "put the certificate"),
    ] {
        let error = Engine::new(with(cert, key)).unwrap_err();
        is_for_people(&error);
        assert_eq!((error.class, error.reason), (Class::Invalid, Reason::SecretInvalid), "{error}");
        assert!(error.detail.contains(detail) && error.remedy.contains(remedy), "{error}");
    }
    let wrong_order = format!("{}{}", file!("between.crt"), file!("admin-below.crt"));
    let error = Engine::new(with(&wrong_order, file!("admin.key"))).unwrap_err();
    assert!(error.detail.contains("number 2") && error.remedy.contains("first"), "{error}");
}
