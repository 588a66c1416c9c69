//! Forms in, XML out.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Response, header};
use percent_encoding::percent_decode_str;

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    pub(super) code: String,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValue", message)
    }
}

/// What a call answers: elements with their texts, below the element of its result. A name may lead into others
/// (`Credentials/AccessKeyId`); those that begin alike follow each other.
pub(super) type Fields = Vec<(&'static str, String)>;

/// The parameters of a form.
pub(super) fn form(body: &[u8]) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let text = String::from_utf8_lossy(body);
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

pub(super) fn response(action: &str, result: Result<Fields, Refusal>) -> Response<Body> {
    let request = format!("<RequestId>{:032x}</RequestId>", rand::random::<u128>());
    let (status, text) = match result {
        Ok(fields) => {
            let inner = elements(&fields);
            let metadata = format!("<ResponseMetadata>{request}</ResponseMetadata>");
            (
                200,
                format!(
                    "<{action}Response><{action}Result>{inner}</{action}Result>{metadata}</{action}Response>"
                ),
            )
        }
        Err(refusal) => {
            let (code, message) = (escaped(&refusal.code), escaped(&refusal.message));
            let error =
                format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
            (refusal.status, format!("<ErrorResponse>{error}{request}</ErrorResponse>"))
        }
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap_or_default();
    let xml = axum::http::HeaderValue::from_static("text/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    response
}

fn elements(fields: &Fields) -> String {
    let mut text = String::new();
    let mut open = None;
    for (name, value) in fields {
        let (parent, name) = match name.split_once('/') {
            Some((parent, name)) => (Some(parent), name),
            None => (None, *name),
        };
        if parent != open {
            text.extend(open.map(|open| format!("</{open}>")));
            text.extend(parent.map(|parent| format!("<{parent}>")));
            open = parent;
        }
        text.push_str(&format!("<{name}>{}</{name}>", escaped(value)));
    }
    text.extend(open.map(|open| format!("</{open}>")));
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
