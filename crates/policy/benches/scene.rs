//! A company's databases, rules and roles, made up but shaped like real ones.

use std::sync::Arc;

use rolecall_policy::spec::{
    ImportRuleSpec, MappingSpec, MatchSpec, PermissionSpec, RoleConditions, RoleOptions, RoleSpec, ScopeSpec,
    SelectorSpec, UserSpec,
};
use rolecall_policy::{Database, DbObject, Mode, ObjectKind, Protocol};

const AREAS: [&str; 10] =
    ["orders", "billing", "hr", "stock", "events", "crm", "audit", "search", "mail", "reports"];

fn selector(keys: &[(&str, &[String])]) -> SelectorSpec {
    keys.iter().map(|(key, values)| ((*key).to_owned(), values.to_vec())).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Tables mostly, in 200 schemas of one logical database: names with an area, a topic and a number.
pub(crate) fn objects(count: usize) -> Vec<DbObject> {
    let database: Arc<str> = "app".into();
    let schemas: Vec<Arc<str>> =
        (0..200).map(|i| format!("{}_{:02}", AREAS[i % 10], i / 10).into()).collect();
    let object = |i: usize| {
        let kind = match i % 10 {
            0..6 => ObjectKind::Table,
            6 => ObjectKind::View,
            7 => ObjectKind::Sequence,
            8 => ObjectKind::Function,
            _ => ObjectKind::MaterializedView,
        };
        // Objects come as a catalog lists them: schema by schema.
        let schema = &schemas[i * schemas.len() / count];
        let name = format!("{}_{}_{i:06}", AREAS[i / 7 % 10], ["line", "head", "log", "tmp"][i % 4]);
        DbObject::new(kind, Arc::clone(&database), Arc::clone(schema), name)
    };
    (0..count).map(object).collect()
}

/// 20 rules with 50 mappings each: literal names, globs, regular expressions, with and without a scope.
pub(crate) fn import_rules() -> Vec<(String, ImportRuleSpec)> {
    let rule = |r: usize| {
        let mappings = (0..50).map(|m| mapping(r, m)).collect();
        let labels = Some(selector(&[("env", &texts(&["prod", "staging"]))]));
        (
            format!("rule-{r:02}"),
            ImportRuleSpec { priority: (r % 5) as i64, database_labels: labels, mappings },
        )
    };
    (0..20).map(rule).collect()
}

fn mapping(r: usize, m: usize) -> MappingSpec {
    let area = AREAS[(r + m) % 10];
    let names = match m % 5 {
        0 => texts(&["*"]),
        1 => vec![format!("{area}_*"), format!("*_log_{m:02}*")],
        2 => (0..20).map(|i| format!("{area}_line_{:06}", i * 4700 + r * 50 + m)).collect(),
        3 => vec![format!("^{area}_(line|head)_0{r:02}[0-9]+$")],
        _ => vec![format!("{area}_*_{m:02}*"), format!("*{r:02}")],
    };
    let schemas = match m % 3 {
        0 => Vec::new(),
        1 => vec![format!("{area}_*")],
        _ => vec![format!("{area}_{:02}", m % 20), format!("^{area}_1[0-9]$")],
    };
    let matching = MatchSpec {
        table_names: names.clone(),
        view_names: names.clone(),
        materialized_view_names: names.clone(),
        sequence_names: if m.is_multiple_of(2) { names.clone() } else { Vec::new() },
        function_names: if m.is_multiple_of(4) { names } else { Vec::new() },
        ..MatchSpec::default()
    };
    let mut add_labels: std::collections::BTreeMap<String, String> =
        [("area".to_owned(), area.to_owned())].into();
    match m % 4 {
        0 => add_labels.extend([("name".to_owned(), "{{obj.name}}".to_owned())]),
        1 => add_labels.extend([("schema".to_owned(), "{{obj.schema}}".to_owned())]),
        2 => add_labels.extend([("level".to_owned(), ["low", "high"][r % 2].to_owned())]),
        _ => add_labels.extend([("object_kind".to_owned(), "{{obj.object_kind}}".to_owned())]),
    }
    let scope = ScopeSpec {
        database_names: if m.is_multiple_of(7) { texts(&["app"]) } else { Vec::new() },
        schema_names: schemas,
    };
    MappingSpec { matching, scope, add_labels }
}

/// 20 roles with 50 permission entries each.
pub(crate) fn roles() -> Vec<(String, RoleSpec)> {
    let role = |r: usize| {
        let allow = RoleConditions {
            db_labels: selector(&[
                ("env", &texts(&["prod", "staging-*"])),
                ("team", &[format!("team-{}*", r % 10), "{{external.team}}".to_owned(), "core".to_owned()]),
            ]),
            db_labels_expression: (r.is_multiple_of(5))
                .then(|| "labels[\"tier\"] != \"0\" || labels.team in traits.team".to_owned()),
            db_names: texts(&["*"]),
            db_roles: vec![format!("reader_{r}"), "{{external.team}}_rw".to_owned()],
            db_permissions: (0..45).map(|e| permission(r, e, &["SELECT", "UPDATE", "EXECUTE"])).collect(),
            ..RoleConditions::default()
        };
        let deny = RoleConditions {
            db_names: vec![format!("internal_{r}")],
            db_roles: texts(&["dba"]),
            db_permissions: (45..50).map(|e| permission(r, e, &["UPDATE", "DELETE"])).collect(),
            ..RoleConditions::default()
        };
        let options = RoleOptions { create_db_user_mode: Some(Mode::Keep), ..RoleOptions::default() };
        (format!("role-{r:02}"), RoleSpec { options, allow, deny })
    };
    (0..20).map(role).collect()
}

fn permission(r: usize, e: usize, privileges: &[&str]) -> PermissionSpec {
    let area = AREAS[(r + e) % 10].to_owned();
    let matching = match e % 5 {
        0 => selector(&[("area", &[area]), ("level", &texts(&["high"]))]),
        1 => selector(&[("area", &[area]), ("name", &[format!("*_{:02}", e), format!("*_log_0{r:02}*")])]),
        2 => selector(&[("schema", &[format!("{area}_*")]), ("object_kind", &texts(&["table", "view"]))]),
        3 => selector(&[("name", &[format!("^{area}_(head|tmp)_[0-9]+{e:02}$")])]),
        _ => selector(&[(
            "name",
            &(0..10).map(|i| format!("{area}_line_{:06}", i * 9000 + r * 50 + e)).collect::<Vec<_>>(),
        )]),
    };
    PermissionSpec { matching, permissions: texts(privileges) }
}

/// A user with all the roles.
pub(crate) fn user(roles: impl Iterator<Item = String>) -> UserSpec {
    let traits = [("team".to_owned(), texts(&["team-3", "core"]))].into();
    UserSpec { username: "alice@example.com".to_owned(), traits, roles: roles.collect() }
}

/// One of many databases; the first is one that the user reaches with every role.
pub(crate) fn database(i: usize) -> Database {
    let labels = [
        ("env", ["prod", "staging-1", "dev", "test"][i % 4].to_owned()),
        ("team", if i == 0 { "core".to_owned() } else { format!("team-{}", i % 40) }),
        ("region", format!("region-{}", i % 6)),
        ("tier", (i % 3).to_string()),
        ("instance", format!("db-{i:05}")),
    ];
    Database {
        name: format!("db-{i:05}"),
        protocol: Protocol::Postgres,
        labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
    }
}

/// A database whose labels differ from those of every other.
pub(crate) fn distinct_database(i: usize) -> Database {
    let mut database = database(i);
    database.labels.insert("team".to_owned(), format!("team-{i}"));
    database
}
