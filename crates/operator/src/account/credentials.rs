//! The credentials of one session: a Secret, or the answer to its certificate request.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use rolecall_api::names::{FIELD_MANAGER, PASSWORD_GENERATION_ANNOTATION, USERNAME_ANNOTATION};
use rolecall_api::{DatabaseSession, reasons};
use rolecall_engine::AccountName;
use rolecall_pki::credentials::{self as certificates, only_certificates};
use secrecy::{ExposeSecret, SecretString};

use super::decide::Setback;
use super::issued::{Issued, is_valid_at};
use super::passwords::AccountPassword;
use super::session::Session;
use crate::Shared;
use crate::api_writer::is_conflict;
use crate::model::{Blocker, plus};
use crate::servers::{Issuer, Server};
use crate::service_binding::Data;

/// Each start that asks for credentials of a kind that the server does not have fails.
pub(super) fn refuse_mismatches(sessions: &mut [Session], server: &Server) {
    for session in sessions.iter_mut().filter(|session| session.is_starting()) {
        if let Err(blocker) = check(&session.object, server) {
            session.set_back(Setback::Failed(blocker));
        }
    }
}

fn check(session: &DatabaseSession, server: &Server) -> Result<(), Blocker> {
    match (&session.spec.certificate_request, &server.issuer) {
        (Some(_), Issuer::X509 { .. } | Issuer::Missing(_)) | (None, _) => Ok(()),
        (Some(_), _) => Err(Blocker::stalled(
            reasons::CREDENTIALS_MISMATCH,
            "spec.certificateRequest needs a DatabaseAdmin with userCredentials.x509; create the session without it",
        )),
    }
}

/// Do credentials of this session leave a Secret, which names the account?
pub(super) fn leave_secret(
    session: &DatabaseSession,
    server: &Server,
    password: Option<&AccountPassword>,
) -> bool {
    let writes = match &server.issuer {
        Issuer::X509 { .. } | Issuer::AwsIam => true,
        Issuer::Password => password.is_some(),
        Issuer::None | Issuer::Missing(_) => false,
    };
    writes && session.spec.certificate_request.is_none()
}

