//! What the shared vectors say about object permissions, in the engine's terms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rolecall_engine::Engine as _;
use rolecall_engine::sets::{DesiredSet, set_role_name};
use rolecall_policy::{CanonicalEntry, CanonicalPermissions, Privilege, PrivilegeSet};
use rolecall_testbed::PgVersion;
use serde_json::Value;

use crate::common::{enabled, unique};
use crate::membership::with_sets;
use crate::shop::{Rights, Shop};

fn cases(kind: &str) -> Vec<(String, Value, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../engine-conformance/tests/vectors/{kind}.json"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap().iter();
    cases
        .map(|case| (case["id"].as_str().unwrap().to_owned(), case["input"].clone(), case["expect"].clone()))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// `[privilege, schema, name]` as what a desired set is made of.
fn triples(list: &Value) -> Vec<(String, String)> {
    let list = list.as_array().into_iter().flatten();
    list.map(|entry| (text(&entry[0]).to_owned(), format!("{}.{}", text(&entry[1]), text(&entry[2]))))
        .collect()
}

fn borrowed(list: &[(String, String)]) -> Vec<(&str, &str)> {
    list.iter().map(|(privilege, name)| (privilege.as_str(), name.as_str())).collect()
}

async fn effective(shop: &Shop, user: &str) -> BTreeSet<(String, String)> {
    let rows = shop
        .sql(&format!(
            "select p, n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace,
               unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
             where c.relkind in ('r', 'v') and n.nspname in ('public', 'hr', 'secret') and c.relowner <> '{user}'::regrole
               and has_table_privilege('{user}', c.oid, p)"
        ))
        .await;
    rows.into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap())).collect()
}

#[tokio::test]
async fn permissions_become_grants_of_a_set() {
    for (id, input, expect) in cases("pg_permission_conversion") {
        let shop = Shop::new(PgVersion::V17, Rights::Superuser, "").await;
        shop.sql("create schema secret").await;
        let mut wanted = Vec::new();
        for (privilege, objects) in input["permissions"].as_object().unwrap() {
            for object in objects.as_array().unwrap() {
                let (name, kind) = text(object).split_once(':').unwrap();
                let what = if kind == "procedure" { "() language sql as 'select 1'" } else { "(id int)" };
                shop.sql(&format!("create {kind} {name}{what}")).await;
                wanted.push((privilege.clone(), name.to_owned()));
            }
        }
        let set = shop.set();
        shop.reach(&set, &borrowed(&wanted)).await;
        let granted = shop.privileges_of(&set).await;
        for grant in expect["grants"].as_array().unwrap() {
            let (schema, name) = (text(&grant[2]), text(&grant[3]));
            let schema = if schema == "public" { String::new() } else { format!("{schema}.") };
            let call = if text(&grant[1]) == "PROCEDURE" { "()" } else { "" };
            let one = (text(&grant[0]).to_owned(), format!("{schema}{name}{call}"));
            assert!(granted.contains(&one), "{id}: {one:?} in {granted:?}");
        }
        for schema in expect["schemaUsage"].as_array().unwrap() {
            let usage = format!("select has_schema_privilege('{set}', '{}', 'USAGE')::text", text(schema));
            assert_eq!(shop.value(&usage).await, "true", "{id}");
        }
    }
}

