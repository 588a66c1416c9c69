//! Changes of policy and of rules reach live sessions at once, without disturbing their connections.

use anyhow::Result;
use rolecall_api::{DatabaseUser, DbObjectImportRule};
use rolecall_tests::Account;
use rolecall_tests::world::ALICE;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_changed_role_moves_the_live_session_to_another_set() -> Result<()> {
    let world = world().await?;
    allow(&world, select_in("hr")).await?;
    let alice = alice(&world).await?;
    may(&alice, &["select * from hr.employees"]).await?;
    let before = sets_of(&world, ALICE).await?;
    allow(&world, select_in("sales")).await?;
    may_soon(&world, &alice, "select * from sales.deals").await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    counting(&world, "alice-orders", &[("SELECT", 1)]).await?;
    let after = sets_of(&world, ALICE).await?;
    assert!(before != after && after.len() == 1, "{before:?}, {after:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_changed_role_goes_on_giving_is_never_lost_and_what_it_takes_away_is_gone_at_once()
-> Result<()> {
    let world = world().await?;
    let schemas = |schemas: &[&str]| json!([{"match": {"object_kind": ["table"], "schema": schemas}, "permissions": ["SELECT"]}]);
    allow(&world, schemas(&["hr", "sales"])).await?;
    let alice = alice(&world).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let reads = reading(world.login("alice-orders").await?, "select * from hr.employees", stopped);
    let reads = tokio::spawn(reads);

    // Less, more, and something else, each of which leaves hr as it is.
    allow(&world, schemas(&["hr"])).await?;
    let began = std::time::Instant::now();
    may_not_soon(&world, &alice, "select * from sales.deals").await?;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    counting(&world, "alice-orders", &[("SELECT", 2)]).await?;
    allow(&world, schemas(&["hr", "sales", "public"])).await?;
    may_soon(&world, &alice, "select * from sales.deals").await?;
    let writes = json!({"match": {"schema": ["sales"]}, "permissions": ["INSERT"]});
    allow(&world, json!([schemas(&["hr"])[0], writes])).await?;
    may_soon(&world, &alice, "insert into sales.deals values (2, 3)").await?;
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
    let world = world().await?;
    allow(&world, select_in("hr")).await?;
    let alice = alice(&world).await?;
    // An unfinished transaction grants on the same table: no other grant can succeed meanwhile.
    let blocker = world.pg.superuser("app").await?;
    blocker.batch_execute("begin; grant select on sales.deals to reader").await?;
    allow(&world, select_in("sales")).await?;
    let began = std::time::Instant::now();
    may_not_soon(&world, &alice, "select * from hr.employees").await?;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    may_not(&alice, &["select * from sales.deals"]).await?;
    blocker.batch_execute("rollback").await?;
    may_soon(&world, &alice, "select * from sales.deals").await
}

#[tokio::test]
async fn a_start_that_waits_for_its_set_is_given_up_at_its_deadline() -> Result<()> {
    let world = world().await?;
    allow(&world, select_in("sales")).await?;
    let blocker = world.pg.superuser("app").await?;
    blocker.batch_execute("begin; grant select on sales.deals to reader").await?;
    world.session("alice-orders", json!({"ttl": "1h", "startDeadline": "1s"})).await?;
    let rejected = |session: &DatabaseSession| phase(session) == SessionPhase::Rejected;
    let session = world.until("alice-orders", "Rejected", rejected).await?;
    let ready = conditions::find(session.conditions(), conditions::READY).context("Ready")?;
    assert_ne!(ready.reason, "StartDeadlineExceeded", "the last reason is reported: {}", ready.message);
    assert!(world.account().await?.is_none_or(|account| account.is_disabled()));
    blocker.batch_execute("rollback").await?;
    Ok(())
}

#[tokio::test]
async fn a_role_that_stops_giving_object_permissions_leaves_none() -> Result<()> {
    let world = world().await?;
    world.role("reader", json!({"allow": {"dbPermissions": select_in("hr")}})).await?;
    let alice = alice(&world).await?;
    world.role("reader", json!({})).await?;
    counting(&world, "alice-orders", &[]).await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    may(&alice, &["select * from orders"]).await?;
    assert!(world.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    Ok(())
}

#[tokio::test]
async fn a_rule_that_becomes_invalid_withholds_object_permissions_and_nothing_else_until_it_is_mended()
-> Result<()> {
    let world = world().await?;
    let mapping = |pattern: &str| json!([{"scope": {"schemaNames": ["hr"]}, "match": {"tableNames": [pattern]}, "addLabels": {"dept": "hr"}}]);
    rule(&world, "departments", mapping("*")).await?;
    let permissions = json!([{"match": {"dept": ["hr"]}, "permissions": ["SELECT"]}]);
    world.role("reader", json!({"allow": {"dbPermissions": permissions}})).await?;
    let alice = alice(&world).await?;
    may(&alice, &["select * from hr.employees", "select * from orders"]).await?;

    rule(&world, "departments", mapping("^($")).await?;
    incomplete(&world, "alice-orders", "ImportRuleInvalid").await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    may(&alice, &["select * from orders"]).await?;
    world.user("bob", json!({})).await?;
    world.session("bob-orders", json!({"user": "bob"})).await?;
    incomplete(&world, "bob-orders", "ImportRuleInvalid").await?;
    may(&world.login("bob-orders").await?, &["select * from orders"]).await?;

    rule(&world, "departments", mapping("*")).await?;
    complete(&world, "alice-orders").await?;
    complete(&world, "bob-orders").await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may(&world.login("bob-orders").await?, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn a_rule_that_changes_comes_or_goes_is_in_force_at_once() -> Result<()> {
    let world = world().await?;
    allow(&world, json!([{"match": {"dept": ["*"]}, "permissions": ["SELECT"]}, {"match": {"name": ["deals"]}, "permissions": ["SELECT"]}])).await?;
    let mapping = |schema: &str| json!([{"scope": {"schemaNames": [schema]}, "match": {"tableNames": ["*"]}, "addLabels": {"dept": schema}}]);
    rule(&world, "departments", mapping("hr")).await?;
    let alice = alice(&world).await?;
    // The operator may have heard of the session before it heard of the rule.
    counting(&world, "alice-orders", &[("SELECT", 2)]).await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may_not(&alice, &["select * from sales.deals"]).await?;

    rule(&world, "departments", mapping("sales")).await?;
    may_soon(&world, &alice, "select * from sales.deals").await?;
    may_not_soon(&world, &alice, "select * from hr.employees").await?;

    rule(&world, "more", mapping("hr")).await?;
    counting(&world, "alice-orders", &[("SELECT", 3)]).await?;
    may(&alice, &["select * from hr.employees"]).await?;

    // Without a rule the built-in one holds, which knows no departments.
    world.delete_and_wait::<DbObjectImportRule>("departments").await?;
    world.delete_and_wait::<DbObjectImportRule>("more").await?;
    counting(&world, "alice-orders", &[("SELECT", 1)]).await?;
    may(&alice, &["select * from sales.deals"]).await?;
    may_not(&alice, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn a_suspended_user_has_no_object_permissions_and_gets_them_back() -> Result<()> {
    let world = world().await?;
    allow(&world, select_in("hr")).await?;
    let connection = alice(&world).await?;
    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}});
    world.patch::<DatabaseUser>("alice", suspend(true)).await?;
    world.pending("alice-orders", "UserSuspended").await?;
    assert!(connection.simple_query("select 1").await.is_err());
    assert!(world.account().await?.is_some_and(|account| account.is_disabled()));
    world.patch::<DatabaseUser>("alice", suspend(false)).await?;
    complete(&world, "alice-orders").await?;
    may(&world.login("alice-orders").await?, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn a_restart_takes_nothing_away_and_grants_nothing_anew() -> Result<()> {
    let mut world = world().await?;
    allow(&world, select_in("hr")).await?;
    let alice = alice(&world).await?;
    let before =
        (access_lists(&world, "app").await?, world.account().await?.map(|account| account.memberships));
    let session = world.get::<DatabaseSession>("alice-orders").await?;
    let memberships = "select xmin, * from pg_auth_members order by roleid, member";
    let granted = world.pg.sql("postgres", memberships).await?;
    world.stop_operator().await?;
    world.start_operator().await?;
    // Something for it to do, after which it has processed the account and the objects.
    world.session("second", json!({})).await?;
    complete(&world, "second").await?;
    complete(&world, "alice-orders").await?;
    may(&alice, &["select * from hr.employees"]).await?;
    let after =
        (access_lists(&world, "app").await?, world.account().await?.map(|account| account.memberships));
    assert_eq!(before, after);
    assert_eq!(
        world.pg.sql("postgres", memberships).await?,
        granted,
        "no membership was taken and given again"
    );
    let after = world.get::<DatabaseSession>("alice-orders").await?;
    assert_eq!(
        after.metadata.resource_version, session.metadata.resource_version,
        "nothing was written to it"
    );
    Ok(())
}

#[tokio::test]
async fn a_change_during_a_restart_ends_connections_only_where_a_function_may_be_lost() -> Result<()> {
    let mut world = world().await?;
    let function = r#"create function hr.one() returns int language sql as 'select 1';
        revoke all on function hr.one() from public;
        grant execute on function hr.one() to "teleport-admin" with grant option"#;
    world.pg.sql("app", function).await?;
    let functions = json!([{"match": {"schema": ["hr"]}, "permissions": ["EXECUTE"]}]);
    let alice = {
        allow(&world, select_in("hr")).await?;
        alice(&world).await?
    };
    world.stop_operator().await?;
    allow(&world, json!([select_in("sales")[0], functions[0]])).await?;
    world.start_operator().await?;
    may_soon(&world, &alice, "select * from sales.deals").await?;
    may(&alice, &["select hr.one()"]).await?;

    world.stop_operator().await?;
    allow(&world, select_in("sales")).await?;
    world.start_operator().await?;
    counting(&world, "alice-orders", &[("SELECT", 1)]).await?;
    assert!(rows(&alice, "select 1").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_restart_with_an_invalid_rule_withholds_object_permissions_too() -> Result<()> {
    let mut world = world().await?;
    world.role("reader", json!({"allow": {"dbPermissions": select_in("hr")}})).await?;
    let alice = alice(&world).await?;
    world.crash_operator().await;
    rule(&world, "departments", json!([{"match": {"tableNames": ["^($"]}, "addLabels": {"dept": "hr"}}]))
        .await?;
    world.start_operator().await?;
    incomplete(&world, "alice-orders", "ImportRuleInvalid").await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    assert!(
        world.account().await?.as_ref().is_some_and(|account: &Account| account.is_enabled_with(&["reader"]))
    );
    Ok(())
}
