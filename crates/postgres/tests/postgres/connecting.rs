//! How a server is reached, and what is said when it is not.

use std::time::{Duration, Instant};

use rolecall_engine::{Class, Engine as _, Error, Needs, Reason};
use rolecall_pki::tls::{Tls, TlsMode};
use rolecall_postgres::{Auth, Config, Platform, Postgres as Engine};
use rolecall_testbed::{Authority, PgVersion, Postgres};

use crate::common::{Bench, apply, config, enabled, ended, unique};

async fn failure(config: Config) -> Error {
    Engine::new(config).unwrap().preflight(&Needs::default()).await.unwrap_err()
}

fn invalid(config: Config) -> Error {
    let error = Engine::new(config).unwrap_err();
    assert_eq!(error.class, Class::Invalid, "{error}");
    error
}

#[tokio::test]
async fn what_cannot_be_used_is_named_without_any_connection() {
    let bench = Bench::new(PgVersion::V17).await;
    let x509 = |cert_pem: &str, key_pem: &str| Auth::X509 {
        cert_pem: cert_pem.to_owned(),
        key_pem: key_pem.to_owned().into(),
    };
    let certificate = &bench.certificate;
    let other = bench.pg.client_cert("other").unwrap();
    for (auth, said) in [
        (x509("no PEM", &certificate.key_pem), "the admin user's certificate"),
        (x509(&certificate.cert_pem, "no PEM"), "the admin user's private key"),
        (x509(&certificate.cert_pem, &other.key_pem), "the admin user's private key"),
        (x509(&certificate.key_pem, &certificate.key_pem), "the admin user's certificate"),
    ] {
        let error = invalid(Config { auth, ..bench.config() });
        assert!(error.attempted.contains(said), "{error}");
        assert!(!format!("{error} {error:?}").contains("PRIVATE KEY"), "{error}");
    }
    for ca_pem in ["", "no PEM", &certificate.key_pem] {
        let tls = Tls { ca_pem: Some(ca_pem.to_owned()), ..Tls::default() };
        let error = invalid(Config { tls, ..bench.config() });
        assert!(error.attempted.contains("the CA of the server"), "{error}");
    }
    let tls = Tls { server_name: Some("not a name".to_owned()), ..bench.config().tls };
    assert!(invalid(Config { tls, ..bench.config() }).attempted.contains("tls.serverName"));
    let tls = Tls { mode: TlsMode::Disable, ..Tls::default() };
    assert!(invalid(Config { tls, ..bench.config() }).attempted.contains("tls.mode"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let bench = Bench::new(PgVersion::V17).await;
    for (host, port) in [("localhost", 1), ("no-such-host.invalid", 5432)] {
        let error = failure(Config { host: host.to_owned(), port, ..bench.config() }).await;
        assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::DatabaseUnreachable), "{error}");
        assert!(error.to_string().contains(host), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_keeps_silent_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = Bench::new(PgVersion::V17).await;
    let config = Config {
        host: "127.0.0.1".to_owned(),
        port: silent.local_addr().unwrap().port(),
        connect_timeout: Duration::from_millis(300),
        ..bench.config()
    };
    let started = Instant::now();
    let error = failure(config).await;
    assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::DatabaseUnreachable), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn the_servers_certificate_is_verified() {
    let bench = Bench::new(PgVersion::V17).await;
    let ca = Some(bench.pg.server_ca_pem().to_owned());
    let other = Some(Authority::new("another CA").unwrap().cert_pem().to_owned());
    let tls = |mode, ca_pem: &Option<String>, server_name: Option<&str>| Tls {
        mode,
        ca_pem: ca_pem.clone(),
        server_name: server_name.map(str::to_owned),
    };
    for wrong in [
        tls(TlsMode::VerifyFull, &other, None),
        tls(TlsMode::VerifyCa, &other, None),
        tls(TlsMode::VerifyFull, &ca, Some("elsewhere.example.org")),
    ] {
        let error = failure(Config { tls: wrong, ..bench.config() }).await;
        assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::TlsFailed), "{error}");
        assert!(!error.remedy.is_empty(), "{error}");
    }
    for (host, right) in [
        ("127.0.0.1", tls(TlsMode::VerifyFull, &ca, None)),
        ("localhost", tls(TlsMode::VerifyFull, &ca, Some("127.0.0.1"))),
        ("localhost", tls(TlsMode::VerifyCa, &ca, Some("elsewhere.example.org"))),
    ] {
        let engine = Engine::new(Config { host: host.to_owned(), tls: right, ..bench.config() }).unwrap();
        engine.preflight(&Needs::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_rejected_certificate_is_distinguished_from_a_network_that_is_down() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let expired = bench.pg.expired_client_cert(&bench.admin).unwrap();
        let unknown = Authority::new("another CA").unwrap().client(&bench.admin).unwrap();
        for certificate in [expired, unknown] {
            let error = failure(config(bench.pg, &bench.admin, &certificate)).await;
            assert_eq!(
                (error.class, error.reason),
                (Class::Unreachable, Reason::TlsFailed),
                "{version}: {error}"
            );
            assert!(error.remedy.contains("certificate"), "{error}");
        }
        // A good certificate of somebody else, and a user that does not exist.
        let other = bench.pg.client_cert("somebody").unwrap();
        for (admin, certificate) in [(bench.admin.as_str(), &other), ("somebody", &other)] {
            let error = failure(config(bench.pg, admin, certificate)).await;
            assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::LoginFailed), "{error}");
            assert_eq!(error.code, "28000", "{error}");
            assert!(!error.remedy.is_empty(), "{error}");
        }
    }
}

