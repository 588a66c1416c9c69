//! The AWS credentials of this process: one provider, asked when what it gave last runs out.
//!
//! The order is that of every SDK: environment, profile, web identity (IRSA), container (EKS Pod Identity). The node's
//! instance metadata comes last and only when asked for (`AWS_EC2_METADATA_DISABLED=false`): where nothing else is set up it would hand out the identity of
//! the node instead of an error.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_config::default_provider::use_fips::use_fips_provider;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
pub use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use rolecall_engine::{Class, Error, Reason};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::failure::LastFailure;

/// How long before they expire credentials are asked for anew.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);
/// How long getting them may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// What sets up a way to credentials, and whether its value may be shown.
const WAYS: [(&str, bool); 6] = [
    ("AWS_ACCESS_KEY_ID", false),
    ("AWS_PROFILE", true),
    ("AWS_ROLE_ARN", true),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", true),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", false),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", true),
];

/// The AWS credentials of this process.
pub struct Aws {
    provider: OnceCell<SharedCredentialsProvider>,
    instance_metadata: bool,
    region: Option<String>,
    /// Which of [`WAYS`] the environment sets up.
    ways: Vec<String>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// What was given last, where it says when it expires.
    credentials: Option<Credentials>,
    failure: LastFailure,
}

impl Aws {
    /// Those of the environment. Only variables are read yet: the region (`AWS_REGION` or `AWS_DEFAULT_REGION`), what
    /// an error will have to name, and `AWS_EC2_METADATA_DISABLED`: the machine's own credentials are used, where there
    /// are no others, if it is `false`.
    pub fn of_process() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let instance_metadata =
            set("AWS_EC2_METADATA_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("false"));
        let region = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"));
        let ways = WAYS.into_iter().filter_map(|(name, shown)| {
            set(name).map(|value| if shown { format!("{name}={value}") } else { name.to_owned() })
        });
        let ways = ways.collect();
        Self { provider: OnceCell::new(), instance_metadata, region, ways, last: Mutex::default() }
    }

    /// Those of a provider of one's own. `region`: see [`Aws::region`].
    pub fn of(provider: impl ProvideCredentials + 'static, region: Option<String>) -> Self {
        let provider = OnceCell::new_with(Some(SharedCredentialsProvider::new(provider)));
        Self { provider, instance_metadata: false, region, ways: vec![], last: Mutex::default() }
    }

    /// The region that the environment names.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The credentials to sign with now.
    ///
    /// # Errors
    ///
    /// `LoginFailed`, with what the chain of providers said.
    pub async fn credentials(&self) -> Result<Credentials, Error> {
        let came = Instant::now();
        // Held meanwhile: whoever comes at the same time gets the same.
        let mut last = self.last.lock().await;
        let now = SystemTime::now();
        let known = last.credentials.clone();
        let lives = |margin| known.clone().filter(|known| lives_until(known, now + margin));
        if let Some(known) = lives(RENEWED_BEFORE) {
            return Ok(known);
        }
        let failure = match last.failure.since(came) {
            Some(failure) => failure,
            None => match self.ask().await {
                Ok(credentials) => {
                    last.credentials = credentials.expiry().is_some().then(|| credentials.clone());
                    return Ok(credentials);
                }
                Err(failure) => last.failure.record(failure),
            },
        };
        // Those that are there are good for a while yet.
        lives(RENEWED_BEFORE / 5).ok_or(failure)
    }

    async fn ask(&self) -> Result<Credentials, Error> {
        let provider = self.provider.get_or_init(|| chain(self.instance_metadata)).await;
        match tokio::time::timeout(TIMEOUT, provider.provide_credentials()).await {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(error)) => Err(unavailable(chain_of(&error), &self.ways)),
            Err(_) => Err(unavailable(format!("no answer within {} s", TIMEOUT.as_secs()), &self.ways)),
        }
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region).finish_non_exhaustive()
    }
}

fn lives_until(credentials: &Credentials, time: SystemTime) -> bool {
    credentials.expiry().is_some_and(|expiry| expiry > time)
}

