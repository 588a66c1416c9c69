//! The Pods of the operator.

use std::collections::BTreeMap;

use clap::CommandFactory;
use serde_json::{Value, json};

use crate::render::render;

/// Values that set every flag.
fn everything() -> Value {
    json!({
        "watchNamespaces": ["shop"],
        "operator": {
            "logFormat": "text",
            "log": "debug",
            "clusterName": "eu-1",
            "resyncInterval": "2m",
            "reconcileTimeout": "1m30s",
            "teardownDeadline": "10m",
            "keepUnusedSets": "1h",
            "maxConnectionsPerServer": 8,
        },
        "audit": {
            "log": "/var/log/rolecall/audit.jsonl",
            "volume": {"persistentVolumeClaim": {"claimName": "audit"}},
            "keySecret": "audit-key",
        },
    })
}

#[test]
fn the_operator_understands_what_it_is_started_with() {
    for values in [json!({}), everything()] {
        let rendered = render(&values);
        let arguments: Vec<String> =
            serde_json::from_value(rendered.container()["args"].clone()).expect("texts");
        let command = rolecall_operator::args::Args::command();
        let line = ["rolecall-operator".to_owned()].into_iter().chain(arguments);
        command.try_get_matches_from(line).expect("a command line");
    }
}

#[test]
fn every_flag_can_be_set() {
    let rendered = render(&everything());
    let arguments = rendered.container()["args"].to_string();
    for argument in rolecall_operator::args::Args::command().get_arguments() {
        let flag = format!("--{}=", argument.get_long().expect("a flag"));
        assert!(arguments.contains(&flag), "{flag} is not in {arguments}");
    }
}

#[test]
fn pods_meet_the_restricted_standard_and_write_nowhere() {
    let rendered = render(&json!({}));
    let job = &rendered.only("Job")["spec"]["template"]["spec"];
    let pods = [&rendered.pod()["spec"], &rendered.only("Pod")["spec"], job];
    for pod in pods {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
        assert_eq!(pod["enableServiceLinks"], false);
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    }
    assert_eq!(pods[1]["automountServiceAccountToken"], false, "the test needs no right");
    assert_eq!(
        rendered.only("ServiceAccount")["automountServiceAccountToken"],
        false,
        "nor does anybody else"
    );
}

#[test]
fn probes_ask_the_operator_and_no_database() {
    let rendered = render(&json!({}));
    let container = rendered.container();
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "http"}));
    }
    assert_eq!(container["ports"][0], json!({"name": "http", "containerPort": 8080, "protocol": "TCP"}));
    assert!(container["args"].to_string().contains("--listen=[::]:8080"));
}

#[test]
fn two_replicas_are_kept_apart_and_from_being_drained_together() {
    let rendered = render(&json!({}));
    assert_eq!(rendered.only("Deployment")["spec"]["replicas"], 2);
    let selector = &rendered.only("Deployment")["spec"]["selector"];
    let budget = &rendered.only("PodDisruptionBudget")["spec"];
    assert_eq!(budget["selector"], *selector);
    assert_eq!(budget["maxUnavailable"], 1);
    assert_eq!(rendered.pod()["spec"]["topologySpreadConstraints"][0]["labelSelector"], *selector);
}

#[test]
fn one_replica_does_not_block_a_drain() {
    assert!(render(&json!({"replicaCount": 1})).of("PodDisruptionBudget").is_empty());
    let without = json!({"replicaCount": 3, "podDisruptionBudget": {"enabled": false}});
    assert!(render(&without).of("PodDisruptionBudget").is_empty());
}

#[test]
fn an_upgrade_of_the_chart_alone_replaces_no_pod() {
    let labels = render(&json!({}));
    let labels = &labels.pod()["metadata"]["labels"];
    assert!(labels["helm.sh/chart"].is_null() && labels["app.kubernetes.io/version"].is_null(), "{labels}");
}

#[test]
fn the_image_is_found_where_it_is() {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    for (values, image) in [
        (json!({}), "rolecall/rolecall-operator:0.1.0".to_owned()),
        (json!({"image": {"tag": "1.2"}}), "rolecall/rolecall-operator:1.2".to_owned()),
        (
            json!({"image": {"registry": "a.example/"}}),
            "a.example/rolecall/rolecall-operator:0.1.0".to_owned(),
        ),
        (
            json!({"image": {"registry": "a.example", "repository": "x", "tag": "1", "digest": digest}, "global": {"imageRegistry": "b.example"}}),
            format!("b.example/x@{digest}"),
        ),
    ] {
        let rendered = render(&values);
        assert_eq!(rendered.container()["image"], image);
        assert_eq!(rendered.only("Pod")["spec"]["containers"][0]["image"], image);
    }
}

#[test]
fn secrets_to_pull_with_are_those_of_all_charts_and_of_this_one() {
    let values = json!({"global": {"imagePullSecrets": ["a"]}, "image": {"pullSecrets": [{"name": "b"}]}});
    let rendered = render(&values);
    assert_eq!(rendered.pod()["spec"]["imagePullSecrets"], json!([{"name": "a"}, {"name": "b"}]));
}

