//! Releases on real API servers.

use std::path::PathBuf;
use std::time::Duration;

use rolecall_testbed::components::{charts, gitops};
use rolecall_testbed::{Cluster, KubernetesVersion, environment};
use rolecall_xtask::root;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::render::{NAMESPACE, chart, render, render_for};
use crate::schemas::conform;

const ACCOUNT: &str = "system:serviceaccount:rolecall-system:rolecall-operator";

/// Helm on a cluster.
pub(crate) struct Helm<'a> {
    program: PathBuf,
    cluster: &'a Cluster,
    home: tempfile::TempDir,
}

impl<'a> Helm<'a> {
    /// Helm 4.
    pub(crate) fn on(cluster: &'a Cluster) -> Self {
        Self::of(charts::helm_4().expect("Helm 4"), cluster)
    }

    /// Helm 3.
    fn three_on(cluster: &'a Cluster) -> Self {
        Self::of(charts::helm_3().expect("Helm 3"), cluster)
    }

    fn of(program: PathBuf, cluster: &'a Cluster) -> Self {
        Self { program, cluster, home: tempfile::tempdir().expect("a directory") }
    }

    /// What it says; the error is what it says instead.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .args(["--namespace", NAMESPACE])
            .current_dir(chart())
            .env_clear()
            .envs(environment(self.home.path()))
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .output()
            .await
            .expect("helm runs");
        let [said, error] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if output.status.success() { Ok(said) } else { Err(error) }
    }
}

pub(crate) async fn cluster(version: KubernetesVersion) -> Cluster {
    // No controller: Deployments make no Pods here, Jobs neither.
    let cluster = Cluster::builder().version(version).controllers(&[]).start().await.expect("a cluster");
    namespaces(&cluster).await;
    cluster
}

/// Makes the operator's namespace, which enforces the restricted standard, and two of databases.
pub(crate) async fn namespaces(cluster: &Cluster) {
    for namespace in [NAMESPACE, "shop", "hr"] {
        cluster.kubectl(&["create", "namespace", namespace]).await.expect("a namespace");
    }
    // Without its controller nobody else makes the one that Pods run as.
    let account = ["create", "serviceaccount", "default", "--namespace", NAMESPACE];
    cluster.kubectl(&account).await.expect("an account");
    let enforce = ["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"];
    cluster.kubectl(&enforce).await.expect("a label");
}

/// May the operator do this?
async fn may(cluster: &Cluster, verb: &str, what: &str, namespace: &str) -> bool {
    let question = ["auth", "can-i", verb, what, "--namespace", namespace, "--as", ACCOUNT];
    // "no" is an exit code, too.
    cluster.kubectl(&question).await.is_ok_and(|answer| answer.trim() == "yes")
}

/// The Pods of a release, as a namespace that enforces the standard `restricted` takes them.
async fn assert_admitted(cluster: &Cluster) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "rolecall-operator", "namespace": NAMESPACE}});
    cluster.apply(&account.to_string()).await.expect("an account");
    let rendered = render(&json!({}));
    let specs = [
        &rendered.pod()["spec"],
        &rendered.only("Pod")["spec"],
        &rendered.only("Job")["spec"]["template"]["spec"],
    ];
    for (index, spec) in specs.into_iter().enumerate() {
        let metadata = json!({"name": format!("pod-{index}"), "namespace": NAMESPACE});
        let mut spec = spec.clone();
        // Whose account is not there cannot be admitted: this is about the standard.
        spec["serviceAccountName"] = "rolecall-operator".into();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        cluster.apply(&pod.to_string()).await.expect("a Pod that meets the standard");
        pod["metadata"]["name"] = format!("pod-{index}-root").into();
        pod["spec"]["securityContext"]["runAsNonRoot"] = false.into();
        let error = cluster.apply(&pod.to_string()).await.expect_err("the namespace enforces the standard");
        assert!(error.to_string().contains("restricted"), "{error}");
    }
}

