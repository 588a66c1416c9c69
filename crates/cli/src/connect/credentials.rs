//! How the user of a session logs in: by its certificate, by a token of AWS, or by a password from the session's Secret.

use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use rolecall_api::{DatabaseAdmin, UserCredentials};
use rolecall_engine::Login;

use super::iam::Signer;
use super::session::Access;
use crate::input::{Cluster, plain};

/// Where the user's credentials come from.
#[derive(Clone)]
pub(super) struct Credentials {
    admin: Arc<DatabaseAdmin>,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// A key that was made here, and a certificate for it.
    Certificate,
    /// AWS, asked by whoever runs this.
    Aws(Box<Signer>),
    /// The Secret of the session.
    Secret(Box<Api<Secret>>),
}

impl Credentials {
    /// Finds out what the users of a server log in with, and whether that can work, before there is a session.
    ///
    /// # Errors
    ///
    /// There are no AWS credentials where they are needed.
    pub(super) async fn of(cluster: &Cluster, admin: &DatabaseAdmin) -> anyhow::Result<Self> {
        let UserCredentials { x509, password, aws_iam } = &admin.spec.user_credentials;
        let origin = match (x509, aws_iam, password) {
            (Some(_), ..) => Origin::Certificate,
            (None, Some(_), _) => Origin::Aws(Box::new(Signer::new().await?)),
            (None, None, Some(_)) => Origin::Secret(Box::new(cluster.api())),
            (None, None, None) => bail!(
                "the DatabaseAdmin {} does not say how its users log in; let whoever administers it set spec.userCredentials",
                admin.name_any()
            ),
        };
        Ok(Self { admin: Arc::new(admin.clone()), origin })
    }

    /// Whether the session is asked for a certificate.
    pub(super) fn are_certificates(&self) -> bool {
        matches!(self.origin, Origin::Certificate)
    }

    /// Name and secret to log in with, as they are now; `None` where the certificate is the proof.
    ///
    /// # Errors
    ///
    /// AWS refuses, or the Secret cannot be read.
    pub(super) async fn login(&self, access: &Access) -> anyhow::Result<Option<Login>> {
        match &self.origin {
            Origin::Certificate => Ok(None),
            Origin::Aws(signer) => signer.login(&self.admin, &access.username).await.map(Some),
            Origin::Secret(secrets) => password(secrets, access).await.map(Some),
        }
    }
}

async fn password(secrets: &Api<Secret>, access: &Access) -> anyhow::Result<Login> {
    let name = access.secret.as_deref().context("the session is Active and names no Secret")?;
    let read = secrets.get(name).await.map_err(plain).with_context(|| {
        format!(
            "the users of this server log in by passwords, and the session's lies in the Secret {name:?}, which you could \
             not read; ask for the right to get it, or for certificates (spec.userCredentials.x509), which need none"
        )
    })?;
    let value = read.data.as_ref().and_then(|data| data.get("password"));
    let value = value.ok_or_else(|| anyhow!("the Secret {name:?} has no key \"password\""))?;
    let secret = String::from_utf8(value.0.clone()).map_err(|_| anyhow!("the password is no text"))?;
    Ok(Login { username: access.username.clone(), secret: secret.into() })
}
