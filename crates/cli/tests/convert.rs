//! Every YAML example of the documents converts, and behaves as the document says.

#![allow(clippy::expect_used, reason = "the fixtures are sound")]

use std::path::{Path, PathBuf};

use rolecall_cli::convert::{self, Report};
use rolecall_cli::explain::{self, Explanation, Objects, Question};
use rolecall_cli::input::{self, Namespace};
use rolecall_cli::output::Output;
use rolecall_policy::{DbObject, ObjectKind};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents").join(name)
}

/// Converts an example; returns the YAML that comes out, and what was reported.
fn convert(name: &str) -> (String, Report) {
    let text = input::read_text(&fixture(name)).expect("the fixture is there");
    convert_text(&text, name).expect("the example converts")
}

fn convert_text(text: &str, name: &str) -> anyhow::Result<(String, Report)> {
    let (objects, report) = convert::convert(&input::parse_documents(text, name)?)?;
    Ok((convert::render(&objects, Output::Yaml, false)?, report))
}

/// A namespace of what comes out of the examples and of these manifests.
fn namespace(examples: &[&str], manifests: &str) -> Namespace {
    let mut text = manifests.to_owned();
    for example in examples {
        text.push_str("\n---\n");
        text.push_str(&convert(example).0);
    }
    let documents = input::parse_documents(&text, "manifests").expect("YAML");
    input::collect_manifests(documents, None).expect("what comes out are manifests").0
}

fn user(roles: &[&str], traits: &str) -> String {
    format!(
        "---\napiVersion: rolecall.dev/v1alpha1\nkind: DatabaseUser\nmetadata: {{name: alice}}\n\
         spec: {{roles: [{}], traits: {traits}}}\n",
        roles.join(", ")
    )
}

fn server(labels: &str) -> String {
    format!(
        "---\napiVersion: rolecall.dev/v1alpha1\nkind: DatabaseAdmin\nmetadata: {{name: server}}\n\
         spec: {{protocol: postgres, uri: 'server:5432', labels: {labels}, adminUser: {{name: teleport-admin}}, \
         auth: {{x509: {{secretRef: {{name: a}}}}}}}}\n"
    )
}

fn ask(namespace: &Namespace, database_name: &str, objects: &[(ObjectKind, &str, &str)]) -> Explanation {
    let objects =
        objects.iter().map(|(kind, schema, name)| DbObject::new(*kind, database_name, *schema, *name));
    let question = Question {
        user: "alice",
        database: namespace.admins[0].metadata.name.as_deref().expect("it has a name"),
        database_name: Some(database_name),
        requested: &[],
        objects: Some(Objects::of_file(objects.collect())),
    };
    explain::answer(namespace, question).expect("user and server exist")
}

fn reasons(explanation: &Explanation) -> Vec<&str> {
    explanation.blocked.iter().map(|blocked| blocked.reason.as_str()).collect()
}

/// The privileges on each object, by the object's name.
fn privileges(explanation: &Explanation) -> Vec<(String, Vec<String>)> {
    let objects = explanation.objects.as_ref().expect("objects were named");
    let granted = |item: &explain::ObjectView| {
        let privileges = item.explanation.privileges.iter().filter(|privilege| privilege.granted);
        privileges.map(|privilege| privilege.privilege.to_string()).collect()
    };
    objects.items.iter().map(|item| (item.name.clone(), granted(item))).collect()
}

fn given(explanation: &Explanation) -> Vec<&str> {
    explanation.db_roles.iter().map(|given| given.role.name.as_str()).collect()
}

#[test]
fn every_example_converts_to_manifests_that_are_read_again() {
    let mut examples: Vec<_> = fixture("").read_dir().expect("the fixtures are there").flatten().collect();
    examples.sort_by_key(|entry| entry.file_name());
    assert_eq!(examples.len(), 20);
    for entry in examples {
        let name = entry.file_name().into_string().expect("fixtures have plain names");
        let (yaml, report) = convert(&name);
        namespace(&[&name], "");
        let lines =
            |findings: &[convert::Finding]| findings.iter().map(|f| f.to_string() + "\n").collect::<String>();
        let snapshot =
            format!("{yaml}\nNOTES\n{}\nNOT CARRIED OVER\n{}", lines(&report.notes), lines(&report.lost));
        insta::assert_snapshot!(name.trim_end_matches(".yaml"), snapshot);
    }
}

