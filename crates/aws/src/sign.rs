//! Signatures (SigV4), as queries and as headers.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningInstructions, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use rolecall_engine::{Class, Error, Reason};

/// What RFC 3986 does not call unreserved.
pub(crate) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a signature is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) at: SystemTime,
}

/// The parameters that make a GET of `url` signed, with their values as they are.
pub(crate) fn query(
    url: &str,
    scope: Scope<'_>,
    lives: Duration,
    credentials: &Credentials,
) -> Result<Vec<(String, String)>, Error> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(lives);
    let made = signed(("GET", url, &[], b""), scope, settings, credentials)?;
    Ok(made.params().iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect())
}

/// The headers that make a POST of `body` to `url` with these headers signed.
pub(crate) fn headers(
    url: &str,
    with: &[(&str, &str)],
    body: &[u8],
    scope: Scope<'_>,
    credentials: &Credentials,
) -> Result<Vec<(String, String)>, Error> {
    let made = signed(("POST", url, with, body), scope, SigningSettings::default(), credentials)?;
    Ok(made.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn signed(
    (method, url, headers, body): (&str, &str, &[(&str, &str)], &[u8]),
    scope: Scope<'_>,
    settings: SigningSettings,
    credentials: &Credentials,
) -> Result<SigningInstructions, Error> {
    let identity = credentials.clone().into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.at)
        .settings(settings)
        .build()
        .map_err(|error| unusable(&error.to_string()))?;
    let request = SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body))
        .map_err(|error| unusable(&error.to_string()))?;
    let signed = sign(request, &params.into()).map_err(|error| unusable(&error.to_string()))?;
    Ok(signed.into_parts().0)
}

fn unusable(why: &str) -> Error {
    Error {
        class: Class::Invalid,
        reason: Reason::LoginFailed,
        attempted: "signing with AWS credentials".to_owned(),
        code: String::new(),
        detail: why.to_owned(),
        remedy: "check the address of the server and auth.awsIam".to_owned(),
    }
}