#[test]
fn the_audit_log_lies_on_its_volume_and_its_key_is_that_of_the_secret() {
    let mut values = everything();
    values["extraVolumes"] = json!([{"name": "ca", "configMap": {"name": "ca"}}]);
    values["extraVolumeMounts"] = json!([{"name": "ca", "mountPath": "/ca"}]);
    let rendered = render(&values);
    let (pod, container) = (&rendered.pod()["spec"], rendered.container());
    let places = |list: &Value, field: &str| -> BTreeMap<String, Value> {
        let list = list.as_array().into_iter().flatten();
        list.map(|one| (one["name"].as_str().unwrap_or_default().to_owned(), one[field].clone())).collect()
    };
    let mounts = places(&container["volumeMounts"], "mountPath");
    assert_eq!(mounts["audit"], "/var/log/rolecall");
    assert!(container["args"].to_string().contains("--audit-log=/var/log/rolecall/audit.jsonl"));
    assert!(
        container["args"]
            .to_string()
            .contains(&format!("--audit-key-file={}/key", mounts["audit-key"].as_str().unwrap_or_default()))
    );
    assert_eq!(places(&pod["volumes"], "persistentVolumeClaim")["audit"], json!({"claimName": "audit"}));
    assert_eq!(places(&pod["volumes"], "secret")["audit-key"]["secretName"], "audit-key");
    assert_eq!(mounts.len(), 3);
    let usual = render(&json!({}));
    assert!(usual.container()["volumeMounts"].is_null() && usual.pod()["spec"]["volumes"].is_null());
}

#[test]
fn what_is_added_is_there() {
    let values = json!({
        "extraArgs": ["--more=1"],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "extraContainers": [{"name": "proxy", "image": "proxy"}],
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-b'}\n",
        ],
    });
    let rendered = render(&values);
    let (pod, container) = (&rendered.pod()["spec"], rendered.container());
    let last = |list: &Value| list.as_array().and_then(|list| list.last()).cloned().unwrap_or_default();
    assert_eq!(last(&container["args"]), "--more=1");
    assert_eq!(last(&container["env"]), values["extraEnv"][0]);
    assert_eq!(container["envFrom"], values["extraEnvFrom"]);
    assert_eq!(container["volumeMounts"], values["extraVolumeMounts"]);
    assert_eq!(pod["volumes"], values["extraVolumes"]);
    assert_eq!(last(&pod["containers"]), values["extraContainers"][0]);
    assert_eq!(rendered.names("ConfigMap"), ["rolecall-a", "rolecall-b"]);
}

#[test]
fn where_pods_run_can_be_said() {
    let values = json!({
        "hostUsers": false,
        "terminationGracePeriodSeconds": 60,
        "priorityClassName": "system-cluster-critical",
        "runtimeClassName": "gvisor",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "dnsPolicy": "Default",
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
    });
    let rendered = render(&values);
    for (name, value) in values.as_object().expect("values") {
        assert_eq!(rendered.pod()["spec"][name], *value, "{name}");
    }
    assert!(render(&json!({})).pod()["spec"]["hostUsers"].is_null(), "the cluster's default");
}

#[test]
fn labels_and_annotations_of_all_objects_are_on_all_of_them() {
    let values = json!({
        "commonLabels": {"team": "platform"},
        "commonAnnotations": {"owner": "platform"},
        "podLabels": {"pod": "yes"},
        "podAnnotations": {"pod": "yes"},
        "monitoring": {"serviceMonitor": {"enabled": true}, "prometheusRule": {"enabled": true}, "dashboard": {"enabled": true}},
        "networkPolicy": {"enabled": true},
    });
    let rendered = render(&values);
    for object in rendered.all().iter().chain([rendered.pod()]) {
        assert_eq!(object["metadata"]["labels"]["team"], "platform", "{object}");
        assert_eq!(object["metadata"]["annotations"]["owner"], "platform", "{object}");
    }
    assert_eq!(rendered.pod()["metadata"]["labels"]["pod"], "yes");
    assert_eq!(rendered.pod()["metadata"]["annotations"]["pod"], "yes");
}

#[test]
fn names_follow_the_release_and_stay_short_enough() {
    let name = |values: &Value| render(values).names("Deployment")[0].clone();
    assert_eq!(name(&json!({})), "rolecall-system/rolecall-operator");
    assert_eq!(name(&json!({"nameOverride": "jit"})), "rolecall-system/rolecall-jit-operator");
    assert_eq!(name(&json!({"fullnameOverride": "jit"})), "rolecall-system/jit-operator");
    let long = render(&json!({"fullnameOverride": "n".repeat(80)}));
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for object in long.all() {
        let name = object["metadata"]["name"].as_str().expect("a name");
        assert!(name.len() <= 63, "{name}");
        *kinds.entry(object["kind"].to_string()).or_default() += 1;
    }
    assert!(kinds.len() > 8, "{kinds:?}");
}
