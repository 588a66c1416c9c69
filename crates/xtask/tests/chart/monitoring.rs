//! Metrics, alerts, dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use regex::Regex;
use rolecall_testbed::components::charts;
use serde_json::{Value, json};

use crate::render::{chart, render};

const README: &str = include_str!("../../../../README.md");
const RUNBOOK: &str = include_str!("../../../../docs/runbook.md");

fn alerts() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(chart().join("files/alerts.yaml")).expect("alerts"))
        .expect("YAML")
}

/// Each alert with its expression.
fn each(alerts: &Value) -> Vec<(String, String)> {
    let rules = alerts["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

/// The metrics of the operator that an expression or a page names.
fn metrics(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\brolecall_[a-z_]+[a-z]").expect("an expression");
    let suffix = Regex::new("_(bucket|sum|count)$").expect("an expression");
    name.find_iter(text).map(|name| suffix.replace(name.as_str(), "").into_owned()).collect()
}

#[test]
fn metrics_are_read_through_the_service_or_from_the_pods() {
    let settings = json!({
        "enabled": true,
        "labels": {"release": "prometheus"},
        "interval": "15s",
        "relabelings": [{"action": "labeldrop", "regex": "pod"}],
        "metricRelabelings": [{"action": "labeldrop", "regex": "instance"}],
    });
    for (kind, name, endpoints) in [
        ("ServiceMonitor", "serviceMonitor", "endpoints"),
        ("PodMonitor", "podMonitor", "podMetricsEndpoints"),
    ] {
        let rendered = render(&json!({"monitoring": {name: settings}, "service": {"enabled": false}}));
        let monitor = rendered.only(kind);
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        assert_eq!(monitor["spec"]["selector"], rendered.only("Deployment")["spec"]["selector"]);
        let endpoint = &monitor["spec"][endpoints][0];
        assert_eq!((&endpoint["port"], &endpoint["path"]), (&json!("http"), &json!("/metrics")));
        for name in ["interval", "relabelings", "metricRelabelings"] {
            assert_eq!(endpoint[name], settings[name], "{name}");
        }
        let services = rendered.of("Service").len();
        assert_eq!(services, usize::from(kind == "ServiceMonitor"), "it needs the Service");
    }
    let nothing = render(&json!({}));
    for kind in ["ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"] {
        assert!(nothing.of(kind).is_empty(), "{kind}");
    }
}

#[test]
fn every_alert_comes_with_a_link_to_its_page_in_the_runbook() {
    let rendered = render(&json!({"monitoring": {"prometheusRule": {
        "enabled": true,
        "runbookUrl": "https://docs.example/runbook.html",
        "alertLabels": {"team": "platform"},
        "disabled": ["RolecallEventsDropped"],
        "extraGroups": [{"name": "mine", "rules": []}],
    }}}));
    let groups = rendered.only("PrometheusRule")["spec"]["groups"].as_array().expect("groups");
    assert_eq!(groups[1], json!({"name": "mine", "rules": []}));
    let rules = groups[0]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), each(&alerts()).len() - 1);
    for rule in rules {
        let alert = rule["alert"].as_str().expect("a name");
        assert_ne!(alert, "RolecallEventsDropped");
        assert_eq!(rule["labels"]["team"], "platform");
        assert!(rule["labels"]["severity"].is_string() && rule["annotations"]["summary"].is_string());
        let link = format!("https://docs.example/runbook.html#{}", alert.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], link);
    }
}

#[test]
fn the_runbook_has_a_section_for_every_alert_and_no_other() {
    let sections: BTreeSet<&str> = RUNBOOK
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|title| title.starts_with("Rolecall"))
        .collect();
    let alerts = each(&alerts());
    let alerts: BTreeSet<&str> = alerts.iter().map(|(alert, _)| alert.as_str()).collect();
    assert_eq!(sections, alerts);
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    let promtool = charts::promtool().expect("promtool");
    let dir = tempfile::tempdir().expect("a directory");
    let tests = include_str!("alerts.test.yaml");
    for (alert, _) in each(&alerts()) {
        for what in ["fires", "is silent"] {
            assert!(tests.contains(&format!("name: {alert} {what}\n")), "{alert} {what} is not tested");
        }
    }
    fs::copy(chart().join("files/alerts.yaml"), dir.path().join("alerts.yaml")).expect("a copy");
    fs::write(dir.path().join("alerts.test.yaml"), tests).expect("a file");
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output =
            Command::new(&promtool).args(arguments).current_dir(dir.path()).output().expect("promtool");
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let rows: String = README.lines().filter(|line| line.starts_with("| `rolecall_")).collect();
    let known = metrics(&rows);
    let dashboard = fs::read_to_string(chart().join("files/dashboard.json")).expect("a dashboard");
    let expressions = each(&alerts()).into_iter().map(|(_, expression)| expression).collect::<String>();
    let asked: BTreeSet<String> = metrics(&expressions).union(&metrics(&dashboard)).cloned().collect();
    let unknown: Vec<&String> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "not in the README: {unknown:?}");
    let unseen: Vec<&String> =
        known.difference(&asked).filter(|name| *name != "rolecall_build_info").collect();
    assert!(unseen.is_empty(), "in neither: {unseen:?}");
}

#[test]
fn the_dashboard_is_found_by_grafana() {
    let values = json!({"enabled": true, "annotations": {"grafana_folder": "Databases"}});
    let rendered = render(&json!({"monitoring": {"dashboard": values}}));
    let map = rendered.only("ConfigMap");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["metadata"]["annotations"]["grafana_folder"], "Databases");
    let dashboard: Value =
        serde_json::from_str(map["data"]["rolecall.json"].as_str().expect("a text")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<String> = panels.iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(ids.len(), panels.len());
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()));
}