#[tokio::test]
async fn objects_are_read() {
    for (id, input, expect) in cases("pg_object_enumeration") {
        for version in PgVersion::ALL {
            let shop = Shop::new(version, Rights::None, "").await;
            shop.sql("create extension postgres_fdw; create server far foreign data wrapper postgres_fdw; create schema other").await;
            for relation in input["relations"].as_array().unwrap() {
                let name = format!("{}.{}", text(&relation["schema"]), text(&relation["name"]));
                let statement = match text(&relation["relation"]) {
                    _ if name.starts_with("pg_catalog") => continue,
                    "ordinary" => format!("create table {name} (id int)"),
                    "partitioned" => format!("create table {name} (id int) partition by range (id)"),
                    "view" => format!("create view {name} as select 1 as a"),
                    "materialized" => format!("create materialized view {name} as select 1 as a"),
                    "foreign" => format!("create foreign table {name} (id int) server far"),
                    "sequence" => format!("create sequence {name}"),
                    other => panic!("{id}: {other}"),
                };
                shop.sql(&statement).await;
            }
            let catalog = shop.read(&[]).await;
            let read: BTreeSet<(String, String, String)> = catalog
                .objects
                .iter()
                .filter(|object| !matches!(object.kind.as_str(), "schema" | "function"))
                .map(|o| (o.kind.to_string(), o.schema.to_string(), o.name.to_string()))
                .collect();
            let expected = expect["objects"].as_array().unwrap().iter();
            let expected: BTreeSet<_> = expected
                .map(|o| {
                    (text(&o["kind"]).to_owned(), text(&o["schema"]).to_owned(), text(&o["name"]).to_owned())
                })
                .collect();
            assert_eq!(read, expected, "{id} {version:?}");
        }
    }
}

/// What a case says about one account in one logical database: before, and after.
#[tokio::test]
async fn an_account_can_do_what_is_decided_as_long_as_it_is_live() {
    for kind in ["pg_update_permissions", "pg_remove_permissions"] {
        for (id, input, expect) in cases(kind) {
            for version in PgVersion::ALL {
                case(&id, version, &input, &expect).await;
            }
        }
    }
}

async fn case(id: &str, version: PgVersion, input: &Value, expect: &Value) {
    let shop = Shop::new(version, Rights::Superuser, "").await;
    let (set, user) = (shop.set(), unique("alice"));
    let granted = triples(&input["granted"]);
    let desired = triples(&input["desired"]);
    shop.sql("create schema if not exists hr").await;
    let names: BTreeSet<&String> = granted.iter().chain(&desired).map(|(_, name)| name).collect();
    let view = input["kindOfRelation"].as_str() == Some("view");
    for name in names {
        let statement = if view {
            format!("create view {name} as select 1 as a")
        } else {
            format!("create table {name} (id int)")
        };
        shop.sql(&statement).await;
    }
    shop.reach(&set, &borrowed(&granted)).await;
    let member = with_sets(enabled(&user, &[]), &[&set]);
    shop.bench.reach(&member).await;
    for owned in input["ownedTables"].as_array().into_iter().flatten() {
        shop.sql(&format!("create table {0} (id int); alter table {0} owner to {user}", text(owned))).await;
    }
    let live = input["liveSessions"].as_u64().unwrap() > 0;
    if input["desired"].is_array() {
        let before = shop.bench.engine.stats().statements;
        let changed = {
            let catalog = shop.read(&[&set]).await;
            !rolecall_engine::sets::plan_set(&shop.desired(&set, &catalog, &borrowed(&desired)), &catalog)
                .is_nothing()
        };
        assert!(before > 0);
        if expect["changed"].is_boolean() {
            assert_eq!(Value::Bool(changed), expect["changed"], "{id}");
        }
        shop.reach(&set, &borrowed(&desired)).await;
    } else if !live {
        // No session needs the set any more: the account leaves it.
        shop.bench.reach(&crate::common::live(with_sets(enabled(&user, &[]), &[]))).await;
    }
    let expected: BTreeSet<_> = triples(&expect["effective"]).into_iter().collect();
    assert_eq!(effective(&shop, &user).await, expected, "{id} {version:?}");
    for schema in expect["schemaUsage"].as_array().into_iter().flatten() {
        let usage = format!("select has_schema_privilege('{user}', '{}', 'USAGE')::text", text(schema));
        assert_eq!(shop.value(&usage).await, "true", "{id}");
    }
    let to_user = format!(
        "select count(*)::text from pg_class, aclexplode(relacl) a where a.grantee = '{user}'::regrole and relowner <> '{user}'::regrole"
    );
    assert_eq!(shop.value(&to_user).await, "0", "{id}: nothing is granted to the user itself");
}

