//! What nodes would do: the operator's Deployment runs, and so do the Jobs and Pods of Helm's hooks.

use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_testbed::{Cluster, Identity};
use rolecall_tests::operator::{FILTER, Operator};
use rolecall_tests::{cluster, process};
use serde_json::{Value, json};

const NAMESPACE: &str = "rolecall-system";

/// Plays nodes for a cluster, until it is dropped.
pub(super) async fn play(cluster: &Cluster) -> Result<()> {
    let mut operator: Option<(Vec<String>, Operator)> = None;
    loop {
        let wanted = arguments(cluster).await;
        if operator.as_ref().map(|(running, _)| running) != wanted.as_ref() {
            if let Some((_, old)) = operator.take() {
                old.stop().await?;
            }
            if let Some(arguments) = wanted {
                let identity = Identity::service_account(NAMESPACE, "rolecall-operator");
                let config = cluster::config(&cluster.kubeconfig_for(&identity).await?).await?;
                let started = Operator::start_with(config, &arguments, FILTER)?;
                operator = Some((arguments, started));
            }
        }
        if operator.is_some() {
            report(cluster).await?;
        }
        end_hooks(cluster).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The arguments of the operator that the cluster wants, with an address of its own; none where it wants none.
async fn arguments(cluster: &Cluster) -> Option<Vec<String>> {
    let get = ["get", "deployment", "rolecall-operator", "--namespace", NAMESPACE, "--output", "json"];
    let deployment: Value = serde_json::from_str(&cluster.kubectl(&get).await.ok()?).ok()?;
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array()?;
    let arguments = arguments.iter().filter_map(Value::as_str);
    let own = arguments
        .map(|argument| if argument.starts_with("--listen=") { "--listen=127.0.0.1:0" } else { argument });
    Some(own.map(str::to_owned).collect())
}

/// The Deployment's status says what `helm --wait` waits for: its operators are of the newest template, and ready.
async fn report(cluster: &Cluster) -> Result<()> {
    let deployment = ["deployment", "rolecall-operator", "--namespace", NAMESPACE];
    let get = [&["get"], &deployment[..], &["--output", "json", "--ignore-not-found"]].concat();
    let text = cluster.kubectl(&get).await?;
    let Ok(object) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
    let generation = &object["metadata"]["generation"];
    if &object["status"]["observedGeneration"] == generation {
        return Ok(());
    }
    let count = &object["spec"]["replicas"];
    if !sessions_are_admitted(cluster).await {
        return Ok(());
    }
    let condition = |kind, reason| json!({"type": kind, "status": "True", "reason": reason, "message": ""});
    let patch = json!({"status": {
        "observedGeneration": generation,
        "replicas": count,
        "updatedReplicas": count,
        "readyReplicas": count,
        "availableReplicas": count,
        "conditions": [
            condition("Available", "MinimumReplicasAvailable"),
            condition("Progressing", "NewReplicaSetAvailable"),
        ],
    }});
    let patch = patch.to_string();
    let patch = ["--subresource", "status", "--type", "merge", "--patch", &patch];
    // Helm may have deleted it meanwhile.
    let _ = cluster.kubectl(&[&["patch"], &deployment[..], &patch].concat()).await;
    Ok(())
}

/// Whether the API server takes a session. Mutating admission policies refuse a new kind until its schema is known, some
/// seconds later: Pods take longer to become ready than that, and what is played here does not.
async fn sessions_are_admitted(cluster: &Cluster) -> bool {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples/database_session.yaml");
    let create = ["create", "--dry-run=server", "--namespace", "default", "--filename", sample];
    match cluster.kubectl(&create).await {
        Ok(_) => true,
        Err(refused) => {
            eprintln!("not ready yet: {refused}");
            false
        }
    }
}

/// Jobs of hooks run the program, as their account. Pods of hooks succeed: they ask by a name that only a cluster has.
async fn end_hooks(cluster: &Cluster) -> Result<()> {
    let list = cluster.kubectl(&["get", "jobs,pods", "--namespace", NAMESPACE, "--output", "json"]).await?;
    let list: Value = serde_json::from_str(&list)?;
    for object in list["items"].as_array().context("a list")? {
        let name = object["metadata"]["name"].as_str().context("a name")?;
        let (kind, status) = match object["kind"].as_str() {
            Some("Job") if object["status"]["conditions"].is_null() => ("job", run(cluster, object).await?),
            Some("Pod") if object["status"]["phase"] != "Succeeded" => ("pod", json!({"phase": "Succeeded"})),
            _ => continue,
        };
        let patch = json!({"status": status}).to_string();
        let patch = ["--subresource", "status", "--type", "merge", "--patch", &patch];
        // Helm may have deleted it meanwhile.
        let _ =
            cluster.kubectl(&[&["patch", kind, name, "--namespace", NAMESPACE], &patch[..]].concat()).await;
    }
    Ok(())
}

/// Runs the program of a Job; the Job's status after it.
async fn run(cluster: &Cluster, job: &Value) -> Result<Value> {
    let pod = &job["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().context("an account")?;
    let kubeconfig = cluster.kubeconfig_for(&Identity::service_account(NAMESPACE, account)).await?;
    let arguments = pod["containers"][0]["args"].as_array().context("arguments")?;
    let arguments: Vec<String> =
        arguments.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect();
    let output = process::run_operator(&kubeconfig, &arguments).await?;
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    let time = "2026-01-01T00:00:00Z";
    let outcome = if output.status.success() {
        ["SuccessCriteriaMet", "Complete"]
    } else {
        ["FailureTarget", "Failed"]
    };
    let conditions = outcome.map(
        |kind| json!({"type": kind, "status": "True", "lastTransitionTime": time, "lastProbeTime": time}),
    );
    let mut status = json!({"startTime": time, "conditions": conditions, "uncountedTerminatedPods": {}});
    if output.status.success() {
        status["succeeded"] = 1.into();
        status["completionTime"] = time.into();
    } else {
        status["failed"] = 1.into();
    }
    Ok(status)
}
