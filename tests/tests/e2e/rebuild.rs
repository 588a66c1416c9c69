//! Objects that were lost without a teardown and recreated from the same manifests: what the ones before left on the
//! server is ended and taken over.

use anyhow::{Context, Result};
use rolecall_api::{AccountPhase, DatabaseAdmin, DatabaseSession, DatabaseUser, conditions};
use rolecall_testbed::rows;
use rolecall_tests::objects::{is_ready, message_of};
use rolecall_tests::test_env::{ADMIN_USER, ALICE, TestEnvBuilder};
use rolecall_tests::{Account, Credentials, TestEnv};
use serde_json::json;

use crate::admin_secrets::{elsewhere, to};
use crate::checks::{condition, trigger_reconcile};

/// A test environment whose objects are gone, with an account that is enabled and a connection of its user. The
/// operator is down.
async fn lost(builder: TestEnvBuilder) -> Result<(TestEnv, tokio_postgres::Client)> {
    let mut env = builder.start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    env.crash_operator().await;
    env.lose_objects().await?;
    assert!(env.account().await?.is_some_and(|account| account.login));
    Ok((env, client))
}

fn phase_of(user: &DatabaseUser) -> Option<AccountPhase> {
    user.status.iter().flat_map(|status| &status.accounts).map(|account| account.phase).next()
}

#[tokio::test]
async fn what_was_left_is_ended_though_nobody_asks_for_it() -> Result<()> {
    let (mut env, client) = lost(TestEnv::builder()).await?;
    env.make_objects().await?;
    env.start_operator().await?;
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    assert!(rows(&client, "select 1").await.is_err(), "the connection is ended");
    assert!(env.event("orders", "OrphanEnded").await?.contains(ALICE));
    let reported = |user: &DatabaseUser| phase_of(user) == Some(AccountPhase::Disabled);
    env.until("alice", "reported as disabled", reported).await?;
    let counted = |admin: &DatabaseAdmin| {
        admin
            .status
            .as_ref()
            .and_then(|status| status.accounts.as_ref())
            .is_some_and(|counts| (counts.enabled, counts.disabled, counts.orphaned) == (0, 1, 0))
    };
    env.until("orders", "counting it", counted).await.map(drop)
}

#[tokio::test]
async fn the_same_session_starts_again_and_old_connections_are_closed() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let (mut env, client) = lost(TestEnv::builder().credentials(credentials)).await?;
        env.role("reader", json!({"allow": {"dbRoles": ["writer"]}})).await?;
        env.admin(json!({})).await?;
        env.user("alice", json!({"username": ALICE})).await?;
        env.session("alice-orders", json!({})).await?;
        env.start_operator().await?;
        let session = env.active("alice-orders").await?;
        assert!(
            env.account().await?.is_some_and(|account| account.is_enabled_with(&["writer"])),
            "{session:?}"
        );
        assert!(rows(&client, "select 1").await.is_err(), "the connection of before is ended");
        env.login("alice-orders").await?;
        let admin: DatabaseAdmin = env.get("orders").await?;
        let comment = env.account().await?.and_then(|account| account.comment).context("a record")?;
        assert!(comment.contains(&admin.metadata.uid.context("a uid")?), "{comment}");
    }
    Ok(())
}

#[tokio::test]
async fn a_named_cluster_knows_its_own_as_well() -> Result<()> {
    let (mut env, _client) = lost(TestEnv::builder().flag("--cluster-name=prod")).await?;
    env.make_objects().await?;
    env.start_operator().await?;
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await.map(drop)
}

#[tokio::test]
async fn an_account_of_unknown_owner_is_reported_with_a_statement_that_helps() -> Result<()> {
    let (mut env, client) = lost(TestEnv::builder().flag("--resync-interval=1s")).await?;
    env.make_objects().await?;
    let older = format!(
        "do $$ begin execute format('comment on role {ALICE:?} is %L', (shobj_description('{ALICE:?}'::regrole,
         'pg_authid')::jsonb - 'cluster')::text); end $$"
    );
    env.pg.sql("postgres", &older).await?;
    env.start_operator().await?;
    let named = |admin: &DatabaseAdmin| {
        let counts = admin.status.as_ref().and_then(|status| status.accounts.as_ref());
        condition(admin, conditions::ORPHANED_ACCOUNTS).is_ok()
            && counts.is_some_and(|counts| counts.orphaned == 1)
    };
    env.until("orders", "naming it", named).await?;
    let reported = |user: &DatabaseUser| phase_of(user) == Some(AccountPhase::Orphaned);
    env.until("alice", "reported as orphaned", reported).await?;
    rows(&client, "select 1").await.context("it is not touched")?;

    env.session("alice-orders", json!({})).await?;
    let session = env.pending("alice-orders", "AccountInUse").await?;
    let (_, statement) = message_of(&session).split_once("run ").context("a statement")?;
    env.pg.sql("postgres", statement).await?;
    env.active("alice-orders").await?;
    assert!(rows(&client, "select 1").await.is_err());
    trigger_reconcile(&env).await?;
    let calm = |admin: &DatabaseAdmin| condition(admin, conditions::ORPHANED_ACCOUNTS).is_err();
    env.until("orders", "naming no account", calm).await.map(drop)
}

