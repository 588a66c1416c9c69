//! A standby that lagged behind takes the place of the server: what it has not replicated is done again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseSession, EndReason};
use rolecall_testbed::{Postgres, rows};
use rolecall_tests::accounts::{account_on, login_on};
use rolecall_tests::objects::message_of;
use rolecall_tests::test_env::ALICE;
use rolecall_tests::{Account, Credentials, Forwarder, TIMEOUT, TestEnv};
use serde_json::json;
use tokio::time::Instant;

use crate::checks::{nothing_secret_is_shown, settled};

const BOB: &str = "bob@example.com";

/// A server with a standby, and what leads to whichever of the two is primary.
struct Pair {
    env: TestEnv,
    standby: Postgres,
    forwarder: Forwarder,
}

impl Pair {
    /// `alice` has accounts that are kept, `bob` has accounts that are dropped.
    async fn start(credentials: Credentials) -> Result<Self> {
        // By itself no resync would find the new primary in time.
        let env = TestEnv::builder().credentials(credentials).flag("--resync-interval=1h");
        let mut env = env.without_operator().without_objects().start().await?;
        let standby = env.pg.standby().await?;
        let forwarder = Forwarder::to(env.pg.port()).await?;
        env.admin(json!({"spec": {"uri": forwarder.address()}})).await?;
        env.role("reader", json!({})).await?;
        env.role("dropper", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
        env.user("alice", json!({"username": ALICE})).await?;
        env.user("bob", json!({"username": BOB, "roles": ["dropper"]})).await?;
        env.start_operator().await?;
        Ok(Self { env, standby, forwarder })
    }

    /// The standby has replicated everything until now, and replicates nothing from now on.
    async fn cut_off(&self) -> Result<()> {
        self.standby.caught_up_with(&self.env.pg).await?;
        Ok(self.standby.cut_off().await?)
    }

    /// Waits until the operator has counted so many accounts that can be used, and has nothing more to do: it would
    /// find by chance what it should notice.
    async fn settled(&self, enabled: u32) -> Result<()> {
        settled(&self.env, enabled).await
    }

    /// The primary is lost, and the standby promoted.
    async fn fail_over(&self) -> Result<()> {
        self.forwarder.cut();
        self.env.pg.kill().await;
        self.standby.promote().await?;
        self.forwarder.lead_to(self.standby.port());
        Ok(())
    }

    async fn account(&self, username: &str) -> Result<Option<Account>> {
        account_on(&self.standby, username).await
    }

    /// Waits until that is so on the new primary, and returns how long after the first connection to it.
    async fn until(&self, what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<Duration> {
        let deadline = Instant::now() + TIMEOUT;
        while !is_so().await? {
            ensure!(Instant::now() < deadline, "this did not happen: {what}:\n{}", self.env.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let first = self.forwarder.first_connection().context("a connection to the new primary")?;
        Ok(first.elapsed())
    }

    async fn is_let_in(&self, secret: &BTreeMap<String, String>) -> bool {
        login_on(&self.standby, secret).await.is_ok()
    }
}

#[tokio::test]
async fn accesses_that_a_failover_brings_back_are_ended_at_once_and_reported() -> Result<()> {
    let pair = Pair::start(Credentials::X509).await?;
    let env = &pair.env;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.session("dropped", json!({"user": "bob"})).await?;
    for name in ["timed", "dropped"] {
        env.active(name).await?;
    }
    let secrets = [env.secret("timed").await?, env.secret("dropped").await?];
    pair.cut_off().await?;
    env.patch::<DatabaseSession>("timed", json!({"spec": {"ttl": "1s"}})).await?;
    env.delete_and_wait::<DatabaseSession>("dropped").await?;
    env.ended("timed", EndReason::Expired).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    assert!(env.account_of(BOB).await?.is_none());
    for username in [ALICE, BOB] {
        assert!(pair.account(username).await?.is_some_and(|account| account.login), "{username}");
    }

    pair.settled(0).await?;
    pair.fail_over().await?;
    let closed = pair
        .until("the end of the logins that came back", async || {
            let disabled = pair.account(ALICE).await?.is_some_and(|account| account.is_disabled());
            Ok(disabled && pair.account(BOB).await?.is_none())
        })
        .await?;
    println!("closed {} ms after the first connection to the new primary", closed.as_millis());
    for secret in &secrets {
        assert!(!pair.is_let_in(secret).await);
    }

    // It is reported on the session, its user, the DatabaseAdmin, in the audit log and in metrics.
    let note = env.event("timed", "AccessReturned").await?;
    assert!(note.contains("timeline 1 to timeline 2") && note.contains("ended again"), "{note}");
    let reported = |session: &DatabaseSession| message_of(session).contains("failover from timeline 1");
    env.until("timed", "reporting the failover", reported).await?;
    assert!(env.event("bob", "AccessReturned").await?.contains("timeline 2"));
    assert!(env.event("orders", "Failover").await?.contains("timeline 2"));
    let history = |admin: &DatabaseAdmin| {
        let status = admin.status.as_ref();
        status.and_then(|status| status.server_history.as_deref()) == Some("timeline 2")
    };
    env.until("orders", "on the new timeline", history).await?;
    let metrics = env.operator.as_ref().context("an operator")?.get("/metrics").await?;
    let label = format!("database_admin=\"{}/orders\"", env.namespace);
    for line in [
        format!("rolecall_failovers_total{{{label}}} 1"),
        format!("rolecall_accesses_returned_total{{{label},action=\"ended\"}} 2"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    let log = env.operator.as_ref().context("an operator")?.audit().text();
    let audited = |what: &str, username: &str| {
        log.lines().any(|line| line.contains(&format!("\"event\":\"{what}\"")) && line.contains(username))
    };
    assert!(audited("failover", "orders") && audited("returned", ALICE) && audited("returned", BOB), "{log}");
    nothing_secret_is_shown(env).await
}

#[tokio::test]
async fn a_live_session_goes_on_over_a_failover_that_loses_it() -> Result<()> {
    let pair = Pair::start(Credentials::X509).await?;
    let env = &pair.env;
    env.session("before", json!({})).await?;
    env.active("before").await?;
    pair.cut_off().await?;
    env.session("after", json!({"user": "bob"})).await?;
    env.active("after").await?;
    pair.settled(2).await?;
    pair.fail_over().await?;
    let secrets = [env.secret("before").await?, env.secret("after").await?];
    let alive = async || Ok(pair.is_let_in(&secrets[0]).await && pair.is_let_in(&secrets[1]).await);
    let took = pair.until("the access of the live sessions", alive).await?;
    println!("made again {} ms after the first connection to the new primary", took.as_millis());
    let client = login_on(&pair.standby, &secrets[1]).await?;
    assert_eq!(rows(&client, "select note from orders").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn passwords_that_a_failover_loses_are_stored_again_and_older_ones_do_not_work() -> Result<()> {
    let pair = Pair::start(Credentials::Password).await?;
    let env = &pair.env;
    for name in ["stays", "goes"] {
        env.session(name, json!({})).await?;
        env.active(name).await?;
    }
    let gone = env.secret("goes").await?;
    pair.cut_off().await?;
    env.delete_and_wait::<DatabaseSession>("goes").await?;
    env.session("late", json!({"user": "bob"})).await?;
    env.active("late").await?;
    let (stays, late) = (env.secret("stays").await?, env.secret("late").await?);
    assert_ne!(stays["password"], gone["password"]);
    assert!(pair.is_let_in(&gone).await, "the standby has not heard of the end");
    pair.settled(2).await?;

    pair.fail_over().await?;
    let right = async || {
        let now = env.secret("stays").await?;
        Ok(!pair.is_let_in(&gone).await && pair.is_let_in(&now).await && pair.is_let_in(&late).await)
    };
    let took = pair.until("the passwords of the live sessions, and of nobody else", right).await?;
    println!("right {} ms after the first connection to the new primary", took.as_millis());
    assert_eq!(env.secret("stays").await?, stays, "the Secret need not be read again");
    env.event("stays", "PasswordRestored").await?;
    env.delete_and_wait::<DatabaseSession>("stays").await?;
    assert!(!pair.is_let_in(&stays).await);
    nothing_secret_is_shown(env).await
}

#[tokio::test]
async fn a_failover_while_no_operator_was_there_is_noticed_by_the_next() -> Result<()> {
    let mut pair = Pair::start(Credentials::X509).await?;
    pair.env.session("dropped", json!({"user": "bob"})).await?;
    pair.env.active("dropped").await?;
    let history = |admin: &DatabaseAdmin| {
        admin.status.as_ref().is_some_and(|status| status.server_history.as_deref() == Some("timeline 1"))
    };
    pair.env.until("orders", "on a timeline", history).await?;
    pair.cut_off().await?;
    pair.env.delete_and_wait::<DatabaseSession>("dropped").await?;
    let reported = |user: &rolecall_api::DatabaseUser| {
        let accounts = user.status.iter().flat_map(|status| &status.accounts);
        accounts.into_iter().any(|account| account.phase == rolecall_api::AccountPhase::Dropped)
    };
    pair.env.until("bob", "reporting that the account is gone", reported).await?;
    pair.env.crash_operator().await;
    pair.fail_over().await?;
    assert!(pair.account(BOB).await?.is_some_and(|account| account.login));
    pair.env.start_operator().await?;
    pair.until("the drop", async || Ok(pair.account(BOB).await?.is_none())).await?;
    assert!(pair.env.event("orders", "Failover").await?.contains("timeline 1 to timeline 2"));
    assert!(pair.env.event("bob", "AccessReturned").await?.contains("timeline 2"));
    Ok(())
}

#[tokio::test]
async fn an_account_that_was_to_be_dropped_and_comes_back_disabled_is_dropped() -> Result<()> {
    let pair = Pair::start(Credentials::X509).await?;
    let env = &pair.env;
    // What the standby has replicated last is the end of the login.
    env.session("first", json!({"user": "bob"})).await?;
    env.active("first").await?;
    env.role("dropper", json!({"options": {"createDbUserMode": "Keep"}})).await?;
    env.delete_and_wait::<DatabaseSession>("first").await?;
    env.role("dropper", json!({"options": {"createDbUserMode": "BestEffortDrop"}})).await?;
    pair.cut_off().await?;
    env.session("second", json!({"user": "bob"})).await?;
    env.active("second").await?;
    env.delete_and_wait::<DatabaseSession>("second").await?;
    assert!(pair.account(BOB).await?.is_some_and(|account| !account.login));
    pair.fail_over().await?;
    pair.until("the drop", async || Ok(pair.account(BOB).await?.is_none())).await.map(drop)
}

#[tokio::test]
async fn an_access_that_a_failover_brings_back_is_only_named_where_the_admin_says_so() -> Result<()> {
    let pair = Pair::start(Credentials::X509).await?;
    let env = &pair.env;
    let uri = pair.forwarder.address();
    env.admin(json!({"spec": {"uri": uri, "orphans": "Report"}})).await?;
    env.session("timed", json!({"ttl": "1h"})).await?;
    env.active("timed").await?;
    pair.cut_off().await?;
    env.patch::<DatabaseSession>("timed", json!({"spec": {"ttl": "1s"}})).await?;
    env.ended("timed", EndReason::Expired).await?;
    pair.fail_over().await?;
    let note = env.event("timed", "AccessReturned").await?;
    assert!(
        note.contains("timeline 2") && note.contains(&format!("ALTER ROLE \"{ALICE}\" NOLOGIN")),
        "{note}"
    );
    let named = |session: &DatabaseSession| message_of(session).contains("can be used again");
    env.until("timed", "reporting that it can be used again", named).await?;
    assert!(pair.account(ALICE).await?.is_some_and(|account| account.login), "it is left alone");
    let metrics = env.operator.as_ref().context("an operator")?.get("/metrics").await?;
    assert!(metrics.contains("action=\"reported\"} 1"), "{metrics}");
    Ok(())
}