/// Issues new credentials to a session and writes them where they belong.
///
/// A certificate ends with the session, at the latest at `expires_at`.
///
/// # Errors
///
/// What is in the way.
pub(super) async fn issue(
    shared: &Shared,
    session: &DatabaseSession,
    server: &Server,
    account: &AccountName,
    password: Option<&AccountPassword>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Issued, Blocker> {
    let made_from = Some(server.credentials());
    let data = |password| server.binding.data(account, session.spec.database_name.as_deref(), password);
    match (&server.issuer, &session.spec.certificate_request) {
        (Issuer::X509 { ca, ttl }, request) => {
            let not_after = expires_at.into_iter().chain(plus(now, *ttl)).min().unwrap_or(Timestamp::MAX);
            if let Some(request) = request {
                let certificate = certificates::answer(ca, &request_pem(request)?, account, now, not_after)
                    .map_err(|error| {
                    Blocker::stalled(reasons::CERTIFICATE_REQUEST_INVALID, error.to_string())
                })?;
                let valid = Some((certificate.not_before, certificate.not_after));
                return Ok(Issued {
                    certificate: Some(certificate.chain_pem),
                    valid,
                    made_from,
                    ..Issued::default()
                });
            }
            let (certificate, key) = certificates::issue(ca, account, now, not_after)
                .map_err(|error| Blocker::stalled(reasons::SECRET_INVALID, error.to_string()))?;
            let valid = Some((certificate.not_before, certificate.not_after));
            let mut data = data(None);
            data.extend(server.binding.identity(&certificate.chain_pem, key.expose_secret()));
            let secret_uid = write(shared, session, server, account, data, None).await?;
            Ok(Issued { secret: Some(session.name_any()), secret_uid, certificate: None, valid, made_from })
        }
        (Issuer::Password, _) => {
            let Some(password) = password else { return Ok(Issued { made_from, ..Issued::default() }) };
            let generation = Some(password.generation);
            let data = data(Some(&password.text));
            let secret_uid = write(shared, session, server, account, data, generation).await?;
            Ok(Issued { secret: Some(session.name_any()), secret_uid, made_from, ..Issued::default() })
        }
        (Issuer::AwsIam, _) => {
            let secret_uid = write(shared, session, server, account, data(None), None).await?;
            Ok(Issued { secret: Some(session.name_any()), secret_uid, made_from, ..Issued::default() })
        }
        (Issuer::None, _) => Ok(Issued { made_from, ..Issued::default() }),
        (Issuer::Missing(blocker), _) => Err(blocker.clone()),
    }
}

/// What a session was issued before the operator started, where it can still be used. Where the field for certificates
/// contains anything else, it cannot: it is issued anew at once.
pub(super) async fn recall(
    shared: &Shared,
    session: &DatabaseSession,
    server: &Server,
    account: &AccountName,
    now: Timestamp,
) -> kube::Result<Option<(Issued, Option<AccountPassword>)>> {
    let status = session.status.clone().unwrap_or_default();
    let current = Some(server.credentials());
    if session.spec.certificate_request.is_some() {
        let Some(pem) = status.certificate.and_then(|pem| clean(&pem)) else { return Ok(None) };
        let Some(valid) = validity(&pem).filter(|valid| is_valid_at(*valid, now)) else {
            return Ok(None);
        };
        let made_from = current.filter(|_| is_of_issuer(server, &pem));
        return Ok(Some((
            Issued { certificate: Some(pem), valid: Some(valid), made_from, ..Issued::default() },
            None,
        )));
    }
    if matches!(server.issuer, Issuer::None) {
        return Ok(Some((Issued { made_from: current, ..Issued::default() }, None)));
    }
    let Some(secret) = shared.api.secret(&namespace(session), &session.name_any()).await? else {
        return Ok(None);
    };
    if !is_controlled(&secret, session) {
        return Ok(None);
    }
    let mut issued =
        Issued { secret: Some(session.name_any()), secret_uid: secret.uid(), ..Issued::default() };
    let generation = secret.annotations().get(PASSWORD_GENERATION_ANNOTATION);
    let generation = generation.and_then(|number| number.parse().ok()).unwrap_or(0);
    let stored = secret.data.unwrap_or_default();
    let text = |key: &str| stored.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
    let binding = |password| server.binding.data(account, session.spec.database_name.as_deref(), password);
    match server.issuer {
        Issuer::Password => {
            let Some(password) = text("password").map(SecretString::from) else { return Ok(None) };
            let is_current = stored_is(&stored, &binding(Some(&password))) == Stored::Same;
            issued.made_from = current.filter(|_| is_current);
            Ok(Some((issued, Some(AccountPassword { text: password, generation }))))
        }
        Issuer::AwsIam => {
            let is_current = stored_is(&stored, &binding(None)) == Stored::Same;
            issued.made_from = current.filter(|_| is_current);
            Ok(Some((issued, None)))
        }
        _ => {
            let Some((pem, key)) = stored.get("tls.crt").and_then(clean).zip(text("tls.key")) else {
                return Ok(None);
            };
            // No key for certificates may contain anything else.
            let identity = stored_is(&stored, &server.binding.identity(&pem, &key));
            let is_clean = stored.get("ca.crt").is_none_or(|ca| clean(ca).is_some());
            let valid = validity(&pem).filter(|valid| is_valid_at(*valid, now) && is_clean);
            let Some(valid) = valid.filter(|_| identity != Stored::Otherwise) else { return Ok(None) };
            let is_current = identity == Stored::Same
                && stored_is(&stored, &binding(None)) == Stored::Same
                && is_of_issuer(server, &pem);
            Ok(Some((
                Issued { valid: Some(valid), made_from: current.filter(|_| is_current), ..issued },
                None,
            )))
        }
    }
}

/// How a Secret compares with what would be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Same,
    /// Something is missing.
    Less,
    Otherwise,
}

fn stored_is(stored: &BTreeMap<String, ByteString>, wanted: &Data) -> Stored {
    let differs = |(key, value): (&&str, &Vec<u8>)| stored.get(*key).is_some_and(|found| found.0 != *value);
    if wanted.iter().any(differs) {
        return Stored::Otherwise;
    }
    if wanted.keys().all(|key| stored.contains_key(*key)) { Stored::Same } else { Stored::Less }
}

/// Was the certificate issued by the CA that the server's users have now?
fn is_of_issuer(server: &Server, chain_pem: &str) -> bool {
    matches!(&server.issuer, Issuer::X509 { ca, .. } if ca.has_issued(chain_pem))
}

/// PEM that contains certificates and nothing else.
fn clean(ByteString(pem): &ByteString) -> Option<String> {
    let text = String::from_utf8(pem.clone()).ok()?;
    only_certificates(&text).filter(|only| *only == text)
}

/// Takes the Secret of a session away. Another one of its name is left alone.
pub(super) async fn revoke(
    shared: &Shared,
    session: &DatabaseSession,
    issued: Option<&Issued>,
) -> kube::Result<()> {
    if session.spec.certificate_request.is_some() {
        return Ok(());
    }
    let namespace = namespace(session);
    if let Some(Issued { secret_uid: Some(uid), .. }) = issued {
        return shared.api.delete_secret(&namespace, &session.name_any(), Some(uid.clone())).await;
    }
    take_back(shared, session).await.map(drop)
}

