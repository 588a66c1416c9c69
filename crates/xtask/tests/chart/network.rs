//! The NetworkPolicy, and the Service.

use serde_json::{Value, json};

use crate::render::render;

#[test]
fn there_is_no_policy_unless_it_is_asked_for() {
    assert!(render(&json!({})).of("NetworkPolicy").is_empty());
}

#[test]
fn the_operator_reaches_only_what_is_named() {
    let values = json!({"networkPolicy": {
        "enabled": true,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "apiServer": {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [6443]},
        "databases": {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [5432]},
        "extraEgress": [{"ports": [{"port": 3128}]}],
    }});
    let rendered = render(&values);
    let policy = &rendered.only("NetworkPolicy")["spec"];
    assert_eq!(policy["podSelector"], rendered.only("Deployment")["spec"]["selector"]);
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let tcp = |port: u16| json!([{"port": port, "protocol": "TCP"}]);
    let ingress = json!([{"ports": tcp(8080), "from": values["networkPolicy"]["metricsFrom"]}]);
    assert_eq!(policy["ingress"], ingress);
    let egress = json!([
        {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        {"ports": tcp(6443), "to": values["networkPolicy"]["apiServer"]["to"]},
        {"ports": tcp(5432), "to": values["networkPolicy"]["databases"]["to"]},
        {"ports": [{"port": 3128}]},
    ]);
    assert_eq!(policy["egress"], egress);
}

#[test]
fn aws_is_reached_where_that_is_asked_for() {
    let rendered = render(&json!({"networkPolicy": {"enabled": true, "aws": true}}));
    let egress = rendered.only("NetworkPolicy")["spec"]["egress"].as_array().expect("rules");
    let cidrs: Vec<&Value> = egress
        .iter()
        .filter_map(|rule| rule["to"].as_array())
        .flatten()
        .map(|peer| &peer["ipBlock"]["cidr"])
        .collect();
    assert_eq!(cidrs, ["169.254.170.23/32", "fd00:ec2::23/128"], "the agent of EKS Pod Identity");
}

#[test]
fn the_service_leads_to_the_operator_and_to_no_other_pod() {
    let rendered =
        render(&json!({"service": {"port": 9090, "annotations": {"prometheus.io/scrape": "true"}}}));
    let service = rendered.only("Service");
    assert_eq!(service["spec"]["selector"], rendered.only("Deployment")["spec"]["selector"]["matchLabels"]);
    assert_eq!(service["spec"]["ports"][0]["port"], 9090);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], rendered.container()["ports"][0]["name"]);
    let test = &rendered.only("Pod")["metadata"]["labels"];
    let selector = service["spec"]["selector"].as_object().expect("labels");
    assert!(selector.iter().any(|(label, value)| test[label] != *value), "{test}");
    let without = json!({"service": {"enabled": false}});
    assert!(render(&without).of("Service").is_empty());
}
