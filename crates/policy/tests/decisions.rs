//! Decisions as the operator and `kubectl rolecall explain` ask for them.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

use std::sync::Arc;
use std::time::Duration;

use rolecall_policy::spec::{ImportRuleSpec, RoleSpec, UserSpec};
use rolecall_policy::{
    Database, DatabaseNames, DbObject, Decision, ImportRule, ImportRules, Mode, ObjectKind, Privilege,
    Protocol, Reason, Roles, User, decide_access, decide_objects, label_objects, list_reach,
};
use serde_json::{Value, json};

fn user(roles: &[(&str, Value)], traits: Value) -> User {
    let mut stored = Roles::new();
    for (name, spec) in roles {
        let spec: RoleSpec = serde_json::from_value(spec.clone()).expect("a role");
        stored.insert(name, &spec);
    }
    let names = roles.iter().map(|(name, _)| (*name).to_owned()).collect();
    let spec = UserSpec {
        username: "alice".to_owned(),
        traits: serde_json::from_value(traits).expect("traits"),
        roles: names,
    };
    User::resolve(&spec, &stored)
}

fn database(protocol: Protocol, env: &str) -> Database {
    Database { name: "orders".to_owned(), protocol, labels: [("env".to_owned(), env.to_owned())].into() }
}

fn decide(roles: &[(&str, Value)], env: &str) -> Decision {
    decide_access(&user(roles, json!({})), &database(Protocol::Postgres, env), Some("app"), &[])
}

fn reason(decision: &Decision) -> Option<Reason> {
    decision.denial.as_ref().map(|denial| denial.reason)
}

fn everything(more: Value) -> Value {
    let mut allow = json!({"dbLabels": {"*": ["*"]}, "dbNames": ["*"]});
    for (key, value) in more.as_object().expect("fields") {
        allow[key] = value.clone();
    }
    json!({"options": {"createDbUserMode": "Keep"}, "allow": allow})
}

#[test]
fn a_role_that_is_missing_or_invalid_makes_every_decision_impossible() {
    let good = ("good", everything(json!({})));
    let bad = ("bad", json!({"deny": {"dbNames": ["{{"]}}));
    let decision = decide(&[good.clone(), bad.clone()], "prod");
    let denial = decision.denial.expect("denied");
    assert_eq!(denial.reason, Reason::RoleInvalid);
    assert!(denial.message.contains("role bad") && denial.message.contains("deny.dbNames[0]"), "{denial}");

    let mut stored = Roles::new();
    stored.insert("good", &serde_json::from_value(good.1).expect("a role"));
    stored.insert("bad", &serde_json::from_value(bad.1).expect("a role"));
    let roles = ["good", "bad", "gone"].map(str::to_owned).into();
    let user = User::resolve(&UserSpec { roles, ..UserSpec::default() }, &stored);
    let decision = decide_access(&user, &database(Protocol::Postgres, "prod"), Some("app"), &[]);
    assert_eq!(reason(&decision), Some(Reason::RoleNotFound));
    let reach = list_reach(&user, [&database(Protocol::Postgres, "prod")]);
    assert_eq!(reach[0].denial.as_ref().map(|denial| denial.reason), Some(Reason::RoleNotFound));
}

#[test]
fn denials_name_role_and_entry() {
    let guard = json!({"deny": {"dbLabels": {"env": ["pr*"]}, "dbNames": ["x", "app"]}});
    let denial = decide(&[("all", everything(json!({}))), ("guard", guard)], "prod").denial.expect("denied");
    let lines: Vec<String> = denial.denied_by.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["role guard deny.dbLabels = env=prod matches pr*", "role guard deny.dbNames[1] = app"]
    );
    assert!(lines.iter().all(|line| denial.message.contains(line)), "{denial}");
}

#[test]
fn an_expression_that_fails_does_not_allow_and_denies() {
    let failing = "int(labels[\"env\"]) > 1";
    let allow = everything(json!({"dbLabelsExpression": failing}));
    assert_eq!(reason(&decide(&[("r", allow)], "prod")), Some(Reason::AccessDenied));

    let deny = json!({"deny": {"dbLabelsExpression": failing}});
    let decision = decide(&[("all", everything(json!({}))), ("guard", deny.clone())], "prod");
    assert_eq!(reason(&decision), Some(Reason::AccessDenied));
    assert!(decision.denial.expect("denied").message.contains("int cannot read"));
    assert!(decide(&[("all", everything(json!({}))), ("guard", deny)], "1").is_allowed());
}

