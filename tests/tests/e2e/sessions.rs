//! Sessions from their start to their end.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::{DatabaseSession, EndReason, SessionPhase, conditions, names};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{is_ready, message_of, phase, reason_of};
use rolecall_tests::test_env::ALICE;
use serde_json::json;

#[tokio::test]
async fn a_session_gives_access_until_it_is_deleted() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"reason": "INC-1234"})).await?;
    let session = env.active("alice-orders").await?;
    let status = session.status.clone().context("a status")?;
    assert_eq!(
        (status.username.as_deref(), status.db_roles.as_slice()),
        (Some(ALICE), ["reader".to_owned()].as_slice())
    );
    assert_eq!(status.observed_generation, session.metadata.generation);
    assert!(status.started_at.is_some() && status.expires_at.is_none(), "it is standing");
    let connection = status.connection.context("where to connect")?;
    let expected = ("localhost", env.pg.port(), Some("app"));
    assert_eq!((connection.host.as_str(), connection.port, connection.database.as_deref()), expected);
    assert!(
        session.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == names::ACCOUNT_FINALIZER)
    );

    let client = env.login("alice-orders").await?;
    let row = client.query_one("select note from orders", &[]).await?;
    assert_eq!(row.get::<_, String>(0), "first");
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(client.query_one("select 1", &[]).await.is_err(), "the connection is ended");
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_timed_session_ends_when_its_ttl_runs_out_and_not_before() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "3s"})).await?;
    let started = env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let expires = expires_at(&started)?;
    env.account_until("disabled", |account| account.is_some_and(|account| !account.login)).await?;
    assert_on_time(expires)?;

    let ended = env.ended("alice-orders", EndReason::Expired).await?;
    assert!(client.query_one("select 1", &[]).await.is_err());
    assert!(!is_ready(&ended) && reason_of(&ended) == "Expired");
    assert!(conditions::is_true(&ended.status.as_ref().context("a status")?.conditions, conditions::STALLED));
    let free = |session: &DatabaseSession| session.finalizers().is_empty();
    env.until("alice-orders", "free to go", free).await?;
    env.event("alice-orders", "Expired").await?;
    Ok(())
}

#[tokio::test]
async fn a_ttl_that_becomes_shorter_ends_the_session_earlier() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    env.patch::<DatabaseSession>("alice-orders", json!({"spec": {"ttl": "3s"}})).await?;
    let shorter = env.until("alice-orders", "shorter", |session| lifetime(session) == Some(3)).await?;
    env.ended("alice-orders", EndReason::Expired).await?;
    assert_on_time(expires_at(&shorter)?)
}

#[tokio::test]
async fn a_ttl_that_becomes_longer_keeps_the_session_and_is_cut_to_what_the_role_allows() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"options": {"maxSessionTtl": "10m"}})).await?;
    env.session("alice-orders", json!({"ttl": "4s"})).await?;
    let first = env.active("alice-orders").await?;
    let certificate = env.secret("alice-orders").await?["tls.crt"].clone();

    env.patch::<DatabaseSession>("alice-orders", json!({"spec": {"ttl": "5m"}})).await?;
    env.until("alice-orders", "longer", |session| lifetime(session) == Some(300)).await?;
    env.patch::<DatabaseSession>("alice-orders", json!({"spec": {"ttl": "1h"}})).await?;
    env.until("alice-orders", "cut to ten minutes", |session| lifetime(session) == Some(600)).await?;

    // The first certificate ended with the first ttl: it has to be followed by another.
    let longer = |secret: &k8s_openapi::api::core::v1::Secret| {
        secret
            .data
            .as_ref()
            .and_then(|data| data.get("tls.crt"))
            .is_some_and(|crt| crt.0 != certificate.as_bytes())
    };
    env.until("alice-orders", "given a longer certificate", longer).await?;
    let over = expires_at(&first)?.duration_since(Timestamp::now()) + jiff::SignedDuration::from_secs(1);
    tokio::time::sleep(Duration::try_from(over).unwrap_or_default()).await;
    env.login("alice-orders").await?;
    assert_eq!(phase(&env.get("alice-orders").await?), SessionPhase::Active);
    Ok(())
}

