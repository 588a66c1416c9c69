//! What changes in the database reaches live sessions within `objectSync`.

use anyhow::Result;
use rolecall_tests::world::ADMIN_USER;

use super::*;

#[tokio::test]
async fn a_new_table_can_be_read_and_is_counted() -> Result<()> {
    let world = world_that_looks_often().await?;
    allow(&world, select_in("hr")).await?;
    let alice = alice(&world).await?;
    world.pg.sql("app", "create table hr.later (id int)").await?;
    may_soon(&world, &alice, "select * from hr.later").await?;
    counting(&world, "alice-orders", &[("SELECT", 3)]).await?;
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_dropped_renamed_or_moved_is_followed() -> Result<()> {
    let world = world_that_looks_often().await?;
    allow(&world, json!([{"match": {"schema": ["hr"], "name": ["employees", "scratchpad"]}, "permissions": ["SELECT"]}])).await?;
    let alice = alice(&world).await?;
    counting(&world, "alice-orders", &[("SELECT", 2)]).await?;
    world.pg.sql("app", "alter table hr.employees rename to people").await?;
    may_not_soon(&world, &alice, "select * from hr.people").await?;
    world.pg.sql("app", "alter table hr.people rename to employees").await?;
    may_soon(&world, &alice, "select * from hr.employees").await?;
    world.pg.sql("app", "alter table hr.scratchpad set schema sales").await?;
    counting(&world, "alice-orders", &[("SELECT", 1)]).await?;
    may_not(&alice, &["select * from sales.scratchpad"]).await?;
    world.pg.sql("app", "drop table hr.employees").await?;
    counting(&world, "alice-orders", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn what_somebody_revoked_or_granted_by_hand_is_put_right() -> Result<()> {
    let world = world_that_looks_often().await?;
    allow(&world, select_in("hr")).await?;
    let alice = alice(&world).await?;
    let set = sets(&world).await?.pop().context("a set")?;
    let by_hand = format!(
        r#"set role "{ADMIN_USER}"; revoke select on hr.employees from "{set}"; grant select on sales.deals to "{set}""#
    );
    world.pg.sql("app", &by_hand).await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    may_soon(&world, &alice, "select * from hr.employees").await?;
    may_not_soon(&world, &alice, "select * from sales.deals").await
}

#[tokio::test]
async fn a_set_that_somebody_dropped_is_made_again() -> Result<()> {
    let world = world_that_looks_often().await?;
    allow(&world, select_in("hr")).await?;
    let alice = alice(&world).await?;
    let set = sets(&world).await?.pop().context("a set")?;
    drop_by_hand(&world, &set).await?;
    may_not(&alice, &["select * from hr.employees"]).await?;
    may_soon(&world, &alice, "select * from hr.employees").await
}

pub(super) async fn drop_by_hand(world: &World, set: &str) -> Result<()> {
    let by_hand = format!(
        r#"set role "{ADMIN_USER}"; revoke all on all tables in schema hr from "{set}"; revoke all on schema hr from "{set}";
        drop role "{set}""#
    );
    world.pg.sql("app", &by_hand).await?;
    Ok(())
}

#[tokio::test]
async fn a_set_that_somebody_dropped_is_missed_by_the_next_who_wants_it() -> Result<()> {
    let world = world().await?;
    allow(&world, select_in("hr")).await?;
    let first = alice(&world).await?;
    // In use: another session of the same account finds out, and both have it again.
    drop_by_hand(&world, &sets(&world).await?.pop().context("a set")?).await?;
    world.session("second", json!({})).await?;
    complete(&world, "second").await?;
    may_soon(&world, &first, "select * from hr.employees").await?;
    // Unused.
    world.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    world.delete_and_wait::<DatabaseSession>("second").await?;
    drop_by_hand(&world, &sets(&world).await?.pop().context("a set")?).await?;
    let again = alice(&world).await?;
    may(&again, &["select * from hr.employees"]).await
}

#[tokio::test]
async fn objects_that_can_no_longer_be_read_are_reported() -> Result<()> {
    let world = world_that_looks_often().await?;
    allow(&world, select_in("hr")).await?;
    alice(&world).await?;
    let counted = counts(&world.get::<DatabaseSession>("alice-orders").await?).len();
    world.pg.sql("postgres", "drop database app with (force)").await?;
    let session = incomplete(&world, "alice-orders", "DatabaseNameNotFound").await?;
    assert_eq!(counts(&session).len(), counted, "what it held when somebody could look");
    Ok(())
}

#[tokio::test]
async fn a_table_that_somebody_is_changing_holds_up_no_session_on_others() -> Result<()> {
    let world = world().await?;
    let blocker = world.pg.superuser("app").await?;
    blocker.batch_execute("begin; alter table hr.scratchpad add column held int").await?;
    allow(&world, select_in("hr")).await?;
    world.session("alice-orders", json!({})).await?;
    let session = incomplete(&world, "alice-orders", "MissingObjectPrivileges").await?;
    assert_eq!(counts(&session), [("SELECT", 1)].into());
    let message = &permissions_complete(&session).context("a condition")?.message;
    assert!(
        message.contains("hr.scratchpad") && message.contains("another transaction has locked it"),
        "{message}"
    );
    may(&world.login("alice-orders").await?, &["select * from hr.employees"]).await?;
    blocker.batch_execute("rollback").await?;
    complete(&world, "alice-orders").await?;
    Ok(())
}
