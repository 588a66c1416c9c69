//! Databases and schemas that are closed to PUBLIC.

use anyhow::Result;
use rolecall_api::DatabaseAdmin;
use rolecall_tests::objects::message_of;
use rolecall_tests::world::ADMIN_USER;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_schema_closed_to_public_is_opened_to_those_who_have_objects_in_it() -> Result<()> {
    let world = world().await?;
    let close = format!(
        r#"revoke all on schema public from public; grant usage on schema public to "{ADMIN_USER}" with grant option;
        create table public.notes (id int); grant select on public.notes to "{ADMIN_USER}" with grant option"#
    );
    world.pg.sql("app", &close).await?;
    allow(&world, json!([{"match": {"schema": ["public"], "name": ["notes"]}, "permissions": ["SELECT"]}]))
        .await?;
    let alice = alice(&world).await?;
    may(&alice, &["select * from public.notes"]).await?;
    may_not(&alice, &["create table public.mine (id int)", "select * from public.orders"]).await
}

#[tokio::test]
async fn a_schema_that_the_admin_user_cannot_open_is_named() -> Result<()> {
    let world = world_that_looks_often().await?;
    let close = format!(
        r#"revoke all on schema public from public; create table public.notes (id int);
        grant select on public.notes to "{ADMIN_USER}" with grant option"#
    );
    world.pg.sql("app", &close).await?;
    allow(&world, json!([{"match": {"name": ["notes", "employees"]}, "permissions": ["SELECT"]}])).await?;
    world.session("alice-orders", json!({})).await?;
    let session = incomplete(&world, "alice-orders", "MissingObjectPrivileges").await?;
    let message = permissions_complete(&session).context("a condition")?.message.clone();
    assert!(message.contains("SCHEMA public"), "{message}");
    may_not(&world.login("alice-orders").await?, &["select * from public.notes"]).await
}

#[tokio::test]
async fn a_database_closed_to_public_is_opened_to_those_who_have_objects_in_it() -> Result<()> {
    let world = world().await?;
    let close = format!(
        r#"revoke all on database app from public; grant connect on database app to "{ADMIN_USER}" with grant option"#
    );
    world.pg.sql("app", &close).await?;
    allow(&world, select_in("hr")).await?;
    let alice = alice(&world).await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may_not(&alice, &["create temporary table mine (id int)"]).await
}

#[tokio::test]
async fn a_database_that_the_admin_user_cannot_open_keeps_the_session_waiting() -> Result<()> {
    let world = world_that_looks_often().await?;
    let close =
        format!(r#"revoke all on database app from public; grant connect on database app to "{ADMIN_USER}""#);
    world.pg.sql("app", &close).await?;
    allow(&world, select_in("hr")).await?;
    world.session("alice-orders", json!({})).await?;
    let session = world.pending("alice-orders", "MissingConnect").await?;
    assert!(message_of(&session).contains("GRANT CONNECT ON DATABASE"), "{}", message_of(&session));
    assert!(world.account().await?.is_none_or(|account| !account.login));
    let fix = format!(r#"grant connect on database app to "{ADMIN_USER}" with grant option"#);
    world.pg.sql("app", &fix).await?;
    complete(&world, "alice-orders").await?;
    may(&world.login("alice-orders").await?, &["select * from hr.employees"]).await?;
    let capable = |admin: &DatabaseAdmin| conditions::is_true(admin.conditions(), conditions::CAPABLE);
    world.until("orders", "Capable", capable).await?;
    Ok(())
}
