//! Amazon Redshift, by a simulator of it: what is shown here holds on a cluster only as far as the simulator is one.

use std::sync::Arc;

use anyhow::{Context, Result};
use rolecall_api::{AccountPhase, DatabaseAdmin, DatabaseSession, DatabaseUser, conditions};
use rolecall_aws::{Aws, Cluster, ClusterLogin, ClusterTarget, Credentials, Endpoint};
use rolecall_aws_testbed::front::AwsFront;
use rolecall_aws_testbed::redshift::{Admin, Kind, Object};
use rolecall_engine::{Login, LoginSource as _};
use rolecall_tests::objects::message_of;
use rolecall_tests::redshift::{CLUSTER, DATABASE, KEYS, REGION, RedshiftEnv};
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use secrecy::ExposeSecret;
use serde_json::json;

const MARKER: &str = "teleport-auto-user";

#[tokio::test]
async fn a_session_from_its_start_to_its_end() -> Result<()> {
    let env = RedshiftEnv::start(Admin::Superuser).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let account = env.known_account().await?;
    assert!(account.login, "{account:?}");
    assert!(account.roles.iter().map(String::as_str).eq(["reader", MARKER]), "{account:?}");

    let secret = env.secret("alice-orders").await?;
    assert_eq!(secret["type"], "redshift");
    assert!(secret["uri"].starts_with("postgresql://alice%40example.com:"), "{}", secret["uri"]);
    let client = env.login("alice-orders").await?;
    client.simple_query("SELECT 1").await?;
    // One by a password that AWS has lent, which lives on for a while.
    let login = format!("IAM:{ALICE}");
    let (lent, _) = env.cluster.issue_password(&login, jiff::SignedDuration::from_mins(60));
    let _by_iam = env.cluster.connect(&login, &lent, DATABASE).await?;
    assert_eq!(env.known_account().await?.sessions.len(), 2);

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let account = env.known_account().await?;
    assert!(!account.login && account.sessions.is_empty(), "{account:?}");
    assert!(account.roles.iter().map(String::as_str).eq([MARKER]), "{account:?}");
    assert!(client.simple_query("SELECT 1").await.is_err(), "its connection has ended");
    assert!(env.cluster.connect(&login, &lent, DATABASE).await.is_err(), "the limit keeps it out");
    assert!(!env.log().contains(&secret["password"]), "no password is logged");
    Ok(())
}

/// A login as a user with AWS credentials gets it.
async fn lent(front: &AwsFront, user: &str) -> Result<Login> {
    let aws = Aws::of(Credentials::new(KEYS.0, KEYS.1, None, None, "test"), None);
    let url = front.url();
    let endpoint = Endpoint::of(REGION, |name| (name == "AWS_ENDPOINT_URL_REDSHIFT").then(|| url.clone()));
    let target = ClusterTarget {
        cluster: Cluster::Identifier(CLUSTER.to_owned()),
        user: user.to_owned(),
        region: REGION.to_owned(),
    };
    Ok(ClusterLogin::at(endpoint, Arc::new(aws), target).login().await?)
}

#[tokio::test]
async fn everybody_logs_in_by_iam() -> Result<()> {
    let (env, front, _process) = RedshiftEnv::start_with_iam().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let secret = env.secret("alice-orders").await?;
    assert_eq!((secret["username"].as_str(), secret.contains_key("password")), (ALICE, false));
    let Login { username, secret } = lent(&front, ALICE).await?;
    let password = ExposeSecret::expose_secret(&secret);
    let client = env.cluster.connect(&username, password, DATABASE).await?;
    client.simple_query("SELECT 1").await?;
    assert_eq!(env.cluster.logins(ALICE), [format!("IAM:{ALICE}")]);

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let account = env.known_account().await?;
    assert!(!account.login && account.sessions.is_empty(), "{account:?}");
    assert!(client.simple_query("SELECT 1").await.is_err(), "its connection has ended");
    assert!(env.cluster.connect(&username, password, DATABASE).await.is_err(), "what was lent lives on");

    let of_admin: Vec<_> = front
        .calls()
        .into_iter()
        .filter(|call| call.parameters.get("DbUser").is_some_and(|user| user == ADMIN_USER))
        .collect();
    assert_eq!(of_admin.len(), 1, "a password is used until it expires");
    for call in front.calls() {
        let never = |name: &String| name == "AutoCreate" || name.starts_with("DbGroups");
        assert!(!call.parameters.keys().any(never), "{call:?}");
    }
    Ok(())
}

#[tokio::test]
async fn object_permissions_are_those_of_a_set() -> Result<()> {
    let env = RedshiftEnv::start(Admin::Superuser).await?;
    let entry = json!({"match": {"object_kind": ["table"], "name": ["orders"]}, "permissions": ["SELECT", "TRUNCATE"]});
    env.role(
        "objects",
        json!({"allow": {"dbLabels": {"*": ["*"]}, "dbNames": ["*"], "dbPermissions": [entry]}}),
    )
    .await?;
    env.patch::<DatabaseUser>("alice", json!({"spec": {"roles": ["reader", "objects"]}})).await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    let session = env.active("alice-orders").await?;
    let permissions = session.status.map(|status| status.permissions).unwrap_or_default();
    // TRUNCATE could not be read back, and is not given.
    assert_eq!(permissions.into_iter().collect::<Vec<_>>(), [("SELECT".to_owned(), 1)]);
    let account = env.known_account().await?;
    let set = account.roles.iter().find(|role| role.starts_with("rolecall_")).context("a set")?;
    let query = format!(
        "SELECT relation_name, privilege_type FROM svv_relation_privileges WHERE identity_name = '{set}' AND identity_type = 'role'"
    );
    let rows = env.cluster.sql(DATABASE, &query).await?;
    assert_eq!(rows, [["orders", "SELECT"].map(|text| Some(text.to_owned()))]);
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert!(!env.known_account().await?.roles.contains(set));
    Ok(())
}

