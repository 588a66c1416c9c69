//! Kubeconfigs for any user that a test needs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Cluster, kubectl};
use crate::error::Result;

/// Who a kubeconfig speaks as.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Every right: the group `system:masters`.
    Admin,
    /// A user with groups (`system:authenticated` is added automatically); its rights are those that RBAC gives. The
    /// admin impersonates it, so any name and number of groups will do.
    User {
        /// User name.
        name: String,
        /// Groups.
        groups: Vec<String>,
    },
    /// A user that authenticates with its own client certificate, in at most one group.
    Certificate {
        /// User name.
        name: String,
        /// Group.
        group: Option<String>,
    },
    /// A service account that exists, with a real token of one hour.
    ServiceAccount {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
}

impl Identity {
    /// A user in these groups.
    pub fn user(name: &str, groups: &[&str]) -> Self {
        Self::User { name: name.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// A kubeconfig as JSON, which is YAML too, with all certificates inside.
pub(super) async fn text(cluster: &Cluster, identity: &Identity) -> Result<String> {
    let (user, namespace) = match identity {
        Identity::Admin => (with_certificate(&cluster.admin), "default"),
        Identity::User { name, groups } => {
            let mut user = with_certificate(&cluster.admin);
            user["as"] = json!(name);
            user["as-groups"] = json!(groups);
            (user, "default")
        }
        Identity::Certificate { name, group } => {
            let options = crate::ClientOptions { organization: group.clone(), ..Default::default() };
            (with_certificate(&cluster.authority.client_with(name, &options)?), "default")
        }
        Identity::ServiceAccount { namespace, name } => {
            let args = ["create", "token", name, "--namespace", namespace];
            let token = kubectl::run(&cluster.kubectl_path(), &cluster.kubeconfig(), &args, "").await?;
            (json!({ "token": token.trim() }), namespace.as_str())
        }
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": { "server": cluster.url(), "certificate-authority-data": STANDARD.encode(cluster.ca_pem()) },
        }],
        "users": [{ "name": "testbed", "user": user }],
        "contexts": [{
            "name": "testbed",
            "context": { "cluster": "testbed", "user": "testbed", "namespace": namespace },
        }],
        "current-context": "testbed",
    });
    Ok(config.to_string())
}

fn with_certificate(certificate: &crate::Certificate) -> Value {
    json!({
        "client-certificate-data": STANDARD.encode(&certificate.cert_pem),
        "client-key-data": STANDARD.encode(&certificate.key_pem),
    })
}
