//! Objects that were lost without a teardown and recreated from the same manifests: what the ones before left on the
//! server is ended and taken over.

use anyhow::{Context, Result};
use rolecall_api::{AccountPhase, DatabaseAdmin, DatabaseSession, DatabaseUser, conditions};
use rolecall_testbed::rows;
use rolecall_tests::objects::{is_ready, message_of};
use rolecall_tests::world::{ADMIN_USER, ALICE, WorldBuilder};
use rolecall_tests::{Account, Credentials, World};
use serde_json::json;

use crate::admin_secrets::{elsewhere, to};
use crate::checks::{condition, look_again};

/// A world whose objects are gone, with an account that is enabled and a connection of its user. The operator is down.
async fn lost(builder: WorldBuilder) -> Result<(World, tokio_postgres::Client)> {
    let mut world = builder.start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let client = world.login("alice-orders").await?;
    world.crash_operator().await;
    world.lose_objects().await?;
    assert!(world.account().await?.is_some_and(|account| account.login));
    Ok((world, client))
}

fn phase_of(user: &DatabaseUser) -> Option<AccountPhase> {
    user.status.iter().flat_map(|status| &status.accounts).map(|account| account.phase).next()
}

#[tokio::test]
async fn what_was_left_is_ended_though_nobody_asks_for_it() -> Result<()> {
    let (mut world, client) = lost(World::builder()).await?;
    world.make_objects().await?;
    world.start_operator().await?;
    world.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    assert!(rows(&client, "select 1").await.is_err(), "the connection is ended");
    assert!(world.event("orders", "OrphanEnded").await?.contains(ALICE));
    let reported = |user: &DatabaseUser| phase_of(user) == Some(AccountPhase::Disabled);
    world.until("alice", "reported as disabled", reported).await?;
    let counted = |admin: &DatabaseAdmin| {
        admin
            .status
            .as_ref()
            .and_then(|status| status.accounts.as_ref())
            .is_some_and(|counts| (counts.enabled, counts.disabled, counts.orphaned) == (0, 1, 0))
    };
    world.until("orders", "counting it", counted).await.map(drop)
}

#[tokio::test]
async fn the_same_session_starts_anew_and_whoever_was_inside_is_out() -> Result<()> {
    for credentials in [Credentials::X509, Credentials::Password] {
        let (mut world, client) = lost(World::builder().credentials(credentials)).await?;
        world.role("reader", json!({"allow": {"dbRoles": ["writer"]}})).await?;
        world.admin(json!({})).await?;
        world.user("alice", json!({"username": ALICE})).await?;
        world.session("alice-orders", json!({})).await?;
        world.start_operator().await?;
        let session = world.active("alice-orders").await?;
        assert!(
            world.account().await?.is_some_and(|account| account.is_enabled_with(&["writer"])),
            "{session:?}"
        );
        assert!(rows(&client, "select 1").await.is_err(), "the connection of before is ended");
        world.login("alice-orders").await?;
        let admin: DatabaseAdmin = world.get("orders").await?;
        let comment = world.account().await?.and_then(|account| account.comment).context("a record")?;
        assert!(comment.contains(&admin.metadata.uid.context("a uid")?), "{comment}");
    }
    Ok(())
}

#[tokio::test]
async fn a_named_cluster_knows_its_own_as_well() -> Result<()> {
    let (mut world, _client) = lost(World::builder().flag("--cluster-name=prod")).await?;
    world.make_objects().await?;
    world.start_operator().await?;
    world.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await.map(drop)
}

#[tokio::test]
async fn an_account_of_unknown_owner_is_reported_with_a_statement_that_helps() -> Result<()> {
    let (mut world, client) = lost(World::builder().flag("--resync-interval=1s")).await?;
    world.make_objects().await?;
    let older = format!(
        "do $$ begin execute format('comment on role {ALICE:?} is %L', (shobj_description('{ALICE:?}'::regrole,
         'pg_authid')::jsonb - 'cluster')::text); end $$"
    );
    world.pg.sql("postgres", &older).await?;
    world.start_operator().await?;
    let named = |admin: &DatabaseAdmin| {
        let counts = admin.status.as_ref().and_then(|status| status.accounts.as_ref());
        condition(admin, conditions::ORPHANED_ACCOUNTS).is_ok()
            && counts.is_some_and(|counts| counts.orphaned == 1)
    };
    world.until("orders", "naming it", named).await?;
    let reported = |user: &DatabaseUser| phase_of(user) == Some(AccountPhase::Orphaned);
    world.until("alice", "reported as orphaned", reported).await?;
    rows(&client, "select 1").await.context("it is not touched")?;

    world.session("alice-orders", json!({})).await?;
    let session = world.pending("alice-orders", "AccountInUse").await?;
    let (_, statement) = message_of(&session).split_once("run ").context("a statement")?;
    world.pg.sql("postgres", statement).await?;
    world.active("alice-orders").await?;
    assert!(rows(&client, "select 1").await.is_err());
    look_again(&world).await?;
    let calm = |admin: &DatabaseAdmin| condition(admin, conditions::ORPHANED_ACCOUNTS).is_err();
    world.until("orders", "naming no account", calm).await.map(drop)
}