#[tokio::test]
async fn a_session_in_another_database_keeps_its_rights_there() {
    let (here, there) = (
        Shop::new(PgVersion::V17, Rights::MemberOfOwner, "create table app.t1 (id int)").await,
        Shop::new(PgVersion::V17, Rights::MemberOfOwner, "create table app.t1 (id int)").await,
    );
    here.sql(&format!(
        "grant {} to {}; grant connect on database {} to {} with grant option",
        there.owner, here.bench.admin, there.database, here.bench.admin
    ))
    .await;
    let there = Shop { bench: crate::common::Bench { engine: here.bench.another(), ..there.bench }, ..there };
    let (first, second, user) = (here.set(), here.set(), unique("alice"));
    here.reach(&first, &[("SELECT", "app.t1")]).await;
    there.reach(&second, &[("SELECT", "app.t1")]).await;
    here.bench.reach(&with_sets(enabled(&user, &[]), &[&first, &second])).await;
    here.bench.reach(&crate::common::live(with_sets(enabled(&user, &[]), &[&second]))).await;
    let can = format!("select has_table_privilege('{user}', 'app.t1', 'select')::text");
    assert_eq!((here.value(&can).await.as_str(), there.value(&can).await.as_str()), ("false", "true"));
}

#[tokio::test]
async fn an_account_gets_a_set_where_entries_are_in_force_and_its_roles_beside_it() {
    for (id, input, expect) in cases("pg_permission_mode") {
        let shop = Shop::new(PgVersion::V17, Rights::MemberOfOwner, "create table app.t1 (id int)").await;
        let entries = input["allowPermissions"].as_array().unwrap().iter();
        let allow: Vec<CanonicalEntry> = entries
            .map(|entry| CanonicalEntry {
                matching: serde_json::from_value::<BTreeMap<String, Vec<String>>>(entry["match"].clone())
                    .unwrap(),
                privileges: entry["permissions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(|p| Privilege::parse(text(p)))
                    .collect(),
            })
            .collect();
        let permissions = CanonicalPermissions { allow, deny: Vec::new() };
        let set = set_role_name(&unique("uid"), &shop.database, &permissions);
        let wants_set = !permissions.allow.is_empty();
        let mut roles = Vec::new();
        for role in input["dbRoles"].as_array().unwrap() {
            roles.push((text(role), shop.bench.role(text(role)).await));
        }
        if wants_set {
            let catalog = shop.read(&[&set]).await;
            let all = PrivilegeSet::from_iter([Privilege::Select]);
            let tables = (0..catalog.objects.len()).map(|i| (i, all)).collect();
            let desired = DesiredSet { role: set.clone(), record: shop.record(), wanted: tables };
            use rolecall_engine::Engine as _;
            shop.bench.engine.sync_sets(&[desired], &catalog).await.unwrap();
        }
        let user = unique("alice");
        let names: Vec<&str> = roles.iter().map(|(_, role)| role.as_str()).collect();
        let sets: Vec<&str> = if wants_set { vec![&set] } else { vec![] };
        let desired = with_sets(enabled(&user, &names), &sets);
        shop.bench.reach(&desired).await;
        let account = shop.bench.observe(&desired).await.account.unwrap();
        let (in_sets, in_roles): (Vec<_>, Vec<_>) = account
            .memberships
            .iter()
            .map(|m| m.role.as_str())
            .partition(|role| role.starts_with("rolecall:"));
        assert_eq!(Value::Bool(!in_sets.is_empty()), expect["permissionSet"], "{id}");
        let plain: Vec<&str> = roles
            .iter()
            .filter(|(_, role)| in_roles.contains(&role.as_str()))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(serde_json::to_value(plain).unwrap(), expect["memberships"], "{id}");
    }
}
