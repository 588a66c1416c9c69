//! What does not belong to the operator stays unchanged through the whole life of a session.

use anyhow::Result;
use rolecall_tests::TestEnv;
use rolecall_tests::test_env::ALICE;
use serde_json::json;

use super::*;

/// Rights on columns, default privileges, row security, and objects of a role that is not managed.
const THEIRS: &str = r#"
    create role clerk nologin; create role dba nologin;
    grant usage, create on schema hr to dba;
    grant select (id), update (name) on hr.employees to clerk; grant select on hr.scratchpad to clerk;
    alter default privileges in schema hr grant select on tables to clerk;
    alter default privileges for role dba grant usage on sequences to clerk;
    alter table hr.employees enable row level security; alter table hr.employees force row level security;
    create policy own on hr.employees to clerk using (id = 1); create policy everybody on hr.employees using (true);
    set role dba; create table hr.theirs (id int); reset role;
"#;

/// All of it in one text, without the privileges of permission sets.
const AS_IT_IS: &str = r"select string_agg(x, ';' order by x) from (
    select relname || relowner::regrole || relrowsecurity || relforcerowsecurity || array_to_string(
        array(select a::text from unnest(relacl) a where a::text not like '%rolecall:%' order by 1), ',')
      from pg_class where relnamespace in ('hr'::regnamespace, 'sales'::regnamespace)
    union all select attrelid::regclass || attname || attacl::text from pg_attribute where attacl is not null
    union all select defaclrole::regrole || defaclobjtype::text || defaclacl::text from pg_default_acl
    union all select polname || polroles::text || pg_get_expr(polqual, polrelid) from pg_policy
    union all select proname || proowner::regrole from pg_proc where pronamespace = 'hr'::regnamespace) f (x)";

#[tokio::test]
async fn column_grants_default_privileges_row_security_and_what_users_own_stay_through_a_whole_session()
-> Result<()> {
    let env = env().await?;
    env.pg.sql("app", THEIRS).await?;
    // A managed user has made something in a session that is over.
    let making =
        json!([{"match": {"object_kind": ["schema"], "schema": ["hr"]}, "permissions": ["CREATE", "USAGE"]}]);
    allow(&env, making).await?;
    let maker = alice(&env).await?;
    may(
        &maker,
        &[
            "create table hr.hers (id int)",
            "insert into hr.hers values (7)",
            "grant select on hr.hers to clerk",
            "create function hr.hers() returns int language sql as 'select 7'",
        ],
    )
    .await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let before = as_it_is(&env).await?;
    assert!(before.contains(&format!("hers\"{ALICE}\"")), "{before}");

    let permissions = |what: &[&str]| json!([{"match": {"schema": ["hr", "sales"]}, "permissions": what}]);
    allow(&env, permissions(&["SELECT", "INSERT", "UPDATE"])).await?;
    env.session("alice-orders", json!({})).await?;
    // The admin user may not grant what she and the dba made.
    incomplete(&env, "alice-orders", "MissingObjectPrivileges").await?;
    let alice = env.login("alice-orders").await?;
    may(&alice, &["update hr.employees set name = 'Ada L.' where id = 1", "select * from hr.hers"]).await?;
    assert_eq!(as_it_is(&env).await?, before, "while the session lives");
    allow(&env, permissions(&["SELECT"])).await?;
    may_not_soon(&env, &alice, "insert into hr.scratchpad values ('x')").await?;
    assert_eq!(as_it_is(&env).await?, before, "after a change of policy");
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    assert_eq!(as_it_is(&env).await?, before, "after the session");
    assert_eq!(env.pg.value("app", "select id::text from hr.hers").await?.as_deref(), Some("7"));
    let clerk = "select has_column_privilege('clerk', 'hr.employees', 'name', 'update')::text";
    assert_eq!(env.pg.value("app", clerk).await?.as_deref(), Some("true"));
    Ok(())
}

async fn as_it_is(env: &TestEnv) -> Result<String> {
    env.pg.value("app", AS_IT_IS).await?.context("a text")
}
