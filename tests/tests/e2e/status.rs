//! What the other kinds tell about themselves.

use anyhow::{Context, Result};
use rolecall_api::{
    AccountCounts, AccountPhase, CreateDbUserMode, DatabaseAdmin, DatabaseSession, DatabaseUser,
    ProvisioningRole, conditions,
};
use rolecall_tests::World;
use rolecall_tests::objects::{Conditions, is_ready};
use rolecall_tests::world::{ADMIN_USER, ALICE};
use serde_json::json;

#[tokio::test]
async fn a_user_lists_its_accounts() -> Result<()> {
    let world = World::start().await?;
    let fresh = world.until("alice", "processed", |user: &DatabaseUser| is_ready(user)).await?;
    let status = fresh.status.context("a status")?;
    assert!(status.accounts.is_empty() && status.observed_generation == fresh.metadata.generation);
    assert!(conditions::is_true(&status.conditions, conditions::ROLES_RESOLVED));

    world.session("one", json!({})).await?;
    world.session("two", json!({"databaseName": "app2"})).await?;
    let two = |user: &DatabaseUser| accounts(user).first().is_some_and(|account| account.sessions == 2);
    let user = world.until("alice", "a user of two sessions", two).await?;
    let account = accounts(&user)[0].clone();
    assert_eq!((account.database.as_str(), account.username.as_str()), ("orders", ALICE));
    assert_eq!((account.phase, account.mode), (AccountPhase::Enabled, Some(CreateDbUserMode::Keep)));
    assert_eq!(account.db_roles, ["reader"]);

    world.delete_and_wait::<DatabaseSession>("one").await?;
    let one = |user: &DatabaseUser| accounts(user).first().is_some_and(|account| account.sessions == 1);
    world.until("alice", "a user of one session", one).await?;
    world.delete_and_wait::<DatabaseSession>("two").await?;
    let disabled = |user: &DatabaseUser| {
        accounts(user)
            .first()
            .is_some_and(|a| (a.phase, a.sessions, a.db_roles.len()) == (AccountPhase::Disabled, 0, 0))
    };
    world.until("alice", "without access", disabled).await?;
    Ok(())
}

#[tokio::test]
async fn a_user_made_anew_with_another_name_lists_its_own_account_and_none_of_a_database_that_is_gone()
-> Result<()> {
    let world = World::start().await?;
    for username in ["al", "alberta"] {
        world.delete_and_wait::<DatabaseUser>("alice").await?;
        world.user("alice", json!({"username": username})).await?;
        world.session(username, json!({})).await?;
        world.active(username).await?;
        let listed = |user: &DatabaseUser| matches!(accounts(user), [one] if one.username == username && one.phase == AccountPhase::Enabled);
        world.until("alice", "listing its account", listed).await?;
        world.delete_and_wait::<DatabaseSession>(username).await?;
    }
    world.delete_and_wait::<DatabaseAdmin>("orders").await?;
    world.until("alice", "without accounts", |user: &DatabaseUser| accounts(user).is_empty()).await?;
    Ok(())
}

#[tokio::test]
async fn a_user_tells_of_accounts_that_were_dropped_or_are_not_its_own() -> Result<()> {
    let world = World::start().await?;
    world.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.active("alice-orders").await?;
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let phase = |wanted| {
        move |user: &DatabaseUser| accounts(user).first().is_some_and(|account| account.phase == wanted)
    };
    world.until("alice", "without account", phase(AccountPhase::Dropped)).await?;

    world.pg.sql("postgres", &format!("create role \"{ALICE}\" login")).await?;
    world.session("again", json!({})).await?;
    let user = world.until("alice", "in conflict", phase(AccountPhase::Conflict)).await?;
    assert!(accounts(&user)[0].message.as_deref().is_some_and(|message| message.contains("not managed")));
    Ok(())
}

#[tokio::test]
async fn a_user_tells_which_of_its_roles_are_missing() -> Result<()> {
    let world = World::start().await?;
    world.user("bob", json!({"roles": ["reader", "missing"]})).await?;
    let unresolved = |user: &DatabaseUser| {
        let found = conditions::find(user.conditions(), conditions::ROLES_RESOLVED);
        found.is_some_and(|c| {
            c.status == "False" && c.reason == "RoleNotFound" && c.message.contains("missing")
        })
    };
    let bob = world.until("bob", "told of the missing role", unresolved).await?;
    assert!(!is_ready(&bob) && conditions::is_true(bob.conditions(), conditions::RECONCILING), "{bob:?}");
    world.role("broken", json!({"allow": {"dbLabelsExpression": "labels["}})).await?;
    world.user("carol", json!({"roles": ["broken"]})).await?;
    let invalid = |user: &DatabaseUser| {
        conditions::find(user.conditions(), conditions::READY)
            .is_some_and(|c| c.status == "False" && c.reason == "RoleInvalid")
    };
    let carol = world.until("carol", "told of the invalid role", invalid).await?;
    assert!(conditions::is_true(carol.conditions(), conditions::STALLED), "{carol:?}");
    world.role("missing", json!({})).await?;
    let resolved = |user: &DatabaseUser| conditions::is_true(user.conditions(), conditions::ROLES_RESOLVED);
    let bob = world.until("bob", "resolved", resolved).await?;
    assert!(is_ready(&bob), "{bob:?}");
    Ok(())
}

