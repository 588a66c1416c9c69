//! Finding the Pods behind a name of the cluster.

use std::fmt::Debug;
use std::net::IpAddr;

use anyhow::{Context, anyhow, bail};
use http::StatusCode;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::endpoints::{self, NoPod, PodPort};
use super::name::ClusterName;
use super::{ANOTHER_WAY, rights};
use crate::input::plain;

/// What a name of the cluster leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One of these.
    Pods(Vec<PodPort>),
    /// Another name, which need not be one of the cluster.
    Alias(String),
    /// There is no such Service.
    Missing(String),
}

/// Asks the API server what a name leads to.
///
/// # Errors
///
/// What the API server answers, and a Service without a ready Pod.
pub(super) async fn find(client: &Client, name: &ClusterName, port: u16) -> anyhow::Result<Found> {
    match name {
        ClusterName::Service { namespace, name } => of_service(client, namespace, name, port, None).await,
        ClusterName::Member { namespace, service, hostname } => {
            of_service(client, namespace, service, port, Some(hostname)).await
        }
        ClusterName::Pod { namespace, address } => of_address(client, namespace, *address, port).await,
    }
}

async fn of_service(
    client: &Client,
    namespace: &str,
    name: &str,
    port: u16,
    hostname: Option<&str>,
) -> anyhow::Result<Found> {
    let called = format!("the Service {namespace}/{name}");
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let service = services.get_opt(name).await.map_err(|error| refused(error, namespace));
    let Some(service) = service.with_context(|| format!("reading {called}"))? else {
        return Ok(Found::Missing(called));
    };
    let spec = service.spec.as_ref();
    if let Some(alias) = spec.filter(|spec| spec.type_.as_deref() == Some("ExternalName")) {
        return Ok(Found::Alias(alias.external_name.clone().unwrap_or_default()));
    }
    let slices: Vec<EndpointSlice> =
        list(client, namespace, &format!("kubernetes.io/service-name={name}"), "").await?;
    match endpoints::of_service(&service, &slices, port, hostname) {
        Ok(pods) => Ok(Found::Pods(pods)),
        Err(why) => Err(without_pod(&called, why, port, hostname)),
    }
}

fn without_pod(called: &str, why: NoPod, port: u16, hostname: Option<&str>) -> anyhow::Error {
    let member = hostname.map(|hostname| format!(" of the host name {hostname}")).unwrap_or_default();
    match why {
        NoPod::NoSuchPort(ports) => {
            let ports: Vec<String> = ports.iter().map(i32::to_string).collect();
            anyhow!(
                "{called} has no port {port}, but {}; correct spec.uri of the DatabaseAdmin",
                ports.join(", ")
            )
        }
        NoPod::NotReady(count) => anyhow!(
            "none of the {count} Pods{member} of {called} is ready; wait for one, or see why: kubectl get pods --namespace {}",
            called.rsplit(' ').next().and_then(|name| name.split('/').next()).unwrap_or_default()
        ),
        NoPod::Elsewhere(addresses) => anyhow!(
            "{called} leads to {} and to no Pod, so that no port can be forwarded; {ANOTHER_WAY}",
            addresses.join(", ")
        ),
        NoPod::Nothing => anyhow!("{called} has no Pod{member}: its selector matches none; {ANOTHER_WAY}"),
    }
}

async fn of_address(client: &Client, namespace: &str, address: IpAddr, port: u16) -> anyhow::Result<Found> {
    let pods: Vec<Pod> = list(client, namespace, "", &format!("status.podIP={address}")).await?;
    let running = pods.iter().find(|pod| pod.metadata.deletion_timestamp.is_none());
    match running {
        Some(pod) => {
            Ok(Found::Pods(vec![PodPort { namespace: namespace.to_owned(), name: pod.name_any(), port }]))
        }
        None => bail!("no Pod of namespace {namespace} has the address {address}; {ANOTHER_WAY}"),
    }
}

async fn list<K>(client: &Client, namespace: &str, labels: &str, fields: &str) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = api.list(&ListParams::default().labels(labels).fields(fields)).await;
    let found = found.map_err(|error| refused(error, namespace));
    Ok(found.with_context(|| format!("listing {} of namespace {namespace}", K::plural(&())))?.items)
}

/// The error, with the rights that are missing.
fn refused(error: kube::Error, namespace: &str) -> anyhow::Error {
    match &error {
        kube::Error::Api(status) if status.code == StatusCode::FORBIDDEN.as_u16() => {
            plain(error).context(rights(namespace))
        }
        _ => plain(error),
    }
}
