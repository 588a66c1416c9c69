//! `connect` from outside the cluster: the port of a Pod is forwarded through a real API server, by what container
//! runtimes forward ports with.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::time::Duration;

use rolecall_testbed::{Cluster, Identity, environment};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

const TIMEOUT: Duration = Duration::from_secs(120);

/// Sends a line to where psql would connect, and prints the answer.
const PSQL: &str = "printf '%s as %s: ' \"$PGHOST\" \"$PGSSLMODE\"; exec 3<>/dev/tcp/$PGHOSTADDR/$PGPORT; echo hello >&3; cat <&3";

struct Bench {
    cluster: &'static Cluster,
    namespace: &'static str,
    bin: TempDir,
}

impl Bench {
    /// A namespace with a DatabaseAdmin at this address, and a program in psql's place.
    async fn new(namespace: &'static str, uri: &str) -> Self {
        static KINDS: OnceCell<()> = OnceCell::const_new();
        let cluster = Cluster::shared().await.expect("the cluster starts");
        KINDS
            .get_or_init(|| async {
                let kinds = rolecall_api::crds_yaml().expect("the definitions can be written");
                cluster.apply(&kinds).await.expect("they apply");
                let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
                cluster.kubectl(&wait).await.expect("they are taken up");
            })
            .await;
        let manifests = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseUser, metadata: {{name: alice, namespace: {namespace}}}, spec: {{}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {{name: orders, namespace: {namespace}}},
 spec: {{protocol: postgres, uri: '{uri}', adminUser: {{name: teleport-admin}},
         auth: {{x509: {{secretRef: {{name: a}}}}}}, userCredentials: {{x509: {{caSecretRef: {{name: b}}}}}}}}}}"
        );
        cluster.apply(&manifests).await.expect("the manifests are valid");
        let bin = tempfile::tempdir().expect("a directory can be made");
        let path = bin.path().join("psql");
        std::fs::write(&path, format!("#!/bin/bash\n{PSQL}\n")).expect("the script is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
        Self { cluster, namespace, bin }
    }

    /// A Service and the part of its endpoints that the endpoint controller writes.
    async fn service(&self, spec: Value, port: u16, pods: &[(&str, bool)]) {
        let namespace = self.namespace;
        let service = json!({"apiVersion": "v1", "kind": "Service",
                             "metadata": {"name": "orders-db", "namespace": namespace}, "spec": spec});
        self.cluster.apply(&service.to_string()).await.expect("the Service is valid");
        let endpoints: Vec<Value> = pods
            .iter()
            .map(|(name, ready)| {
                json!({"addresses": ["10.1.0.1"], "hostname": name, "conditions": {"ready": ready},
                       "targetRef": {"kind": "Pod", "namespace": namespace, "name": name}})
            })
            .collect();
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                           "metadata": {"name": "orders-db-1", "namespace": namespace,
                                        "labels": {"kubernetes.io/service-name": "orders-db"}},
                           "ports": [{"name": "sql", "port": port, "protocol": "TCP"}], "endpoints": endpoints});
        self.cluster.apply(&slice.to_string()).await.expect("the EndpointSlice is valid");
    }

    async fn pod(&self, name: &str, port: u16, leads_to: u16) {
        let labels = json!({"app": "orders-db"});
        self.cluster.pod(self.namespace, name, labels, port, leads_to).await.expect("the Pod is made");
    }

    async fn connect(&self, kubeconfig: Option<&Identity>) -> Output {
        let kubeconfig = match kubeconfig {
            None => self.cluster.kubeconfig(),
            Some(identity) => self.cluster.kubeconfig_file_for(identity).await.expect("it is written"),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["connect", "orders", "--user", "alice", "--db-name", "horizon", "-n", self.namespace])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .env_clear()
            .envs(environment(self.bin.path()))
            .env("PATH", format!("{}:{path}", self.bin.path().display()))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ran = async {
            tokio::select! {
                output = command.output() => output.expect("it starts"),
                () = self.start_sessions() => unreachable!("it goes on for ever"),
            }
        };
        timeout(TIMEOUT, ran).await.expect("it ends in time")
    }

    /// Starts every session, in the operator's place.
    async fn start_sessions(&self) {
        loop {
            let list = ["get", "dbs", "-n", self.namespace, "-o", "name"];
            let status = json!({"status": {
                "phase": "Active", "username": "alice", "certificate": "Q0VSVElGSUNBVEU=",
                "connection": {"host": "orders-db", "port": 5432, "database": "horizon"},
            }})
            .to_string();
            for name in self.cluster.kubectl(&list).await.unwrap_or_default().lines() {
                let how = ["--subresource=status", "--type=merge", "-p", &status];
                // It may have ended meanwhile.
                let _ = self.cluster.kubectl(&[&["patch", name, "-n", self.namespace][..], &how].concat()).await;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn sessions(&self) -> String {
        let list = ["get", "dbs", "-n", self.namespace, "-o", "name"];
        self.cluster.kubectl(&list).await.expect("they are listed")
    }
}

/// A server that says who it is to whoever says hello.
async fn server(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = listener.local_addr().expect("it has one").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut heard = [0; 6];
            let _ = client.read_exact(&mut heard).await;
            let said = format!("{} from {name}\n", String::from_utf8_lossy(&heard).trim());
            let _ = client.write_all(said.as_bytes()).await;
        }
    });
    port
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_service_of_the_cluster_is_reached_by_a_port_forward_to_a_ready_pod() {
    let bench = Bench::new("forwarded", "orders-db.forwarded.svc:5432").await;
    let spec = json!({"selector": {"app": "orders-db"}, "ports": [{"name": "sql", "port": 5432, "targetPort": 6543}]});
    bench.service(spec, 6543, &[("db-0", false), ("db-1", true)]).await;
    bench.pod("db-0", 6543, server("db-0").await).await;
    bench.pod("db-1", 6543, server("db-1").await).await;
    let output = bench.connect(None).await;
    let stderr = text(&output.stderr);
    assert_eq!(
        text(&output.stdout),
        "orders-db.forwarded.svc as verify-full: hello from db-1\n",
        "the name that is checked stays the server's own: {stderr}"
    );
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("by a port-forward through the API server, to port 6543 of the Pod forwarded/db-1"), "{stderr}");
    assert_eq!(bench.sessions().await, "");
}