#[test]
fn mongodb_without_a_logical_database_checks_only_a_denied_star() {
    let mongo = database(Protocol::Mongodb, "prod");
    let role = json!({"options": {"createDbUser": true}, "allow": {"dbLabels": {"*": ["*"]}}});
    let decide = |deny: Value, name| {
        let roles = [("r", role.clone()), ("d", json!({"deny": {"dbNames": deny}}))];
        decide_access(&user(&roles, json!({})), &mongo, name, &[])
    };
    assert!(decide(json!(["app"]), None).is_allowed());
    assert_eq!(reason(&decide(json!(["*"]), None)), Some(Reason::AccessDenied));
    assert_eq!(reason(&decide(json!([]), Some("app"))), Some(Reason::AccessDenied), "no dbNames, but a name");
}

#[test]
fn postgresql_needs_a_logical_database() {
    let user = user(&[("r", everything(json!({})))], json!({}));
    for name in [None, Some("")] {
        let decision = decide_access(&user, &database(Protocol::Postgres, "prod"), name, &[]);
        assert_eq!(reason(&decision), Some(Reason::DatabaseNameRequired));
    }
}

#[test]
fn a_role_that_is_named_twice_counts_once() {
    let mut stored = Roles::new();
    stored.insert("r", &serde_json::from_value(everything(json!({"dbRoles": ["reader"]}))).expect("a role"));
    let roles = vec!["r".to_owned(), "r".to_owned()];
    let user = User::resolve(&UserSpec { roles, ..UserSpec::default() }, &stored);
    let decision = decide_access(&user, &database(Protocol::Postgres, "prod"), Some("app"), &[]);
    assert_eq!(decision.allowed_by.len(), 1);
    assert_eq!(decision.provisioning.contributing.len(), 1);
    assert_eq!(decision.provisioning.db_roles[0].given_by.len(), 1);
}

#[test]
fn the_strongest_mode_and_the_smallest_session_length_apply() {
    let role = |mode: &str, ttl: &str| {
        let mut role = everything(json!({}));
        role["options"] = json!({"createDbUserMode": mode, "maxSessionTtl": ttl});
        role
    };
    let roles =
        [("a", role("Keep", "2h")), ("b", role("BestEffortDrop", "90m")), ("c", role("Disabled", "1m"))];
    let provisioning = decide(&roles, "prod").provisioning;
    assert_eq!(provisioning.mode, Mode::BestEffortDrop);
    let limit = provisioning.max_session_ttl.expect("limited");
    assert_eq!((limit.ttl, limit.role.as_str()), (Duration::from_secs(5400), "b"));
    let contributing: Vec<&str> = provisioning.contributing.iter().map(|c| c.role.as_str()).collect();
    assert_eq!(contributing, ["a", "b"], "a role that does not provision sets no limit");
}

#[test]
fn access_without_provisioning_has_its_own_reason() {
    let mut role = everything(json!({"dbRoles": ["reader"]}));
    role["options"] = json!({});
    let decision = decide(&[("r", role)], "prod");
    assert_eq!(reason(&decision), Some(Reason::ProvisioningDisabled));
    assert_eq!(decision.allowed_by.len(), 1);
    assert!(decision.provisioning.db_roles.is_empty());
}

