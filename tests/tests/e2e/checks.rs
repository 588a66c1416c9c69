//! What every test of something that goes wrong asks for: a condition with reason and remedy, an event, no partial
//! account, nothing secret shown.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, SessionPhase, conditions};
use rolecall_tests::objects::{Conditions, is_ready, message_of, phase, reason_of};
use rolecall_tests::{BaseEnv, TestEnv};
use serde_json::{Value, json};

/// Waits until the DatabaseAdmin `orders` and a new session on it say `reason` and what to do; nothing may have been
/// done on the server, and nothing secret be shown.
pub(crate) async fn nothing_starts(env: &TestEnv, reason: &str, remedy: &str) -> Result<()> {
    admin_reports(env, reason, remedy).await?;
    env.session("alice-orders", json!({})).await?;
    session_reports(env, "alice-orders", reason, remedy).await?;
    ensure!(env.account().await?.is_none(), "a part of the account was made");
    nothing_secret_is_shown(env).await
}

/// Waits until the DatabaseAdmin `orders` is not Ready for this reason and says what to do, also in an event.
pub(crate) async fn admin_reports(env: &TestEnv, reason: &str, remedy: &str) -> Result<DatabaseAdmin> {
    let what = format!("not Ready with {reason} and {remedy:?}");
    let wanted = |admin: &DatabaseAdmin| reason_of(admin) == reason && message_of(admin).contains(remedy);
    let admin: DatabaseAdmin = env.until("orders", &what, wanted).await?;
    let note = env.event("orders", reason).await?;
    ensure!(note.contains(remedy), "the event says {note:?}");
    Ok(admin)
}

/// Waits until a session is Pending for this reason and says what to do, also in an event.
pub(crate) async fn session_reports(
    env: &TestEnv,
    name: &str,
    reason: &str,
    remedy: &str,
) -> Result<DatabaseSession> {
    let what = format!("Pending with {reason} and {remedy:?}");
    let wanted = |session: &DatabaseSession| {
        phase(session) == SessionPhase::Pending
            && reason_of(session) == reason
            && message_of(session).contains(remedy)
    };
    let session = env.until(name, &what, wanted).await?;
    let note = env.event(name, reason).await?;
    ensure!(note.contains(remedy), "the event says {note:?}");
    Ok(session)
}

/// Waits until the DatabaseAdmin `orders` can be worked with: from then on its server has the marker.
pub(crate) async fn admin_ready(env: &TestEnv) -> Result<DatabaseAdmin> {
    env.until("orders", "Ready", is_ready).await
}

/// A condition of an object.
pub(crate) fn condition<'a>(object: &'a impl Conditions, type_: &str) -> Result<&'a Condition> {
    conditions::find(object.conditions(), type_).with_context(|| format!("there is no condition {type_}"))
}

/// Waits until the condition Capable of the DatabaseAdmin `orders` has this status and reason, and gives its message.
pub(crate) async fn capable(env: &TestEnv, status: &str, reason: &str) -> Result<String> {
    let what = format!("Capable {status} with {reason}");
    let wanted = |admin: &DatabaseAdmin| {
        condition(admin, conditions::CAPABLE).is_ok_and(|c| c.status == status && c.reason == reason)
    };
    let admin = env.until("orders", &what, wanted).await?;
    Ok(condition(&admin, conditions::CAPABLE)?.message.clone())
}

/// The statement in a message, as people would copy it.
pub(crate) fn statement(message: &str) -> Result<&str> {
    let (_, rest) = message.split_once("run ").with_context(|| format!("no statement in {message:?}"))?;
    let ends = ["\n", ", or "].iter().filter_map(|end| rest.find(end));
    Ok(&rest[..ends.min().unwrap_or(rest.len())])
}

/// Makes the operator reconcile the DatabaseAdmin `orders` now: by itself it reads Secrets and rights only now and
/// then.
pub(crate) async fn trigger_reconcile(env: &TestEnv) -> Result<()> {
    let label = json!({"metadata": {"labels": {"touched": format!("{:08x}", rand::random::<u32>())}}});
    env.patch::<DatabaseAdmin>("orders", label).await.map(drop)
}

/// Waits until the operator has counted so many accounts of the DatabaseAdmin `orders` that can be used. From then on
/// it reads from the server only now and then.
pub(crate) async fn settled(base: &BaseEnv, enabled: u32) -> Result<()> {
    let counted = |admin: &DatabaseAdmin| {
        let accounts = admin.status.as_ref().and_then(|status| status.accounts.as_ref());
        accounts.is_some_and(|accounts| accounts.enabled == enabled)
    };
    base.until("orders", &format!("counting {enabled} accounts"), counted).await?;
    // A count follows the last change by three seconds, whether or not an earlier one has shown it.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    Ok(())
}

/// Makes a Secret.
pub(crate) async fn secret(env: &TestEnv, name: &str, data: Value) -> Result<()> {
    let manifest =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    env.apply(manifest).await.map(drop)
}

/// Everything that the catalog has about a role, to see that it was not touched.
pub(crate) async fn row_of(env: &TestEnv, name: &str) -> Result<String> {
    let query = format!(
        "select row_to_json(r)::text || coalesce(shobj_description(r.oid, 'pg_authid'), '-') || coalesce((select
         json_agg(m order by m.oid)::text from pg_auth_members m where r.oid in (m.member, m.roleid)), '-')
         from pg_authid r where rolname = '{}'",
        name.replace('\'', "''")
    );
    env.pg.value("postgres", &query).await?.with_context(|| format!("there is no role {name}"))
}

/// No key and no password of any Secret of the namespace is in an object, an event, or the operators' logs.
pub(crate) async fn nothing_secret_is_shown(env: &TestEnv) -> Result<()> {
    let mut shown = env.log();
    shown += &serde_json::to_string(&env.list::<DatabaseAdmin>().await?)?;
    shown += &serde_json::to_string(&env.list::<DatabaseUser>().await?)?;
    shown += &serde_json::to_string(&env.list::<DatabaseSession>().await?)?;
    shown += &serde_json::to_string(&env.list::<Event>().await?)?;
    for secret in env.list::<Secret>().await? {
        for (key, value) in secret.data.unwrap_or_default() {
            if key.ends_with(".crt") || !["tls.key", "private-key", "password"].contains(&key.as_str()) {
                continue;
            }
            let text = String::from_utf8_lossy(&value.0).into_owned();
            // The lines of a key one by one: even a part of a key must not be shown.
            for line in text.lines().filter(|line| line.len() > 15 && !line.starts_with("-----")) {
                ensure!(!shown.contains(line), "{key} of {:?} is shown", secret.metadata.name);
            }
        }
    }
    Ok(())
}

/// Makes a session without ttl whose account is being read for as long as the transaction lasts.
pub(crate) async fn reading<'a>(
    env: &TestEnv,
    session: &str,
    blocker: &'a mut tokio_postgres::Client,
) -> Result<tokio_postgres::Transaction<'a>> {
    let transaction = blocker.transaction().await?;
    transaction.batch_execute("lock table pg_catalog.pg_db_role_setting in access exclusive mode").await?;
    env.session(session, json!({})).await?;
    // Another login of the admin user may wait beside it.
    let waits =
        "select 1 from pg_locks where not granted and relation = 'pg_db_role_setting'::regclass limit 1";
    let is_read = async || Ok(transaction.query_opt(waits, &[]).await?.is_some());
    env.eventually("the account is being read", is_read).await?;
    Ok(transaction)
}