#[tokio::test]
async fn a_user_that_owns_something_in_another_database_is_not_dropped() -> Result<()> {
    let env = RedshiftEnv::start(Admin::Superuser).await?;
    env.role("reader", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    env.session("one", json!({"ttl": "1h"})).await?;
    env.active("one").await?;
    let owned = Object { owner: Some(ALICE), ..Object::new(Kind::Table, "public", "scratch") };
    env.cluster.create_object("app2", &owned)?;
    env.delete_and_wait::<DatabaseSession>("one").await?;
    let account = env.known_account().await?;
    assert!(!account.login && account.sessions.is_empty(), "{account:?}");
    let why = env.event("one", "AccountKept").await?;
    assert!(why.contains("scratch") && why.contains("app2"), "{why}");

    env.cluster.drop_object("app2", &owned);
    env.session("two", json!({"ttl": "1h"})).await?;
    env.active("two").await?;
    env.delete_and_wait::<DatabaseSession>("two").await?;
    assert_eq!(env.account().await?, None, "nothing depends on it any more");
    Ok(())
}

/// An admin user who sees itself only would take everybody for closed and gone.
#[tokio::test]
async fn an_admin_user_who_is_blind_starts_nothing_and_calls_nothing_ended() -> Result<()> {
    let env = RedshiftEnv::start(Admin::SystemRole).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.pending("alice-orders", "MissingSystemAccess").await?;
    let statement = format!("ALTER USER \"{ADMIN_USER}\" SYSLOG ACCESS UNRESTRICTED");
    assert!(message_of(&session).contains(&statement), "{}", message_of(&session));
    env.until::<DatabaseAdmin>("orders", "incapable", |admin| {
        let status = admin.status.as_ref();
        let capable = status.and_then(|status| conditions::find(&status.conditions, conditions::CAPABLE));
        capable.is_some_and(|capable| {
            capable.reason == "MissingSystemAccess" && capable.message.contains(&statement)
        })
    })
    .await?;
    assert_eq!(env.account().await?, None, "nobody was created");

    env.cluster.sql("dev", &format!("ALTER USER \"{ADMIN_USER}\" CREATEUSER")).await?;
    env.active("alice-orders").await?;
    env.login("alice-orders").await?;
    env.cluster.sql("dev", &format!("ALTER USER \"{ADMIN_USER}\" NOCREATEUSER")).await?;
    env.delete::<DatabaseSession>("alice-orders").await?;
    env.until::<DatabaseSession>("alice-orders", "Ending, with the reason", |session| {
        message_of(session).contains("SYSLOG ACCESS UNRESTRICTED")
    })
    .await?;
    env.cluster.sql("dev", &format!("ALTER USER \"{ADMIN_USER}\" CREATEUSER")).await?;
    env.gone::<DatabaseSession>("alice-orders").await?;
    let account = env.known_account().await?;
    assert!(!account.login && account.sessions.is_empty(), "{account:?}");
    Ok(())
}

#[tokio::test]
async fn names_that_redshift_cannot_have_are_refused() -> Result<()> {
    let env = RedshiftEnv::start(Admin::Superuser).await?;
    let long = format!("{}@example.com", "x".repeat(40));
    for (name, username, says) in [
        ("long", long.as_str(), "45"),
        ("reserved", "tag", "reserved word"),
        ("blank", "al ice", "letters"),
        ("role", "writer", "a role has that name"),
    ] {
        env.user(name, json!({"username": username})).await?;
        // The role may go: that is waited for.
        let deadline = if name == "role" { "10s" } else { "5m" };
        env.session(name, json!({"user": name, "ttl": "1h", "startDeadline": deadline})).await?;
        let session = env.rejected(name, "InvalidUsername").await?;
        assert!(message_of(&session).contains(says), "{name}: {}", message_of(&session));
    }
    Ok(())
}

#[tokio::test]
async fn what_somebody_changes_on_a_live_account_is_put_right() -> Result<()> {
    let mut env =
        RedshiftEnv::prepare(Admin::Superuser, json!({"password": {}}), &["--resync-interval=1s"]).await?;
    env.make_objects().await?;
    env.start_operator().await?;
    env.session("alice-orders", json!({"ttl": "1h"})).await?;
    env.active("alice-orders").await?;
    let secret = env.secret("alice-orders").await?;
    for by_hand in [
        format!("ALTER USER \"{ALICE}\" CONNECTION LIMIT 0"),
        format!("GRANT ROLE writer TO \"{ALICE}\"; REVOKE ROLE reader FROM \"{ALICE}\""),
    ] {
        env.cluster.sql("dev", &by_hand).await?;
        let right = async || {
            let account = env.known_account().await?;
            Ok(account.login && account.roles.iter().map(String::as_str).eq(["reader", MARKER]))
        };
        env.eventually(&format!("it is put right after {by_hand}"), right).await?;
    }
    assert_eq!(env.secret("alice-orders").await?, secret, "the Secret need not be read again");
    env.login("alice-orders").await?;
    let enabled = |user: &DatabaseUser| {
        let accounts = user.status.iter().flat_map(|status| &status.accounts);
        accounts.map(|account| account.phase).eq([AccountPhase::Enabled])
    };
    env.until("alice", "reported as enabled", enabled).await.map(drop)
}
