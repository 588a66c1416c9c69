//! Object permissions: what policy gives on collections.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use mongodb::bson::{Document, doc};
use rolecall_api::{DatabaseAdmin, DatabaseSession, conditions};
use rolecall_testbed::Identity;
use rolecall_tests::objects::{Conditions, message_of};
use rolecall_tests::process::kubectl_rolecall;
use rolecall_tests::{MongoTestEnv, mongo};
use serde_json::{Value, json};

use super::is_over;

/// Makes the role `reader` give these permissions, and no database role.
async fn allow(env: &MongoTestEnv, permissions: Value) -> Result<()> {
    env.role("reader", json!({"allow": {"dbRoles": [], "dbPermissions": permissions}})).await
}

fn counts(session: &DatabaseSession) -> BTreeMap<String, u64> {
    session.status.as_ref().map(|status| status.permissions.clone()).unwrap_or_default()
}

fn completeness(session: &DatabaseSession) -> Result<Condition> {
    let found = conditions::find(session.conditions(), conditions::PERMISSIONS_COMPLETE);
    found.cloned().context("the condition PermissionsComplete")
}

#[tokio::test]
async fn actions_on_collections_are_given_changed_and_taken_away() -> Result<()> {
    let env = MongoTestEnv::builder().object_permissions().start().await?;
    env.root.database(&env.app).collection("people").insert_one(doc! { "_id": 1 }).await?;
    let orders = |actions: &[&str]| json!([{"match": {"object_kind": ["collection"], "name": ["orders"]}, "permissions": actions}]);
    allow(&env, orders(&["find", "SELECT"])).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.active("alice-orders").await?;
    assert_eq!(counts(&session), [("FIND".to_owned(), 1)].into());
    assert_eq!(completeness(&session)?.status, conditions::TRUE);

    let client = env.login("alice-orders").await?;
    let people = client.database(&env.app).collection::<Document>("people");
    assert!(env.read(&client).await?.is_some());
    assert!(env.write(&client).await.is_err() && people.find_one(doc! {}).await.is_err());
    allow(&env, orders(&["find", "update"])).await?;
    env.eventually("updates are given", async || Ok(env.write(&client).await.is_ok())).await?;
    allow(&env, orders(&["find"])).await?;
    env.eventually("updates are taken away", async || Ok(env.write(&client).await.is_err())).await?;
    let client = env.login("alice-orders").await?;
    assert!(env.read(&client).await?.is_some(), "the rest stays");

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    is_over(&env, &client).await
}

#[tokio::test]
async fn a_collection_that_appears_is_labelled_by_import_rules_and_given() -> Result<()> {
    let env = MongoTestEnv::builder().object_permissions().start().await?;
    env.admin(json!({"spec": {"objectSync": "1s"}})).await?;
    env.apply(json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DbObjectImportRule",
        "metadata": {"name": "hr"},
        "spec": {
            "databaseLabels": {"*": ["*"]},
            "mappings": [{
                "match": {"collectionNames": ["hr_*"]},
                "scope": {"databaseNames": [env.app]},
                "addLabels": {"dept": "hr"},
            }],
        },
    }))
    .await?;
    allow(&env, json!([{"match": {"dept": ["hr"]}, "permissions": ["find"]}])).await?;
    let database = env.root.database(&env.app);
    database.create_collection("hr_people").await?;
    env.session("alice-orders", json!({})).await?;
    assert_eq!(counts(&env.active("alice-orders").await?), [("FIND".to_owned(), 1)].into());
    let client = env.login("alice-orders").await?;
    assert!(env.read(&client).await.is_err(), "orders has no such label");
    let pay = client.database(&env.app).collection::<Document>("hr_pay");
    let refused = pay.find_one(doc! {}).await.err().context("it is not there yet")?;
    assert_eq!(mongo::code(&refused), Some(mongo::UNAUTHORIZED));
    database.create_collection("hr_pay").await?;
    env.eventually("the new collection is given", async || Ok(pay.find_one(doc! {}).await.is_ok())).await?;
    let two = |session: &DatabaseSession| counts(session) == [("FIND".to_owned(), 2)].into();
    env.until("alice-orders", "on two collections", two).await?;
    Ok(())
}

