//! What the statuses say about objects.

use anyhow::Result;
use rolecall_api::{DatabaseAdmin, DbObjectImportRule, ObjectCounts};
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_database_and_its_rules_count_the_objects_that_are_imported() -> Result<()> {
    let env = env().await?;
    rule(&env, "hr", json!([{"scope": {"schemaNames": ["hr"]}, "match": {"tableNames": ["*"]}, "addLabels": {"dept": "hr"}}])).await?;
    rule(
        &env,
        "names",
        json!([{"match": {"tableNames": ["e*", "d*"]}, "addLabels": {"short": "{{obj.name}}"}}]),
    )
    .await?;
    allow(&env, json!([{"match": {"dept": ["hr"]}, "permissions": ["SELECT"]}])).await?;
    alice(&env).await?;
    let imported = |databases, imported| {
        move |admin: &DatabaseAdmin| {
            let wanted = ObjectCounts { databases, imported };
            admin.status.as_ref().and_then(|status| status.objects) == Some(wanted)
        }
    };
    let labels = |objects| {
        move |rule: &DbObjectImportRule| {
            let status = rule.status.as_ref();
            status.is_some_and(|status| (status.databases, status.objects) == (Some(1), Some(objects)))
        }
    };
    env.until("orders", "importing three", imported(1, 3)).await?;
    env.until("hr", "labelling two", labels(2)).await?;
    env.until("names", "labelling two", labels(2)).await?;

    // A second logical database counts as soon as a session names it.
    env.pg.sql("app2", "create schema hr; create table hr.departments (id int)").await?;
    env.session("second", json!({"databaseName": "app2"})).await?;
    env.until("orders", "importing four of two databases", imported(2, 4)).await?;
    env.until("names", "labelling three", labels(3)).await?;
    Ok(())
}
