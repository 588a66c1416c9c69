//! A PostgreSQL server that stands for Amazon RDS.
//!
//! Before it is the front of `rolecall-aws-testbed`, which wants IAM tokens; its roles have the names of RDS's, and its
//! admin user is no superuser. The operator runs as a process of its own, with AWS credentials in its environment and no
//! AWS to call.

use std::net::SocketAddr;
use std::ops::Deref;

use anyhow::{Context, Result};
use rolecall_aws_testbed::rds::{Front, HBA, Identity, ROLES};
use rolecall_aws_testbed::sigv4::{Keyring, Keys};
use rolecall_testbed::PgVersion;
use serde_json::{Value, json};

use crate::process::Process;
use crate::test_env::{ADMIN_USER, Credentials, TestEnv};

/// The server's own name.
pub const HOST: &str = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com";
/// Its region.
pub const REGION: &str = "eu-west-1";
/// Who may sign.
const KEYS: (&str, &str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "IQoJb3JpZ2luX2VjE/+=");

/// A [`TestEnv`] on RDS, so to speak.
#[derive(Debug)]
pub struct RdsEnv {
    // Declared first: the operator ends before the front and the server do.
    process: Option<Process>,
    /// What clients connect to.
    pub front: Front,
    env: TestEnv,
}

impl Deref for RdsEnv {
    type Target = TestEnv;

    fn deref(&self) -> &TestEnv {
        &self.env
    }
}

impl RdsEnv {
    /// All objects but sessions, and an operator. `rds_iam`: statements that let the admin user log in, and grant the
    /// role; the usual ones where it is `None`.
    ///
    /// # Errors
    /// When a component does not start or an object is refused.
    pub async fn start(version: PgVersion, rds_iam: Option<&str>) -> Result<Self> {
        let env = TestEnv::builder()
            .version(version)
            .hba(HBA)
            .credentials(Credentials::None)
            .without_operator()
            .without_objects()
            .start()
            .await?;
        let usual = format!("grant rds_iam to \"{ADMIN_USER}\" with admin option");
        env.pg.sql("postgres", &format!("{ROLES}{}", rds_iam.unwrap_or(&usual))).await?;
        let certificate = env.pg.server_certificate(&["localhost", HOST])?;
        let identity = Identity {
            endpoint: format!("{HOST}:5432"),
            region: REGION.to_owned(),
            keyring: Keyring::new([Keys::new(KEYS.0, KEYS.1, Some(KEYS.2))]),
            cert_pem: certificate.cert_pem,
            key_pem: certificate.key_pem,
        };
        let front = Front::start(identity, SocketAddr::from(([127, 0, 0, 1], env.pg.port()))).await?;
        let mut env = Self { process: None, front, env };
        env.admin(env.spec()).await?;
        env.role("reader", json!({})).await?;
        env.user("alice", json!({"username": crate::test_env::ALICE})).await?;
        env.start_process(&[]).await?;
        Ok(env)
    }

    /// How the DatabaseAdmin differs from that of a server of one's own.
    fn spec(&self) -> Value {
        json!({"spec": {
            "uri": self.front.address().to_string(),
            "platform": "RDS",
            "auth": {"x509": null, "awsIam": {"endpoint": format!("{HOST}:5432")}},
            "userCredentials": {"awsIam": {}},
        }})
    }

    /// Starts the operator with these flags, in place of one that runs.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn start_process(&mut self, flags: &[&str]) -> Result<()> {
        self.process = None;
        let variables = [
            ("AWS_ACCESS_KEY_ID", KEYS.0),
            ("AWS_SECRET_ACCESS_KEY", KEYS.1),
            ("AWS_SESSION_TOKEN", KEYS.2),
            // Nobody is there: no login may take a call to AWS.
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ];
        self.process = Some(self.env.process_with(flags, &variables).await.context("starting the operator")?);
        Ok(())
    }

    /// What the operator counts.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let process = self.process.as_ref().context("an operator")?;
        crate::operator::get(process.log().address().await?, "/metrics").await
    }

    /// What a user with AWS credentials signs with.
    pub fn keys(&self) -> Keys {
        Keys::new(KEYS.0, KEYS.1, Some(KEYS.2))
    }

    /// A connection of a user with a password, or what it sends as one, through the front.
    ///
    /// # Errors
    /// When the front or the server refuses it.
    pub async fn connect(
        &self,
        user: &str,
        password: &str,
    ) -> rolecall_testbed::Result<tokio_postgres::Client> {
        let port = self.front.address().port();
        self.pg.connect_with_password_through(port, "app", user, password).await
    }
}