#[tokio::test]
async fn a_role_with_a_longest_ttl_makes_a_session_timed() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"options": {"maxSessionTtl": "3s"}})).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.active("alice-orders").await?;
    assert_eq!(lifetime(&session), Some(3));
    env.ended("alice-orders", EndReason::Expired).await?;
    Ok(())
}

#[tokio::test]
async fn a_longest_ttl_that_appears_later_counts_from_the_start_of_the_session() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.role("reader", json!({"options": {"maxSessionTtl": "4s"}})).await?;
    let limited = env.until("alice-orders", "limited", |session| lifetime(session) == Some(4)).await?;
    env.ended("alice-orders", EndReason::Expired).await?;
    assert_on_time(expires_at(&limited)?)
}

#[tokio::test]
async fn a_ttl_above_what_the_role_allows_does_not_start() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"options": {"maxSessionTtl": "10m"}})).await?;
    env.session("alice-orders", json!({"ttl": "11m", "startDeadline": "2s"})).await?;
    env.pending("alice-orders", "TtlTooLong").await?;
    let rejected = env.rejected("alice-orders", "TtlTooLong").await?;
    assert!(conditions::is_true(&rejected.status.context("a status")?.conditions, conditions::STALLED));
    assert!(env.account().await?.is_none(), "nothing is created");
    Ok(())
}

#[tokio::test]
async fn a_timed_session_that_cannot_start_is_rejected_at_its_start_deadline() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"user": "nobody", "ttl": "1h", "startDeadline": "3s"})).await?;
    let waiting = env.pending("alice-orders", "UserNotFound").await?;
    let rejected = env.rejected("alice-orders", "UserNotFound").await?;
    let created = waiting.metadata.creation_timestamp.context("a time")?.0;
    let over = rejected.status.and_then(|status| status.ended_at).context("an end")?.0;
    let waited = over.duration_since(created).as_secs();
    // It counts from when the operator saw it; the creation time is cut to seconds.
    assert!((3..=5).contains(&waited), "rejected {waited} s after its creation");

    // Rejected is final.
    env.user("nobody", json!({})).await?;
    let wait = env.until_within(
        Duration::from_secs(2),
        "alice-orders",
        "processed again",
        |session: &DatabaseSession| phase(session) != SessionPhase::Rejected,
    );
    assert!(wait.await.is_err());
    Ok(())
}

#[tokio::test]
async fn with_a_start_deadline_of_nothing_the_first_try_counts() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("good", json!({"ttl": "1h", "startDeadline": "0s"})).await?;
    env.session("bad", json!({"ttl": "1h", "startDeadline": "0s", "dbRoles": ["writer"]})).await?;
    env.active("good").await?;
    env.rejected("bad", "AccessDenied").await?;
    Ok(())
}

#[tokio::test]
async fn a_standing_session_has_no_start_deadline() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({"user": "late", "startDeadline": "0s"})).await?;
    env.pending("alice-orders", "UserNotFound").await?;
    env.user("late", json!({})).await?;
    env.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn an_ended_session_stays_as_long_as_it_says() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("soon", json!({"ttl": "1s", "retainAfterEnd": "0s"})).await?;
    env.session("later", json!({"ttl": "1s", "retainAfterEnd": "3s"})).await?;
    env.session(
        "rejected",
        json!({"user": "nobody", "ttl": "1h", "startDeadline": "0s", "retainAfterEnd": "2s"}),
    )
    .await?;
    env.rejected("rejected", "UserNotFound").await?;
    let ended = env.ended("later", EndReason::Expired).await?;
    env.gone::<DatabaseSession>("soon").await?;
    env.gone::<DatabaseSession>("rejected").await?;
    env.gone::<DatabaseSession>("later").await?;
    let at = ended.status.and_then(|status| status.ended_at).context("an end")?.0;
    let kept = Timestamp::now().duration_since(at).as_secs_f64();
    assert!((3.0..5.5).contains(&kept), "kept for {kept} s");
    Ok(())
}