#[tokio::test]
async fn a_release_is_installed_upgraded_rolled_back_and_uninstalled() {
    let cluster = cluster(KubernetesVersion::NEWEST).await;
    let helm = Helm::on(&cluster);
    assert_admitted(&cluster).await;
    cluster
        .kubectl(&["delete", "serviceaccount", "rolecall-operator", "--namespace", NAMESPACE])
        .await
        .expect("gone");

    helm.run(&["install", "rolecall", ".", "--set", "watchNamespaces={shop}"]).await.expect("installed");
    for (verb, what) in [
        ("get", "secrets"),
        ("create", "secrets"),
        ("patch", "databasesessions/status"),
        ("watch", "databaseadmins"),
    ] {
        assert!(may(&cluster, verb, what, "shop").await, "{verb} {what}");
        assert!(!may(&cluster, verb, what, "hr").await, "{verb} {what} in another namespace");
    }
    assert!(!may(&cluster, "list", "secrets", "shop").await);
    assert!(may(&cluster, "update", "leases/rolecall-operator", NAMESPACE).await);
    assert!(!may(&cluster, "update", "leases/another", NAMESPACE).await);

    helm.run(&["upgrade", "rolecall", ".", "--set", "rbac.secrets.namespaces={hr}"]).await.expect("upgraded");
    assert!(may(&cluster, "watch", "databaseadmins", "shop").await, "it watches all namespaces");
    assert!(may(&cluster, "get", "secrets", "hr").await);
    assert!(!may(&cluster, "get", "secrets", "shop").await, "what it had is taken away");
    assert!(!may(&cluster, "get", "secrets", "kube-system").await);

    helm.run(&["rollback", "rolecall", "1"]).await.expect("rolled back");
    assert!(may(&cluster, "get", "secrets", "shop").await);
    assert!(!may(&cluster, "get", "secrets", "hr").await);

    helm.run(&["uninstall", "rolecall", "--no-hooks"]).await.expect("uninstalled");
    let crds = cluster.kubectl(&["get", "crd", "--output", "name"]).await.expect("kinds");
    assert_eq!(crds.lines().filter(|name| name.ends_with(".rolecall.dev")).count(), 6, "the kinds stay");
    let left = cluster.kubectl(&[
        "get",
        "all,roles,rolebindings",
        "--all-namespaces",
        "--selector",
        "app.kubernetes.io/part-of=rolecall",
        "--output",
        "name",
    ]);
    assert_eq!(left.await.expect("a list").trim(), "");
    helm.run(&["install", "rolecall", ".", "--set", "watchNamespaces={shop}"])
        .await
        .expect("installed again");
}

/// Ends the Job that is asked before an uninstall, as the controller of Jobs would.
async fn end_check(cluster: &Cluster, succeeds: bool) {
    let job = ["job", "rolecall-operator-uninstall", "--namespace", NAMESPACE];
    let conditions = ["--output", "jsonpath={.status.conditions}"];
    let get = [&["get"], &job[..], &conditions[..]].concat();
    // One of an earlier uninstall has conditions; Helm deletes it first.
    let created = async || cluster.kubectl(&get).await.is_ok_and(|conditions| conditions.is_empty());
    while !created().await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.end_job(NAMESPACE, job[1], succeeds).await.expect("patched");
}

#[tokio::test]
async fn an_uninstall_that_is_refused_deletes_nothing() {
    let cluster = cluster(KubernetesVersion::NEWEST).await;
    let helm = Helm::on(&cluster);
    helm.run(&["install", "rolecall", ".", "--set", "watchNamespaces={shop}"]).await.expect("installed");
    let uninstall = ["uninstall", "rolecall", "--timeout", "60s"];
    let deployments = [
        "get",
        "deployments,rolebindings",
        "--all-namespaces",
        "--selector",
        "app.kubernetes.io/part-of=rolecall",
        "--output",
        "name",
    ];
    let before = cluster.kubectl(&deployments).await.expect("a list");
    assert_eq!(before.lines().count(), 3, "{before}");

    let (refused, ()) = tokio::join!(helm.run(&uninstall), end_check(&cluster, false));
    let refused = refused.expect_err("a session has access");
    assert!(refused.contains("rolecall-operator-uninstall"), "{refused}");
    assert_eq!(cluster.kubectl(&deployments).await.expect("a list"), before, "nothing is deleted");

    helm.run(&["rollback", "rolecall", "1"]).await.expect("as before");
    let (gone, ()) = tokio::join!(helm.run(&uninstall), end_check(&cluster, true));
    gone.expect("uninstalled");
    assert_eq!(cluster.kubectl(&deployments).await.expect("a list").trim(), "");
}

/// What `kubectl apply -k deploy` installed, with the kinds of another version; one of them has no columns.
async fn cluster_by_kubectl() -> Cluster {
    let cluster = cluster(KubernetesVersion::NEWEST).await;
    let deploy = root().join("deploy").display().to_string();
    cluster.kubectl(&["apply", "--server-side", "--kustomize", &deploy]).await.expect("installed");
    let column = json!([{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}]).to_string();
    let patch = ["--type", "json", "--field-manager", "kubectl", "--patch", &column];
    cluster
        .kubectl(&[&["patch", "crd", "databaseusers.rolecall.dev"], &patch[..]].concat())
        .await
        .expect("patched");
    cluster
}

