//! A team's objects beside the operator: not in its first release, but as a hook of it, or in a chart of their own.

use std::fs;
use std::path::Path;

use rolecall_testbed::Cluster;
use rolecall_xtask::root;
use serde_json::{Value, json};

use crate::cluster::{Helm, namespaces};

/// The values in the section of the book about objects in the first release.
fn values_of_the_book() -> Value {
    let page = fs::read_to_string(root().join("docs/install.md")).expect("a page");
    let section = page.split("\n### ").find(|section| section.starts_with("Objects with the first release"));
    let block = section.and_then(|section| Some(section.split_once("```yaml\n")?.1.split_once("```")?.0));
    serde_saphyr::from_str(block.expect("values")).expect("YAML")
}

fn write(dir: &Path, values: &Value) -> String {
    let file = dir.join("values.json");
    fs::write(&file, values.to_string()).expect("a file");
    file.display().to_string()
}

/// A cluster with what `--wait` waits for: somebody who looks at Deployments.
async fn cluster() -> Cluster {
    let cluster =
        Cluster::builder().controllers(&["deployment-controller"]).start().await.expect("a cluster");
    namespaces(&cluster).await;
    cluster
}

#[tokio::test]
async fn objects_are_in_the_first_release_as_a_hook_that_runs_once() {
    let cluster = cluster().await;
    let helm = Helm::on(&cluster);
    let dir = tempfile::tempdir().expect("a directory");
    let mut values = values_of_the_book();
    values["watchNamespaces"] = json!(["shop"]);
    values["replicaCount"] = json!(0);

    let mut without = values.clone();
    for object in without["extraObjects"].as_array_mut().expect("objects") {
        object["metadata"]["annotations"] = json!({});
    }
    let refused = helm.run(&["install", "rolecall", ".", "--values", &write(dir.path(), &without)]).await;
    let refused = refused.expect_err("Helm looks all kinds up before it makes any");
    assert!(refused.contains("ensure CRDs are installed first"), "{refused}");

    let file = write(dir.path(), &values);
    helm.run(&["install", "rolecall", ".", "--wait", "--values", &file]).await.expect("installed");
    let uid = ["get", "dba", "orders", "--namespace", "shop", "--output", "jsonpath={.metadata.uid}"];
    let made = cluster.kubectl(&uid).await.expect("it is there");
    helm.run(&["upgrade", "rolecall", ".", "--values", &file]).await.expect("upgraded");
    assert_eq!(cluster.kubectl(&uid).await.expect("it is there"), made, "an upgrade makes it anew");
    helm.run(&["uninstall", "rolecall", "--no-hooks"]).await.expect("uninstalled");
    assert_eq!(cluster.kubectl(&uid).await.expect("it is there"), made, "it is nobody's");
}

#[tokio::test]
async fn objects_are_in_a_chart_of_their_own_after_that_of_the_operator() {
    let cluster = cluster().await;
    let helm = Helm::on(&cluster);
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("templates")).expect("a directory");
    fs::write(dir.path().join("Chart.yaml"), "apiVersion: v2\nname: shop-databases\nversion: 1.0.0\n")
        .expect("a file");
    for sample in fs::read_dir(root().join("deploy/samples")).expect("samples").flatten() {
        if sample.path().extension().is_some_and(|extension| extension == "yaml") {
            // What is in braces is Rolecall's, and not Helm's.
            let text = fs::read_to_string(sample.path()).expect("a sample").replace("{{", "{{ \"{{\" }}");
            fs::write(dir.path().join("templates").join(sample.file_name()), text).expect("a file");
        }
    }
    let chart = dir.path().display().to_string();
    let install = ["install", "shop-databases", chart.as_str()];
    helm.run(&install).await.expect_err("the kinds are not there");
    let operator = ["install", "rolecall", ".", "--wait", "--set", "watchNamespaces={shop},replicaCount=0"];
    helm.run(&operator).await.expect("installed");
    let kinds = "databaseadmins,databaseusers,provisioningroles,dbobjectimportrules,databasesessions";
    let count = ["get", kinds, "--all-namespaces", "--output", "name"];
    // Mutating admission policies refuse a new kind until the API server has read its schema, some seconds later.
    let session = root().join("deploy/samples/database_session.yaml").display().to_string();
    let create = ["create", "--dry-run=server", "--filename", session.as_str()];
    let served = async {
        while cluster.kubectl(&create).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), served).await.expect("the kinds are served");
    helm.run(&install).await.expect("installed");
    assert_eq!(cluster.kubectl(&count).await.expect("a list").lines().count(), 5);
    helm.run(&["uninstall", "shop-databases"]).await.expect("uninstalled, and before the operator");
    assert_eq!(cluster.kubectl(&count).await.expect("a list").trim(), "");
}