#[tokio::test]
async fn a_member_of_a_headless_service_is_reached_by_its_name() {
    let bench = Bench::new("headless", "db-1.orders-db.headless.svc.cluster.local:7777").await;
    let spec = json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]});
    bench.service(spec, 5432, &[("db-0", true), ("db-1", true)]).await;
    bench.pod("db-1", 7777, server("db-1").await).await;
    let output = bench.connect(None).await;
    assert!(text(&output.stdout).ends_with(": hello from db-1\n"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_port_on_which_nothing_listens_is_the_nodes_answer() {
    let bench = Bench::new("unheard", "orders-db.unheard.svc:5432").await;
    bench.service(json!({"ports": [{"name": "sql", "port": 5432}]}), 5432, &[("db-0", true)]).await;
    bench.pod("db-0", 1, 1).await;
    let output = bench.connect(None).await;
    let stderr = text(&output.stderr);
    let expected = "warning: forwarding port 5432 of the Pod unheard/db-0: the node says: ";
    assert!(stderr.contains(expected) && stderr.contains("nothing listens on port 5432"), "{stderr}");
    assert_eq!(bench.sessions().await, "", "{stderr}");
}

#[tokio::test]
async fn where_there_is_no_way_the_next_step_is_said_before_there_is_a_session() {
    let bench = Bench::new("unreached", "orders-db.unreached.svc:5432").await;
    let expect = async |expected: &str| {
        let output = bench.connect(None).await;
        let stderr = text(&output.stderr);
        assert!(!output.status.success() && stderr.starts_with(&format!("error: {expected}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    };
    let missing = expect("orders-db.unreached.svc does not resolve here (").await;
    assert!(missing.contains("there is no Service unreached/orders-db; name an address that leads to the server"), "{missing}");
    bench.service(json!({"ports": [{"name": "sql", "port": 5433}]}), 5433, &[("db-0", true)]).await;
    expect("the Service unreached/orders-db has no port 5432, but 5433; correct spec.uri").await;
    bench.service(json!({"ports": [{"name": "sql", "port": 5432}]}), 5432, &[("db-0", false), ("db-1", false)]).await;
    let waiting = expect("none of the 2 Pods of the Service unreached/orders-db is ready; wait for one").await;
    assert!(waiting.ends_with("kubectl get pods --namespace unreached\n"), "{waiting}");
    bench.service(json!({"ports": [{"name": "sql", "port": 5432}]}), 5432, &[("gone", true)]).await;
    let output = bench.connect(None).await;
    assert!(text(&output.stderr).contains("warning: forwarding port 5432 of the Pod unreached/gone: the Pod is gone"), "{output:?}");

    // Somebody who may do everything but forward ports.
    let rights = "
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: people, namespace: unreached},
 rules: [{apiGroups: [rolecall.dev], resources: ['*'], verbs: ['*']}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: people, namespace: unreached},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: people},
 subjects: [{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}]}";
    bench.cluster.apply(rights).await.expect("the rights are given");
    let bob = bench.connect(Some(&Identity::user("bob", &[]))).await;
    let stderr = text(&bob.stderr);
    assert!(
        stderr.starts_with("error: reading the Service unreached/orders-db: forwarding a port takes these rights in namespace unreached: get on services")
            && stderr.contains("\"bob\" cannot get resource \"services\""),
        "{stderr}"
    );
    assert_eq!(bench.sessions().await, "");
}
