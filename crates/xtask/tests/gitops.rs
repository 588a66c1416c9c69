//! What Argo CD and Flux show of Rolecall's objects, by the script and the expressions in `deploy/gitops`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what went wrong")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use cel::{Context, Program, Value as CelValue};
use rolecall_testbed::components::charts;
use rolecall_xtask::root;
use serde_json::{Value, json};

/// How an object is, to both tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// All is well: Healthy, Current.
    Well,
    /// Wait: Progressing, InProgress.
    Wait,
    /// A person has to do something: Degraded, Failed.
    Wrong,
    /// Somebody switched it off: Suspended to Argo CD; Flux goes by the conditions.
    Off,
}

fn object(kind: &str, spec: Value, phase: &str, conditions: &[(&str, &str, &str)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, status, reason)| json!({"type": kind, "status": status, "reason": reason, "message": format!("{reason} it is")}))
        .collect();
    let mut object = json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "a", "generation": 2},
        "spec": spec,
        "status": {"observedGeneration": 2, "conditions": conditions},
    });
    if !phase.is_empty() {
        object["status"]["phase"] = phase.into();
    }
    object
}

/// Objects as the operator writes them, with what they are.
fn objects() -> Vec<(&'static str, Value, Seen)> {
    let session = |phase: &str, conditions: &[(&str, &str, &str)]| {
        object("DatabaseSession", json!({}), phase, conditions)
    };
    let ready = [("Ready", "True", "Succeeded")];
    let stalled = |reason: &'static str| [("Ready", "False", reason), ("Stalled", "True", reason)];
    let waiting = |reason: &'static str| [("Ready", "False", reason), ("Reconciling", "True", reason)];

    let mut fresh = session("", &[("Ready", "Unknown", "Pending")]);
    fresh["status"].as_object_mut().expect("a status").remove("observedGeneration");
    let mut changed = session("Active", &[("Ready", "True", "Active")]);
    changed["metadata"]["generation"] = 3.into();
    let mut deleted = session("Ending", &waiting("Ending"));
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let mut ended = session("Ended", &stalled("Expired"));
    ended["status"]["endReason"] = "Expired".into();

    let mut all = vec![
        ("a session that the operator has not seen", fresh, Seen::Wait),
        ("a session that has changed", changed, Seen::Wait),
        ("a session that is Active", session("Active", &[("Ready", "True", "Active")]), Seen::Well),
        ("a session whose user is not there yet", session("Pending", &waiting("UserNotFound")), Seen::Wait),
        (
            "a session whose server does not answer",
            session("Pending", &waiting("DatabaseUnreachable")),
            Seen::Wait,
        ),
        ("a session that policy does not allow", session("Pending", &stalled("AccessDenied")), Seen::Wrong),
        ("a session whose ttl is over", session("Ending", &waiting("Ending")), Seen::Wait),
        ("a session that is being deleted", deleted, Seen::Wait),
        ("a session that is over", ended, Seen::Well),
        ("a session that never started", session("Rejected", &stalled("AccessDenied")), Seen::Wrong),
    ];
    for kind in ["DatabaseAdmin", "DatabaseUser", "ProvisioningRole", "DbObjectImportRule"] {
        all.push((kind, object(kind, json!({}), "", &ready), Seen::Well));
        all.push((kind, object(kind, json!({}), "", &waiting("SecretNotFound")), Seen::Wait));
        all.push((kind, object(kind, json!({}), "", &stalled("Invalid")), Seen::Wrong));
    }
    for kind in ["DatabaseAdmin", "DatabaseUser"] {
        all.push((kind, object(kind, json!({"suspend": true}), "", &ready), Seen::Off));
    }
    all
}

#[test]
fn argo_cd_shows_what_a_person_would_say() {
    let objects = objects();
    let list: Vec<&Value> = objects.iter().map(|(_, object, _)| object).collect();
    let script = root().join("deploy/gitops/argocd/health.lua");
    let mut program = Command::new(charts::lua_health().expect("an interpreter"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = program.stdin.take().expect("an input");
    input.write_all(json!(list).to_string().as_bytes()).expect("it reads");
    drop(input);
    let output = program.wait_with_output().expect("it ends");
    let verdicts: Vec<Value> = serde_json::from_slice(&output.stdout).expect("verdicts");
    assert_eq!(verdicts.len(), objects.len());
    for ((name, object, seen), verdict) in objects.iter().zip(verdicts) {
        let expected = match seen {
            Seen::Well => "Healthy",
            Seen::Wait => "Progressing",
            Seen::Wrong => "Degraded",
            Seen::Off => "Suspended",
        };
        assert_eq!(verdict["status"], expected, "{name}: {object}");
        if *seen == Seen::Wrong {
            assert!(
                verdict["message"].as_str().is_some_and(|message| message.ends_with(" it is")),
                "{name}: {verdict}"
            );
        }
    }
}

#[test]
fn the_settings_of_argo_cd_hold_the_script() {
    let read =
        |name: &str| fs::read_to_string(root().join("deploy/gitops/argocd").join(name)).expect("a file");
    let settings: Value = serde_saphyr::from_str(&read("argocd-cm.yaml")).expect("YAML");
    let customizations = settings["data"]["resource.customizations"].as_str().expect("a text");
    let customizations: Value = serde_saphyr::from_str(customizations).expect("YAML");
    assert_eq!(customizations["rolecall.dev/*"]["health.lua"], read("health.lua"));
}

/// Whether an expression holds for an object.
fn holds(expression: &str, object: &Value) -> bool {
    let program = Program::compile(expression).expect("an expression");
    let mut context = Context::default();
    for (name, value) in object.as_object().expect("an object") {
        context.add_variable(name.as_str(), value).expect("a value");
    }
    match program.execute(&context) {
        Ok(CelValue::Bool(holds)) => holds,
        other => panic!("{expression}: {other:?} for {object}"),
    }
}

#[test]
fn flux_waits_for_sessions_that_will_start_and_for_no_other() {
    let text = fs::read_to_string(root().join("deploy/gitops/flux/databases.yaml")).expect("a file");
    let kustomization: Value = serde_saphyr::from_str(&text).expect("YAML");
    let check = &kustomization["spec"]["healthCheckExprs"][0];
    let expression = |name: &str| check[name].as_str().expect("an expression").to_owned();
    let (current, failed) = (expression("current"), expression("failed"));
    for (name, object, seen) in objects() {
        if object["kind"] != check["kind"] || object["metadata"]["deletionTimestamp"].is_string() {
            continue;
        }
        let verdict = (holds(&failed, &object), holds(&current, &object));
        let expected = match seen {
            Seen::Well | Seen::Off => (false, true),
            Seen::Wait => (false, false),
            Seen::Wrong => (true, false),
        };
        assert_eq!(verdict, expected, "{name}: {object}");
    }
}
