//! Logging in with an IAM token, signed with the AWS credentials of whoever runs this.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use kube::ResourceExt;
use rolecall_api::DatabaseAdmin;
use rolecall_aws::rds_token::token;
use rolecall_aws::{Aws, Credentials};
use secrecy::SecretString;

/// AWS credentials of whoever runs this.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    aws: Arc<Aws>,
    credentials: Credentials,
}

impl Signer {
    /// # Errors
    ///
    /// That there are none.
    pub(super) async fn new() -> anyhow::Result<Self> {
        let aws = ambient();
        let credentials = aws
            .credentials()
            .await
            .context("the database user logs in with an IAM token, which takes AWS credentials of yours")?;
        Ok(Self { aws, credentials })
    }

    /// A token for this user of this server.
    ///
    /// # Errors
    ///
    /// That its name or region is not known.
    pub(super) fn token(&self, admin: &DatabaseAdmin, username: &str) -> anyhow::Result<SecretString> {
        let target = rolecall_resolve::rds_target(admin, username, self.aws.region())
            .map_err(|blocked| anyhow!("the DatabaseAdmin {:?}: {}", admin.name_any(), blocked.message))?;
        Ok(token(&target, &self.credentials, SystemTime::now())?)
    }
}

/// The AWS credentials of the environment.
pub(crate) fn ambient() -> Arc<Aws> {
    Arc::new(Aws::of_process())
}