#[test]
fn a_role_reaches_the_databases_and_names_that_it_lists() {
    for (environment, name, expected) in [
        // Without createDbUser nobody is provisioned, but the access itself is what the role says.
        ("dev", "main", "ProvisioningDisabled"),
        ("stage", "postgres", "ProvisioningDisabled"),
        ("dev", "other", "AccessDenied"),
        ("prod", "main", "AccessDenied"),
    ] {
        let namespace = namespace(
            &["role-developer.yaml"],
            &(server(&format!("{{environment: {environment}}}")) + &user(&["developer"], "{}")),
        );
        assert_eq!(reasons(&ask(&namespace, name, &[])), [expected], "{environment} {name}");
    }
}

#[test]
fn a_denied_name_is_denied_on_every_server() {
    let roles = &["developer", "all"];
    let all = "---\napiVersion: rolecall.dev/v1alpha1\nkind: ProvisioningRole\nmetadata: {name: all}\n\
               spec: {options: {createDbUser: true}, allow: {dbLabels: {'*': ['*']}, dbNames: ['*']}}\n";
    for environment in ["prod", "dev"] {
        let manifests = server(&format!("{{environment: {environment}}}")) + &user(roles, "{}") + all;
        let namespace = namespace(&["role-developer-prod.yaml"], &manifests);
        assert!(ask(&namespace, "orders", &[]).allowed, "{environment}");
        assert_eq!(reasons(&ask(&namespace, "postgres", &[])), ["AccessDenied"], "{environment}");
    }
}

#[test]
fn fragments_take_logical_databases_from_traits() {
    let labels =
        "---\napiVersion: rolecall.dev/v1alpha1\nkind: ProvisioningRole\nmetadata: {name: x}\nspec: {}\n";
    for (example, role, traits, reached) in [
        (
            "fragment-external-databases.yaml",
            "fragment-external-databases",
            "{databases: [a, b]}",
            &["a", "b"][..],
        ),
        ("fragment-leaf-cluster.yaml", "fragment-leaf-cluster", "{db_names: [postgres]}", &["postgres"]),
        ("fragment-root-cluster.yaml", "fragment-root-cluster", "{}", &["postgres"]),
    ] {
        let manifests = server("{}") + &user(&[role], traits) + labels;
        let mut namespace = namespace(&[example], &manifests);
        // The excerpts leave out which databases they are for.
        let role =
            namespace.roles.iter_mut().find(|r| r.metadata.name.as_deref() == Some(role)).expect("converted");
        role.spec.allow.db_labels = [("*".to_owned(), vec!["*".to_owned()])].into();
        let names = ask(&namespace, "any", &[]).database_names;
        assert_eq!(names.to_string(), reached.join(", "), "{example}");
    }
}

#[test]
fn the_default_rule_labels_objects_by_what_they_are() {
    let namespace = namespace(
        &["rule-import-all-objects.yaml", "role-read-all-tables.yaml"],
        &(server("{}") + &user(&["read-all-tables"], "{}")),
    );
    let explanation = ask(
        &namespace,
        "horizon",
        &[
            (ObjectKind::Table, "public", "t"),
            (ObjectKind::Table, "hr", "t2"),
            (ObjectKind::View, "public", "v"),
        ],
    );
    let select = vec!["SELECT".to_owned()];
    assert_eq!(
        privileges(&explanation),
        [("t".to_owned(), select), ("t2".to_owned(), vec![]), ("v".to_owned(), vec![])]
    );
    let items = &explanation.objects.as_ref().expect("objects were named").items;
    let labels: Vec<String> =
        items[0].explanation.labels.iter().map(|l| format!("{}={}", l.key, l.value)).collect();
    assert_eq!(
        labels,
        [
            "database=horizon",
            "database_service_name=server",
            "name=t",
            "object_kind=table",
            "protocol=postgres",
            "schema=public"
        ]
    );
    // The document's rule imports tables only.
    assert!(items[2].explanation.imported_by.is_empty());
}

