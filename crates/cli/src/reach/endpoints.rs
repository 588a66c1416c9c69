//! Which Pod answers for a Service.

use std::fmt;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

/// A port of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodPort {
    /// The Pod's namespace.
    pub(crate) namespace: String,
    /// The Pod.
    pub(crate) name: String,
    /// The port of the Pod, which need not be the Service's.
    pub(crate) port: u16,
}

impl fmt::Display for PodPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} of the Pod {}/{}", self.port, self.namespace, self.name)
    }
}

/// Why there is no Pod to forward a port to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoPod {
    /// The Service does not have the port, but these.
    NoSuchPort(Vec<i32>),
    /// None of so many Pods is ready.
    NotReady(usize),
    /// What answers for it is no Pod, but these addresses.
    Elsewhere(Vec<String>),
    /// Nothing answers for it.
    Nothing,
}

/// The ready Pods that answer for a port of a Service, in the order of their names. `hostname`: only the Pod of that
/// host name.
///
/// # Errors
///
/// There is none.
pub(crate) fn of_service(
    service: &Service,
    slices: &[EndpointSlice],
    port: u16,
    hostname: Option<&str>,
) -> Result<Vec<PodPort>, NoPod> {
    let spec = service.spec.clone().unwrap_or_default();
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let listed = spec.ports.unwrap_or_default();
    let wanted = listed.iter().find(|listed| listed.port == i32::from(port));
    // Without an address of its own a Service translates no ports: clients reach any port of its Pods.
    if wanted.is_none() && !headless {
        return Err(NoPod::NoSuchPort(listed.iter().map(|listed| listed.port).collect()));
    }
    let named = wanted.map(|wanted| wanted.name.clone().unwrap_or_default());
    let mut ready = Vec::new();
    let (mut pods, mut others) = (0, Vec::new());
    for slice in slices {
        let namespace = slice.namespace().unwrap_or_default();
        let found = slice
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref().unwrap_or("") == named.as_deref().unwrap_or(""));
        let target = match (headless, &named) {
            (false, Some(_)) => found.and_then(|port| port.port).and_then(|port| u16::try_from(port).ok()),
            // The address is the Pod's own, and so is the port.
            _ => Some(port),
        };
        for endpoint in slice.endpoints.iter().flatten() {
            if hostname.is_some_and(|hostname| endpoint.hostname.as_deref() != Some(hostname)) {
                continue;
            }
            let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let Some(name) = pod.and_then(|pod| pod.name.clone()) else {
                others.extend(endpoint.addresses.iter().cloned());
                continue;
            };
            pods += 1;
            let conditions = endpoint.conditions.as_ref();
            // Absent means ready.
            if conditions.and_then(|conditions| conditions.ready).unwrap_or(true)
                && let Some(port) = target
            {
                ready.push(PodPort { namespace: namespace.clone(), name, port });
            }
        }
    }
    ready.sort();
    ready.dedup();
    match (ready.is_empty(), pods, others.is_empty()) {
        (false, ..) => Ok(ready),
        (true, 1.., _) => Err(NoPod::NotReady(pods)),
        (true, 0, false) => Err(NoPod::Elsewhere(others)),
        (true, 0, true) => Err(NoPod::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pods(spec: Value, slices: Value, port: u16, hostname: Option<&str>) -> Result<Vec<String>, NoPod> {
        let service: Service =
            serde_json::from_value(json!({"metadata": {"name": "orders"}, "spec": spec})).expect("a Service");
        let slices: Vec<EndpointSlice> = serde_json::from_value(slices).expect("slices");
        let found = of_service(&service, &slices, port, hostname)?;
        Ok(found.iter().map(|pod| format!("{}:{}", pod.name, pod.port)).collect())
    }

    fn endpoint(name: &str, ready: bool) -> Value {
        json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "hostname": name,
               "targetRef": {"kind": "Pod", "name": name}})
    }

    fn slice(ports: Value, endpoints: &[Value]) -> Value {
        json!({"metadata": {"namespace": "shop"}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints})
    }

    #[test]
    fn a_port_of_a_service_is_that_of_its_ready_pods() {
        let spec = json!({"ports": [{"name": "sql", "port": 5432, "targetPort": "db"}, {"name": "web", "port": 80}]});
        // The endpoint controller has resolved the name of the target port, which may differ from Pod to Pod.
        let slices = json!([
            slice(
                json!([{"name": "web", "port": 8080}, {"name": "sql", "port": 6543}]),
                &[endpoint("db-1", true), endpoint("db-0", false)]
            ),
            slice(json!([{"name": "sql", "port": 7654}]), &[endpoint("db-2", true)]),
        ]);
        assert_eq!(
            pods(spec.clone(), slices.clone(), 5432, None),
            Ok(vec!["db-1:6543".to_owned(), "db-2:7654".to_owned()])
        );
        assert_eq!(pods(spec.clone(), slices.clone(), 80, None), Ok(vec!["db-1:8080".to_owned()]));
        assert_eq!(pods(spec, slices, 5433, None), Err(NoPod::NoSuchPort(vec![5432, 80])));
    }

    #[test]
    fn the_only_port_has_no_name() {
        let spec = json!({"ports": [{"port": 5432}]});
        let slices = json!([slice(json!([{"name": "", "port": 5433}]), &[endpoint("db-0", true)])]);
        assert_eq!(pods(spec, slices, 5432, None), Ok(vec!["db-0:5433".to_owned()]));
    }

    #[test]
    fn a_member_is_found_by_its_host_name_and_keeps_its_port() {
        let spec = json!({"clusterIP": "None", "ports": [{"port": 27017, "targetPort": 1}]});
        let slices = json!([slice(
            json!([{"port": 1}]),
            &[endpoint("m-0", true), endpoint("m-1", true), endpoint("m-2", false)]
        )]);
        assert_eq!(pods(spec.clone(), slices.clone(), 27017, Some("m-1")), Ok(vec!["m-1:27017".to_owned()]));
        assert_eq!(pods(spec.clone(), slices.clone(), 27018, Some("m-0")), Ok(vec!["m-0:27018".to_owned()]));
        assert_eq!(pods(spec.clone(), slices.clone(), 27017, Some("m-2")), Err(NoPod::NotReady(1)));
        assert_eq!(pods(spec, slices, 27017, Some("m-9")), Err(NoPod::Nothing));
    }

    #[test]
    fn what_answers_and_is_no_pod_is_named() {
        let spec = json!({"ports": [{"port": 5432}]});
        let outside = json!({"addresses": ["192.0.2.7"], "conditions": {"ready": true}});
        let slices = json!([slice(json!([{"port": 5432}]), &[outside])]);
        assert_eq!(
            pods(spec.clone(), slices, 5432, None),
            Err(NoPod::Elsewhere(vec!["192.0.2.7".to_owned()]))
        );
        assert_eq!(pods(spec, json!([]), 5432, None), Err(NoPod::Nothing));
    }
}