#[test]
fn database_roles_say_who_gave_and_who_took_them() {
    let giving = everything(json!({"dbRoles": ["reader", "{{external.extra}}", "spare"]}));
    let taking = json!({"deny": {"dbRoles": ["writer"]}});
    let user = user(&[("giving", giving), ("taking", taking)], json!({"extra": ["writer", "auditor"]}));
    let requested = ["reader".to_owned(), "auditor".to_owned()];
    let postgres = database(Protocol::Postgres, "prod");
    let decision = decide_access(&user, &postgres, Some("app"), &requested);
    let given: Vec<String> = decision.provisioning.db_roles.iter().map(ToString::to_string).collect();
    assert_eq!(
        given,
        [
            "auditor given by role giving allow.dbRoles[1] = {{external.extra}}",
            "reader given by role giving allow.dbRoles[0] = reader",
        ]
    );
    let withheld: Vec<String> =
        decision.provisioning.withheld_db_roles.iter().map(ToString::to_string).collect();
    assert_eq!(
        withheld,
        [
            "spare given by role giving allow.dbRoles[2] = spare, not requested",
            "writer given by role giving allow.dbRoles[1] = {{external.extra}}, \
             taken by role taking deny.dbRoles[0] = writer",
        ]
    );
    let refused = decide_access(&user, &postgres, Some("app"), &["writer".to_owned()]);
    let denial = refused.denial.expect("refused");
    assert_eq!(denial.reason, Reason::AccessDenied);
    assert!(denial.message.contains("taken by role taking deny.dbRoles[0]"), "{denial}");
}

#[test]
fn what_traits_spoil_denies() {
    let guard = json!({"deny": {"dbLabels": {"env": ["{{external.closed}}"]}}});
    let roles = [("all", everything(json!({}))), ("guard", guard)];
    let decide =
        |traits| decide_access(&user(&roles, traits), &database(Protocol::Postgres, "x"), Some("app"), &[]);
    assert!(decide(json!({"closed": ["prod"]})).is_allowed());
    assert!(!decide(json!({"closed": ["^($"]})).is_allowed());
}

#[test]
fn object_permissions_say_which_rule_label_and_entry_gave_them() {
    let rule: ImportRuleSpec = serde_json::from_value(json!({
        "databaseLabels": {"env": ["prod"]},
        "mappings": [
            {"match": {"tableNames": ["*"]}, "addLabels": {"dept": "sales", "name": "{{obj.name}}"}},
            {"match": {"tableNames": ["sal*"]}, "addLabels": {"dept": "hr"}},
        ],
    }))
    .expect("a rule");
    let rules = ImportRules::of_namespace([Arc::new(ImportRule::read("own", &rule))]);
    let role = everything(json!({"dbPermissions": [
        {"match": {"dept": ["h*"]}, "permissions": ["SELECT", "UPDATE", "EXECUTE"]},
    ]}));
    let guard =
        json!({"deny": {"dbPermissions": [{"match": {"name": ["salaries"]}, "permissions": ["update"]}]}});
    let postgres = database(Protocol::Postgres, "prod");
    let decision = decide(&[("r", role), ("guard", guard)], "prod");
    let objects: Arc<[DbObject]> = [
        DbObject::new(ObjectKind::Table, "app", "public", "salaries"),
        DbObject::new(ObjectKind::Table, "app", "public", "deals"),
        DbObject::new(ObjectKind::Table, "other", "public", "salaries"),
        DbObject::new(ObjectKind::Table, "app", "pg_catalog", "salaries"),
        DbObject::new(ObjectKind::View, "app", "public", "salaries"),
        DbObject::new(ObjectKind::Table, "app", "public", "Salaries"),
    ]
    .into();
    let labelled = Arc::new(label_objects(&rules, &postgres, objects));
    assert_eq!(labelled.imported(), 4);
    assert_eq!(labelled.imported_per_rule(), [("own", 4)].into());
    let entries = &decision.provisioning.permissions;
    let permissions =
        decide_objects(&rules, &postgres, Some("app"), entries, &labelled).expect("valid rules");
    assert_eq!(permissions.counts(), [(Privilege::Select, 1)].into());

    let explanation = permissions.explain(0);
    let labels: Vec<String> = explanation.labels.iter().map(ToString::to_string).collect();
    assert_eq!(labels, ["dept=hr from rule own mappings[1]", "name=salaries from rule own mappings[0]"]);
    assert_eq!(explanation.labels[0].overwritten[0].to_string(), "rule own mappings[0]");
    let privileges: Vec<String> = explanation.privileges.iter().map(ToString::to_string).collect();
    assert_eq!(
        privileges,
        [
            "SELECT given by role r allow.dbPermissions[0] = [SELECT, UPDATE, EXECUTE] where {dept: [h*]} \
             (dept=hr matches h*)",
            "UPDATE given by role r allow.dbPermissions[0] = [SELECT, UPDATE, EXECUTE] where {dept: [h*]} \
             (dept=hr matches h*), taken by role guard deny.dbPermissions[0] = [update] where {name: [salaries]} \
             (name=salaries matches salaries)",
        ]
    );
}

