//! What Argo CD, Flux and the Prometheus operator would say of our objects: their own libraries and definitions.

use std::path::PathBuf;

use super::go;
use crate::cache;
use crate::error::Result;

const ARGO_HEALTH: go::Module = [
    ("go.mod", include_str!("../../components/argo-health/go.mod")),
    ("go.sum", include_str!("../../components/argo-health/go.sum")),
    ("main.go", include_str!("../../components/argo-health/main.go")),
];

const FLUX_HEALTH: go::Module = [
    ("go.mod", include_str!("../../components/flux-health/go.mod")),
    ("go.sum", include_str!("../../components/flux-health/go.sum")),
    ("main.go", include_str!("../../components/flux-health/main.go")),
];

const PROMETHEUS_OPERATOR: [(&str, &str); 2] = [
    ("go.mod", include_str!("../../components/prometheus-operator/go.mod")),
    ("go.sum", include_str!("../../components/prometheus-operator/go.sum")),
];

/// A program that says what Argo CD makes of objects, by its own library: it reads `{customizations, objects}` from its
/// standard input, customizations as in argocd-cm, and writes a list of `{status, message}`; an empty status where Argo
/// CD knows no health. Built unless it is in the cache (minutes).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn argo_health() -> Result<PathBuf> {
    let dir = cache::ensure("argo-health", &ARGO_HEALTH, |dir| {
        go::build("argo-health", &ARGO_HEALTH, dir, "", &["."])
    })?;
    Ok(dir.join("argo-health"))
}

/// A program that says what Helm and Flux make of objects, by their own libraries: it reads `{expressions, objects}`
/// from its standard input, expressions as `healthCheckExprs` of a Kustomization, and writes a list of `{kstatus, flux}`,
/// each `{status, message}`. Built unless it is in the cache (a minute).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn flux_health() -> Result<PathBuf> {
    let dir = cache::ensure("flux-health", &FLUX_HEALTH, |dir| {
        go::build("flux-health", &FLUX_HEALTH, dir, "", &["."])
    })?;
    Ok(dir.join("flux-health"))
}

/// The definitions of ServiceMonitor, PodMonitor and PrometheusRule as the Prometheus operator ships them; fetched unless
/// they are in the cache (seconds).
///
/// # Errors
/// When Go is missing or the module cannot be fetched.
pub fn prometheus_crds() -> Result<Vec<PathBuf>> {
    let files = ["servicemonitors", "podmonitors", "prometheusrules"]
        .map(|kind| format!("example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"));
    let dir = cache::ensure("prometheus-operator", &PROMETHEUS_OPERATOR, |dir| {
        let module = "github.com/prometheus-operator/prometheus-operator";
        go::fetch("prometheus-operator", &PROMETHEUS_OPERATOR, module, &files, dir)
    })?;
    Ok(files.iter().filter_map(|file| Some(dir.join(file.rsplit('/').next()?))).collect())
}

/// Everything here.
///
/// # Errors
/// The first failure.
pub(super) fn prepare() -> Result<()> {
    argo_health()?;
    flux_health()?;
    prometheus_crds().map(drop)
}