/// Takes over what kubectl installed, with these flags and not with fewer, and upgrades as any other release after that.
async fn assert_taken_over(helm: &Helm<'_>, flags: &[(&str, &str)]) {
    let mut install = vec!["upgrade", "rolecall", ".", "--install", "--set", "rbac.secrets.clusterWide=true"];
    let plain = install.clone();
    for (flag, refusal) in flags {
        let refused = helm.run(&install).await.expect_err("they are somebody else's");
        assert!(refused.contains(refusal), "{refused}");
        install.push(flag);
    }
    helm.run(&install).await.expect("taken over");
    helm.run(&plain).await.expect("upgraded as any other");
    let columns = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";
    let columns = ["get", "crd", "databaseusers.rolecall.dev", "--output", columns];
    assert!(helm.cluster.kubectl(&columns).await.expect("columns").contains("AGE"));
    assert!(may(helm.cluster, "get", "secrets", "shop").await, "its rights stayed");
}

/// Why each flag is needed.
const OWNERSHIP: (&str, &str) = ("--take-ownership", "invalid ownership metadata");
const CONFLICTS: (&str, &str) = ("--force-conflicts", "conflict with \"kubectl\"");

#[tokio::test]
async fn an_installation_by_kubectl_becomes_a_release() {
    let cluster = cluster_by_kubectl().await;
    assert_taken_over(&Helm::on(&cluster), &[OWNERSHIP, CONFLICTS]).await;
}

#[tokio::test]
async fn an_installation_by_kubectl_becomes_a_release_of_helm_3() {
    let cluster = cluster_by_kubectl().await;
    assert_taken_over(&Helm::three_on(&cluster), &[OWNERSHIP]).await;
}

#[tokio::test]
async fn the_oldest_kubernetes_takes_every_object_and_knows_every_field() {
    let cluster = cluster(KubernetesVersion::OLDEST).await;
    let version = format!("{}.0", KubernetesVersion::OLDEST);
    let many = json!({
        "networkPolicy": {"enabled": true, "aws": true},
        "monitoring": {"dashboard": {"enabled": true}},
        "hostUsers": false,
        "rbac": {"secrets": {"namespaces": ["shop", "hr"]}},
    });
    for values in [many, json!({"watchNamespaces": ["shop"], "replicaCount": 1})] {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": render_for(&version, &values).all()});
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), list.to_string()).expect("a file");
        let path = file.path().display().to_string();
        let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", &path];
        cluster.kubectl(&apply).await.expect("every object is taken");
        let rendered = render_for(&version, &values);
        let objects: Vec<&Value> = rendered.all().iter().collect();
        conform(&cluster, &objects).await.expect("every object conforms");
    }
    let wrong =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": 1}});
    assert!(cluster.apply(&Value::to_string(&wrong)).await.is_err(), "what is wrong is refused");
    let refused = conform(&cluster, &[&wrong]).await.expect_err("what is wrong does not conform");
    assert!(refused.contains("'port' not allowed"), "{refused}");
}

#[tokio::test]
async fn what_the_prometheus_operator_reads_is_as_its_own_definitions_say() {
    let cluster = Cluster::builder().controllers(&[]).start().await.expect("a cluster");
    cluster.kubectl(&["create", "namespace", NAMESPACE]).await.expect("a namespace");
    for crd in gitops::prometheus_crds().expect("definitions") {
        let path = crd.display().to_string();
        cluster.kubectl(&["apply", "--server-side", "--filename", &path]).await.expect("a definition");
    }
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    cluster.kubectl(&established).await.expect("established");
    let relabelings = json!([{"action": "labeldrop", "regex": "pod"}]);
    let monitor = json!({
        "enabled": true,
        "labels": {"release": "prometheus"},
        "relabelings": relabelings,
        "metricRelabelings": relabelings,
    });
    let rule = json!({
        "enabled": true,
        "runbookUrl": "https://docs.example/runbook.html",
        "alertLabels": {"team": "platform"},
        "extraGroups": [{"name": "mine", "rules": [{"record": "a:b", "expr": "vector(1)"}]}],
    });
    let mut seen = 0;
    for name in ["serviceMonitor", "podMonitor"] {
        let rendered = render(&json!({"monitoring": {name: monitor, "prometheusRule": rule}}));
        let theirs = |object: &&Value| object["apiVersion"] == "monitoring.coreos.com/v1";
        let objects: Vec<&Value> = rendered.all().iter().filter(theirs).collect();
        conform(&cluster, &objects).await.expect("every object conforms");
        for object in objects {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), object.to_string()).expect("a file");
            let path = file.path().display().to_string();
            let apply = ["apply", "--server-side", "--validate=strict", "--filename", &path];
            cluster.kubectl(&apply).await.expect("it is taken");
            let mut wrong = object.clone();
            wrong["spec"]["endpoint"] = json!({});
            std::fs::write(file.path(), wrong.to_string()).expect("a file");
            let refused = cluster.kubectl(&apply).await.expect_err("what is wrong is refused").to_string();
            assert!(refused.contains("spec.endpoint"), "{refused}");
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}
