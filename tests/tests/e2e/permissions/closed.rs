//! Databases and schemas that are closed to PUBLIC.

use anyhow::Result;
use rolecall_api::DatabaseAdmin;
use rolecall_tests::objects::message_of;
use rolecall_tests::test_env::ADMIN_USER;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_schema_closed_to_public_is_opened_to_those_who_have_objects_in_it() -> Result<()> {
    let env = env().await?;
    let close = format!(
        r#"revoke all on schema public from public; grant usage on schema public to "{ADMIN_USER}" with grant option;
        create table public.notes (id int); grant select on public.notes to "{ADMIN_USER}" with grant option"#
    );
    env.pg.sql("app", &close).await?;
    allow(&env, json!([{"match": {"schema": ["public"], "name": ["notes"]}, "permissions": ["SELECT"]}]))
        .await?;
    let alice = alice(&env).await?;
    may(&alice, &["select * from public.notes"]).await?;
    may_not(&alice, &["create table public.mine (id int)", "select * from public.orders"]).await
}

#[tokio::test]
async fn a_schema_that_the_admin_user_cannot_open_is_named() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    let close = format!(
        r#"revoke all on schema public from public; create table public.notes (id int);
        grant select on public.notes to "{ADMIN_USER}" with grant option"#
    );
    env.pg.sql("app", &close).await?;
    allow(&env, json!([{"match": {"name": ["notes", "employees"]}, "permissions": ["SELECT"]}])).await?;
    env.session("alice-orders", json!({})).await?;
    let session = incomplete(&env, "alice-orders", "MissingObjectPrivileges").await?;
    let message = permissions_complete(&session).context("a condition")?.message.clone();
    assert!(message.contains("SCHEMA public"), "{message}");
    may_not(&env.login("alice-orders").await?, &["select * from public.notes"]).await
}

#[tokio::test]
async fn a_database_closed_to_public_is_opened_to_those_who_have_objects_in_it() -> Result<()> {
    let env = env().await?;
    let close = format!(
        r#"revoke all on database app from public; grant connect on database app to "{ADMIN_USER}" with grant option"#
    );
    env.pg.sql("app", &close).await?;
    allow(&env, select_in("hr")).await?;
    let alice = alice(&env).await?;
    may(&alice, &["select * from hr.employees"]).await?;
    may_not(&alice, &["create temporary table mine (id int)"]).await
}

#[tokio::test]
async fn a_database_that_the_admin_user_cannot_open_keeps_the_session_waiting() -> Result<()> {
    let env = env_with_frequent_object_sync().await?;
    let close =
        format!(r#"revoke all on database app from public; grant connect on database app to "{ADMIN_USER}""#);
    env.pg.sql("app", &close).await?;
    allow(&env, select_in("hr")).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.pending("alice-orders", "MissingConnect").await?;
    assert!(message_of(&session).contains("GRANT CONNECT ON DATABASE"), "{}", message_of(&session));
    assert!(env.account().await?.is_none_or(|account| !account.login));
    let fix = format!(r#"grant connect on database app to "{ADMIN_USER}" with grant option"#);
    env.pg.sql("app", &fix).await?;
    complete(&env, "alice-orders").await?;
    may(&env.login("alice-orders").await?, &["select * from hr.employees"]).await?;
    let capable = |admin: &DatabaseAdmin| conditions::is_true(admin.conditions(), conditions::CAPABLE);
    env.until("orders", "Capable", capable).await?;
    Ok(())
}
