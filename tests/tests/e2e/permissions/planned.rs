//! What `kubectl rolecall plan` predicts is what the operator does when the manifests are applied.

use std::collections::BTreeSet;

use rolecall_testbed::Identity;
use rolecall_tests::process::kubectl_rolecall;
use rolecall_tests::test_env::ALICE;

use super::*;

/// The objects as `--objects` takes them. Schemas are not listed: each table lies in one.
const OBJECTS: &str = "kind,database,schema,name
table,app,hr,employees
table,app,hr,scratchpad
table,app,sales,deals
table,app,public,orders
";

type Facts = BTreeSet<String>;

#[tokio::test]
async fn a_plan_comes_true_when_it_is_applied() -> Result<()> {
    let env = env().await?;
    env.role("reader", json!({"allow": {"dbPermissions": select_in("hr")}})).await?;
    env.user("bob", json!({})).await?;
    env.user("carol", json!({})).await?;
    let alice = alice(&env).await?;
    let sessions = [
        ("of-bob", "bob", json!("1h")),
        ("of-carol", "carol", json!("1h")),
        ("standing", "bob", json!(null)),
    ];
    for (name, user, ttl) in sessions {
        env.session(name, json!({"user": user, "ttl": ttl})).await?;
        complete(&env, name).await?;
    }

    // Alice gets another role, less on some tables and more on others. Bob may not come in any more.
    let entries = json!([
        {"match": {"object_kind": ["table"], "schema": ["sales"]}, "permissions": ["SELECT", "INSERT"]},
        {"match": {"object_kind": ["table"], "name": ["scratchpad"]}, "permissions": ["SELECT", "UPDATE"]},
    ]);
    let manifest = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind,
               "metadata": {"name": name, "namespace": env.namespace}, "spec": spec})
    };
    let role = json!({
        "options": {"createDbUserMode": "Keep"},
        "allow": {"dbLabels": {"*": ["*"]}, "dbNames": ["*"], "dbRoles": ["writer"], "dbPermissions": entries},
    });
    let manifests = [
        manifest("ProvisioningRole", "other", role),
        manifest("DatabaseUser", "alice", json!({"username": ALICE, "roles": ["other"]})),
        manifest("DatabaseUser", "bob", json!({"roles": ["reader"], "suspend": true})),
    ];
    let folder = tempfile::tempdir()?;
    for (number, manifest) in manifests.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number}.json")), manifest.to_string())?;
    }
    let objects = tempfile::NamedTempFile::with_suffix(".csv")?;
    std::fs::write(objects.path(), OBJECTS)?;
    let (files, objects) = (folder.path().display().to_string(), objects.path().display().to_string());
    let root = Identity::user("somebody", &["system:masters"]);
    let args = ["plan", "-n", &env.namespace, "-f", &files, "--objects", &objects, "-o", "json"];
    let output = kubectl_rolecall(&root, &args).await?;
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout)?;

    let live = ["alice-orders", "of-bob", "of-carol", "standing"];
    let (roles_before, objects_before) = (roles(&env).await?, objects_of(&env, ALICE).await?);
    for manifest in manifests {
        env.apply(manifest).await?;
    }
    env.eventually("what she gains and loses", async || {
        let Ok(again) = env.login("alice-orders").await else { return Ok(false) };
        let gained = !denied(&again, "insert into sales.deals values (9, 9)").await?;
        Ok(gained && denied(&again, "select * from hr.employees").await?)
    })
    .await?;
    env.until::<DatabaseSession>("of-bob", "ended", |session| phase(session) == SessionPhase::Ended).await?;
    env.pending("standing", "UserSuspended").await?;
    counting(&env, "alice-orders", &[("SELECT", 2), ("INSERT", 1), ("UPDATE", 1)]).await?;

    let access = |user: &str| {
        let accesses = plan["accesses"].as_array().cloned().unwrap_or_default();
        accesses.into_iter().find(|access| access["user"] == user)
    };
    let predicted = access("alice").context("alice's access changes")?;
    let keys =
        |value: &Value| value.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect::<Facts>();
    let roles_after = roles(&env).await?;
    let gained: Facts = roles_after.difference(&roles_before).cloned().collect();
    let lost: Facts = roles_before.difference(&roles_after).cloned().collect();
    assert_eq!((gained, lost), (keys(&predicted["gained"]["dbRoles"]), keys(&predicted["lost"]["dbRoles"])));

    let objects_after = objects_of(&env, ALICE).await?;
    for (which, one, other) in
        [("gained", &objects_after, &objects_before), ("lost", &objects_before, &objects_after)]
    {
        let found: Facts = one.difference(other).cloned().collect();
        assert!(!found.is_empty());
        assert_eq!(found, objects_in(&predicted["objects"], which), "{which}");
    }

    // The sessions that ended are those that the plan says end; of others it says nothing of the kind.
    assert!(access("carol").is_none(), "nothing changes for her");
    let mut ended = BTreeSet::new();
    for name in live {
        let phase = phase(&env.get::<DatabaseSession>(name).await?);
        if phase != SessionPhase::Active {
            ended.insert((name.to_owned(), phase == SessionPhase::Pending));
        }
    }
    let sessions = plan["accesses"].as_array().into_iter().flatten();
    let sessions = sessions.flat_map(|access| access["sessions"].as_array().cloned().unwrap_or_default());
    let ends = sessions.filter(|session| session["effect"] == "Ends");
    let ends =
        ends.filter_map(|session| Some((session["name"].as_str()?.to_owned(), session["waits"] == true)));
    assert_eq!(ended, ends.collect());

    // The statements make a role that may do what the set of the operator may, and name that set.
    let set = sets_of(&env, ALICE).await?.pop().context("a set")?;
    let statements: Vec<&str> = predicted["statements"]["statements"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let joins = format!("GRANT \"{set}\" TO \"{ALICE}\"");
    assert!(statements.iter().any(|statement| statement.starts_with(&joins)), "{statements:#?}");
    let ends_connections = statements.iter().any(|statement| statement.contains("pg_terminate_backend"));
    assert_eq!(ends_connections, alice.simple_query("select 1").await.is_err(), "{statements:#?}");
    env.pg.sql("app", "create role probe").await?;
    for statement in statements.iter().filter(|statement| statement.contains(&format!(" TO \"{set}\""))) {
        env.pg.sql("app", &statement.replace(&format!("\"{set}\""), "probe")).await?;
    }
    assert_eq!(granted(&env, "probe").await?, granted(&env, &set).await?, "{statements:#?}");
    Ok(())
}

