//! An admin user that logs in with what changes over time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use rolecall_engine::{Class, Engine as _, Error, Login, LoginSource, Needs, Reason};
use rolecall_pki::tls::{Tls, TlsMode};
use rolecall_postgres::{Auth, Config, Postgres as Engine};
use rolecall_testbed::PgVersion;

use crate::common::{Bench, apply, enabled, ended, unique};

/// Gives out one secret after the other: the next one after each refusal.
#[derive(Debug)]
struct Secrets {
    username: String,
    secrets: Vec<&'static str>,
    refusals: AtomicUsize,
    asked: AtomicUsize,
}

#[async_trait]
impl LoginSource for Secrets {
    async fn login(&self) -> Result<Login, Error> {
        self.asked.fetch_add(1, SeqCst);
        let at = self.refusals.load(SeqCst).min(self.secrets.len() - 1);
        Ok(Login { username: self.username.clone(), secret: self.secrets[at].into() })
    }

    fn refused(&self, _: &Login) {
        self.refusals.fetch_add(1, SeqCst);
    }
}

/// An admin user with the password `right`, whose source gives out these.
async fn admin(secrets: &[&'static str]) -> (Config, Arc<Secrets>) {
    let bench = Bench::new(PgVersion::V17).await;
    let admin = unique("token");
    bench.pg.create_password_user(&admin, "right", "createrole").await.unwrap();
    bench.sql(&format!("grant \"teleport-auto-user\" to {admin} with admin option")).await;
    let source = Arc::new(Secrets {
        username: admin.clone(),
        secrets: secrets.to_vec(),
        refusals: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
    });
    let auth = Auth::Login(Arc::clone(&source) as Arc<dyn LoginSource>);
    (Config { admin_user: admin, auth, ..bench.config() }, source)
}

#[tokio::test]
async fn what_is_refused_once_is_replaced_and_the_login_goes_on() {
    let (config, source) = admin(&["wrong", "right"]).await;
    let engine = Engine::new(config).unwrap();
    let user = unique("alice");
    apply(&engine, &enabled(&user, &[])).await.unwrap();
    apply(&engine, &ended(&user, true)).await.unwrap();
    assert_eq!(source.refusals.load(SeqCst), 1, "what worked is not given up");
}

#[tokio::test]
async fn a_login_that_stays_refused_is_reported_after_two_attempts() {
    for secrets in [&["wrong", "wrong too", "right"][..], &["wrong"]] {
        let (config, source) = admin(secrets).await;
        let engine = Engine::new(config).unwrap();
        let error = engine.preflight(&Needs::default()).await.unwrap_err();
        assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::LoginFailed), "{error}");
        assert!(source.refusals.load(SeqCst) <= 2, "other databases are not tried: {source:?}");
        assert!(!format!("{error} {error:?} {engine:?}").contains("wrong"), "{error}");
    }
}

#[tokio::test]
async fn it_is_never_sent_without_tls() {
    let (config, source) = admin(&["right"]).await;
    let tls = Tls { mode: TlsMode::Disable, ..Tls::default() };
    let error = Engine::new(Config { tls, ..config }).unwrap_err();
    assert_eq!(error.class, Class::Invalid, "{error}");
    assert!(error.attempted.contains("tls.mode"), "{error}");
    assert_eq!(source.asked.load(SeqCst), 0);
}
