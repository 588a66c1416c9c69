//! Logins to Redshift: a password that GetClusterCredentials lends for some minutes.
//!
//! One signed request is made by hand: the client of AWS for it is 17 MB of source. AutoCreate and groups are never
//! asked for: with the first a user that was dropped would make itself again, with the second it would join groups at
//! will.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use rolecall_engine::{Class, Error, Login, LoginSource, Reason};

use crate::credentials::Aws;
use crate::failure::LastFailure;
use crate::host::{domain_of, partition_of};
use crate::http_client::{self, Answer};
use crate::sign::{self, COMPONENT, Scope};

/// How long before it expires a password is asked for anew. It lives 15 minutes.
const RENEWED_BEFORE: Duration = Duration::from_secs(180);
/// How long before it expires a password is given up where no other can be had.
const GIVEN_UP_BEFORE: Duration = Duration::from_secs(30);

/// Which cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cluster {
    /// By its identifier.
    Identifier(String),
    /// By its custom domain name.
    CustomDomain(String),
}

/// Whose login to lend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterTarget {
    /// The cluster.
    pub cluster: Cluster,
    /// The database user.
    pub user: String,
    /// The region of the cluster.
    pub region: String,
}

/// Where the API of Redshift is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// The address in a region: of `AWS_ENDPOINT_URL_REDSHIFT` or `AWS_ENDPOINT_URL`, else that of AWS;
    /// `AWS_USE_FIPS_ENDPOINT` chooses the one with FIPS. `variable` reads the environment.
    pub fn of(region: &str, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_true = |name: &str| set(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let configured = match is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
            true => None,
            false => set("AWS_ENDPOINT_URL_REDSHIFT").or_else(|| set("AWS_ENDPOINT_URL")),
        };
        let fips = if is_true("AWS_USE_FIPS_ENDPOINT") { "-fips" } else { "" };
        let url =
            configured.unwrap_or_else(|| format!("https://redshift{fips}.{region}.{}", domain_of(region)));
        Self(format!("{}/", url.trim_end_matches('/')))
    }
}

/// Logs in to one cluster as one user.
#[derive(Debug)]
pub struct ClusterLogin {
    aws: Arc<Aws>,
    target: ClusterTarget,
    endpoint: Endpoint,
    cached: Mutex<Option<Lent>>,
    /// Held while one is asked for: whoever comes at the same time gets the same.
    asking: tokio::sync::Mutex<LastFailure>,
}

#[derive(Clone, Debug)]
struct Lent {
    login: Login,
    expires: SystemTime,
}

impl Lent {
    fn lives(&self, now: SystemTime, margin: Duration) -> bool {
        now + margin < self.expires
    }
}

impl ClusterLogin {
    /// With the credentials of this process, at the address that its environment names.
    pub fn new(aws: Arc<Aws>, target: ClusterTarget) -> Self {
        let endpoint = Endpoint::of(&target.region, |name| std::env::var(name).ok());
        Self::at(endpoint, aws, target)
    }