/// The database roles of alice's account.
async fn roles(env: &TestEnv) -> Result<Facts> {
    let account = env.account_of(ALICE).await?.context("the account")?;
    Ok(account.memberships.into_iter().filter(|role| !role.starts_with("rolecall:")).collect())
}

/// What a user may do on tables by its object permissions: `SELECT on hr.employees`.
async fn objects_of(env: &TestEnv, username: &str) -> Result<Facts> {
    let mut facts = Facts::new();
    for set in sets_of(env, username).await? {
        facts.extend(granted(env, &set).await?.into_iter().filter(|fact| !fact.starts_with("USAGE")));
    }
    Ok(facts)
}

/// What a role was granted itself, on tables and schemas.
async fn granted(env: &TestEnv, role: &str) -> Result<Facts> {
    let query = format!(
        "select a.privilege_type || ' on ' || o.name from (
           select n.nspname || '.' || c.relname as name, c.relacl as acl from pg_class c join pg_namespace n on n.oid = c.relnamespace
           union all select n.nspname, n.nspacl from pg_namespace n) o, aclexplode(o.acl) a
         where a.grantee = (select oid from pg_roles where rolname = '{role}')"
    );
    Ok(env.pg.sql("app", &query).await?.into_iter().flatten().flatten().collect())
}

/// The same as the plan has it.
fn objects_in(objects: &Value, which: &str) -> Facts {
    let objects = objects.as_array().into_iter().flatten();
    let facts = objects.flat_map(|object| {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let name = format!("{}.{}", text("schema"), text("name"));
        let privileges = object[which].as_array().cloned().unwrap_or_default();
        privileges.into_iter().map(move |one| format!("{} on {name}", one.as_str().unwrap_or_default()))
    });
    facts.collect()
}
