//! An upgrade of the API server makes no difference to what Git has.

use anyhow::{Context, Result, ensure};
use kube::api::DynamicObject;
use rolecall_testbed::{Cluster, Identity, KubernetesVersion};
use rolecall_tests::operator::{FILTER, Operator};
use rolecall_tests::{TIMEOUT, cluster};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::versions;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
const KINDS: &str = "databaseadmins,provisioningroles,dbobjectimportrules,databaseusers,databasesessions";

#[tokio::test]
async fn nothing_differs_after_an_upgrade_of_the_api_server() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut cluster = Cluster::builder().version(KubernetesVersion::OLDEST).controllers(&[]).start().await?;
    cluster.kubectl(&["apply", "--server-side", "-k", DEPLOY]).await?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
    let samples = format!("{DEPLOY}/samples");
    let apply = ["apply", "--server-side", "-f", &samples];
    cluster.kubectl(&apply).await?;

    // Statuses, as an operator writes them, are there, too.
    let identity = Identity::service_account("rolecall-system", "rolecall-operator");
    let config = cluster::config(&cluster.kubeconfig_for(&identity).await?).await?;
    let flags = ["--leader-elect=false", "--listen=127.0.0.1:0", "--watch-namespace=default"];
    let operator = Operator::start_with(config, &flags.map(str::to_owned), FILTER)?;
    operator.ready().await?;
    let deadline = Instant::now() + TIMEOUT;
    while !objects(&cluster).await?.iter().all(|object| object.data["status"]["observedGeneration"] == 1) {
        ensure!(Instant::now() < deadline, "not every object has a status:\n{}", operator.log().text());
        sleep(std::time::Duration::from_millis(50)).await;
    }
    operator.stop().await?;

    let before = versions(&objects(&cluster).await?)?;
    ensure!(before.len() == 5, "{before:?}");
    cluster.replace_api_server(KubernetesVersion::NEWEST).await?;
    for _ in 0..2 {
        cluster.kubectl(&apply).await?;
        cluster.kubectl(&["apply", "--server-side", "-k", DEPLOY]).await?;
    }
    ensure!(versions(&objects(&cluster).await?)? == before, "an object was written");
    // A difference is the exit code 1.
    cluster.kubectl(&["diff", "--server-side", "-f", &samples]).await.context("samples")?;
    cluster.kubectl(&["diff", "--server-side", "-k", DEPLOY]).await.context("deploy")?;
    Ok(())
}

async fn objects(cluster: &Cluster) -> Result<Vec<DynamicObject>> {
    let list: Value = serde_json::from_str(&cluster.kubectl(&["get", KINDS, "--output", "json"]).await?)?;
    Ok(serde_json::from_value(list["items"].clone())?)
}
