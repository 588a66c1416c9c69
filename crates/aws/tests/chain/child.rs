//! The process that has to find credentials: this test's program once more.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rolecall_aws::{Aws, Cluster, ClusterLogin, ClusterTarget, RdsLogin, Target};
use rolecall_engine::{Error, LoginSource};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

/// The region of everything.
pub(crate) const REGION: &str = "eu-west-1";
/// The server for which a token is signed.
pub(crate) const RDS: &str = "db.abc.eu-west-1.rds.amazonaws.com";
/// As whom the process logs in, to two clusters' worth of databases and to RDS.
pub(crate) const USERS: [&str; 2] = ["rolecall-admin", "rolecall+other@example.com"];

/// Set for the process: the cluster.
const CLUSTER: &str = "ROLECALL_TEST_CLUSTER";
/// What stands before its answer.
const MARK: &str = "answer=";
/// How long it may take, machine and all: far more than what the product allows itself.
const LIMIT: Duration = Duration::from_secs(120);

/// What the process got.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The login names that were lent.
    pub(crate) logins: Vec<String>,
    /// The token for RDS of the first user.
    pub(crate) token: String,
    /// Why there is neither.
    pub(crate) error: Option<String>,
    /// How long it took, in seconds.
    pub(crate) seconds: u64,
}

impl Answer {
    /// The error, which must be there.
    pub(crate) fn error(&self) -> &str {
        self.error.as_deref().unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

/// Not really a test: what the others run in another process.
#[tokio::test]
async fn process() {
    let Ok(cluster) = std::env::var(CLUSTER) else { return };
    let started = std::time::Instant::now();
    let mut answer = Answer::default();
    answer.error = found(&cluster, &mut answer).await.err().map(|error| error.to_string());
    answer.seconds = started.elapsed().as_secs();
    println!("\n{MARK}{}", serde_json::to_string(&answer).unwrap());
}

async fn found(cluster: &str, answer: &mut Answer) -> Result<(), Error> {
    let aws = Arc::new(Aws::of_process());
    for user in USERS {
        let target = ClusterTarget {
            cluster: Cluster::Identifier(cluster.to_owned()),
            user: user.to_owned(),
            region: REGION.to_owned(),
        };
        let login = ClusterLogin::new(Arc::clone(&aws), target);
        let (one, other) = tokio::join!(login.login(), login.login());
        answer.logins.extend([one?.username, other?.username]);
    }
    let target =
        Target { host: RDS.to_owned(), port: 5432, user: USERS[0].to_owned(), region: REGION.to_owned() };
    answer.token = RdsLogin::new(aws, target).login().await?.secret.expose_secret().to_owned();
    Ok(())
}

/// Runs it with these variables and no others.
pub(crate) async fn run(cluster: &str, variables: &[(String, String)]) -> Answer {
    let mut process = tokio::process::Command::new(std::env::current_exe().unwrap());
    process.args(["child::process", "--exact", "--nocapture"]).stdin(Stdio::null()).kill_on_drop(true);
    process.env_clear().env(CLUSTER, cluster).envs(variables.iter().cloned());
    let output = tokio::time::timeout(LIMIT, process.output()).await.expect("it ends").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = text.lines().find_map(|line| line.strip_prefix(MARK));
    let answer = answer.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(answer).unwrap()
}
