//! The vector of a session with object permissions. Those of sessions without are checked elsewhere.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Deserialize;
use serde_json::json;

use super::*;

const VECTORS: &str =
    include_str!("../../../../crates/engine-conformance/tests/vectors/session_integration.json");

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    mode: String,
    allow_db_roles: Vec<String>,
    admin_user: Value,
    database_name: String,
    allow_db_permissions: Value,
    tables: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    schema: String,
    name: String,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expect {
    session: Phase,
    memberships: Vec<String>,
    /// Privilege, schema, table.
    effective: BTreeSet<[String; 3]>,
    granted_to_user: BTreeSet<[String; 3]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Phase {
    phase: SessionPhase,
}

#[tokio::test]
async fn session_06() -> Result<()> {
    let vectors: Vectors = serde_json::from_str(VECTORS)?;
    let case = vectors.cases.into_iter().find(|case| case["id"] == "session-06").context("the case")?;
    let input: Input = serde_json::from_value(case["input"].clone())?;
    let expect: Expect = serde_json::from_value(case["expect"].clone())?;
    assert_eq!(input.admin_user, json!({}), "the admin user is as in every env");
    let env = TestEnv::start().await?;
    for Table { schema, name, labels } in &input.tables {
        let table = format!(
            r#"create table if not exists {schema}.{name} (id int); grant all on {schema}.{name} to "teleport-admin" with grant option"#
        );
        env.pg.sql(&input.database_name, &table).await?;
        let mapping = json!([{"scope": {"schemaNames": [schema]}, "match": {"tableNames": [name]}, "addLabels": labels}]);
        // A rule without labels would say nothing; that there is a rule keeps the built-in one out.
        if !labels.is_empty() {
            rule(&env, name, mapping).await?;
        }
    }
    let role = json!({
        "options": {"createDbUserMode": input.mode},
        "allow": {"dbRoles": input.allow_db_roles, "dbPermissions": input.allow_db_permissions},
    });
    env.role("reader", role).await?;
    env.session("alice-orders", json!({"databaseName": input.database_name})).await?;
    let session = complete(&env, "alice-orders").await?;
    assert_eq!(phase(&session), expect.session.phase);

    let account = env.account().await?.context("the account")?;
    let roles = account.memberships.iter().filter(|role| !role.starts_with("rolecall:"));
    assert_eq!(roles.cloned().collect::<Vec<_>>(), expect.memberships);
    let client = env.login("alice-orders").await?;
    let effective = "select p, nspname::text, relname::text from pg_class join pg_namespace n on n.oid = relnamespace,
        unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
        where relkind = 'r' and nspname !~ '^pg_' and nspname <> 'information_schema' and has_table_privilege(pg_class.oid, p)";
    assert_eq!(privileges(&client, effective).await?, expect.effective);
    let named = "select privilege_type, nspname::text, relname::text from pg_class join pg_namespace n on n.oid = relnamespace,
        aclexplode(relacl) where grantee = (select oid from pg_roles where rolname = current_user)";
    assert_eq!(privileges(&client, named).await?, expect.granted_to_user);
    Ok(())
}

async fn privileges(client: &Client, query: &str) -> Result<BTreeSet<[String; 3]>> {
    let rows = client.query(query, &[]).await?;
    Ok(rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect())
}
