//! What Helm runs beside the operator: the test of a release, and the check before it is uninstalled.

use clap::CommandFactory;
use serde_json::{Value, json};

use crate::render::render;

/// Fails when the operator does not understand these arguments.
fn assert_understood(arguments: &Value) {
    let arguments: Vec<String> = serde_json::from_value(arguments.clone()).expect("texts");
    let line = ["rolecall-operator".to_owned()].into_iter().chain(arguments);
    rolecall_operator::args::Args::command().try_get_matches_from(line).expect("a command line");
}

#[test]
fn helm_test_asks_the_service_whether_the_operator_is_ready() {
    let rendered = render(&json!({"service": {"port": 9090}}));
    let pod = rendered.only("Pod");
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    let arguments = &pod["spec"]["containers"][0]["args"];
    assert_eq!(*arguments, json!(["probe", "http://rolecall-operator.rolecall-system.svc:9090/readyz"]));
    assert_understood(arguments);
    assert!(render(&json!({"tests": {"enabled": false}})).of("Pod").is_empty());
    assert!(render(&json!({"service": {"enabled": false}})).of("Pod").is_empty(), "there is nobody to ask");
}

#[test]
fn accesses_end_before_a_release_is_uninstalled() {
    let (lease, command) = ("--leader-election-namespace=rolecall-system", "prepare-uninstall");
    let (timeout, release) = ("--timeout=240s", "--release=rolecall-system/rolecall");
    let binding = "--finalizer-binding=rolecall-session-finalizer";
    for (values, arguments) in [
        (json!({}), json!([lease, command, timeout, release, binding])),
        (
            json!({"watchNamespaces": ["shop"], "uninstall": {"timeoutSeconds": 9, "force": true}}),
            json!(["--watch-namespace=shop", lease, command, "--timeout=9s", release, "--force"]),
        ),
        (json!({"crds": {"keep": false}}), json!([lease, command, timeout, release, "--kinds-too", binding])),
        (
            json!({"crds": {"keep": false, "enabled": false}}),
            json!([lease, command, timeout, release, binding]),
        ),
    ] {
        let rendered = render(&values);
        let job = rendered.only("Job");
        assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-delete");
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["args"], arguments);
        assert_understood(&arguments);
        let operator = &rendered.pod()["spec"];
        assert_eq!(pod["serviceAccountName"], operator["serviceAccountName"]);
        assert_eq!(pod["containers"][0]["image"], operator["containers"][0]["image"]);
    }
    assert!(render(&json!({"uninstall": {"enabled": false}})).of("Job").is_empty());
}
