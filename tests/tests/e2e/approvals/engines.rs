//! The decision comes before the engine: the same on MongoDB and Redshift.

use anyhow::{Result, ensure};
use rolecall_aws_testbed::redshift::Admin;
use rolecall_tests::mongo::MongoTestEnv;
use rolecall_tests::redshift::RedshiftEnv;
use serde_json::json;

use super::{Approver, ENFORCED, ask, ask_for, request};

#[tokio::test]
async fn mongodb() -> Result<()> {
    let env = MongoTestEnv::builder().flag(ENFORCED).start().await?;
    ask_for(&env, json!({})).await?;
    let bob = Approver::new(&env, "bob", None).await?;
    ask(&env, "s", json!({"ttl": "1h"})).await?;
    let wanted = request(&env, "s").await?;
    ensure!(wanted.server.protocol == "mongodb" && env.account().await?.is_none());
    bob.approves(&wanted).await?;
    env.active("s").await?;
    Ok(())
}

#[tokio::test]
async fn redshift() -> Result<()> {
    let mut env = RedshiftEnv::prepare(Admin::Superuser, json!({"password": {}}), &[ENFORCED]).await?;
    env.make_objects().await?;
    env.start_operator().await?;
    ask_for(&env, json!({})).await?;
    let bob = Approver::new(&env, "bob", None).await?;
    ask(&env, "s", json!({"ttl": "1h"})).await?;
    let wanted = request(&env, "s").await?;
    ensure!(wanted.server.protocol == "redshift" && env.account().await?.is_none());
    bob.approves(&wanted).await?;
    env.active("s").await?;
    Ok(())
}