#[tokio::test]
async fn an_admin_user_with_a_password() {
    let bench = Bench::new(PgVersion::V17).await;
    let admin = unique("secretive");
    bench.pg.create_password_user(&admin, "it's a secret", "createrole").await.unwrap();
    bench.sql(&format!("grant \"teleport-auto-user\" to {admin} with admin option")).await;
    let with = |auth| Config { admin_user: admin.clone(), auth, ..bench.config() };

    let engine = Engine::new(with(Auth::Password("it's a secret".into()))).unwrap();
    let user = unique("alice");
    apply(&engine, &enabled(&user, &[])).await.unwrap();
    apply(&engine, &ended(&user, true)).await.unwrap();

    let error = failure(with(Auth::Password("wrong".into()))).await;
    assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::LoginFailed), "{error}");
    assert_eq!(error.code, "28P01");
    assert!(!format!("{error} {error:?} {engine:?}").contains("secret\""), "{error}");

    // The other way round: a certificate, where the server wants a password.
    let certificate = bench.pg.client_cert(&admin).unwrap();
    let x509 = Auth::X509 { cert_pem: certificate.cert_pem, key_pem: certificate.key_pem.into() };
    let error = failure(with(x509)).await;
    assert_eq!((error.reason, error.code.as_str()), (Reason::LoginFailed, "28P01"), "{error}");
    assert!(error.remedy.contains("cert"), "{error}");
}

#[tokio::test]
async fn without_tls() {
    let hba = "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256";
    let pg = Postgres::builder(PgVersion::V17).setting("ssl", "off").hba(hba).start().await.unwrap();
    pg.sql("postgres", "create role plain login createrole password 'x'").await.unwrap();
    let mut config = Config::new(pg.host(), pg.port(), "plain", Auth::Password("x".into()));
    config.tls.mode = TlsMode::Disable;
    Engine::new(config.clone()).unwrap().preflight(&Needs::default()).await.unwrap();
    config.tls = Tls { ca_pem: Some(pg.server_ca_pem().to_owned()), ..Tls::default() };
    let error = failure(config).await;
    assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::TlsFailed), "{error}");
    assert!(error.remedy.contains("ssl"), "{error}");
}

#[tokio::test]
async fn the_admin_user_works_in_its_default_database() {
    let bench = Bench::new(PgVersion::V17).await;
    let database = unique("admin-db");
    bench.sql(&format!("create database \"{database}\"")).await;
    let engine = Engine::new(Config { default_database: Some(database.clone()), ..bench.config() }).unwrap();
    apply(&engine, &enabled(&unique("alice"), &[])).await.unwrap();
    let place = format!(
        "select string_agg(datname, ', ') from pg_stat_activity where usename = '{}' and application_name = 'rolecall'",
        bench.admin
    );
    assert_eq!(bench.value(&place).await, database);
}