async fn chain(instance_metadata: bool) -> SharedCredentialsProvider {
    // For STS. The SDK's own chain would ask the instance metadata.
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .region()
        .await;
    let config = ProviderConfig::without_region()
        .with_region(region)
        .with_behavior_version(Some(BehaviorVersion::latest()));
    let fips = use_fips_provider(&config).await;
    let config = config.with_use_fips(fips);
    let profile = ProfileFileCredentialsProvider::builder().configure(&config).build();
    let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
    let container = EcsCredentialsProvider::builder().configure(&config).build();
    let chain =
        CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("profile", profile)
            .or_else("web identity", web_identity)
            .or_else("container", container);
    SharedCredentialsProvider::new(match instance_metadata {
        true => {
            chain.or_else("instance metadata", ImdsCredentialsProvider::builder().configure(&config).build())
        }
        false => chain,
    })
}

/// The error with its causes: the outermost alone says that there are none.
fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts.join(": ")
}

fn unavailable(detail: String, ways: &[String]) -> Error {
    let remedy = match ways {
        [] => "give this process credentials: in a cluster by IRSA or EKS Pod Identity, on a workstation by AWS_PROFILE or eval \"$(aws configure export-credentials --format env)\"".to_owned(),
        // The SDK names neither the file nor the service that it could not read.
        ways => format!("check what its environment sets up: {}", ways.join(", ")),
    };
    Error {
        class: Class::Unreachable,
        reason: Reason::LoginFailed,
        attempted: "getting AWS credentials".to_owned(),
        code: String::new(),
        detail,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use aws_credential_types::provider::{error::CredentialsError, future};

    use super::*;

    /// Gives credentials that live so long, in seconds, a number of times; afterwards it fails.
    #[derive(Debug)]
    struct Some_ {
        lives: Option<u64>,
        times: u64,
        asked: Arc<AtomicU64>,
    }

    impl ProvideCredentials for Some_ {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.asked.fetch_add(1, SeqCst);
            if number >= self.times {
                return future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("no more")));
            }
            let expiry = self.lives.map(|lives| SystemTime::now() + Duration::from_secs(lives));
            let key = format!("AKID{number}");
            future::ProvideCredentials::ready(Ok(Credentials::new(key, "hunter2", None, expiry, "test")))
        }
    }

    fn aws(lives: Option<u64>, times: u64) -> (Aws, Arc<AtomicU64>) {
        let asked = Arc::<AtomicU64>::default();
        (Aws::of(Some_ { lives, times, asked: Arc::clone(&asked) }, None), asked)
    }

    #[tokio::test]
    async fn they_are_asked_for_once_while_they_live() {
        let (aws, asked) = aws(Some(3600), 9);
        for _ in 0..3 {
            assert_eq!(aws.credentials().await.unwrap().access_key_id(), "AKID0");
        }
        assert_eq!(asked.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn they_are_renewed_before_they_expire_and_used_while_that_fails() {
        let (aws, asked) = aws(Some(200), 2);
        aws.credentials().await.unwrap();
        assert_eq!(aws.credentials().await.unwrap().access_key_id(), "AKID1");
        assert_eq!(aws.credentials().await.unwrap().access_key_id(), "AKID1", "renewal failed");
        assert_eq!(asked.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn without_an_end_they_may_change_at_any_time() {
        let (aws, _) = aws(None, 2);
        aws.credentials().await.unwrap();
        assert_eq!(aws.credentials().await.unwrap().access_key_id(), "AKID1");
    }

    #[tokio::test]
    async fn that_there_are_none_says_what_to_do() {
        let (aws, _) = aws(None, 0);
        let error = aws.credentials().await.unwrap_err();
        assert_eq!(error.reason, Reason::LoginFailed);
        assert!(error.detail.contains("no more") && error.remedy.contains("IRSA"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_an_attempt_gets_its_failure() {
        #[derive(Debug)]
        struct Silent;
        impl ProvideCredentials for Silent {
            fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                future::ProvideCredentials::new(std::future::pending())
            }
        }
        let aws = Aws::of(Silent, None);
        let asked = Instant::now();
        let (one, other) = tokio::join!(aws.credentials(), aws.credentials());
        assert_eq!(asked.elapsed().as_secs(), TIMEOUT.as_secs());
        assert_eq!(one.unwrap_err(), other.unwrap_err());
        aws.credentials().await.unwrap_err();
        assert_eq!(
            asked.elapsed().as_secs(),
            2 * TIMEOUT.as_secs(),
            "whoever comes later has it tried again"
        );
    }

    #[tokio::test]
    async fn debug_output_contains_no_secret() {
        let (aws, _) = aws(Some(3600), 1);
        let credentials = aws.credentials().await.unwrap();
        assert!(!format!("{aws:?} {credentials:?}").contains("hunter2"));
    }
}
