//! Admission policies.

use std::collections::BTreeSet;
use std::fs;

use rolecall_xtask::root;
use serde_json::{Value, json};

use crate::render::{Rendered, refusal, render, render_for};

/// The generated policies of a directory, by their names.
fn generated(directory: &str) -> Vec<(String, Value)> {
    let files = fs::read_dir(root().join("deploy").join(directory)).expect("policies").flatten();
    let paths = files.map(|file| file.path());
    let policies =
        paths.filter(|path| !path.ends_with("bindings.yaml") && !path.ends_with("kustomization.yaml"));
    policies
        .map(|path| {
            let text = fs::read_to_string(path).expect("a policy");
            let policy: Value = serde_saphyr::from_str(&text).expect("YAML");
            (policy["metadata"]["name"].as_str().expect("a name").to_owned(), policy)
        })
        .collect()
}

/// Every policy of a kind is there as it is generated, and bound.
fn assert_policies(rendered: &Rendered, kind: &str, directories: &[&str]) {
    let found = rendered.of(kind);
    let expected: Vec<_> = directories.iter().flat_map(|directory| generated(directory)).collect();
    assert_eq!(found.len(), expected.len());
    for (name, expected) in &expected {
        let policy = found.iter().find(|policy| policy["metadata"]["name"] == **name).expect("the policy");
        assert_eq!(policy["spec"], expected["spec"], "{name}");
    }
    let bound: BTreeSet<String> = rendered
        .of(&format!("{kind}Binding"))
        .into_iter()
        .map(|binding| binding["spec"]["policyName"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(bound, expected.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>());
}

#[test]
fn the_policies_are_installed_and_refuse() {
    let rendered = render(&json!({}));
    assert_policies(&rendered, "ValidatingAdmissionPolicy", &["admission"]);
    for binding in rendered.of("ValidatingAdmissionPolicyBinding") {
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    }
    let warning = render(&json!({"admission": {"validationActions": ["Warn", "Audit"]}}));
    for binding in warning.of("ValidatingAdmissionPolicyBinding") {
        assert_eq!(binding["spec"]["validationActions"], json!(["Warn", "Audit"]));
    }
    // Nobody can tell then who made a decision, and the operator knows.
    let enforced = |values: Value| {
        let arguments = render(&values).container()["args"].to_string();
        [true, false].into_iter().find(|set| arguments.contains(&format!("--admission-enforced={set}")))
    };
    assert_eq!(enforced(json!({})), Some(true));
    assert_eq!(enforced(json!({"admission": {"validationActions": ["Deny", "Audit"]}})), Some(true));
    assert_eq!(enforced(json!({"admission": {"validationActions": ["Warn", "Audit"]}})), Some(false));
    assert_eq!(enforced(json!({"admission": {"enabled": false}})), Some(false));
    assert!(refusal(&json!({"admission": {"validationActions": []}})).contains("validationActions"));
}

#[test]
fn who_asks_is_written_where_the_api_server_can() {
    let kind = "MutatingAdmissionPolicy";
    assert_policies(&render(&json!({})), kind, &["mutating", "finalizer"]);
    let never = render(&json!({"admission": {"mutating": "Never"}}));
    assert!(never.of(kind).is_empty() && never.of("MutatingAdmissionPolicyBinding").is_empty());
    assert!(!never.of("ValidatingAdmissionPolicy").is_empty());
    assert!(render_for("1.31.0", &json!({})).of(kind).is_empty());
    assert!(render_for("1.35.9", &json!({})).of(kind).is_empty());
    assert_eq!(render_for("v1.36.0-eks-1a2b3c", &json!({})).of(kind).len(), 3);
}

#[test]
fn sessions_get_the_finalizer_only_from_who_can_stop_that_before_the_operator_goes() {
    let name = "rolecall-session-finalizer";
    let policies = |values: &Value| render(values).names("MutatingAdmissionPolicyBinding");
    assert!(policies(&json!({})).contains(&name.to_owned()));
    for without in [
        json!({"watchNamespaces": ["shop"]}),
        json!({"uninstall": {"enabled": false}}),
        json!({"rbac": {"create": false}}),
    ] {
        let found = policies(&without);
        assert!(!found.contains(&name.to_owned()) && found.len() == 2, "{without}: {found:?}");
        assert!(!render(&without).names("ClusterRole").contains(&"rolecall-operator-uninstall".to_owned()));
    }
    let rendered = render(&json!({"fullnameOverride": "second"}));
    let name = "second-session-finalizer";
    assert!(rendered.names("MutatingAdmissionPolicyBinding").contains(&name.to_owned()));
    let arguments = &rendered.only("Job")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(arguments.to_string().contains(&format!("--finalizer-binding={name}\"")), "{arguments}");
    let roles = rendered.of("ClusterRole");
    let role = roles.iter().find(|role| role["metadata"]["name"] == "second-operator-uninstall");
    assert_eq!(role.expect("a role")["rules"][0]["resourceNames"], json!([name]));
}

#[test]
fn the_policies_can_be_left_out() {
    let rendered = render(&json!({"admission": {"enabled": false, "mutating": "Always"}}));
    assert!(
        rendered
            .all()
            .iter()
            .all(|object| !object["kind"].as_str().unwrap_or_default().contains("Admission"))
    );
}

#[test]
fn two_releases_have_policies_of_their_own() {
    let rendered = render(&json!({"fullnameOverride": "second"}));
    let names = rendered.names("ValidatingAdmissionPolicy");
    assert!(names.iter().all(|name| name.starts_with("second-")), "{names:?}");
    assert_eq!(rendered.names("ValidatingAdmissionPolicyBinding"), names);
}