#[tokio::test]
async fn objects_may_be_applied_in_any_order() -> Result<()> {
    let env = TestEnv::builder().without_objects().start().await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "UserNotFound").await?;
    env.user("alice", json!({"username": ALICE})).await?;
    env.pending("alice-orders", "DatabaseNotFound").await?;
    env.admin(json!({})).await?;
    let waiting = env.pending("alice-orders", "RoleNotFound").await?;
    assert!(message_of(&waiting).contains("reader"), "{}", message_of(&waiting));
    // Tools that wait for objects take Stalled for a failure.
    let conditions = waiting.status.context("a status")?.conditions;
    assert!(conditions::is_true(&conditions, conditions::RECONCILING), "{conditions:?}");
    assert!(!conditions::is_true(&conditions, conditions::STALLED), "{conditions:?}");
    env.role("reader", json!({})).await?;
    env.active("alice-orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_of_the_admin_may_come_last() -> Result<()> {
    let env = TestEnv::start().await?;
    let other =
        json!({"metadata": {"name": "other"}, "spec": {"auth": {"x509": {"secretRef": {"name": "late"}}}}});
    env.admin(other).await?;
    env.session("alice-other", json!({"database": "other"})).await?;
    let waiting = env.pending("alice-other", "SecretNotFound").await?;
    assert!(message_of(&waiting).contains("\"late\""), "{}", message_of(&waiting));
    assert!(conditions::is_true(&waiting.status.context("a status")?.conditions, conditions::RECONCILING));
    let admin: rolecall_api::DatabaseAdmin = env.get("other").await?;
    assert!(conditions::is_true(&admin.status.context("a status")?.conditions, conditions::RECONCILING));
    let certificate = env.pg.client_cert(rolecall_tests::test_env::ADMIN_USER)?;
    env.tls_secret("late", &certificate.cert_pem, &certificate.key_pem).await?;
    env.active("alice-other").await?;
    Ok(())
}

fn expires_at(session: &DatabaseSession) -> Result<Timestamp> {
    Ok(session.status.as_ref().and_then(|status| status.expires_at.clone()).context("an end")?.0)
}

/// From start to end, in seconds.
fn lifetime(session: &DatabaseSession) -> Option<i64> {
    let status = session.status.as_ref()?;
    Some(status.expires_at.as_ref()?.0.duration_since(status.started_at.as_ref()?.0).as_secs())
}

/// It is a moment after `expires`. Times in a status are cut to seconds.
fn assert_on_time(expires: Timestamp) -> Result<()> {
    let late = Timestamp::now().duration_since(expires).as_secs_f64();
    anyhow::ensure!((0.0..20.0).contains(&late), "it ended {late} s after its time");
    Ok(())
}

#[tokio::test]
async fn a_database_can_be_dropped_once_its_last_session_has_ended() -> Result<()> {
    let env = TestEnv::start().await?;
    env.admin(json!({"spec": {"adminUser": {"defaultDatabase": null}}})).await?;
    for name in ["one", "two"] {
        env.session(name, json!({"databaseName": "app2"})).await?;
        env.active(name).await?;
    }
    let connected = format!(
        "select count(*) from pg_stat_activity where datname = 'app2' and usename = '{}'",
        rolecall_tests::test_env::ADMIN_USER
    );
    assert_ne!(env.pg.value("postgres", &connected).await?.as_deref(), Some("0"), "it works there");
    for name in ["one", "two"] {
        env.delete_and_wait::<DatabaseSession>(name).await?;
    }
    // The server itself waits five seconds for connections that are about to end.
    env.pg.sql("postgres", "drop database app2").await?;
    Ok(())
}
