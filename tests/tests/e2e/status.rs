//! The status of the other kinds.

use anyhow::{Context, Result};
use rolecall_api::{
    AccountCounts, AccountPhase, CreateDbUserMode, DatabaseAdmin, DatabaseSession, DatabaseUser,
    ProvisioningRole, conditions,
};
use rolecall_tests::TestEnv;
use rolecall_tests::objects::{Conditions, is_ready};
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use serde_json::json;

#[tokio::test]
async fn a_user_lists_its_accounts() -> Result<()> {
    let env = TestEnv::start().await?;
    let fresh = env.until("alice", "processed", |user: &DatabaseUser| is_ready(user)).await?;
    let status = fresh.status.context("a status")?;
    assert!(status.accounts.is_empty() && status.observed_generation == fresh.metadata.generation);
    assert!(conditions::is_true(&status.conditions, conditions::ROLES_RESOLVED));

    env.session("one", json!({})).await?;
    env.session("two", json!({"databaseName": "app2"})).await?;
    let two = |user: &DatabaseUser| accounts(user).first().is_some_and(|account| account.sessions == 2);
    let user = env.until("alice", "a user of two sessions", two).await?;
    let account = accounts(&user)[0].clone();
    assert_eq!((account.database.as_str(), account.username.as_str()), ("orders", ALICE));
    assert_eq!((account.phase, account.mode), (AccountPhase::Enabled, Some(CreateDbUserMode::Keep)));
    assert_eq!(account.db_roles, ["reader"]);

    env.delete_and_wait::<DatabaseSession>("one").await?;
    let one = |user: &DatabaseUser| accounts(user).first().is_some_and(|account| account.sessions == 1);
    env.until("alice", "a user of one session", one).await?;
    env.delete_and_wait::<DatabaseSession>("two").await?;
    let disabled = |user: &DatabaseUser| {
        accounts(user)
            .first()
            .is_some_and(|a| (a.phase, a.sessions, a.db_roles.len()) == (AccountPhase::Disabled, 0, 0))
    };
    env.until("alice", "without access", disabled).await?;
    Ok(())
}

#[tokio::test]
async fn a_recreated_user_with_another_name_lists_its_own_account_and_none_of_a_database_that_is_gone()
-> Result<()> {
    let env = TestEnv::start().await?;
    for username in ["al", "alberta"] {
        env.delete_and_wait::<DatabaseUser>("alice").await?;
        env.user("alice", json!({"username": username})).await?;
        env.session(username, json!({})).await?;
        env.active(username).await?;
        let listed = |user: &DatabaseUser| matches!(accounts(user), [one] if one.username == username && one.phase == AccountPhase::Enabled);
        env.until("alice", "listing its account", listed).await?;
        env.delete_and_wait::<DatabaseSession>(username).await?;
    }
    env.delete_and_wait::<DatabaseAdmin>("orders").await?;
    env.until("alice", "without accounts", |user: &DatabaseUser| accounts(user).is_empty()).await?;
    Ok(())
}

#[tokio::test]
async fn a_user_reports_accounts_that_were_dropped_or_are_not_its_own() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let phase = |wanted| {
        move |user: &DatabaseUser| accounts(user).first().is_some_and(|account| account.phase == wanted)
    };
    env.until("alice", "without account", phase(AccountPhase::Dropped)).await?;

    env.pg.sql("postgres", &format!("create role \"{ALICE}\" login")).await?;
    env.session("again", json!({})).await?;
    let user = env.until("alice", "in conflict", phase(AccountPhase::Conflict)).await?;
    assert!(accounts(&user)[0].message.as_deref().is_some_and(|message| message.contains("not managed")));
    Ok(())
}

#[tokio::test]
async fn a_user_reports_which_of_its_roles_are_missing() -> Result<()> {
    let env = TestEnv::start().await?;
    env.user("bob", json!({"roles": ["reader", "missing"]})).await?;
    let unresolved = |user: &DatabaseUser| {
        let found = conditions::find(user.conditions(), conditions::ROLES_RESOLVED);
        found.is_some_and(|c| {
            c.status == "False" && c.reason == "RoleNotFound" && c.message.contains("missing")
        })
    };
    let bob = env.until("bob", "reporting the missing role", unresolved).await?;
    assert!(!is_ready(&bob) && conditions::is_true(bob.conditions(), conditions::RECONCILING), "{bob:?}");
    env.role("broken", json!({"allow": {"dbLabelsExpression": "labels["}})).await?;
    env.user("carol", json!({"roles": ["broken"]})).await?;
    let invalid = |user: &DatabaseUser| {
        conditions::find(user.conditions(), conditions::READY)
            .is_some_and(|c| c.status == "False" && c.reason == "RoleInvalid")
    };
    let carol = env.until("carol", "reporting the invalid role", invalid).await?;
    assert!(conditions::is_true(carol.conditions(), conditions::STALLED), "{carol:?}");
    env.role("missing", json!({})).await?;
    let resolved = |user: &DatabaseUser| conditions::is_true(user.conditions(), conditions::ROLES_RESOLVED);
    let bob = env.until("bob", "resolved", resolved).await?;
    assert!(is_ready(&bob), "{bob:?}");
    Ok(())
}