#[tokio::test]
async fn a_role_counts_the_databases_that_it_selects_and_the_users_that_carry_it() -> Result<()> {
    let world = World::start().await?;
    world.role("prod", json!({"allow": {"dbLabels": {"*": null, "env": ["prod"]}}})).await?;
    let counts = |databases, users| {
        move |role: &ProvisioningRole| {
            role.status
                .as_ref()
                .is_some_and(|status| (status.databases, status.users) == (Some(databases), Some(users)))
        }
    };
    world.until("prod", "selecting one", counts(1, 0)).await?;
    world.until("reader", "carried by one", counts(1, 1)).await?;
    world.admin(json!({"metadata": {"name": "dev", "labels": {"env": "dev"}}})).await?;
    world.user("bob", json!({"roles": ["prod", "reader"]})).await?;
    world.until("prod", "carried by one", counts(1, 1)).await?;
    world.until("reader", "selecting and carried by two", counts(2, 2)).await?;
    world.delete_and_wait::<DatabaseAdmin>("dev").await?;
    world.delete_and_wait::<DatabaseUser>("bob").await?;
    world.until("prod", "carried by nobody", counts(1, 0)).await?;
    world.until("reader", "carried by one again", counts(1, 1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_database_tells_its_version_and_counts_its_accounts() -> Result<()> {
    let world = World::start().await?;
    let ready = world.until("orders", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?;
    let status = ready.status.context("a status")?;
    assert!(status.version.is_some_and(|version| version.starts_with("17")));
    for condition in [conditions::REACHABLE, conditions::CAPABLE] {
        assert!(conditions::is_true(&status.conditions, condition), "{condition}");
    }
    let endpoint = status.endpoint.context("where it is")?;
    assert_eq!((endpoint.uri, endpoint.admin_user), (world.pg.address(), ADMIN_USER.to_owned()));

    world.user("bob", json!({})).await?;
    world.session("alice-orders", json!({})).await?;
    world.session("bob-orders", json!({"user": "bob"})).await?;
    world.until("orders", "counting two", counting(2, 0)).await?;
    world.delete_and_wait::<DatabaseSession>("bob-orders").await?;
    world.until("orders", "counting one and one", counting(1, 1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_database_tells_what_its_admin_user_lacks_with_the_statement_that_mends_it() -> Result<()> {
    let world = World::start().await?;
    world.pg.sql("postgres", "create role analyst").await?;
    world.role("reader", json!({"allow": {"dbRoles": ["analyst"]}})).await?;
    world.session("alice-orders", json!({})).await?;
    world.pending("alice-orders", "MissingAdminOption").await?;
    let incapable = |admin: &DatabaseAdmin| {
        let capable = conditions::find(admin.conditions(), conditions::CAPABLE);
        capable.is_some_and(|c| c.status == "False" && c.reason == "MissingAdminOption")
    };
    let admin = world.until("orders", "not Capable", incapable).await?;
    assert!(is_ready(&admin), "it leaves Ready alone");
    let message = &conditions::find(admin.conditions(), conditions::CAPABLE).context("Capable")?.message;
    let statement = format!("GRANT \"analyst\" TO \"{ADMIN_USER}\" WITH ADMIN OPTION");
    assert!(message.contains(&statement), "{message}");
    world.pg.sql("postgres", &statement).await?;
    world.active("alice-orders").await?;
    Ok(())
}

fn accounts(user: &DatabaseUser) -> &[rolecall_api::AccountStatus] {
    user.status.as_ref().map(|status| status.accounts.as_slice()).unwrap_or_default()
}

fn counting(enabled: u32, disabled: u32) -> impl Fn(&DatabaseAdmin) -> bool {
    let wanted = AccountCounts { enabled, disabled, orphaned: 0 };
    move |admin| admin.status.as_ref().and_then(|status| status.accounts) == Some(wanted)
}