    /// The same at an address of one's own.
    pub fn at(endpoint: Endpoint, aws: Arc<Aws>, target: ClusterTarget) -> Self {
        Self { aws, target, endpoint, cached: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    async fn ask(&self) -> Result<Lent, Error> {
        let credentials = self.aws.credentials().await?;
        let body = body(&self.target);
        let content_type = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let scope = Scope { service: "redshift", region: &self.target.region, at: SystemTime::now() };
        let mut headers =
            sign::headers(&self.endpoint.0, &[content_type], body.as_bytes(), scope, &credentials)?;
        headers.push((content_type.0.to_owned(), content_type.1.to_owned()));
        let answer = http_client::post(&self.endpoint.0, &headers, body.into_bytes()).await;
        let answer = answer.map_err(|detail| {
            self.failed(
                String::new(),
                detail,
                "check the network between, and AWS_ENDPOINT_URL_REDSHIFT where it is set",
            )
        })?;
        let lent = self.read(&answer)?;
        tracing::debug!(user = self.target.user, "Redshift has lent a password");
        Ok(lent)
    }

    fn read(&self, answer: &Answer) -> Result<Lent, Error> {
        let document = roxmltree::Document::parse(&answer.text);
        let text = |name: &str| {
            let document = document.as_ref().ok()?;
            let node = document.descendants().find(|node| node.tag_name().name() == name)?;
            node.text().map(|text| text.trim().to_owned())
        };
        if answer.status != 200 {
            let code = text("Code").unwrap_or_default();
            let detail = text("Message").unwrap_or_else(|| format!("HTTP status {}", answer.status));
            let remedy = self.remedy(&code);
            return Err(self.failed(code, detail, &remedy));
        }
        let lent = || {
            let expires: Timestamp = text("Expiration")?.parse().ok()?;
            let login = Login { username: text("DbUser")?, secret: text("DbPassword")?.into() };
            Some(Lent { login, expires: expires.into() })
        };
        lent().ok_or_else(|| self.failed(String::new(), "the answer contains no login".to_owned(), ""))
    }

    fn remedy(&self, code: &str) -> String {
        let ClusterTarget { cluster, user, region } = &self.target;
        match code {
            "ClusterNotFound" | "ClusterNotFoundFault" => {
                "name the cluster in auth.awsIam.clusterIdentifier".to_owned()
            }
            "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => {
                "AWS limits such requests; it is tried again".to_owned()
            }
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
                let name = match cluster {
                    Cluster::Identifier(name) => name.as_str(),
                    Cluster::CustomDomain(_) => "<cluster>",
                };
                let arn = format!("arn:{}:redshift:{region}:<account>", partition_of(region));
                format!(
                    "allow redshift:GetClusterCredentials on {arn}:dbuser:{name}/{user} and {arn}:dbname:{name}/*"
                )
            }
            _ => String::new(),
        }
    }

    fn failed(&self, code: String, detail: String, remedy: &str) -> Error {
        let (Cluster::Identifier(cluster) | Cluster::CustomDomain(cluster)) = &self.target.cluster;
        Error {
            class: Class::Unreachable,
            reason: Reason::LoginFailed,
            attempted: format!(
                "asking for credentials of {:?} on the Redshift cluster {cluster:?}",
                self.target.user
            ),
            // With a blank it is shown as it is.
            code: if code.is_empty() { code } else { format!("AWS {code}") },
            detail,
            remedy: remedy.to_owned(),
        }
    }

    // A poisoned lock means that a thread panicked between two plain assignments.
    fn cached(&self) -> MutexGuard<'_, Option<Lent>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, margin: Duration) -> Option<Login> {
        let now = SystemTime::now();
        self.cached().as_ref().filter(|lent| lent.lives(now, margin)).map(|lent| lent.login.clone())
    }
}

#[async_trait]
impl LoginSource for ClusterLogin {
    async fn login(&self) -> Result<Login, Error> {
        if let Some(login) = self.known(RENEWED_BEFORE) {
            return Ok(login);
        }
        let came = tokio::time::Instant::now();
        let mut last_failure = self.asking.lock().await;
        if let Some(login) = self.known(RENEWED_BEFORE) {
            return Ok(login);
        }
        let failure = match last_failure.since(came) {
            Some(failure) => failure,
            None => match self.ask().await {
                Ok(lent) => return Ok(self.cached().insert(lent).login.clone()),
                Err(failure) => last_failure.record(failure),
            },
        };
        // What is there is good for a while yet.
        self.known(GIVEN_UP_BEFORE).ok_or(failure)
    }

    fn refused(&self, login: &Login) {
        self.cached().take_if(|lent| login.has_secret(&lent.login.secret));
    }
}