/// Takes the Secret of a session away, where there is one. Another one of its name is left alone. Returns whether there
/// was one.
pub(super) async fn take_back(shared: &Shared, session: &DatabaseSession) -> kube::Result<bool> {
    let namespace = namespace(session);
    let found = shared.api.secret(&namespace, &session.name_any()).await?;
    let Some(secret) = found.filter(|secret| is_controlled(secret, session)) else { return Ok(false) };
    shared.api.delete_secret(&namespace, &session.name_any(), secret.uid()).await?;
    Ok(true)
}

async fn write(
    shared: &Shared,
    session: &DatabaseSession,
    server: &Server,
    account: &AccountName,
    data: Data,
    password_generation: Option<u64>,
) -> Result<Option<String>, Blocker> {
    let namespace = namespace(session);
    let name = session.name_any();
    let refused = |error: &kube::Error| Blocker::of_api(&format!("writing the Secret {name:?}"), error);
    let mut annotations = BTreeMap::from([(USERNAME_ANNOTATION.to_owned(), account.to_string())]);
    if let Some(generation) = password_generation {
        annotations.insert(PASSWORD_GENERATION_ANNOTATION.to_owned(), generation.to_string());
    }
    let mut secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            labels: Some(BTreeMap::from([(
                "app.kubernetes.io/managed-by".to_owned(),
                FIELD_MANAGER.to_owned(),
            )])),
            annotations: Some(annotations),
            owner_references: session.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some(server.binding.shape.secret_type.to_owned()),
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value))).collect()),
        ..Secret::default()
    };
    match shared.api.create_secret(&namespace, &secret).await {
        Ok(created) => return Ok(created.uid()),
        Err(error) if !is_conflict(&error) => return Err(refused(&error)),
        Err(_) => {}
    }
    let found = shared.api.secret(&namespace, &name).await.map_err(|error| refused(&error))?;
    match found {
        // A start that is tried again finds what the last try wrote.
        Some(found) if is_controlled(&found, session) && is_same(&found, &secret) => Ok(found.uid()),
        Some(found) if is_controlled(&found, session) => {
            secret.metadata.resource_version = found.resource_version();
            let written = shared.api.replace_secret(&namespace, &secret).await;
            Ok(written.map_err(|error| refused(&error))?.uid())
        }
        _ => Err(Blocker::stalled(
            reasons::SECRET_CONFLICT,
            format!(
                "a Secret {name:?} exists that does not belong to this session and is not written; delete it, or give the session another name"
            ),
        )),
    }
}

/// Does a Secret hold already what is to be written?
fn is_same(found: &Secret, wanted: &Secret) -> bool {
    let annotated =
        wanted.annotations().iter().all(|(key, value)| found.annotations().get(key) == Some(value));
    annotated && found.data == wanted.data && found.type_ == wanted.type_
}

/// The request as PEM: the field contains PEM itself, or PEM in base64 as in a CertificateSigningRequest.
fn request_pem(field: &str) -> Result<String, Blocker> {
    if field.trim_start().starts_with("-----BEGIN") {
        return Ok(field.to_owned());
    }
    let encoded: String = field.split_whitespace().collect();
    serde_json::from_value::<ByteString>(serde_json::Value::String(encoded))
        .ok()
        .and_then(|ByteString(bytes)| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            Blocker::stalled(
                reasons::CERTIFICATE_REQUEST_INVALID,
                "spec.certificateRequest is neither PEM nor PEM in base64; make one with openssl req -new",
            )
        })
}

fn validity(pem: &str) -> Option<(Timestamp, Timestamp)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((at(certificate.validity().not_before)?, at(certificate.validity().not_after)?))
}

/// Does a Secret belong to this very session?
pub(super) fn is_controlled(secret: &Secret, session: &DatabaseSession) -> bool {
    let uid = session.uid();
    uid.is_some()
        && secret
            .owner_references()
            .iter()
            .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid.as_ref())
}

fn namespace(session: &DatabaseSession) -> String {
    session.namespace().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_pem_or_pem_in_base64() {
        let pem = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n";
        assert_eq!(request_pem(pem).unwrap(), pem);
        let encoded = serde_json::to_value(ByteString(pem.into())).unwrap();
        assert_eq!(request_pem(encoded.as_str().unwrap()).unwrap(), pem);
        assert!(request_pem("%%%").is_err());
    }
}
