//! The API calls of AWS that Rolecall and its users make, over HTTP on this machine: GetClusterCredentials of Redshift,
//! AssumeRoleWithWebIdentity of STS and the container endpoint of EKS Pod Identity.
//!
//! Every call that must be signed is verified by [`crate::sigv4`]. Temporary passwords are those that the simulator of
//! Redshift accepts. What would let users create themselves is refused: AutoCreate and groups.
//!
//! Clients are pointed at it by `AWS_ENDPOINT_URL_REDSHIFT` and `AWS_ENDPOINT_URL_STS` ([`AwsFront::environment`]).

mod client;
mod credentials;
mod redshift;
mod reply;
mod sts;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Method, Request as HttpRequest};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::redshift::Issuer;
use crate::sigv4::{Expected, Keyring, Keys, Refused, Request, verify_request};
use reply::Refusal;

/// A call that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The action, as in `GetClusterCredentials`; `container` for the endpoint of Pod Identity.
    pub action: String,
    /// The key id that signed it.
    pub access_key_id: Option<String>,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// The error code with which it was refused.
    pub refused: Option<String>,
}

/// The front, which ends with this value.
#[derive(Debug)]
pub struct AwsFront {
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    region: String,
    state: Mutex<FrontState>,
}

#[derive(Debug, Default)]
struct FrontState {
    keyring: Keyring,
    /// When temporary keys end.
    expires: BTreeMap<String, Timestamp>,
    /// As whom each key may ask for credentials. Keys that are not here may as everybody.
    permitted: BTreeMap<String, Vec<String>>,
    clusters: BTreeMap<String, Issuer>,
    /// Custom domain names, and the cluster of each.
    domains: BTreeMap<String, String>,
    /// Web identity tokens, and the role of each.
    web_identities: BTreeMap<String, String>,
    /// Tokens of pods.
    pods: Vec<String>,
    /// Error codes of the next signed calls.
    failures: Vec<String>,
    ahead: SignedDuration,
    calls: Vec<Call>,
}

impl AwsFront {
    /// Starts it for a region, with keys of somebody who may do everything.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(region: &str, keys: Keys) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let state = FrontState { keyring: Keyring::new([keys]), ..FrontState::default() };
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            region: region.to_owned(),
            state: Mutex::new(state),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It ends when it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { shared, serving })
    }

    /// Its URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// The variables that point the clients of AWS at it, without credentials.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL_REDSHIFT", self.url()),
            ("AWS_ENDPOINT_URL_STS", self.url()),
            ("AWS_REGION", self.shared.region.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Hands out temporary passwords for a cluster.
    pub fn add_cluster(&self, identifier: &str, cluster: Issuer) {
        self.shared.lock().clusters.insert(identifier.to_owned(), cluster);
    }

    /// A custom domain name of a cluster.
    pub fn add_domain(&self, domain: &str, identifier: &str) {
        self.shared.lock().domains.insert(domain.to_owned(), identifier.to_owned());
    }

    /// Adds keys, or replaces those with the same id. `db_users`: as whom they may ask for credentials; none is
    /// everybody.
    pub fn add_keys(&self, keys: Keys, db_users: Option<&[&str]>) {
        let mut state = self.shared.lock();
        if let Some(users) = db_users {
            let users = users.iter().map(|&user| user.to_owned()).collect();
            state.permitted.insert(keys.access_key_id.clone(), users);
        }
        state.keyring.add(keys);
    }

    /// Forgets keys.
    pub fn remove_keys(&self, access_key_id: &str) {
        self.shared.lock().keyring.remove(access_key_id);
    }

    /// All keys that it knows now, those that it issued among them.
    pub fn keyring(&self) -> Keyring {
        self.shared.lock().keyring.clone()
    }

    /// Trusts a web identity token for a role.
    pub fn trust_web_identity(&self, token: &str, role_arn: &str) {
        self.shared.lock().web_identities.insert(token.to_owned(), role_arn.to_owned());
    }

    /// Trusts the token of a pod at the container endpoint, and returns that endpoint's URL.
    pub fn trust_pod(&self, token: &str) -> String {
        self.shared.lock().pods.push(token.to_owned());
        format!("{}{}", self.url(), credentials::PATH)
    }

    /// The next signed calls are refused because there are too many of them.
    pub fn throttle_next(&self, times: usize) {
        self.fail_next("Throttling", times);
    }

    /// The next signed calls are refused with this code.
    pub fn fail_next(&self, code: &str, times: usize) {
        self.shared.lock().failures.extend(std::iter::repeat_n(code.to_owned(), times));
    }

    /// Moves its clock ahead.
    pub fn advance(&self, by: SignedDuration) {
        let mut state = self.shared.lock();
        state.ahead = state.ahead.saturating_add(by);
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }
}

