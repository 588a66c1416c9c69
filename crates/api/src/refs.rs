//! References to Secrets, shared by the kinds.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A certificate authority with its key, in a Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaSecretRef {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key in the Secret's `data` that holds the authority's certificate, in PEM; behind it the certificates of those
    /// above it, where it is an intermediate one. Absent: `tls.crt`. CloudNativePG writes `ca.crt`, Crunchy's operator
    /// `root.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub certificate_key: Option<String>,

    /// Key in the Secret's `data` that holds the authority's private key, in PEM. Absent: `tls.key`. CloudNativePG
    /// writes `ca.key`, Crunchy's operator `root.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub private_key_key: Option<String>,
}

impl CaSecretRef {
    /// The key of the certificate, and that of the private key.
    pub fn keys(&self) -> (&str, &str) {
        (
            self.certificate_key.as_deref().unwrap_or("tls.crt"),
            self.private_key_key.as_deref().unwrap_or("tls.key"),
        )
    }
}

/// One key of a Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret's `data`, for example `ca.crt` or `password`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
