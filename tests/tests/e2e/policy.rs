//! Changes of policy reach live sessions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, EndReason, ProvisioningRole};
use rolecall_testbed::rows;
use rolecall_tests::test_env::ALICE;
use rolecall_tests::{Account, TestEnv};
use serde_json::{Value, json};

/// How soon a change must be in force. The rest is for a machine that runs other tests too.
const SOON: Duration = Duration::from_secs(20);

/// What a change is a merge patch of.
#[derive(Clone, Copy)]
enum Of {
    Role,
    Users,
    Admin,
}

impl Of {
    async fn patch(self, env: &TestEnv, change: &Value) -> Result<()> {
        match self {
            Self::Role => env.patch::<ProvisioningRole>("reader", change.clone()).await.map(drop),
            Self::Admin => env.patch::<DatabaseAdmin>("orders", change.clone()).await.map(drop),
            Self::Users => {
                env.patch::<DatabaseUser>("alice", change.clone()).await?;
                env.patch::<DatabaseUser>("bob", change.clone()).await.map(drop)
            }
        }
    }
}

/// With a live timed session of alice and a live one without ttl of bob: a change takes the access of both away within
/// a second, and when it is taken back the one without ttl starts again and the timed one is over for good.
async fn access_lost_and_given_back(of: Of, there: Value, back: Value, reason: &str) -> Result<()> {
    let env = TestEnv::start().await?;
    env.user("alice", json!({"username": ALICE, "traits": {"env": ["prod"]}})).await?;
    env.user("bob", json!({"traits": {"env": ["prod"]}})).await?;
    env.role("reader", json!({"allow": {"dbLabels": {"*": null, "env": ["{{external.env}}"]}}})).await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("standing", json!({"user": "bob"})).await?;
    env.active("timed").await?;
    env.active("standing").await?;
    let clients = [env.login("timed").await?, env.login("standing").await?];

    let begun = Instant::now();
    of.patch(&env, &there).await?;
    env.account_until("disabled", |account| account.is_some_and(Account::is_disabled)).await?;
    let took = begun.elapsed();
    assert!(took < SOON, "it took {took:?}");
    env.ended("timed", EndReason::AccessRevoked).await?;
    env.pending("standing", reason).await?;
    assert!(env.account_of("bob").await?.is_some_and(|account| account.is_disabled()));
    for client in clients {
        assert!(client.query_one("select 1", &[]).await.is_err(), "its connections are ended");
    }

    of.patch(&env, &back).await?;
    env.active("standing").await?;
    env.login("standing").await?;
    env.ended("timed", EndReason::AccessRevoked).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

#[tokio::test]
async fn a_role_that_allows_less_takes_access_away() -> Result<()> {
    let (there, back) =
        (json!({"spec": {"allow": {"dbNames": ["other"]}}}), json!({"spec": {"allow": {"dbNames": ["*"]}}}));
    access_lost_and_given_back(Of::Role, there, back, "AccessDenied").await
}

#[tokio::test]
async fn a_role_that_denies_takes_access_away() -> Result<()> {
    let (there, back) =
        (json!({"spec": {"deny": {"dbLabels": {"env": ["prod"]}}}}), json!({"spec": {"deny": null}}));
    access_lost_and_given_back(Of::Role, there, back, "AccessDenied").await
}

#[tokio::test]
async fn a_role_that_stops_provisioning_takes_access_away() -> Result<()> {
    let there = json!({"spec": {"options": {"createDbUserMode": "Disabled"}}});
    let back = json!({"spec": {"options": {"createDbUserMode": "Keep"}}});
    access_lost_and_given_back(Of::Role, there, back, "ProvisioningDisabled").await
}

#[tokio::test]
async fn a_role_that_becomes_invalid_takes_access_away() -> Result<()> {
    let there = json!({"spec": {"allow": {"dbLabelsExpression": "labels["}}});
    let back = json!({"spec": {"allow": {"dbLabelsExpression": null}}});
    access_lost_and_given_back(Of::Role, there, back, "RoleInvalid").await
}

#[tokio::test]
async fn traits_that_no_longer_match_take_access_away() -> Result<()> {
    let (there, back) =
        (json!({"spec": {"traits": {"env": ["dev"]}}}), json!({"spec": {"traits": {"env": ["prod"]}}}));
    access_lost_and_given_back(Of::Users, there, back, "AccessDenied").await
}

#[tokio::test]
async fn a_role_taken_from_the_user_takes_access_away() -> Result<()> {
    let (there, back) = (json!({"spec": {"roles": []}}), json!({"spec": {"roles": ["reader"]}}));
    access_lost_and_given_back(Of::Users, there, back, "AccessDenied").await
}

#[tokio::test]
async fn a_role_that_does_not_exist_takes_access_away() -> Result<()> {
    let there = json!({"spec": {"roles": ["reader", "missing"]}});
    access_lost_and_given_back(Of::Users, there, json!({"spec": {"roles": ["reader"]}}), "RoleNotFound").await
}

#[tokio::test]
async fn labels_of_the_database_that_no_longer_match_take_access_away() -> Result<()> {
    let there = json!({"metadata": {"labels": {"env": "dev"}}});
    access_lost_and_given_back(
        Of::Admin,
        there,
        json!({"metadata": {"labels": {"env": "prod"}}}),
        "AccessDenied",
    )
    .await
}

#[tokio::test]
async fn labels_in_the_spec_of_the_database_count_too() -> Result<()> {
    let there = json!({"spec": {"labels": {"env": "dev"}}});
    access_lost_and_given_back(Of::Admin, there, json!({"spec": {"labels": null}}), "AccessDenied").await
}

#[tokio::test]
async fn a_deleted_role_takes_access_away_until_it_is_there_again() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("standing", json!({})).await?;
    env.active("standing").await?;
    env.delete_and_wait::<ProvisioningRole>("reader").await?;
    env.pending("standing", "RoleNotFound").await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    env.role("reader", json!({})).await?;
    env.active("standing").await?;
    Ok(())
}

