//! The examples of the pages about kinds: accepted as they are, complete, and working together.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use rolecall_testbed::rows;
use rolecall_tests::objects::is_ready;
use rolecall_tests::{TestEnv, cluster};
use serde_json::Value;

use super::pages::blocks;
use super::{all_pages, docs};

const KINDS: [(&str, &str); 6] = [
    ("DatabaseAdmin", "kinds/database-admin.md"),
    ("ProvisioningRole", "kinds/provisioning-role.md"),
    ("DbObjectImportRule", "kinds/db-object-import-rule.md"),
    ("DatabaseUser", "kinds/database-user.md"),
    ("DatabaseSession", "kinds/database-session.md"),
    ("DatabaseSessionDecision", "kinds/database-session-decision.md"),
];

fn manifests_of(page: &str) -> Result<Vec<Value>> {
    let text = fs::read_to_string(docs().join(page)).with_context(|| page.to_owned())?;
    let yaml = blocks(&text).into_iter().filter(|block| block.language == "yaml");
    let manifests =
        yaml.map(|block| Ok(serde_saphyr::from_str(&block.text)?)).collect::<Result<Vec<Value>>>()?;
    // Some are values of the chart.
    Ok(manifests.into_iter().filter(|manifest| manifest["kind"].is_string()).collect())
}

/// The fields that a value names, of any depth; items of lists have the path of the list.
fn named(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = format!("{path}.{name}");
                found.insert(path.clone());
                named(value, &path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, path, found)),
        _ => {}
    }
}

/// The fields that a schema has.
fn fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.insert(path.clone());
        fields(property, &path, found);
        fields(&property["items"], &path, found);
    }
}

#[test]
fn the_examples_of_a_kind_name_every_field_of_it() -> Result<()> {
    for crd in rolecall_api::crds() {
        let kind = crd.spec.names.kind.clone();
        let (_, page) = KINDS.iter().find(|(known, _)| *known == kind).context("a page for each kind")?;
        let schema = serde_json::to_value(&crd.spec.versions[0].schema)?;
        let (mut wanted, mut there) = (BTreeSet::new(), BTreeSet::new());
        fields(&schema["openAPIV3Schema"]["properties"]["spec"], "", &mut wanted);
        for manifest in manifests_of(page)? {
            named(&manifest["spec"], "", &mut there);
        }
        // This one is in the commands of the page.
        wanted.remove(".certificateRequest");
        // This one the API server writes.
        wanted.remove(".requestedBy");
        wanted.remove(".decidedBy");
        let missing: Vec<&String> = wanted.difference(&there).collect();
        ensure!(missing.is_empty(), "{page} does not show {missing:?}");
    }
    Ok(())
}

#[tokio::test]
async fn every_manifest_of_the_book_is_accepted() -> Result<()> {
    let cluster = cluster::cluster().await?;
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().display().to_string();
    let mut seen = 0;
    for page in all_pages()? {
        for manifest in manifests_of(&page)? {
            fs::write(file.path(), manifest.to_string())?;
            let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &path];
            // Without its controller nobody makes the account that Pods run as.
            let applied = if manifest["kind"] == "Pod" {
                cluster.kubectl(&["apply", "--dry-run=client", "--validate=strict", "-f", &path]).await
            } else {
                cluster.kubectl(&apply).await
            };
            applied.with_context(|| page.clone())?;
            seen += 1;
        }
    }
    ensure!(seen > 10, "{seen}");
    Ok(())
}

#[tokio::test]
async fn the_minimal_and_the_full_example_of_each_kind_work_together() -> Result<()> {
    for (index, username) in ["alice", "alice@example.com"].into_iter().enumerate() {
        let env = TestEnv::builder().without_objects().start().await?;
        let server = "create role \"team-blue\" nologin; create role \"team-green\" nologin;
            grant \"team-blue\", \"team-green\" to \"teleport-admin\" with admin option";
        env.pg.sql("postgres", server).await?;
        env.pg.sql("postgres", "create database horizon").await?;
        let tables = "create schema hr; create table hr.people (id int); create table hr.salaries (id int);
            grant usage on schema hr to public;
            grant all on hr.people, hr.salaries to \"teleport-admin\" with grant option";
        env.pg.sql("horizon", tables).await?;
        // Nothing of them has to be approved.
        for (kind, page) in KINDS.into_iter().filter(|(kind, _)| *kind != "DatabaseSessionDecision") {
            let of_kind = manifests_of(page)?.into_iter().filter(|manifest| manifest["kind"] == kind);
            let mut manifest = of_kind.skip(index).take(1).next().with_context(|| page.to_owned())?;
            if kind == "DatabaseAdmin" {
                manifest["spec"]["uri"] = env.pg.address().into();
            }
            env.apply(manifest).await.with_context(|| page.to_owned())?;
        }
        env.active("alice-orders").await?;
        env.until("orders", "Ready", |admin: &DatabaseAdmin| is_ready(admin)).await?;
        env.until("hr-reader", "Ready", |role: &ProvisioningRole| is_ready(role)).await?;
        env.until("hr-objects", "Ready", |rule: &DbObjectImportRule| is_ready(rule)).await?;
        env.until("alice", "Ready", |user: &DatabaseUser| is_ready(user)).await?;
        let client = env.login("alice-orders").await?;
        ensure!(rows(&client, "select current_user").await? == [[Some(username.to_owned())]], "{username}");
        if index == 1 {
            rows(&client, "select * from hr.people").await.context("what the role gives")?;
            ensure!(rows(&client, "select * from hr.salaries").await.is_err(), "what the role denies");
        }
    }
    Ok(())
}