#[tokio::test]
async fn permission_sets_of_before_go_too() -> Result<()> {
    let mut world = World::builder().flag("--keep-unused-sets=1s").start().await?;
    let grant = format!("grant select on all tables in schema public to \"{ADMIN_USER}\" with grant option");
    world.pg.sql("app", &grant).await?;
    let permissions = json!([{"match": {"name": ["orders"]}, "permissions": ["SELECT"]}]);
    let policy = json!({"allow": {"dbRoles": [], "dbPermissions": permissions}});
    world.role("reader", policy.clone()).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let sets = async |world: &World| {
        let query =
            "select string_agg(rolname, ' ' order by rolname) from pg_roles where rolname like 'rolecall:%'";
        Ok::<_, anyhow::Error>(world.pg.value("postgres", query).await?)
    };
    let before = sets(&world).await?.context("a set")?;
    world.crash_operator().await;
    world.lose_objects().await?;
    world.make_objects().await?;
    world.role("reader", policy).await?;
    world.session("alice-orders", json!({})).await?;
    world.start_operator().await?;
    world.active("alice-orders").await?;
    let replaced =
        async || Ok(sets(&world).await?.is_some_and(|now| !now.contains(&before) && !now.contains(' ')));
    world.eventually("the set of before is dropped", replaced).await?;
    rows(&world.login("alice-orders").await?, "select * from orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_teardown_ends_what_one_before_left() -> Result<()> {
    let (mut world, client) = lost(World::builder()).await?;
    world.admin(json!({"spec": {"orphans": "Report"}})).await?;
    world.start_operator().await?;
    let named = |admin: &DatabaseAdmin| condition(admin, conditions::ORPHANED_ACCOUNTS).is_ok();
    world.until("orders", "naming it", named).await?;
    rows(&client, "select 1").await.context("it is only reported")?;
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

/// A server that was restored, or a DatabaseAdmin that was renamed: the records name one that no longer exists.
#[tokio::test]
async fn what_one_of_another_name_left_is_named_and_not_touched() -> Result<()> {
    let (mut world, client) = lost(World::builder()).await?;
    let mut copy = world.admin_manifest();
    copy["metadata"]["name"] = json!("copy");
    world.apply(copy).await?;
    world.start_operator().await?;
    let named = |admin: &DatabaseAdmin| {
        condition(admin, conditions::ORPHANED_ACCOUNTS)
            .is_ok_and(|named| named.message.contains(ALICE) && named.message.contains("/orders (uid"))
    };
    world.until("copy", "naming it", named).await?;
    rows(&client, "select 1").await.context("it is not touched").map(drop)
}

/// The account of a session is on the copy as well, where no session accounts for it once that has ended.
#[tokio::test]
async fn what_came_with_a_copy_of_a_server_is_named_there() -> Result<()> {
    let world = World::builder().flag("--resync-interval=1s").start().await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    let record = world.account().await?.and_then(|account| account.comment).context("a record")?;
    let other = elsewhere(&world).await?;
    let mut copy = world.admin_manifest();
    copy["metadata"]["name"] = json!("copy");
    let change = to(&other);
    copy["spec"] = rolecall_tests::objects::merged(&copy["spec"], &change["spec"]);
    world.apply(copy).await?;
    world.until("copy", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?;
    let copied = format!(
        "create role \"{ALICE}\" login; grant \"teleport-auto-user\" to \"{ALICE}\";
         comment on role \"{ALICE}\" is '{record}'"
    );
    other.sql("postgres", &copied).await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let named = |admin: &DatabaseAdmin| {
        condition(admin, conditions::ORPHANED_ACCOUNTS).is_ok_and(|named| named.message.contains(ALICE))
    };
    let admin = world.until("copy", "naming it", named).await?;
    let message = &condition(&admin, conditions::ORPHANED_ACCOUNTS)?.message;
    let (_, statement) = message.split_once("run ").context("a statement")?;
    other.sql("postgres", statement).await?;
    let calm = |admin: &DatabaseAdmin| condition(admin, conditions::ORPHANED_ACCOUNTS).is_err();
    world.until("copy", "naming no account", calm).await.map(drop)
}