fn body(target: &ClusterTarget) -> String {
    let encode = |text: &str| utf8_percent_encode(text, COMPONENT).to_string();
    let cluster = match &target.cluster {
        Cluster::Identifier(name) => format!("ClusterIdentifier={}", encode(name)),
        Cluster::CustomDomain(name) => format!("CustomDomainName={}", encode(name)),
    };
    format!("Action=GetClusterCredentials&Version=2012-12-01&{cluster}&DbUser={}", encode(&target.user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;

    fn source(endpoint: &str) -> ClusterLogin {
        let aws = Arc::new(Aws::of(Credentials::new("AKID", "SECRET", None, None, "test"), None));
        let target = ClusterTarget {
            cluster: Cluster::Identifier("wh".to_owned()),
            user: "teleport-admin".to_owned(),
            region: "eu-west-1".to_owned(),
        };
        ClusterLogin::at(Endpoint::of("eu-west-1", |_| Some(endpoint.to_owned())), aws, target)
    }

    fn answer(status: u16, text: &str) -> Answer {
        Answer { status, text: text.to_owned() }
    }

    #[test]
    fn the_environment_names_the_address() {
        let of = |region: &str, set: &[(&str, &str)]| {
            let read = |name: &str| {
                set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
            };
            Endpoint::of(region, read).0
        };
        assert_eq!(of("eu-west-1", &[]), "https://redshift.eu-west-1.amazonaws.com/");
        assert_eq!(of("cn-north-1", &[]), "https://redshift.cn-north-1.amazonaws.com.cn/");
        let fips = ("AWS_USE_FIPS_ENDPOINT", "true");
        assert_eq!(of("us-east-1", &[fips]), "https://redshift-fips.us-east-1.amazonaws.com/");
        let all = ("AWS_ENDPOINT_URL", "http://localhost:1/");
        let one = ("AWS_ENDPOINT_URL_REDSHIFT", "http://localhost:2");
        assert_eq!(of("eu-west-1", &[all]), "http://localhost:1/");
        assert_eq!(of("eu-west-1", &[all, one, fips]), "http://localhost:2/");
        let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
        assert_eq!(of("eu-west-1", &[all, one, ignored]), "https://redshift.eu-west-1.amazonaws.com/");
    }

    #[test]
    fn nothing_is_created_and_no_group_joined() {
        let body = body(&source("http://localhost").target);
        assert_eq!(
            body,
            "Action=GetClusterCredentials&Version=2012-12-01&ClusterIdentifier=wh&DbUser=teleport-admin"
        );
    }

    #[test]
    fn the_login_is_the_user_that_the_answer_names() {
        let source = source("http://localhost");
        let text = "<GetClusterCredentialsResponse xmlns=\"http://redshift.amazonaws.com/doc/2012-12-01/\">
  <GetClusterCredentialsResult><DbUser>IAM:teleport-admin</DbUser><DbPassword>a&amp;b</DbPassword>
  <Expiration>2026-11-30T12:00:00Z</Expiration></GetClusterCredentialsResult></GetClusterCredentialsResponse>";
        let lent = source.read(&answer(200, text)).unwrap();
        assert_eq!(lent.login.username, "IAM:teleport-admin");
        assert_eq!(secrecy::ExposeSecret::expose_secret(&lent.login.secret), "a&b");
        let expires = lent.expires;
        assert!(lent.lives(expires - Duration::from_secs(181), RENEWED_BEFORE));
        assert!(!lent.lives(expires - Duration::from_secs(180), RENEWED_BEFORE));
        assert!(!format!("{lent:?}").contains("a&b"));
        for text in ["", "no xml", "<a><DbUser>IAM:x</DbUser></a>"] {
            assert_eq!(source.read(&answer(200, text)).unwrap_err().reason, Reason::LoginFailed);
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let source = source("http://localhost");
        let refused = |code: &str| {
            let text = format!(
                "<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
            );
            source.read(&answer(400, &text)).unwrap_err().to_string()
        };
        let denied = refused("AccessDenied");
        assert!(denied.contains("arn:aws:redshift:eu-west-1:<account>:dbuser:wh/teleport-admin"), "{denied}");
        assert!(denied.contains("(AWS AccessDenied)"), "{denied}");
        assert!(refused("ClusterNotFound").contains("clusterIdentifier"));
        assert!(source.read(&answer(503, "")).unwrap_err().detail.contains("503"));
    }

    #[tokio::test]
    async fn what_was_lent_is_given_out_until_it_is_refused() {
        // Nobody answers there.
        let source = source("http://127.0.0.1:1");
        let login = Login { username: "IAM:teleport-admin".to_owned(), secret: "x".into() };
        let lives = |seconds| Lent {
            login: login.clone(),
            expires: SystemTime::now() + Duration::from_secs(seconds),
        };
        for seconds in [600, 100] {
            *source.cached() = Some(lives(seconds));
            assert_eq!(source.login().await.unwrap().username, login.username, "{seconds} s left");
        }
        *source.cached() = Some(lives(20));
        assert_eq!(source.login().await.unwrap_err().reason, Reason::LoginFailed);
        *source.cached() = Some(lives(600));
        source.refused(&Login { secret: "one of before".into(), ..login.clone() });
        assert!(source.login().await.is_ok(), "that one was asked for since");
        source.refused(&login);
        assert!(source.login().await.is_err());
    }
}
