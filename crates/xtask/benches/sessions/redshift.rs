//! A simulator of Amazon Redshift, and of the AWS API that hands out passwords for it.

use anyhow::Context;
use rolecall_aws_testbed::front::AwsFront;
use rolecall_aws_testbed::redshift::{Admin, Redshift};
use rolecall_aws_testbed::sigv4::Keys;
use rolecall_testbed::Authority;

use crate::server::ADMIN;

const REGION: &str = "eu-west-1";
const CLUSTER: &str = "orders";
/// The logical database that sessions name.
pub(crate) const LOGICAL: &str = "dev";

/// See the module.
pub(crate) struct Simulator {
    pub(crate) redshift: Redshift,
    front: AwsFront,
    keys: Keys,
    /// The admin user's own password, for the bare client.
    pub(crate) password: String,
    /// Signs what no cluster asks for.
    pub(crate) authority: Authority,
}

impl Simulator {
    pub(crate) async fn start(role: &str) -> anyhow::Result<Self> {
        let redshift = Redshift::start().await?;
        let password = redshift.create_admin(ADMIN, Admin::Superuser)?;
        redshift.sql(LOGICAL, &format!("create role {role}")).await?;
        let keys = Keys::new("AKIDOPERATOR", "operator-secret", None);
        let front = AwsFront::start(REGION, keys.clone()).await.context("starting the AWS API")?;
        front.add_cluster(CLUSTER, redshift.issuer());
        Ok(Self { redshift, front, keys, password, authority: Authority::new("nobody")? })
    }

    /// What the operator's environment has to say.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut variables = self.front.environment();
        variables.push(("AWS_ACCESS_KEY_ID", self.keys.access_key_id.clone()));
        variables.push(("AWS_SECRET_ACCESS_KEY", self.keys.secret.clone()));
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// How the operator logs in, as its DatabaseAdmin says.
    pub(crate) fn auth() -> serde_json::Value {
        serde_json::json!({"awsIam": {"region": REGION, "clusterIdentifier": CLUSTER}})
    }

    /// How often AWS was called.
    pub(crate) fn calls(&self) -> u64 {
        u64::try_from(self.front.calls().len()).unwrap_or(u64::MAX)
    }

    /// The statements that arrived.
    pub(crate) fn statements(&self) -> i64 {
        let counts = self.redshift.counts();
        let statements = counts.iter().filter(|(kind, _)| *kind != "login").map(|(_, count)| *count);
        i64::try_from(statements.sum::<u64>()).unwrap_or(i64::MAX)
    }

    /// Drops every account with the marker.
    pub(crate) async fn forget_accounts(&self) -> anyhow::Result<()> {
        let query = "select user_name from svv_user_grants where role_name = 'teleport-auto-user'";
        for row in self.redshift.sql(LOGICAL, query).await? {
            if let Some(name) = row.into_iter().next().flatten().filter(|name| name != ADMIN) {
                self.redshift.sql(LOGICAL, &format!("drop user \"{name}\"")).await?;
            }
        }
        Ok(())
    }
}