#[tokio::test]
async fn a_default_database_that_is_gone_is_named_but_does_not_delay_ends() {
    let bench = Bench::new(PgVersion::V17).await;
    let user = unique("alice");
    bench.reach(&enabled(&user, &[])).await;
    let config = Config { default_database: Some(unique("gone")), ..bench.config() };
    let engine = Engine::new(config).unwrap();
    let error = engine.preflight(&Needs::default()).await.unwrap_err();
    assert_eq!((error.class, error.reason), (Class::Refused, Reason::DatabaseNameNotFound), "{error}");
    assert_eq!(error.code, "3D000");
    apply(&engine, &ended(&user, true)).await.unwrap();
    assert!(bench.login(&user).await.is_err());
}

#[tokio::test]
async fn a_database_that_admits_nobody_else_is_passed_over() {
    let bench = Bench::new(PgVersion::V17).await;
    let database = unique("closed");
    bench.sql(&format!("create database {database}")).await;
    bench.sql(&format!("revoke connect on database {database} from public")).await;
    let config = Config { default_database: Some(database), ..bench.config() };
    let engine = Engine::new(config.clone()).unwrap();
    let error = engine.preflight(&Needs::default()).await.unwrap_err();
    assert_eq!((error.class, error.reason), (Class::Refused, Reason::MissingConnect), "{error}");
    assert!(error.remedy.contains("GRANT CONNECT"), "{error}");
    apply(&engine, &enabled(&unique("alice"), &[])).await.unwrap();
    // It is not tried anew each time.
    let opened = engine.stats().connections_opened;
    for _ in 0..3 {
        apply(&engine, &enabled(&unique("alice"), &[])).await.unwrap();
    }
    assert_eq!(engine.stats().connections_opened, opened);
}

#[tokio::test]
async fn a_database_that_worked_before_does_for_what_has_none() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(PgVersion::V17).await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    bench.sql("create database app").await;
    for database in ["postgres", "template1"] {
        bench.sql(&format!("revoke connect on database {database} from public")).await;
    }
    let user = unique("alice");
    let mut desired = enabled(&user, &[]);
    desired.session_database = Some("app".to_owned());
    if let rolecall_engine::Want::Enabled(enabled) = &mut desired.want {
        enabled.databases = ["app".to_owned()].into();
    }
    assert_eq!(bench.engine.inventory().await.unwrap_err().reason, Reason::MissingConnect);
    bench.reach(&desired).await;
    assert_eq!(bench.engine.inventory().await.unwrap().accounts.len(), 1);
    let mut end = ended(&user, true);
    end.session_database = None;
    assert!(bench.reach(&end).await.dropped);
}

#[tokio::test]
async fn a_read_only_engine_can_write_nothing() {
    let bench = Bench::new(PgVersion::V17).await;
    let reading = Engine::new(Config { read_only: true, ..bench.config() }).unwrap();
    reading.inventory().await.unwrap();
    let user = unique("alice");
    let failed = apply(&reading, &enabled(&user, &[])).await.unwrap_err();
    assert!(format!("{failed:?}").contains("25006"), "{failed:?}");
    assert_eq!(
        bench.value(&format!("select count(*)::text from pg_roles where rolname = '{user}'")).await,
        "0"
    );
}

#[tokio::test]
async fn ipv6_addresses_work() {
    let bench = Bench::new(PgVersion::V17).await;
    let engine = Engine::new(Config { host: "::1".to_owned(), ..bench.config() }).unwrap();
    engine.preflight(&Needs::default()).await.unwrap();
}

#[tokio::test]
async fn accounts_of_rds_have_its_role() {
    let bench = Bench::new(PgVersion::V17).await;
    let engine = Engine::new(Config { platform: Platform::Rds, ..bench.config() }).unwrap();
    let roles = Platform::Rds.roles(true).iter().map(|role| (*role).to_owned()).collect();
    let needs = Needs { roles, ..Needs::default() };
    let preflight = engine.preflight(&needs).await.unwrap();
    assert!(
        preflight.findings.iter().any(|finding| finding.reason == Reason::MissingRdsIam),
        "{preflight:?}"
    );
}
