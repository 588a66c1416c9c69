//! Every kind of object, each with the privileges that it has.

use anyhow::Result;
use serde_json::json;

use super::*;

pub(super) const OBJECTS: &str = r#"
    create table hr.measures (at date, value int) partition by range (at);
    create table hr.measures_2026 partition of hr.measures for values from ('2026-01-01') to ('2027-01-01');
    create view hr.names as select name from hr.employees;
    create materialized view hr.totals as select count(*) as n from hr.employees;
    create foreign data wrapper nowhere; create server elsewhere foreign data wrapper nowhere;
    create foreign table hr.remote (id int) server elsewhere;
    create sequence hr.numbers;
    create function hr.twice(n int) returns int language sql as 'select n * 2';
    create procedure hr.tidy() language sql as 'select 1';
    revoke all on function hr.twice(int) from public; revoke all on procedure hr.tidy() from public;
    grant all on hr.names, hr.totals, hr.remote, hr.measures, hr.measures_2026 to "teleport-admin" with grant option;
    grant all on sequence hr.numbers to "teleport-admin" with grant option;
    grant all on function hr.twice(int) to "teleport-admin" with grant option;
    grant all on procedure hr.tidy() to "teleport-admin" with grant option;
"#;

#[tokio::test]
async fn every_kind_of_object_can_be_given() -> Result<()> {
    let env = env().await?;
    env.pg.sql("app", OBJECTS).await?;
    let kind = |kind: &str, permissions: &[&str]| json!({"match": {"schema": ["hr"], "object_kind": [kind]}, "permissions": permissions});
    let permissions = json!([
        kind("table", &["SELECT", "INSERT", "MAINTAIN"]),
        kind("view", &["SELECT"]),
        kind("materialized_view", &["SELECT"]),
        kind("foreign_table", &["SELECT"]),
        kind("sequence", &["USAGE"]),
        kind("function", &["EXECUTE"]),
        kind("procedure", &["EXECUTE"]),
        kind("schema", &["USAGE", "CREATE"]),
    ]);
    allow(&env, permissions).await?;
    let alice = alice(&env).await?;
    let possible = [
        "insert into hr.measures values ('2026-05-01', 1)",
        "select * from hr.measures_2026",
        "analyze hr.employees",
        "select * from hr.names",
        "select * from hr.totals",
        "select nextval('hr.numbers')",
        "select hr.twice(2)",
        "call hr.tidy()",
        "create table hr.mine (id int)",
    ];
    may(&alice, &possible).await?;
    let impossible = [
        "insert into hr.names values ('Eve')",
        "select setval('hr.numbers', 1)",
        "update hr.measures set value = 0",
        "truncate hr.employees",
    ];
    may_not(&alice, &impossible).await?;
    // Only the wrapper is missing: the server has let the user through to it.
    let remote = rows(&alice, "select * from hr.remote").await.err();
    assert_eq!(remote.as_ref().and_then(|error| error.sqlstate()), Some("55000"), "{remote:?}");

    let session = env.get("alice-orders").await?;
    // Tables: employees, scratchpad, measures and its partition; her own came after the count.
    let expected =
        [("CREATE", 1), ("EXECUTE", 2), ("INSERT", 4), ("MAINTAIN", 4), ("SELECT", 4 + 3), ("USAGE", 1 + 1)];
    assert_eq!(counts(&session), expected.into());
    Ok(())
}

#[tokio::test]
async fn losing_a_function_ends_the_connections_that_may_have_cached_it() -> Result<()> {
    let env = env().await?;
    env.pg.sql("app", OBJECTS).await?;
    let importing = |what: serde_json::Value| json!([{"scope": {"schemaNames": ["hr"]}, "match": what, "addLabels": {"dept": "hr"}}]);
    let both = json!({"functionNames": ["*"], "tableNames": ["*"]});
    rule(&env, "functions", importing(both)).await?;
    allow(&env, json!([{"match": {"dept": ["hr"]}, "permissions": ["EXECUTE", "SELECT"]}])).await?;
    let first = alice(&env).await?;
    may(&first, &["prepare twice as select hr.twice(2)", "execute twice"]).await?;
    // The set stays the same; its privileges change.
    rule(&env, "functions", importing(json!({"tableNames": ["*"]}))).await?;
    let without = |session: &DatabaseSession| !counts(session).contains_key("EXECUTE");
    env.until("alice-orders", "without functions", without).await?;
    assert!(rows(&first, "execute twice").await.is_err());
    let second = env.login("alice-orders").await?;
    may(&second, &["select * from hr.employees"]).await?;
    may_not(&second, &["select hr.twice(2)"]).await
}

#[tokio::test]
async fn a_set_without_the_function_ends_the_connections_that_may_have_cached_it_too() -> Result<()> {
    let env = env().await?;
    env.pg.sql("app", OBJECTS).await?;
    let permissions = |what: &[&str]| json!([{"match": {"schema": ["hr"]}, "permissions": what}]);
    allow(&env, permissions(&["EXECUTE", "USAGE"])).await?;
    let first = alice(&env).await?;
    may(&first, &["prepare twice as select hr.twice(2)", "execute twice"]).await?;
    allow(&env, permissions(&["USAGE"])).await?;
    let without = |session: &DatabaseSession| !counts(session).contains_key("EXECUTE");
    env.until("alice-orders", "without functions", without).await?;
    assert!(rows(&first, "execute twice").await.is_err());
    may_not(&env.login("alice-orders").await?, &["select hr.twice(2)"]).await
}