#[tokio::test]
async fn leftover_permission_sets_are_removed_too() -> Result<()> {
    let mut env = TestEnv::builder().flag("--keep-unused-sets=1s").start().await?;
    let grant = format!("grant select on all tables in schema public to \"{ADMIN_USER}\" with grant option");
    env.pg.sql("app", &grant).await?;
    let permissions = json!([{"match": {"name": ["orders"]}, "permissions": ["SELECT"]}]);
    let policy = json!({"allow": {"dbRoles": [], "dbPermissions": permissions}});
    env.role("reader", policy.clone()).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let sets = async |env: &TestEnv| {
        let query =
            "select string_agg(rolname, ' ' order by rolname) from pg_roles where rolname like 'rolecall:%'";
        Ok::<_, anyhow::Error>(env.pg.value("postgres", query).await?)
    };
    let before = sets(&env).await?.context("a set")?;
    env.crash_operator().await;
    env.lose_objects().await?;
    env.make_objects().await?;
    env.role("reader", policy).await?;
    env.session("alice-orders", json!({})).await?;
    env.start_operator().await?;
    env.active("alice-orders").await?;
    let replaced =
        async || Ok(sets(&env).await?.is_some_and(|now| !now.contains(&before) && !now.contains(' ')));
    env.eventually("the set of before is dropped", replaced).await?;
    rows(&env.login("alice-orders").await?, "select * from orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_teardown_ends_what_an_earlier_one_left() -> Result<()> {
    let (mut env, client) = lost(TestEnv::builder()).await?;
    env.admin(json!({"spec": {"orphans": "Report"}})).await?;
    env.start_operator().await?;
    let named = |admin: &DatabaseAdmin| condition(admin, conditions::ORPHANED_ACCOUNTS).is_ok();
    env.until("orders", "naming it", named).await?;
    rows(&client, "select 1").await.context("it is only reported")?;
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

/// A server that was restored, or a DatabaseAdmin that was renamed: the records name one that no longer exists.
#[tokio::test]
async fn what_one_of_another_name_left_is_named_and_not_touched() -> Result<()> {
    let (mut env, client) = lost(TestEnv::builder()).await?;
    let mut copy = env.admin_manifest();
    copy["metadata"]["name"] = json!("copy");
    env.apply(copy).await?;
    env.start_operator().await?;
    let named = |admin: &DatabaseAdmin| {
        condition(admin, conditions::ORPHANED_ACCOUNTS)
            .is_ok_and(|named| named.message.contains(ALICE) && named.message.contains("/orders (uid"))
    };
    env.until("copy", "naming it", named).await?;
    rows(&client, "select 1").await.context("it is not touched").map(drop)
}

/// The account of a session is on the copy as well, where no session accounts for it once that has ended.
#[tokio::test]
async fn what_came_with_a_copy_of_a_server_is_named_there() -> Result<()> {
    let env = TestEnv::builder().flag("--resync-interval=1s").start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let record = env.account().await?.and_then(|account| account.comment).context("a record")?;
    let other = elsewhere(&env).await?;
    let mut copy = env.admin_manifest();
    copy["metadata"]["name"] = json!("copy");
    let change = to(&other);
    copy["spec"] = rolecall_tests::objects::merged(&copy["spec"], &change["spec"]);
    env.apply(copy).await?;
    env.until("copy", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?;
    let copied = format!(
        "create role \"{ALICE}\" login; grant \"teleport-auto-user\" to \"{ALICE}\";
         comment on role \"{ALICE}\" is '{record}'"
    );
    other.sql("postgres", &copied).await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let named = |admin: &DatabaseAdmin| {
        condition(admin, conditions::ORPHANED_ACCOUNTS).is_ok_and(|named| named.message.contains(ALICE))
    };
    let admin = env.until("copy", "naming it", named).await?;
    let message = &condition(&admin, conditions::ORPHANED_ACCOUNTS)?.message;
    let (_, statement) = message.split_once("run ").context("a statement")?;
    other.sql("postgres", statement).await?;
    let calm = |admin: &DatabaseAdmin| condition(admin, conditions::ORPHANED_ACCOUNTS).is_err();
    env.until("copy", "naming no account", calm).await.map(drop)
}
