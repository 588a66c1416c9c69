//! What the process finds around it: the front, a metadata service that counts, and a home.

use std::path::Path;

use jiff::Timestamp;
use rolecall_aws_testbed::front::AwsFront;
use rolecall_aws_testbed::redshift::Redshift;
use rolecall_aws_testbed::sigv4::{Keys, verify_rds_token};
use tempfile::TempDir;

use crate::child::{self, Answer, RDS, REGION, USERS};
use crate::metadata::Metadata;

/// The cluster that is there.
pub(crate) const CLUSTER: &str = "warehouse";
/// The secret of the keys that somebody has set up.
pub(crate) const SECRET: &str = "hunter2";
/// Their session token.
pub(crate) const SESSION: &str = "session/+=";
/// The role for IRSA.
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/rolecall";

pub(crate) struct Bench {
    pub(crate) front: AwsFront,
    pub(crate) metadata: Metadata,
    home: TempDir,
    _redshift: Redshift,
}

impl Bench {
    /// With keys `AKIDSET` of somebody who may do everything.
    pub(crate) async fn start() -> Self {
        let redshift = Redshift::start().await.unwrap();
        let front = AwsFront::start(REGION, Keys::new("AKIDSET", SECRET, Some(SESSION))).await.unwrap();
        front.add_cluster(CLUSTER, redshift.issuer());
        let home = TempDir::with_prefix("rolecall-chain-").unwrap();
        Self { front, metadata: Metadata::start().await, home, _redshift: redshift }
    }

    /// A file in the home, by its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        shown(&path)
    }

    /// Those of a Pod with IRSA, as its webhook sets them.
    pub(crate) fn irsa(&self, token: &str) -> Vec<(&'static str, String)> {
        let file = self.file("web-identity", token);
        vec![("AWS_ROLE_ARN", ROLE.to_owned()), ("AWS_WEB_IDENTITY_TOKEN_FILE", file)]
    }

    /// Those of a Pod with EKS Pod Identity, as its webhook sets them.
    pub(crate) fn pod_identity(&self, url: String, token: &str) -> Vec<(&'static str, String)> {
        let file = self.file("pod-identity", token);
        vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", url), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)]
    }

    /// Runs the process with these beside the addresses of the doubles; an empty text takes a variable away.
    pub(crate) async fn run(&self, cluster: &str, set: &[(&'static str, String)]) -> Answer {
        let doubles = self.front.environment().into_iter().filter(|(name, _)| !name.contains("METADATA"));
        let around =
            [("HOME", shown(self.home.path())), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.metadata.url())];
        let mut variables: Vec<(String, String)> = vec![];
        for (name, value) in doubles.chain(around).chain(set.iter().cloned()) {
            variables.retain(|(known, _)| known != name);
            if !value.is_empty() {
                variables.push((name.to_owned(), value));
            }
        }
        child::run(cluster, &variables).await
    }

    /// The key id with which the process signed, and the actions that it called. Fails unless all that it signed is
    /// good, and unless it asked once for what it needed.
    pub(crate) async fn signed(&self, set: &[(&'static str, String)]) -> (String, Vec<String>) {
        let answer = self.run(CLUSTER, set).await;
        assert_eq!(answer.error, None);
        let logins: Vec<_> = USERS.iter().flat_map(|user| vec![format!("IAM:{user}"); 2]).collect();
        assert_eq!(answer.logins, logins);

        let calls = self.front.calls();
        assert!(calls.iter().all(|call| call.refused.is_none()), "{calls:?}");
        let (lent, others): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| call.action == "GetClusterCredentials");
        assert_eq!(lent.len(), USERS.len(), "once for each user");
        assert_eq!(lent[0].access_key_id, lent[1].access_key_id, "one identity");
        let key = lent[0].access_key_id.clone().unwrap();

        let keyring = self.front.keyring();
        let endpoint = format!("{RDS}:5432");
        verify_rds_token(&answer.token, USERS[0], &endpoint, REGION, &keyring, Timestamp::now()).unwrap();
        assert!(answer.token.contains(&format!("Credential={key}%2F")), "the same identity: {key}");
        (key, others.into_iter().map(|call| call.action).collect())
    }
}

/// Values of variables, owned.
pub(crate) fn set<const N: usize>(variables: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
    variables.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

/// Static keys in the environment.
pub(crate) fn keys() -> Vec<(&'static str, String)> {
    set([("AWS_ACCESS_KEY_ID", "AKIDSET"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_SESSION_TOKEN", SESSION)])
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