impl Drop for AwsFront {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, FrontState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FrontState {
    fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    /// New temporary keys.
    fn issue_keys(&mut self, life: SignedDuration) -> (Keys, Timestamp) {
        let id = format!("ASIA{:016X}", rand::random::<u64>());
        let secret = format!("{:032x}/+", rand::random::<u128>());
        let keys = Keys::new(&id, &secret, Some(&format!("session/+={:032x}", rand::random::<u128>())));
        let expires = self.now().saturating_add(life).unwrap_or(Timestamp::MAX);
        self.expires.insert(id, expires);
        self.keyring.add(keys.clone());
        (keys, expires)
    }
}

/// A call as it arrived.
struct Received {
    parts: Parts,
    body: Bytes,
    parameters: BTreeMap<String, String>,
}

async fn answer(State(shared): State<Arc<Shared>>, request: HttpRequest<Body>) -> Response {
    const LONGEST: usize = 64 * 1024;
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, LONGEST).await.unwrap_or_default();
    if parts.method == Method::GET && parts.uri.path() == credentials::PATH {
        return credentials::answer(&shared, &parts.headers);
    }
    let parameters = reply::form(&body);
    let action = parameters.get("Action").cloned().unwrap_or_default();
    let mut call = Call { action, access_key_id: None, parameters: parameters.clone(), refused: None };
    let received = Received { parts, body, parameters };
    let mut state = shared.lock();
    let result = match call.action.as_str() {
        "GetClusterCredentials" => signed(&mut state, &shared, "redshift", &received, &mut call)
            .and_then(|key| redshift::credentials(&state, &key, &received.parameters)),
        "AssumeRoleWithWebIdentity" => sts::assume_role(&mut state, &received.parameters),
        "GetCallerIdentity" => {
            signed(&mut state, &shared, "sts", &received, &mut call).map(|key| sts::identity(&key))
        }
        other => Err(Refusal::new(400, "InvalidAction", format!("there is no action {other:?}"))),
    };
    call.refused = result.as_ref().err().map(|refusal| refusal.code.clone());
    let response = reply::response(&call.action, result);
    state.calls.push(call);
    response
}

/// Verifies the signature of a call and returns the key id.
fn signed(
    state: &mut FrontState,
    shared: &Shared,
    service: &str,
    received: &Received,
    call: &mut Call,
) -> Result<String, Refusal> {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> =
        received.parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let request = Request {
        method: received.parts.method.as_str(),
        path: received.parts.uri.path(),
        query: received.parts.uri.query().unwrap_or_default(),
        headers: &headers,
        body: &received.body,
    };
    let host = shared.address.to_string();
    let now = state.now();
    let expected = Expected { service, region: &shared.region, host: &host, now };
    let key = verify_request(&request, &state.keyring, &expected).map_err(|refused| {
        let (status, code) = match &refused {
            Refused::Missing("authorization") => (403, "MissingAuthenticationToken"),
            Refused::UnknownKey(_) | Refused::SessionToken => (403, "InvalidClientTokenId"),
            Refused::Expired(_) | Refused::NotYetValid(_) => (400, "RequestExpired"),
            Refused::Missing(_) | Refused::Malformed { .. } => (400, "IncompleteSignature"),
            _ => (403, "SignatureDoesNotMatch"),
        };
        Refusal::new(status, code, refused.to_string())
    })?;
    call.access_key_id = Some(key.clone());
    if state.expires.get(&key).is_some_and(|expires| *expires <= now) {
        return Err(Refusal::new(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ));
    }
    if !state.failures.is_empty() {
        let code = state.failures.remove(0);
        let message =
            if code == "Throttling" { "Rate exceeded" } else { "refused because the test wants it" };
        let status = if code == "AccessDenied" { 403 } else { 400 };
        return Err(Refusal::new(status, &code, message));
    }
    Ok(key)
}
