//! Logging in with an IAM token, signed with the AWS credentials of whoever runs this.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, Protocol};
use rolecall_aws::rds_token::token;
use rolecall_aws::{Aws, ClusterLogin, Credentials};
use rolecall_engine::{Login, LoginSource as _};
use rolecall_resolve::Blocked;

/// AWS credentials of whoever runs this.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    aws: Arc<Aws>,
}

impl Signer {
    /// # Errors
    ///
    /// That there are none.
    pub(super) async fn new() -> anyhow::Result<Self> {
        Self::with(ambient()).await
    }

    async fn with(aws: Arc<Aws>) -> anyhow::Result<Self> {
        let signer = Self { aws };
        signer.credentials().await?;
        Ok(signer)
    }

    async fn credentials(&self) -> anyhow::Result<Credentials> {
        let credentials = self.aws.credentials().await;
        credentials
            .context("the database user logs in with an IAM token, which takes AWS credentials of yours")
    }

    /// What this user of this server logs in with: a token on RDS, on Redshift what AWS lends, with the name that it lends it
    /// for.
    ///
    /// # Errors
    ///
    /// That the server's name or region is not known, or that AWS refuses.
    pub(super) async fn login(&self, admin: &DatabaseAdmin, username: &str) -> anyhow::Result<Login> {
        let because =
            |blocked: Blocked| anyhow!("the DatabaseAdmin {:?}: {}", admin.name_any(), blocked.message);
        if admin.spec.protocol == Protocol::Redshift {
            let target =
                rolecall_resolve::redshift_target(admin, username, self.aws.region()).map_err(because)?;
            return Ok(ClusterLogin::new(Arc::clone(&self.aws), target).login().await?);
        }
        let target = rolecall_resolve::rds_target(admin, username, self.aws.region()).map_err(because)?;
        // Asked for anew: the session may have taken long to start.
        let credentials = self.credentials().await?;
        let secret = token(&target, &credentials, SystemTime::now())?;
        Ok(Login { username: username.to_owned(), secret })
    }
}

/// The AWS credentials of the environment.
pub(crate) fn ambient() -> Arc<Aws> {
    Arc::new(Aws::of_process())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use aws_credential_types::provider::{ProvideCredentials, future};
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;

    /// Gives other credentials each time.
    #[derive(Debug, Default)]
    struct Rotating(AtomicU64);

    impl ProvideCredentials for Rotating {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let key = format!("AKID{}", self.0.fetch_add(1, SeqCst));
            future::ProvideCredentials::ready(Ok(Credentials::new(key, "secret", None, None, "test")))
        }
    }

    #[tokio::test]
    async fn tokens_are_signed_with_the_credentials_of_the_moment() {
        let admin: DatabaseAdmin = serde_json::from_value(json!({
            "metadata": {"name": "orders"},
            "spec": {
                "protocol": "postgres", "uri": "orders.abc123.eu-west-1.rds.amazonaws.com:5432",
                "auth": {"awsIam": {}}, "userCredentials": {"awsIam": {}},
            },
        }))
        .unwrap();
        let signer = Signer::with(Arc::new(Aws::of(Rotating::default(), None))).await.unwrap();
        let login = signer.login(&admin, "alice").await.unwrap();
        let token = login.secret.expose_secret();
        assert!(token.contains("X-Amz-Credential=AKID1%2F"), "{token}");
    }
}
