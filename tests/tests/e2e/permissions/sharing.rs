//! Objects are granted to sets, once; users are members.

use anyhow::Result;
use futures::future::try_join_all;
use rolecall_tests::world::ALICE;
use serde_json::json;

use super::*;

#[tokio::test]
async fn sixteen_accounts_at_once_share_one_set_and_no_access_list_names_any_of_them() -> Result<()> {
    let world = world().await?;
    allow(&world, select_in("hr")).await?;
    let before = access_lists(&world, "app").await?;
    let names: Vec<String> = (0..16).map(|number| format!("user-{number}")).collect();
    try_join_all(names.iter().map(|name| world.user(name, json!({})))).await?;
    try_join_all(names.iter().map(|name| world.session(name, json!({"user": name})))).await?;
    try_join_all(names.iter().map(|name| complete(&world, name))).await?;
    let clients = try_join_all(names.iter().map(|name| world.login(name))).await?;
    for client in &clients {
        may(client, &["select * from hr.employees"]).await?;
        may_not(client, &["select * from sales.deals"]).await?;
    }
    let [set] = sets(&world).await?.try_into().map_err(|sets| anyhow::anyhow!("{sets:?}"))?;
    for name in &names {
        assert_eq!(sets_of(&world, name).await?, [set.as_str()]);
    }
    let named = "select count(*) from pg_class, aclexplode(relacl) where grantee in
        (select oid from pg_roles where rolname like 'user-%')";
    assert_eq!(world.pg.value("app", named).await?.as_deref(), Some("0"));
    assert_ne!(before, access_lists(&world, "app").await?, "the set is named");

    let granted = access_lists(&world, "app").await?;
    try_join_all(names.iter().map(|name| world.delete_and_wait::<DatabaseSession>(name))).await?;
    for name in &names {
        assert!(world.account_of(name).await?.is_some_and(|account| account.is_disabled()));
    }
    assert_eq!(granted, access_lists(&world, "app").await?, "ending touches no access list");
    Ok(())
}

#[tokio::test]
async fn equal_permissions_written_differently_are_one_set() -> Result<()> {
    let world = world().await?;
    allow(&world, json!([{"match": {"schema": ["hr", "sales"]}, "permissions": ["SELECT", "INSERT"]}]))
        .await?;
    let same =
        json!([{"match": {"schema": ["sales", "hr", "hr"]}, "permissions": [" insert", "select", "SELECT"]}]);
    world.role("other", json!({"allow": {"dbRoles": [], "dbPermissions": same}})).await?;
    world.user("bob", json!({"roles": ["other"]})).await?;
    alice(&world).await?;
    world.session("bob-orders", json!({"user": "bob"})).await?;
    complete(&world, "bob-orders").await?;
    assert_eq!(sets_of(&world, ALICE).await?, sets_of(&world, "bob").await?);
    Ok(())
}
