//! What Helm charts are checked with.

use std::path::PathBuf;

use super::{debian, go};
use crate::cache;
use crate::error::Result;

const HELM_4: go::Module = [
    ("go.mod", include_str!("../../components/helm-4/go.mod")),
    ("go.sum", include_str!("../../components/helm-4/go.sum")),
    ("tools.go", include_str!("../../components/helm-4/tools.go")),
];

const HELM_3: go::Module = [
    ("go.mod", include_str!("../../components/helm-3/go.mod")),
    ("go.sum", include_str!("../../components/helm-3/go.sum")),
    ("tools.go", include_str!("../../components/helm-3/tools.go")),
];

/// Helm 4, built unless it is in the cache (minutes).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn helm_4() -> Result<PathBuf> {
    Ok(of_helm_4()?.join("helm"))
}

/// Helm 3, built unless it is in the cache (minutes).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn helm_3() -> Result<PathBuf> {
    let dir = cache::ensure("helm-3", &HELM_3, |dir| {
        go::build("helm-3", &HELM_3, dir, "", &["helm.sh/helm/v3/cmd/helm"])
    })?;
    Ok(dir.join("helm"))
}

/// kubeconform, which checks manifests against schemas; built unless it is in the cache.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn kubeconform() -> Result<PathBuf> {
    Ok(of_helm_4()?.join("kubeconform"))
}

fn of_helm_4() -> Result<PathBuf> {
    let packages = ["helm.sh/helm/v4/cmd/helm", "github.com/yannh/kubeconform/cmd/kubeconform"];
    cache::ensure("helm-4", &HELM_4, |dir| go::build("helm-4", &HELM_4, dir, "", &packages))
}

/// promtool, in the version of the machine's Debian or Ubuntu (seconds).
///
/// # Errors
/// On other distributions, and when the package cannot be fetched.
pub fn promtool() -> Result<PathBuf> {
    Ok(debian::packages("promtool", &["prometheus"])?.join("usr/bin/promtool"))
}

/// Everything here but [`promtool`].
///
/// # Errors
/// The first failure.
pub(super) fn prepare() -> Result<()> {
    helm_4()?;
    helm_3().map(drop)
}