#[tokio::test]
async fn a_database_role_that_policy_adds_reaches_the_live_account_without_disturbing_it() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.active("timed").await?;
    let client = env.login("timed").await?;
    let begun = Instant::now();
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    let both = |account: Option<&Account>| account.is_some_and(|a| a.is_enabled_with(&["reader", "writer"]));
    env.account_until("a writer too", both).await?;
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    let reported = |session: &DatabaseSession| db_roles(session) == ["reader", "writer"];
    env.until("timed", "reporting so", reported).await?;
    rows(&client, "insert into orders values (2, 'second')")
        .await
        .context("the connection has the new role")?;
    Ok(())
}

#[tokio::test]
async fn a_database_role_that_policy_takes_leaves_the_live_account_with_its_connections() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.active("timed").await?;
    let client = env.login("timed").await?;
    // Such a session would keep the role until it ends.
    rows(&client, "set role writer").await?;

    env.role("reader", json!({"deny": {"dbRoles": ["writer"]}, "allow": {"dbRoles": ["reader", "writer"]}}))
        .await?;
    env.until("timed", "a reader only", |session| db_roles(session) == ["reader"]).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    assert!(
        rows(&client, "insert into orders values (3, 'third')").await.is_err(),
        "the connection is ended"
    );
    let again = env.login("timed").await?;
    let refused = rows(&again, "insert into orders values (3, 'third')").await;
    assert_eq!(refused.err().and_then(|error| error.sqlstate().map(str::to_owned)).as_deref(), Some("42501"));
    Ok(())
}

#[tokio::test]
async fn a_requested_role_that_policy_takes_ends_the_session() -> Result<()> {
    let env = TestEnv::start().await?;
    env.role("reader", json!({"allow": {"dbRoles": ["reader", "writer"]}})).await?;
    env.session("timed", json!({"ttl": "1h", "dbRoles": ["writer"]})).await?;
    env.active("timed").await?;
    env.role("reader", json!({})).await?;
    env.ended("timed", EndReason::AccessRevoked).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    Ok(())
}

fn db_roles(session: &DatabaseSession) -> Vec<&str> {
    session.status.iter().flat_map(|status| status.db_roles.iter().map(String::as_str)).collect()
}