#[test]
fn labels_of_rules_give_and_take_permissions() {
    let sales = "---\napiVersion: rolecall.dev/v1alpha1\nkind: DbObjectImportRule\nmetadata: {name: sales}\n\
                 spec: {priority: 200, databaseLabels: {'*': ['*']}, mappings: [{match: {tableNames: [invoices]}, \
                 addLabels: {dept: sales}}]}\n";
    let examples =
        ["rule-import-all-objects.yaml", "rule-ownership-nonprod.yaml", "role-dept-hr-permissions.yaml"];
    let objects = [
        (ObjectKind::Table, "recruitment", "candidates"),
        (ObjectKind::Table, "salaries", "hr_scratchpad"),
        (ObjectKind::Table, "pto", "invoices"),
        (ObjectKind::Table, "public", "other"),
    ];
    let with = |labels: &str| {
        namespace(&examples, &(server(labels) + &user(&["dept-hr-permissions"], "{}") + sales))
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();

    let explanation = ask(&with("{env: staging}"), "horizon", &objects);
    assert!(explanation.allowed);
    assert_eq!(explanation.mode.to_string(), "Keep");
    assert_eq!(
        privileges(&explanation),
        [
            ("candidates".to_owned(), texts(&["SELECT"])),
            ("hr_scratchpad".to_owned(), texts(&["DELETE", "INSERT", "SELECT", "UPDATE"])),
            ("invoices".to_owned(), vec![]),
            ("other".to_owned(), vec![]),
        ]
    );
    // The rule is for some environments, so elsewhere nothing belongs to hr.
    let elsewhere = ask(&with("{env: test}"), "horizon", &objects);
    assert!(privileges(&elsewhere).iter().all(|(_, privileges)| privileges.is_empty()));
}

#[test]
fn a_scope_names_databases_and_schemas() {
    let namespace = namespace(&["rule-ownership-nonprod.yaml"], &(server("{env: prod}") + &user(&[], "{}")));
    let labels = |database: &str, schema: &str| {
        let explanation = ask(&namespace, database, &[(ObjectKind::Table, schema, "t")]);
        let objects = explanation.objects.expect("objects were named");
        objects.items[0]
            .explanation
            .labels
            .iter()
            .map(|l| format!("{}={}", l.key, l.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(labels("horizon_v2", "data_import"), ["project=horizon"]);
    assert_eq!(labels("horizon", "public"), Vec::<String>::new());
    assert_eq!(labels("other", "application"), Vec::<String>::new());
    assert_eq!(labels("other", "salaries"), ["dept=hr"]);
}

#[test]
fn a_rule_for_no_database_imports_nothing() {
    let manifests = server("{}") + &user(&["read-all-tables"], "{}");
    let namespace = namespace(&["rule-import-no-objects.yaml", "role-read-all-tables.yaml"], &manifests);
    let explanation = ask(&namespace, "horizon", &[(ObjectKind::Table, "public", "t")]);
    assert!(explanation.allowed);
    assert_eq!(explanation.objects.expect("objects were named").imported, 0);
}

#[test]
fn database_roles_come_from_the_role_and_from_traits() {
    let traits = "{db_roles: [reader, writer]}";
    for example in ["role-create-db-user.yaml", "role-create-db-user-mode.yaml"] {
        for database in ["db-postgres.yaml", "agent-postgres.yaml", "db-redshift.yaml"] {
            let namespace = namespace(&[database, example], &user(&["auto-db-users"], traits));
            let explanation = ask(&namespace, "any", &[]);
            assert!(explanation.allowed, "{example} {database}: {:?}", explanation.blocked);
            assert_eq!(given(&explanation), ["reader", "writer"]);
            assert_eq!(explanation.mode.to_string(), "Keep");
            assert_eq!(explanation.database.admin_user.as_deref(), Some("teleport-admin"));
        }
    }
    for database in ["db-mongodb.yaml", "agent-mongodb.yaml"] {
        let namespace = namespace(&[database, "role-mongodb.yaml"], &user(&["auto-db-users"], "{}"));
        let explanation = ask(&namespace, "any", &[]);
        assert!(explanation.allowed, "{database}: {:?}", explanation.blocked);
        assert_eq!(given(&explanation), ["myCustomRole@db2", "readAnyDatabase@admin", "readWrite@db1"]);
    }
}

#[test]
fn addresses_of_mongodb_keep_what_a_database_admin_takes() {
    for (uri, converted, lost) in [
        ("localhost:27017", "mongodb://localhost:27017", 0),
        (
            "mongodb://m0:27017,m1:27018/?replicaSet=rs0&readPreference=secondary&tls=true",
            "mongodb://m0:27017,m1:27018/?replicaSet=rs0",
            1,
        ),
        ("mongodb+srv://u:hunter2@mongo.example/shop", "mongodb+srv://mongo.example", 2),
    ] {
        let text = format!(
            "{{kind: db, metadata: {{name: m}}, spec: {{protocol: mongodb, uri: '{uri}', admin_user: a}}}}"
        );
        let (yaml, report) = convert_text(&text, "m.yaml").expect("converts");
        assert!(yaml.contains(&format!("  uri: {converted}\n")), "{yaml}");
        assert_eq!(report.lost.len(), lost, "{:?}", report.lost);
        assert!(
            !yaml.contains("hunter2")
                && report.lost.iter().all(|finding| !finding.to_string().contains("hunter2"))
        );
    }
}

#[test]
fn excerpts_of_databases_say_who_provisions_and_what_is_missing() {
    for example in ["db-admin-user-text.yaml", "agent-admin-user.yaml"] {
        let (_, report) = convert(example);
        let fields: Vec<_> = report.lost.iter().map(|finding| finding.field.as_str()).collect();
        assert_eq!(fields, ["spec.uri", "spec.protocol"], "{example}");
        let namespace = namespace(&[example], "");
        assert_eq!(namespace.admins[0].spec.admin_user.name.as_deref(), Some("teleport-admin"));
    }
}

mod ways_to_write {
    use super::*;

    fn role(version: &str, spec: &str) -> (String, Vec<String>) {
        let text = format!("{{kind: role, version: {version}, metadata: {{name: r}}, spec: {spec}}}");
        let (yaml, report) = convert_text(&text, "r.yaml").expect("converts");
        (yaml, report.lost.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn modes() {
        for (written, mode) in [
            ("off", "Disabled"),
            ("'off'", "Disabled"),
            ("false", "Disabled"),
            ("1", "Disabled"),
            ("keep", "Keep"),
            ("2", "Keep"),
            ("best_effort_drop", "BestEffortDrop"),
            ("3", "BestEffortDrop"),
        ] {
            let (yaml, lost) = role("v7", &format!("{{options: {{create_db_user_mode: {written}}}}}"));
            assert!(yaml.contains(&format!("createDbUserMode: {mode}\n")), "{written}: {yaml}");
            assert!(lost.is_empty(), "{lost:?}");
        }
        assert!(!role("v7", "{options: {create_db_user_mode: 0}}").0.contains("createDbUserMode"));
        for written in ["true", "4", "drop", "[keep]"] {
            let text = format!(
                "{{kind: role, version: v7, metadata: {{name: r}}, spec: {{options: {{create_db_user_mode: {written}}}}}}}"
            );
            let lines = convert_text(&text, "r.yaml").expect_err("refused").to_string();
            assert!(lines.starts_with("r.yaml, document 1: spec.options.create_db_user_mode: "), "{lines}");
            assert!(lines.contains("off, keep or best_effort_drop"), "{lines}");
        }
    }

    #[test]
    fn version_3_without_labels_means_every_database() {
        let everything = "dbLabels:\n      \"*\"";
        for (version, spec, every) in [
            ("v3", "{allow: {db_names: [a]}}", true),
            ("v3", "{allow: {db_labels: {}}}", false),
            ("v4", "{allow: {db_names: [a]}}", false),
            ("v8", "{}", false),
        ] {
            let yaml = role(version, spec).0.replace("'*'", "\"*\"");
            assert_eq!(yaml.contains(everything), every, "{version} {spec}: {yaml}");
        }
    }

    #[test]
    fn one_text_is_a_list_of_one() {
        let (yaml, _) =
            role("v7", "{allow: {db_labels: {env: prod, team: [a, b]}, db_names: main, db_roles: reader}}");
        let document = &input::parse_documents(&yaml, "y").expect("YAML")[0].value;
        assert_eq!(
            document["spec"]["allow"],
            serde_json::json!({
                "dbLabels": {"env": ["prod"], "team": ["a", "b"]},
                "dbNames": ["main"],
                "dbRoles": ["reader"],
            })
        );
    }

    #[test]
    fn what_has_no_equal_is_listed() {
        let (yaml, lost) = role(
            "v7",
            "{options: {require_session_mfa: true, lock: strict, max_session_ttl: soon, forward_agent: true}, \
              allow: {db_labels: {env: prod}, db_labels_expression: 'regexp.match(labels.env, \"p\")', \
                      db_names: ['{{a', '*'], db_roles: ['*'], \
                      db_permissions: [{match: {a: b}, permissions: ['SELECT, UPDATE', 'ALL']}], logins: [root]}, \
              deny: {db_labels_expression: 'user.metadata.name == \"x\"'}}",
        );
        insta::assert_snapshot!(format!("{yaml}\n{}", lost.join("\n")));
    }

    #[test]
    fn databases_users_and_agents() {
        let text = "
{kind: db, version: v3, metadata: {name: Orders_DB, labels: {env: prod, team: Payments & Orders}, description: Orders},
 spec: {protocol: postgres, uri: 'x.eu-west-1.rds.amazonaws.com:5432', ca_cert: CERTIFICATE, aws: {region: eu-west-1},
        tls: {mode: insecure, server_name: orders}, dynamic_labels: {a: {command: [id]}}, admin_user: {name: a, default_database: d}}}
---
{kind: db, version: v3, metadata: {name: legacy}, spec: {protocol: mysql, uri: 'x:3306'}}
---
{kind: user, version: v2, metadata: {name: Alice@example.com, expires: '2030-01-01T00:00:00Z', labels: {a: b c}},
 spec: {roles: [dept_hr, other], traits: {db_roles: [reader], logins: null}, github_identities: [{username: a}],
        status: {is_locked: true}}}
---
{kind: role, version: v7, metadata: {name: dept_hr}, spec: {}}
---
{kind: role, version: v7, metadata: {name: dept-hr}, spec: {}}
---
{kind: token, version: v2, metadata: {name: t}, spec: {}}
---
{teleport: {nodename: x}, db_service: {enabled: yes, resources: [{labels: {a: b}}], databases: [{name: m, protocol: mongodb, uri: 'mongodb://m:27017', static_labels: {env: dev}}]}}
";
        let (yaml, report) = convert_text(text, "all.yaml").expect("converts");
        let lines =
            |findings: &[convert::Finding]| findings.iter().map(|f| f.to_string() + "\n").collect::<String>();
        insta::assert_snapshot!(format!(
            "{yaml}\nNOTES\n{}\nNOT CARRIED OVER\n{}",
            lines(&report.notes),
            lines(&report.lost)
        ));
    }

    #[test]
    fn faults_name_document_and_field() {
        for (text, expected) in [
            ("a: [", "f.yaml is not YAML that can be read"),
            ("", "there is nothing to convert: the files contain no documents"),
            ("hello", "f.yaml, document 1: expected a mapping, found a text"),
            (
                "{spec: {}}",
                "f.yaml, document 1: no kind is written; Teleport's are db, role, db_object_import_rule and user",
            ),
            (
                "{kind: role, version: v10}",
                "f.yaml, document 1: version: v10 of kind role is not known; there are v3, v4, v5, v6, v7, v8, v9",
            ),
            (
                "{apiVersion: apps/v1, kind: Deployment}",
                "there is nothing to convert: f.yaml, document 1: Deployment: it is not Teleport's and is left out",
            ),
            (
                "{kind: role, metadata: {name: r}}\n---\n{kind: role, metadata: {name: s}, spec: {allow: {db_names: [a, 1]}}}",
                "f.yaml, document 2 (line 3): spec.allow.db_names[1]: expected a text, found a number",
            ),
            (
                "{kind: role, metadata: {name: r}, spec: {allow: {db_labels: {env: off}}}}",
                "f.yaml, document 1: spec.allow.db_labels[\"env\"]: expected a text, found true or false (YAML \
                 reads unquoted on, off, yes and no as such)",
            ),
            (
                "{kind: db_object_import_rule, metadata: {name: r}, spec: {priority: high}}",
                "f.yaml, document 1: spec.priority: expected a whole number, found a text",
            ),
            (
                "{kind: role, metadata: {name: [r]}}",
                "f.yaml, document 1: metadata.name: expected a text, found a list",
            ),
        ] {
            let lines = convert_text(text, "f.yaml").expect_err(text).to_string();
            assert!(lines.starts_with(expected), "{lines}");
        }
    }

    #[test]
    fn objects_of_teleports_operator_and_lists_of_them() {
        let text = "
apiVersion: v1
kind: List
items:
- {apiVersion: resources.teleport.dev/v1, kind: TeleportRoleV7, metadata: {name: developer, namespace: teleport,
     labels: {team: a}, annotations: {description: Developers}, resourceVersion: '1'},
   spec: {options: {create_db_user_mode: keep}, allow: {db_labels: {env: [dev]}, db_names: ['*'], db_roles: [reader]}},
   status: {conditions: []}}
- {apiVersion: resources.teleport.dev/v1, kind: TeleportDatabaseV3, metadata: {name: orders, labels: {env: dev}},
   spec: {protocol: postgres, uri: 'orders:5432', admin_user: {name: admin}}}
- apiVersion: resources.teleport.dev/v2
  kind: TeleportUserList
  items: [{metadata: {name: alice}, spec: {roles: [developer], traits: {db_roles: [reader]}}}]
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: teleport}}
- {apiVersion: resources.teleport.dev/v1, kind: TeleportBotV1, metadata: {name: bot}, spec: {}}
";
        let (yaml, report) = convert_text(text, "all.yaml").expect("converts");
        let lines =
            |findings: &[convert::Finding]| findings.iter().map(|f| f.to_string() + "\n").collect::<String>();
        insta::assert_snapshot!(format!(
            "{yaml}\nNOTES\n{}\nNOT CARRIED OVER\n{}",
            lines(&report.notes),
            lines(&report.lost)
        ));
        assert_eq!(report.refused, []);
        // They say what Teleport's own documents say.
        let native = "
{kind: role, version: v7, metadata: {name: developer, labels: {team: a}, description: Developers},
 spec: {options: {create_db_user_mode: keep}, allow: {db_labels: {env: [dev]}, db_names: ['*'], db_roles: [reader]}}}
---
{kind: db, version: v3, metadata: {name: orders, labels: {env: dev}},
 spec: {protocol: postgres, uri: 'orders:5432', admin_user: {name: admin}}}
---
{kind: user, version: v2, metadata: {name: alice}, spec: {roles: [developer], traits: {db_roles: [reader]}}}
";
        assert_eq!(convert_text(native, "native.yaml").expect("converts").0, yaml);
    }

    #[test]
    fn a_role_of_every_version_is_read() {
        for (kind, api_version) in [
            ("TeleportRole", "resources.teleport.dev/v5"),
            ("TeleportRole", "resources.teleport.dev/v6"),
            ("TeleportRoleV6", "resources.teleport.dev/v1"),
            ("TeleportRoleV8", "resources.teleport.dev/v1"),
            ("TeleportRoleV9", "resources.teleport.dev/v1"),
        ] {
            let text = format!(
                "{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: r}}, spec: {{allow: {{db_names: [a]}}}}}}"
            );
            let (yaml, report) = convert_text(&text, "r.yaml").expect(kind);
            assert!(yaml.contains("kind: ProvisioningRole") && report.lost.is_empty(), "{yaml}");
        }
        for version in ["v3", "v4", "v5", "v6", "v7", "v8", "v9"] {
            assert!(role(version, "{allow: {db_names: [a]}}").0.contains("dbNames"), "{version}");
        }
    }

    #[test]
    fn what_the_cluster_would_refuse_is_reported() {
        let many: Vec<String> = (0..300).map(|number| format!("db{number}")).collect();
        let long = "x".repeat(300);
        for (text, expected) in [
            (
                format!(
                    "{{kind: role, metadata: {{name: r}}, spec: {{allow: {{db_names: [{}]}}}}}}",
                    many.join(", ")
                ),
                "r.yaml, document 1: role r: spec.allow.dbNames: it has 300 entries, and at most 256 are taken",
            ),
            (
                format!("{{kind: role, metadata: {{name: r}}, spec: {{allow: {{db_names: [{long}]}}}}}}"),
                "r.yaml, document 1: role r: spec.allow.dbNames[0]: it has 300 characters, and at most 256 are taken",
            ),
            (
                format!(
                    "{{kind: user, metadata: {{name: u}}, spec: {{traits: {{t: [{}]}}}}}}",
                    many.join(", ")
                ),
                "r.yaml, document 1: user u: spec.traits[\"t\"]: it has 300 entries, and at most 256 are taken",
            ),
            (
                "{kind: db, metadata: {name: d}, spec: {protocol: postgres, uri: 'd', admin_user: a}}"
                    .to_owned(),
                "r.yaml, document 1: db d: spec.uri: must be host:port with a port from 1 to 65535",
            ),
        ] {
            let (_, report) = convert_text(&text, "r.yaml").expect("converts");
            let lines: Vec<String> = report.refused.iter().map(ToString::to_string).collect();
            assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
        }
    }

    #[test]
    fn what_needs_aws_is_reported() {
        for (uri, protocol) in [
            ("x.eu-west-1.rds.amazonaws.com:5432", "postgres"),
            ("c.abc.us-east-1.redshift.amazonaws.com:5439", "redshift"),
        ] {
            let text = format!(
                "{{kind: db, metadata: {{name: d}}, spec: {{protocol: {protocol}, uri: '{uri}', admin_user: a}}}}"
            );
            let (yaml, report) = convert_text(&text, "d.yaml").expect("converts");
            assert!(yaml.contains("awsIam"), "{yaml}");
            let noted = report.notes.iter().any(|finding| finding.text.contains("rds-db:connect"));
            assert_eq!(noted, protocol == "postgres");
            let redshift =
                report.notes.iter().any(|finding| finding.text.contains("redshift:GetClusterCredentials"));
            assert_eq!(redshift, protocol == "redshift");
            assert!(report.lost.is_empty(), "{:?}", report.lost);
        }
    }
}

/// Every key of an object below `value`, as the path of its object and its name.
fn keys(value: &serde_json::Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                found.push((path.to_owned(), name.clone()));
                let name = name.replace('~', "~0").replace('/', "~1");
                keys(value, &format!("{path}/{name}"), found);
            }
        }
        serde_json::Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| keys(value, &format!("{path}/{i}"), found));
        }
        _ => {}
    }
}

