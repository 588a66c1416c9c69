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
        let secret = token(&target, &self.credentials, SystemTime::now())?;
        Ok(Login { username: username.to_owned(), secret })
    }
}

/// The AWS credentials of the environment.
pub(crate) fn ambient() -> Arc<Aws> {
    Arc::new(Aws::of_process())
}
