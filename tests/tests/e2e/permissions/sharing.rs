//! Objects are granted to sets, once; users are members.

use anyhow::Result;
use futures::future::try_join_all;
use rolecall_tests::test_env::ALICE;
use serde_json::json;

use super::*;

#[tokio::test]
async fn sixteen_accounts_at_once_share_one_set_and_no_access_list_names_any_of_them() -> Result<()> {
    let env = env().await?;
    allow(&env, select_in("hr")).await?;
    let before = access_lists(&env, "app").await?;
    let names: Vec<String> = (0..16).map(|number| format!("user-{number}")).collect();
    try_join_all(names.iter().map(|name| env.user(name, json!({})))).await?;
    try_join_all(names.iter().map(|name| env.session(name, json!({"user": name})))).await?;
    try_join_all(names.iter().map(|name| complete(&env, name))).await?;
    let clients = try_join_all(names.iter().map(|name| env.login(name))).await?;
    for client in &clients {
        may(client, &["select * from hr.employees"]).await?;
        may_not(client, &["select * from sales.deals"]).await?;
    }
    let [set] = sets(&env).await?.try_into().map_err(|sets| anyhow::anyhow!("{sets:?}"))?;
    for name in &names {
        assert_eq!(sets_of(&env, name).await?, [set.as_str()]);
    }
    let named = "select count(*) from pg_class, aclexplode(relacl) where grantee in
        (select oid from pg_roles where rolname like 'user-%')";
    assert_eq!(env.pg.value("app", named).await?.as_deref(), Some("0"));
    assert_ne!(before, access_lists(&env, "app").await?, "the set is named");

    let granted = access_lists(&env, "app").await?;
    try_join_all(names.iter().map(|name| env.delete_and_wait::<DatabaseSession>(name))).await?;
    for name in &names {
        assert!(env.account_of(name).await?.is_some_and(|account| account.is_disabled()));
    }
    assert_eq!(granted, access_lists(&env, "app").await?, "ending touches no access list");
    Ok(())
}

#[tokio::test]
async fn equal_permissions_written_differently_are_one_set() -> Result<()> {
    let env = env().await?;
    allow(&env, json!([{"match": {"schema": ["hr", "sales"]}, "permissions": ["SELECT", "INSERT"]}])).await?;
    let same =
        json!([{"match": {"schema": ["sales", "hr", "hr"]}, "permissions": [" insert", "select", "SELECT"]}]);
    env.role("other", json!({"allow": {"dbRoles": [], "dbPermissions": same}})).await?;
    env.user("bob", json!({"roles": ["other"]})).await?;
    alice(&env).await?;
    env.session("bob-orders", json!({"user": "bob"})).await?;
    complete(&env, "bob-orders").await?;
    assert_eq!(sets_of(&env, ALICE).await?, sets_of(&env, "bob").await?);
    Ok(())
}
