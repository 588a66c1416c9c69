//! Changes of policy and of rules reach live sessions at once, without disturbing their connections.

use anyhow::Result;
use rolecall_api::{DatabaseUser, DbObjectImportRule};
use rolecall_tests::Account;
use rolecall_tests::test_env::ALICE;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_changed_role_moves_the_live_session_to_another_set() -> Result<()> {
    let env = env().await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    may(&alice, &["select * from hr.employees"]).await?;
    let before = sets_of(&env, ALICE).await?;
    allow(&env, select_in("sales")).await?;
    may_soon(&env, &alice, "select * from sales.deals").await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    counting(&env, "alice-orders", &[("SELECT", 1)]).await?;
    let after = sets_of(&env, ALICE).await?;
    assert!(before != after && after.len() == 1, "{before:?}, {after:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_changed_role_keeps_giving_is_never_lost_and_what_it_takes_away_is_gone_at_once() -> Result<()>
{
    let env = env().await?;
    let schemas = |schemas: &[&str]| json!([{"match": {"object_kind": ["table"], "schema": schemas}, "permissions": ["SELECT"]}]);
    allow(&env, schemas(&["hr", "sales"])).await?;
    let alice = alice(&env).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let reads = reading(env.login("alice-orders").await?, "select * from hr.employees", stopped);
    let reads = tokio::spawn(reads);

    // Less, more, and something else, each of which leaves hr as it is.
    allow(&env, schemas(&["hr"])).await?;
    let began = std::time::Instant::now();
    may_not_soon(&env, &alice, "select * from sales.deals").await?;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    counting(&env, "alice-orders", &[("SELECT", 2)]).await?;
    allow(&env, schemas(&["hr", "sales", "public"])).await?;
    may_soon(&env, &alice, "select * from sales.deals").await?;
    let writes = json!({"match": {"schema": ["sales"]}, "permissions": ["INSERT"]});
    allow(&env, json!([schemas(&["hr"])[0], writes])).await?;
    may_soon(&env, &alice, "insert into sales.deals values (2, 3)").await?;
    may_not(&alice, &["select * from sales.deals"]).await?;

    drop(stop);
    assert!(reads.await?? > 10, "it went on reading");
    Ok(())
}

/// Reads again and again, and fails when that fails. Answers how often it read.
async fn reading(
    client: Client,
    statement: &'static str,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) -> Result<usize> {
    let mut count = 0;
    while matches!(stopped.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty)) {
        rows(&client, statement).await.with_context(|| format!("{statement}, after {count} times"))?;
        count += 1;
    }
    Ok(count)
}

#[tokio::test]
async fn what_policy_took_away_does_not_wait_long_for_what_it_gives_instead() -> Result<()> {
    let env = env().await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    // An unfinished transaction grants on the same table: no other grant can succeed meanwhile.
    let blocker = env.pg.superuser("app").await?;
    blocker.batch_execute("begin; grant select on sales.deals to reader").await?;
    allow(&env, select_in("sales")).await?;
    let began = std::time::Instant::now();
    may_not_soon(&env, &alice, "select * from hr.employees").await?;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    may_not(&alice, &["select * from sales.deals"]).await?;
    blocker.batch_execute("rollback").await?;
    may_soon(&env, &alice, "select * from sales.deals").await
}

#[tokio::test]
async fn a_start_that_waits_for_its_set_is_given_up_at_its_deadline() -> Result<()> {
    let env = env().await?;
    allow(&env, select_in("sales")).await?;
    let blocker = env.pg.superuser("app").await?;
    blocker.batch_execute("begin; grant select on sales.deals to reader").await?;
    env.session("alice-orders", json!({"ttl": "1h", "startDeadline": "1s"})).await?;
    let rejected = |session: &DatabaseSession| phase(session) == SessionPhase::Rejected;
    let session = env.until("alice-orders", "Rejected", rejected).await?;
    let ready = conditions::find(session.conditions(), conditions::READY).context("Ready")?;
    assert_ne!(ready.reason, "StartDeadlineExceeded", "the last reason is reported: {}", ready.message);
    assert!(env.account().await?.is_none_or(|account| account.is_disabled()));
    blocker.batch_execute("rollback").await?;
    Ok(())
}

#[tokio::test]
async fn a_role_that_stops_giving_object_permissions_leaves_none() -> Result<()> {
    let env = env().await?;
    env.role("reader", json!({"allow": {"dbPermissions": select_in("hr")}})).await?;
    let alice = alice(&env).await?;
    env.role("reader", json!({})).await?;
    counting(&env, "alice-orders", &[]).await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    may(&alice, &["select * from orders"]).await?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

#[tokio::test]
async fn a_rule_that_becomes_invalid_withholds_object_permissions_and_nothing_else_until_it_is_repaired()
-> Result<()> {
    let env = env().await?;
    let mapping = |pattern: &str| json!([{"scope": {"schemaNames": ["hr"]}, "match": {"tableNames": [pattern]}, "addLabels": {"dept": "hr"}}]);
    rule(&env, "departments", mapping("*")).await?;
    let permissions = json!([{"match": {"dept": ["hr"]}, "permissions": ["SELECT"]}]);
    env.role("reader", json!({"allow": {"dbPermissions": permissions}})).await?;
    let alice = alice(&env).await?;
    may(&alice, &["select * from hr.employees", "select * from orders"]).await?;

    rule(&env, "departments", mapping("^($")).await?;
    incomplete(&env, "alice-orders", "ImportRuleInvalid").await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    may(&alice, &["select * from orders"]).await?;
    env.user("bob", json!({})).await?;
    env.session("bob-orders", json!({"user": "bob"})).await?;
    incomplete(&env, "bob-orders", "ImportRuleInvalid").await?;
    may(&env.login("bob-orders").await?, &["select * from orders"]).await?;

    rule(&env, "departments", mapping("*")).await?;
    complete(&env, "alice-orders").await?;
    complete(&env, "bob-orders").await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may(&env.login("bob-orders").await?, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn a_rule_that_changes_comes_or_goes_is_in_force_at_once() -> Result<()> {
    let env = env().await?;
    allow(&env, json!([{"match": {"dept": ["*"]}, "permissions": ["SELECT"]}, {"match": {"name": ["deals"]}, "permissions": ["SELECT"]}])).await?;
    let mapping = |schema: &str| json!([{"scope": {"schemaNames": [schema]}, "match": {"tableNames": ["*"]}, "addLabels": {"dept": schema}}]);
    rule(&env, "departments", mapping("hr")).await?;
    let alice = alice(&env).await?;
    // The operator may have heard of the session before it heard of the rule.
    counting(&env, "alice-orders", &[("SELECT", 2)]).await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may_not(&alice, &["select * from sales.deals"]).await?;

    rule(&env, "departments", mapping("sales")).await?;
    may_soon(&env, &alice, "select * from sales.deals").await?;
    may_not_soon(&env, &alice, "select * from hr.employees").await?;

    rule(&env, "more", mapping("hr")).await?;
    counting(&env, "alice-orders", &[("SELECT", 3)]).await?;
    may(&alice, &["select * from hr.employees"]).await?;

    // Without a rule the built-in one applies, which knows no departments.
    env.delete_and_wait::<DbObjectImportRule>("departments").await?;
    env.delete_and_wait::<DbObjectImportRule>("more").await?;
    counting(&env, "alice-orders", &[("SELECT", 1)]).await?;
    may(&alice, &["select * from sales.deals"]).await?;
    may_not(&alice, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn a_suspended_user_has_no_object_permissions_and_gets_them_back() -> Result<()> {
    let env = env().await?;
    allow(&env, select_in("hr")).await?;
    let connection = alice(&env).await?;
    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}});
    env.patch::<DatabaseUser>("alice", suspend(true)).await?;
    env.pending("alice-orders", "UserSuspended").await?;
    assert!(connection.simple_query("select 1").await.is_err());
    assert!(env.account().await?.is_some_and(|account| account.is_disabled()));
    env.patch::<DatabaseUser>("alice", suspend(false)).await?;
    complete(&env, "alice-orders").await?;
    may(&env.login("alice-orders").await?, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn a_restart_takes_nothing_away_and_grants_nothing_again() -> Result<()> {
    let mut env = env().await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    let before = (access_lists(&env, "app").await?, env.account().await?.map(|account| account.memberships));
    let session = env.get::<DatabaseSession>("alice-orders").await?;
    let memberships = "select xmin, * from pg_auth_members order by roleid, member";
    let granted = env.pg.sql("postgres", memberships).await?;
    env.stop_operator().await?;
    env.start_operator().await?;
    // Something for it to do, after which it has processed the account and the objects.
    env.session("second", json!({})).await?;
    complete(&env, "second").await?;
    complete(&env, "alice-orders").await?;
    may(&alice, &["select * from hr.employees"]).await?;
    let after = (access_lists(&env, "app").await?, env.account().await?.map(|account| account.memberships));
    assert_eq!(before, after);
    assert_eq!(
        env.pg.sql("postgres", memberships).await?,
        granted,
        "no membership was taken and given again"
    );
    let after = env.get::<DatabaseSession>("alice-orders").await?;
    assert_eq!(
        after.metadata.resource_version, session.metadata.resource_version,
        "nothing was written to it"
    );
    Ok(())
}

#[tokio::test]
async fn a_change_during_a_restart_ends_connections_only_where_a_function_may_be_lost() -> Result<()> {
    let mut env = env().await?;
    let function = r#"create function hr.one() returns int language sql as 'select 1';
        revoke all on function hr.one() from public;
        grant execute on function hr.one() to "teleport-admin" with grant option"#;
    env.pg.sql("app", function).await?;
    let functions = json!([{"match": {"schema": ["hr"]}, "permissions": ["EXECUTE"]}]);
    let alice = {
        allow(&env, select_in("hr")).await?;
        alice(&env).await?
    };
    env.stop_operator().await?;
    allow(&env, json!([select_in("sales")[0], functions[0]])).await?;
    env.start_operator().await?;
    may_soon(&env, &alice, "select * from sales.deals").await?;
    may(&alice, &["select hr.one()"]).await?;

    env.stop_operator().await?;
    allow(&env, select_in("sales")).await?;
    env.start_operator().await?;
    counting(&env, "alice-orders", &[("SELECT", 1)]).await?;
    assert!(rows(&alice, "select 1").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_restart_with_an_invalid_rule_withholds_object_permissions_too() -> Result<()> {
    let mut env = env().await?;
    env.role("reader", json!({"allow": {"dbPermissions": select_in("hr")}})).await?;
    let alice = alice(&env).await?;
    env.crash_operator().await;
    rule(&env, "departments", json!([{"match": {"tableNames": ["^($"]}, "addLabels": {"dept": "hr"}}]))
        .await?;
    env.start_operator().await?;
    incomplete(&env, "alice-orders", "ImportRuleInvalid").await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    assert!(
        env.account().await?.as_ref().is_some_and(|account: &Account| account.is_enabled_with(&["reader"]))
    );
    Ok(())
}
