//! The container endpoint of EKS Pod Identity, which is a few lines of HTTP.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::SignedDuration;

use super::{Call, Shared};

/// Where it is.
pub(super) const PATH: &str = "/v1/credentials";

/// Keys for the token of a pod, which is sent as it is in the header Authorization.
pub(super) fn answer(shared: &Shared, headers: &HeaderMap) -> Response<Body> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut state = shared.lock();
    let is_trusted = state.pods.iter().any(|trusted| trusted == token);
    let refused = (!is_trusted).then(|| "AccessDenied".to_owned());
    state.calls.push(Call {
        action: "container".to_owned(),
        access_key_id: None,
        parameters: BTreeMap::new(),
        refused,
    });
    let (status, text) = if is_trusted {
        let (keys, expires) = state.issue_keys(SignedDuration::from_hours(1));
        let text = format!(
            r#"{{"AccessKeyId":"{}","SecretAccessKey":"{}","Token":"{}","Expiration":"{}"}}"#,
            keys.access_key_id,
            keys.secret,
            keys.session_token.unwrap_or_default(),
            expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        );
        (StatusCode::OK, text)
    } else {
        (StatusCode::FORBIDDEN, r#"{"code":"AccessDenied","message":"the token is not trusted"}"#.to_owned())
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
