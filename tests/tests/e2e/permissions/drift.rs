//! What changes in the database reaches live sessions within `objectSync`.

use anyhow::Result;
use rolecall_tests::test_env::ADMIN_USER;

use super::*;

#[tokio::test]
async fn a_new_table_can_be_read_and_is_counted() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    env.pg.sql("app", "create table hr.later (id int)").await?;
    may_soon(&env, &alice, "select * from hr.later").await?;
    counting(&env, "alice-orders", &[("SELECT", 3)]).await?;
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_dropped_renamed_or_moved_is_followed() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    allow(&env, json!([{"match": {"schema": ["hr"], "name": ["employees", "scratchpad"]}, "permissions": ["SELECT"]}])).await?;
    let alice = alice(&env).await?;
    counting(&env, "alice-orders", &[("SELECT", 2)]).await?;
    env.pg.sql("app", "alter table hr.employees rename to people").await?;
    may_not_soon(&env, &alice, "select * from hr.people").await?;
    env.pg.sql("app", "alter table hr.people rename to employees").await?;
    may_soon(&env, &alice, "select * from hr.employees").await?;
    env.pg.sql("app", "alter table hr.scratchpad set schema sales").await?;
    counting(&env, "alice-orders", &[("SELECT", 1)]).await?;
    may_not(&alice, &["select * from sales.scratchpad"]).await?;
    env.pg.sql("app", "drop table hr.employees").await?;
    counting(&env, "alice-orders", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn what_somebody_revoked_or_granted_by_hand_is_put_right() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    let set = sets(&env).await?.pop().context("a set")?;
    let by_hand = format!(
        r#"set role "{ADMIN_USER}"; revoke select on hr.employees from "{set}"; grant select on sales.deals to "{set}""#
    );
    env.pg.sql("app", &by_hand).await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    may_soon(&env, &alice, "select * from hr.employees").await?;
    may_not_soon(&env, &alice, "select * from sales.deals").await
}

#[tokio::test]
async fn a_set_that_somebody_dropped_is_made_again() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    let set = sets(&env).await?.pop().context("a set")?;
    drop_by_hand(&env, &set).await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    may_soon(&env, &alice, "select * from hr.employees").await
}

pub(super) async fn drop_by_hand(env: &TestEnv, set: &str) -> Result<()> {
    let by_hand = format!(
        r#"set role "{ADMIN_USER}"; revoke all on all tables in schema hr from "{set}"; revoke all on schema hr from "{set}";
        drop role "{set}""#
    );
    env.pg.sql("app", &by_hand).await?;
    Ok(())
}

#[tokio::test]
async fn a_set_that_somebody_dropped_is_recreated_for_the_next_session_that_needs_it() -> Result<()> {
    let env = env().await?;
    allow(&env, select_in("hr")).await?;
    let first = alice(&env).await?;
    // In use: another session of the same account finds out, and both have it again.
    drop_by_hand(&env, &sets(&env).await?.pop().context("a set")?).await?;
    env.session("second", json!({})).await?;
    complete(&env, "second").await?;
    may_soon(&env, &first, "select * from hr.employees").await?;
    // Unused.
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("second").await?;
    drop_by_hand(&env, &sets(&env).await?.pop().context("a set")?).await?;
    let again = alice(&env).await?;
    may(&again, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn objects_that_can_no_longer_be_read_are_reported() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    allow(&env, select_in("hr")).await?;
    alice(&env).await?;
    let counted = counts(&env.get::<DatabaseSession>("alice-orders").await?).len();
    env.pg.sql("postgres", "drop database app with (force)").await?;
    let session = incomplete(&env, "alice-orders", "DatabaseNameNotFound").await?;
    assert_eq!(counts(&session).len(), counted, "what was counted when the objects could be read");
    Ok(())
}

#[tokio::test]
async fn a_table_that_somebody_is_changing_blocks_no_session_on_others() -> Result<()> {
    let env = env().await?;
    let blocker = env.pg.superuser("app").await?;
    blocker.batch_execute("begin; alter table hr.scratchpad add column held int").await?;
    allow(&env, select_in("hr")).await?;
    env.session("alice-orders", json!({})).await?;
    let session = incomplete(&env, "alice-orders", "MissingObjectPrivileges").await?;
    assert_eq!(counts(&session), [("SELECT", 1)].into());
    let message = &permissions_complete(&session).context("a condition")?.message;
    assert!(
        message.contains("hr.scratchpad") && message.contains("another transaction has locked it"),
        "{message}"
    );
    may(&env.login("alice-orders").await?, &["select * from hr.employees"]).await?;
    blocker.batch_execute("rollback").await?;
    complete(&env, "alice-orders").await?;
    Ok(())
}