#[tokio::test]
async fn privileges_that_permission_sets_need_are_named_with_the_command() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    allow(&env, json!([{"match": {"name": ["orders"]}, "permissions": ["find"]}])).await?;
    env.session("alice-orders", json!({})).await?;
    let waiting = env.pending("alice-orders", "MissingMongoPrivileges").await?;
    let message = message_of(&waiting);
    assert!(message.contains("listCollections") && message.contains("grantPrivilegesToRole"), "{message}");
    env.grant_object_permissions().await?;
    let client = {
        env.active("alice-orders").await?;
        env.login("alice-orders").await?
    };
    assert!(env.read(&client).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_database_reports_that_its_admin_user_lacks_what_permission_sets_need() -> Result<()> {
    let env = MongoTestEnv::builder().flag("--resync-interval=1s").start().await?;
    allow(&env, json!([{"match": {"name": ["orders"]}, "permissions": ["find"]}])).await?;
    env.session("alice-orders", json!({})).await?;
    env.pending("alice-orders", "MissingMongoPrivileges").await?;
    let capable = |admin: &DatabaseAdmin| conditions::find(admin.conditions(), conditions::CAPABLE).cloned();
    let lacking = |admin: &DatabaseAdmin| {
        capable(admin).is_some_and(|capable| {
            capable.status == conditions::FALSE && capable.reason == "MissingMongoPrivileges"
        })
    };
    let admin = env.until("orders", "lacking privileges", lacking).await?;
    let message = capable(&admin).context("Capable")?.message;
    assert!(message.contains("listCollections") && message.contains("grantPrivilegesToRole"), "{message}");
    env.grant_object_permissions().await?;
    env.active("alice-orders").await?;
    let repaired = |admin: &DatabaseAdmin| conditions::is_true(admin.conditions(), conditions::CAPABLE);
    env.until("orders", "Capable", repaired).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_check_explanation_is_what_the_status_of_a_session_says() -> Result<()> {
    let env = MongoTestEnv::builder().object_permissions().start().await?;
    env.root.database(&env.app).create_collection("people").await?;
    let permissions = json!([
        {"match": {"object_kind": ["collection"]}, "permissions": ["find"]},
        {"match": {"name": ["orders"]}, "permissions": ["insert"]},
    ]);
    allow(&env, permissions).await?;
    env.session("alice-orders", json!({})).await?;
    let session = env.active("alice-orders").await?;
    let root = Identity::user("root", &["system:masters"]);
    let question = ["explain", "--user", "alice", "--database", "orders", "--database-name", &env.app];
    let form = ["--live", "-o", "json", "-n", &env.namespace];
    let output = kubectl_rolecall(&root, &[&question[..], &form].concat()).await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let explained: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(explained["objects"]["counts"], json!(counts(&session)));
    assert_eq!(counts(&session), [("FIND".to_owned(), 2), ("INSERT".to_owned(), 1)].into());
    Ok(())
}

#[tokio::test]
async fn object_permissions_need_a_logical_database() -> Result<()> {
    let env = MongoTestEnv::builder().object_permissions().start().await?;
    let permissions = json!([{"match": {"name": ["orders"]}, "permissions": ["find"]}]);
    env.role("reader", json!({"allow": {"dbPermissions": permissions}})).await?;
    env.session("alice-orders", json!({"databaseName": null})).await?;
    let session = env.active("alice-orders").await?;
    let complete = completeness(&session)?;
    assert_eq!((complete.status.as_str(), complete.reason.as_str()), ("False", "DatabaseNameRequired"));
    assert!(counts(&session).is_empty());
    Ok(())
}