#[test]
fn an_invalid_import_rule_withholds_object_permissions() {
    let rule: ImportRuleSpec = serde_json::from_value(json!({
        "databaseLabels": {"env": ["prod"]},
        "mappings": [{"match": {"tableNames": ["*"]}, "addLabels": {"a": "{{obj.nope}}"}}],
    }))
    .expect("a rule");
    let rules = ImportRules::of_namespace([Arc::new(ImportRule::read("broken", &rule))]);
    let decide = |env: &str| {
        let database = database(Protocol::Postgres, env);
        let labelled = Arc::new(label_objects(&rules, &database, Arc::new([])));
        let entries = decide(&[("r", everything(json!({})))], env).provisioning.permissions;
        decide_objects(&rules, &database, Some("app"), &entries, &labelled).map(|_| ())
    };
    let denial = decide("prod").expect_err("withheld");
    assert_eq!(denial.reason, Reason::ImportRuleInvalid);
    assert!(
        denial.message.contains("broken") && denial.message.contains("mappings[0].addLabels[\"a\"]"),
        "{denial}"
    );
    assert!(decide("dev").is_ok());
}

#[test]
fn reach_lists_logical_databases_and_roles() {
    let wide = everything(json!({"dbRoles": ["reader"]}));
    let narrow = json!({"options": {"createDbUser": true}, "allow": {"dbLabels": {"env": ["dev"]}, "dbNames": ["a", "b"]}});
    let guard = json!({"deny": {"dbNames": ["b"]}});
    let all = user(&[("wide", wide), ("guard", guard.clone())], json!({}));
    let some = user(&[("narrow", narrow), ("guard", guard)], json!({}));
    let databases = [database(Protocol::Postgres, "prod"), database(Protocol::Postgres, "dev")];
    let reach = list_reach(&all, &databases);
    assert!(Arc::ptr_eq(&reach[0], &reach[1]), "databases with the same labels share one answer");
    assert_eq!(reach[0].database_names, DatabaseNames::AllExcept(vec!["b".to_owned()]));
    assert_eq!(reach[0].db_roles, ["reader"]);
    let reach = list_reach(&some, &databases);
    assert_eq!(reach[0].denial.as_ref().map(|denial| denial.reason), Some(Reason::AccessDenied));
    assert_eq!(reach[1].database_names, DatabaseNames::Only(vec!["a".to_owned()]));
}

#[test]
fn lines_stay_lines_whatever_people_write() {
    let guard = json!({"deny": {"dbNames": ["ap\np"], "dbLabels": {"env": ["a*"]}}});
    let decision = decide_access(
        &user(&[("guard", guard)], json!({})),
        &database(Protocol::Postgres, "a\u{1b}[31m"),
        Some("ap\np"),
        &["x\ny".to_owned()],
    );
    let denial = decision.denial.expect("denied");
    assert_eq!(denial.denied_by.len(), 2);
    assert!(!denial.message.contains(char::is_control), "{denial:?}");
    assert!(denial.denied_by.iter().all(|origin| !origin.to_string().contains(char::is_control)));
}

#[test]
fn a_megabyte_of_labels_is_only_slow_to_write() {
    let role = everything(json!({"dbLabelsExpression": "labels.exists(k, k == \"env\")"}));
    let user = user(&[("r", role)], json!({}));
    let mut huge = database(Protocol::Postgres, "prod");
    huge.labels.extend((0..20_000).map(|i| (format!("key-{i:06}"), "x".repeat(40))));
    let start = std::time::Instant::now();
    let decision = decide_access(&user, &huge, Some("app"), &[]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(decision.is_allowed());
    let huge_role: RoleSpec =
        serde_json::from_value(json!({"allow": {"dbLabels": huge.labels.keys().map(|k| (k.clone(), json!([k]))).collect::<serde_json::Map<_, _>>()}}))
            .expect("a role");
    let faults = rolecall_policy::Role::compile("huge", &huge_role).expect_err("refused");
    assert_eq!(faults[0].to_string(), "allow.dbLabels: has 20001 entries: the most are 1024");
}
