//! What stands for RDS before a PostgreSQL server, and for AWS: nobody who answers, so that a call shows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rolecall_aws_testbed::rds::{Front, Identity, ROLES};
use rolecall_aws_testbed::sigv4::{Keyring, Keys};
use rolecall_testbed::Postgres;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::server::ADMIN;

pub(crate) use rolecall_aws_testbed::rds::HBA;

/// What tokens are signed for.
pub(crate) const ENDPOINT: &str = "orders.cluster-abc123.eu-west-1.rds.amazonaws.com:5432";
const REGION: &str = "eu-west-1";
const KEYS: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG");

/// See the module.
pub(crate) struct Rds {
    pub(crate) front: Front,
    aws: SocketAddr,
    calls: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Rds {
    pub(crate) async fn start(postgres: &Postgres) -> anyhow::Result<Self> {
        let roles = format!("{ROLES}grant rds_iam to \"{ADMIN}\" with admin option");
        postgres.sql("postgres", &roles).await?;
        let host = ENDPOINT.split(':').next().unwrap_or(ENDPOINT);
        let certificate = postgres.server_certificate(&[host])?;
        let identity = Identity {
            endpoint: ENDPOINT.to_owned(),
            region: REGION.to_owned(),
            keyring: Keyring::new([Keys::new(KEYS.0, KEYS.1, None)]),
            cert_pem: certificate.cert_pem,
            key_pem: certificate.key_pem,
        };
        let front = Front::start(identity, SocketAddr::from(([127, 0, 0, 1], postgres.port()))).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (aws, calls) = (listener.local_addr()?, Arc::<AtomicU64>::default());
        let counted = Arc::clone(&calls);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                counted.fetch_add(1, Relaxed);
                drop(connection);
            }
        });
        Ok(Self { front, aws, calls, task })
    }

    /// What the operator's environment has to say.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ACCESS_KEY_ID", KEYS.0.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", KEYS.1.to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.aws)),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// How often AWS was called.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }
}

impl Drop for Rds {
    fn drop(&mut self) {
        self.task.abort();
    }
}