#[tokio::test]
async fn a_role_counts_the_databases_that_it_selects_and_the_users_that_carry_it() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("prod", json!({"allow": {"dbLabels": {"*": null, "env": ["prod"]}}})).await?;
    let counts = |databases, users| {
        move |role: &ProvisioningRole| {
            role.status
                .as_ref()
                .is_some_and(|status| (status.databases, status.users) == (Some(databases), Some(users)))
        }
    };
    env.until("prod", "selecting one", counts(1, 0)).await?;
    env.until("reader", "carried by one", counts(1, 1)).await?;
    env.admin(json!({"metadata": {"name": "dev", "labels": {"env": "dev"}}})).await?;
    env.user("bob", json!({"roles": ["prod", "reader"]})).await?;
    env.until("prod", "carried by one", counts(1, 1)).await?;
    env.until("reader", "selecting and carried by two", counts(2, 2)).await?;
    env.delete_and_wait::<DatabaseAdmin>("dev").await?;
    env.delete_and_wait::<DatabaseUser>("bob").await?;
    env.until("prod", "carried by nobody", counts(1, 0)).await?;
    env.until("reader", "carried by one again", counts(1, 1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_database_reports_its_version_and_counts_its_accounts() -> Result<()> {
    let env = TestEnv::start().await?;
    let ready = env.until("orders", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?;
    let status = ready.status.context("a status")?;
    assert!(status.version.is_some_and(|version| version.starts_with("17")));
    for condition in [conditions::REACHABLE, conditions::CAPABLE] {
        assert!(conditions::is_true(&status.conditions, condition), "{condition}");
    }
    let endpoint = status.endpoint.context("where it is")?;
    assert_eq!((endpoint.uri, endpoint.admin_user), (env.pg.address(), ADMIN_USER.to_owned()));

    env.user("bob", json!({})).await?;
    env.session("alice-orders", json!({})).await?;
    env.session("bob-orders", json!({"user": "bob"})).await?;
    env.until("orders", "counting two", counting(2, 0)).await?;
    env.delete_and_wait::<DatabaseSession>("bob-orders").await?;
    env.until("orders", "counting one and one", counting(1, 1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_database_reports_what_its_admin_user_lacks_with_the_statement_that_fixes_it() -> Result<()> {
    let env = TestEnv::start().await?;
    env.pg.sql("postgres", "create role analyst").await?;
    env.role("reader", json!({"allow": {"dbRoles": ["analyst"]}})).await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "MissingAdminOption").await?;
    let incapable = |admin: &DatabaseAdmin| {
        let capable = conditions::find(admin.conditions(), conditions::CAPABLE);
        capable.is_some_and(|c| c.status == "False" && c.reason == "MissingAdminOption")
    };
    let admin = env.until("orders", "not Capable", incapable).await?;
    assert!(is_ready(&admin), "it leaves Ready alone");
    let message = &conditions::find(admin.conditions(), conditions::CAPABLE).context("Capable")?.message;
    let statement = format!("GRANT \"analyst\" TO \"{ADMIN_USER}\" WITH ADMIN OPTION");
    assert!(message.contains(&statement), "{message}");
    env.pg.sql("postgres", &statement).await?;
    env.active("alice-orders").await?;
    Ok(())
}

fn accounts(user: &DatabaseUser) -> &[rolecall_api::AccountStatus] {
    user.status.as_ref().map(|status| status.accounts.as_slice()).unwrap_or_default()
}

fn counting(enabled: u32, disabled: u32) -> impl Fn(&DatabaseAdmin) -> bool {
    let wanted = AccountCounts { enabled, disabled, orphaned: 0 };
    move |admin| admin.status.as_ref().and_then(|status| status.accounts) == Some(wanted)
}
