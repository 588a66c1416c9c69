//! What Argo CD, Flux and Helm make of Rolecall's objects, by their own libraries, with the script and the expressions in
//! `deploy/gitops`. The objects are recorded, of every kind in every phase: `tests/tests/e2e/gitops/recorded.rs`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what went wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rolecall_testbed::components::gitops;
use rolecall_xtask::root;
use serde_json::{Value, json};

/// How an object is, to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// All is well.
    Well,
    /// Wait.
    Wait,
    /// A person has to do something.
    Wrong,
    /// Somebody switched it off.
    Off,
    /// It is over, and nothing is wrong.
    Over,
    /// It is being deleted.
    Deleted,
}

impl Seen {
    /// What Argo CD, kstatus (Helm, and Flux without expressions) and Flux with our expressions are to show.
    fn shown(self) -> [&'static str; 3] {
        match self {
            Self::Well => ["Healthy", "Current", "Current"],
            Self::Wait => ["Progressing", "InProgress", "InProgress"],
            Self::Wrong => ["Degraded", "Failed", "Failed"],
            Self::Off => ["Suspended", "Current", "Current"],
            Self::Over => ["Healthy", "Failed", "Current"],
            Self::Deleted => ["Progressing", "Terminating", "InProgress"],
        }
    }
}

/// The recorded states, with how each is.
const STATES: [(&str, Seen); 13] = [
    ("fresh", Seen::Wait),
    ("changed", Seen::Wait),
    ("waiting", Seen::Wait),
    ("unreachable", Seen::Wait),
    ("ending", Seen::Wait),
    // Until somebody switches the database on again.
    ("ending-suspended", Seen::Wrong),
    ("active", Seen::Well),
    ("ready", Seen::Well),
    ("stalled", Seen::Wrong),
    ("rejected", Seen::Wrong),
    ("suspended", Seen::Off),
    ("ended", Seen::Over),
    ("deleted", Seen::Deleted),
];

/// The recorded objects: `Kind.state`, with how each is.
fn recorded() -> Vec<(String, Value, Seen)> {
    let mut all = Vec::new();
    let entries = fs::read_dir(root().join("tests/tests/e2e/gitops/recorded")).expect("recorded objects");
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "snap") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("an object");
        let (_, yaml) = text.trim_start_matches("---").split_once("---\n").expect("a header, and an object");
        let state = name.split_once('.').expect("a kind and a state").1;
        let (_, seen) = STATES.iter().find(|(known, _)| *known == state).expect("a known state");
        let object: Value = serde_saphyr::from_str(yaml).expect("YAML");
        // Only these two kinds have a finalizer to wait for.
        assert!(*seen != Seen::Deleted || object["metadata"]["finalizers"][0].is_string(), "{name}");
        all.push((name, object, *seen));
    }
    all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    all
}

/// What a program answers.
fn ask(program: &Path, question: &Value) -> Vec<Value> {
    let mut program = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    program.stdin.take().expect("an input").write_all(question.to_string().as_bytes()).expect("it reads");
    let output = program.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("verdicts")
}

/// What argocd-cm customizes, as Argo CD reads it.
fn customizations() -> Value {
    let text = fs::read_to_string(root().join("deploy/gitops/argocd/argocd-cm.yaml")).expect("a file");
    let settings: Value = serde_saphyr::from_str(&text).expect("YAML");
    let customizations = settings["data"]["resource.customizations"].as_str().expect("a text");
    serde_saphyr::from_str(customizations).expect("YAML")
}

/// The expressions of the Kustomization with databases.
fn expressions() -> Value {
    let text = fs::read_to_string(root().join("deploy/gitops/flux/databases.yaml")).expect("a file");
    serde_saphyr::from_str::<Value>(&text).expect("YAML")["spec"]["healthCheckExprs"].clone()
}

#[test]
fn every_phase_of_every_kind_is_recorded() {
    let recorded = recorded();
    let names: BTreeSet<&str> = recorded.iter().map(|(name, ..)| name.as_str()).collect();
    for kind in ["DatabaseAdmin", "DatabaseUser", "ProvisioningRole", "DbObjectImportRule", "DatabaseSession"]
    {
        for state in ["fresh", "stalled", "changed"] {
            assert!(names.contains(format!("{kind}.{state}").as_str()), "{kind} {state}: {names:?}");
        }
    }
    let phases: BTreeSet<&str> =
        recorded.iter().filter_map(|(_, object, _)| object["status"]["phase"].as_str()).collect();
    assert_eq!(phases, ["Active", "Ended", "Ending", "Pending", "Rejected"].into());
    for (name, object, _) in &recorded {
        let conditions = object["status"]["conditions"].as_array().expect("conditions");
        let is_true = |kind: &str| conditions.iter().any(|c| c["type"] == kind && c["status"] == "True");
        assert!(!(is_true("Reconciling") && is_true("Stalled")), "{name}: {object}");
        assert!(!is_true("Ready") || !is_true("Stalled"), "{name}: {object}");
    }
}

#[test]
fn argo_cd_shows_what_a_person_would_say() {
    let recorded = recorded();
    let objects: Vec<&Value> = recorded.iter().map(|(_, object, _)| object).collect();
    let program = gitops::argo_health().expect("Argo CD's library");
    let question = json!({"customizations": customizations(), "objects": objects});
    let verdicts = ask(&program, &question);
    assert_eq!(verdicts.len(), recorded.len());
    for ((name, object, seen), verdict) in recorded.iter().zip(&verdicts) {
        assert_eq!(verdict["status"], seen.shown()[0], "{name}: {object}");
        let message = verdict["message"].as_str().expect("a message");
        assert!(*seen != Seen::Wrong || message.starts_with("The message of "), "{name}: {verdict}");
    }
    // Untaught, it knows nothing of them, and takes nothing for healthy: which is why there is a script.
    let verdicts = ask(&program, &json!({"customizations": {}, "objects": objects}));
    for ((name, _, seen), verdict) in recorded.iter().zip(&verdicts) {
        assert!(*seen == Seen::Deleted || verdict["status"] == "", "{name}: {verdict}");
    }
}

#[test]
fn helm_and_flux_show_what_a_person_would_say() {
    let recorded = recorded();
    let objects: Vec<&Value> = recorded.iter().map(|(_, object, _)| object).collect();
    let program = gitops::flux_health().expect("Flux' libraries");
    let verdicts = ask(&program, &json!({"expressions": expressions(), "objects": objects}));
    assert_eq!(verdicts.len(), recorded.len());
    for ((name, object, seen), verdict) in recorded.iter().zip(&verdicts) {
        let [_, kstatus, flux] = seen.shown();
        assert_eq!(verdict["kstatus"]["status"], kstatus, "{name}: {object}");
        // The expressions are for sessions; of the others Flux has what kstatus says.
        let flux = if object["kind"] == "DatabaseSession" { flux } else { kstatus };
        assert_eq!(verdict["flux"]["status"], flux, "{name}: {object}");
    }
}

#[test]
fn the_settings_of_argo_cd_hold_the_script() {
    let script = fs::read_to_string(root().join("deploy/gitops/argocd/health.lua")).expect("a script");
    assert_eq!(customizations()["rolecall.dev/*"]["health.lua"], script);
}