#[test]
fn no_field_of_a_spec_disappears_without_a_word() {
    for entry in fixture("").read_dir().expect("the fixtures are there").flatten() {
        let name = entry.file_name().into_string().expect("fixtures have plain names");
        let text = input::read_text(&entry.path()).expect("the fixture is there");
        let documents = input::parse_documents(&text, &name).expect("YAML");
        let values: Vec<serde_json::Value> = documents.into_iter().map(|document| document.value).collect();
        for (number, value) in values.iter().enumerate() {
            let mut all = Vec::new();
            keys(value, "", &mut all);
            // What surrounds a spec has defaults.
            for (path, key) in all.into_iter().filter(|(path, _)| path.starts_with("/spec")) {
                let mut changed = values.clone();
                let object = changed[number].pointer_mut(&path).and_then(serde_json::Value::as_object_mut);
                let object = object.expect("it is one");
                let moved = object.remove(&key).expect("it is there");
                object.insert("surprise".to_owned(), moved);
                let text: Vec<String> = changed.iter().map(ToString::to_string).collect();
                // An error is not silent either.
                let Ok((yaml, report)) = convert_text(&text.join("\n---\n"), &name) else { continue };
                let mut said = report.notes.iter().chain(&report.lost).map(ToString::to_string);
                let is_told = yaml.contains("surprise") || said.any(|line| line.contains("surprise"));
                assert!(is_told, "{name}: {path}/{key}: {yaml}");
            }
        }
    }
}
