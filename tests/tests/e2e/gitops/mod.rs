//! What GitOps tools do: everything in any order in one go, again and again, and prune in any order.

mod orders;
mod recorded;
mod upgrade;

use anyhow::{Context, Result};
use kube::ResourceExt;
use kube::api::DynamicObject;
use rolecall_tests::TestEnv;
use serde_json::{Value, json};

/// The samples for PostgreSQL, as a team would have them in Git.
pub(crate) const SAMPLES: [&str; 5] = [
    include_str!("../../../../deploy/samples/database_admin.yaml"),
    include_str!("../../../../deploy/samples/provisioning_role.yaml"),
    include_str!("../../../../deploy/samples/db_object_import_rule.yaml"),
    include_str!("../../../../deploy/samples/database_user.yaml"),
    include_str!("../../../../deploy/samples/database_session.yaml"),
];

/// What the samples take for granted on a server.
const SERVER: &str = r#"
    create role "team-blue" nologin; create role "team-green" nologin;
    grant "team-blue", "team-green" to "teleport-admin" with admin option"#;
const DATABASE: &str = r#"
    create schema hr; create table hr.people (id int);
    grant usage on schema hr to "teleport-admin" with grant option;
    grant all on hr.people to "teleport-admin" with grant option"#;

/// A test environment without any object, and the manifests of a team: the samples, with a session that stays, and the
/// Secrets that they need.
async fn team() -> Result<(TestEnv, Vec<Value>)> {
    let env = TestEnv::builder().without_objects().start().await?;
    env.pg.sql("postgres", SERVER).await?;
    env.pg.sql("postgres", "create database horizon").await?;
    env.pg.sql("horizon", DATABASE).await?;
    let mut manifests = Vec::new();
    for sample in SAMPLES {
        let mut manifest: Value = serde_saphyr::from_str(sample)?;
        if manifest["kind"] == "DatabaseAdmin" {
            manifest["spec"]["uri"] = env.pg.address().into();
        }
        // What ends by itself does not belong into Git.
        for (path, field) in [("/spec", "ttl"), ("/spec/options", "maxSessionTtl")] {
            if let Some(part) = manifest.pointer_mut(path).and_then(Value::as_object_mut) {
                part.remove(field);
            }
        }
        manifests.push(manifest);
    }
    for name in ["orders-ca", "orders-admin-cert", "orders-client-ca"] {
        let secret: k8s_openapi::api::core::v1::Secret = env.get(name).await?;
        manifests.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": secret.type_,
            "metadata": {"name": name},
            "data": secret.data,
        }));
        env.delete_and_wait::<k8s_openapi::api::core::v1::Secret>(name).await?;
    }
    Ok((env, manifests))
}

/// Applies each, in this order.
async fn apply(env: &TestEnv, manifests: &[Value]) -> Result<Vec<DynamicObject>> {
    let mut applied = Vec::new();
    for manifest in manifests {
        applied.push(env.apply(manifest.clone()).await?);
    }
    Ok(applied)
}

/// The versions of objects, by kind and name.
fn versions(objects: &[DynamicObject]) -> Result<Vec<(String, String)>> {
    let version = |object: &DynamicObject| {
        let kind = object.types.as_ref().context("a kind")?.kind.clone();
        Ok((format!("{kind} {}", object.name_any()), object.resource_version().context("a version")?))
    };
    objects.iter().map(version).collect()
}

/// The manifest of this kind.
fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> Result<&'a Value> {
    manifests.iter().find(|manifest| manifest["kind"] == kind).with_context(|| format!("no {kind}"))
}
