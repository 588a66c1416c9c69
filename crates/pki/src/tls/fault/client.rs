//! Why a server does not accept a client certificate.

use rustls::CertificateError;
use rustls_pki_types::UnixTime;

use super::super::facts;
use super::{ClientFacts, Whose, parsed};
use crate::pem::{Fault, NEW_KEY};

/// What is wrong with a client certificate that a server did not accept, as far as it shows by itself.
pub fn refused_client(client: ClientFacts<'_>, now: UnixTime) -> Fault {
    let chain = parsed(client.chain);
    let Some(leaf) = chain.first() else {
        return Fault::new("the server does not accept the client certificate", "");
    };
    let the = match client.whose {
        Whose::Admin => format!("the admin user's certificate ({})", leaf.subject()),
        Whose::User => format!("a certificate of the CA for users ({})", leaf.issuer()),
    };
    let fault = |why: String, remedy: String| Fault::new(format!("{the} {why}"), remedy);
    for (index, certificate) in chain.iter().enumerate() {
        let (whose, remedy) = match (index, client.whose) {
            (0, Whose::Admin) => {
                (String::new(), format!("it has expired: renew it, by a new certificate: {ISSUE_CLIENT}"))
            }
            (0, Whose::User) => {
                (String::new(), "check the clocks of this machine and of the server".to_owned())
            }
            _ => (
                format!("is signed by {}, which ", certificate.subject()),
                "renew the certificate of that CA".to_owned(),
            ),
        };
        match facts::validity_fault(certificate, now) {
            Some(CertificateError::NotValidYetContext { .. }) => {
                return fault(
                    format!("{whose}is not valid before {}", facts::validity(certificate).0),
                    "check the clocks; else wait, or reissue it".to_owned(),
                );
            }
            Some(_) => {
                return fault(format!("{whose}has expired at {}", facts::validity(certificate).1), remedy);
            }
            None => {}
        }
    }
    if let Ok(Some(usage)) = leaf.extended_key_usage()
        && !(usage.value.client_auth || usage.value.any)
    {
        return fault(
            "is not for clients: its extended key usage lacks clientAuth".to_owned(),
            format!("reissue it: {ISSUE_CLIENT}"),
        );
    }
    if let Ok(Some(usage)) = leaf.key_usage()
        && !(usage.value.digital_signature() || usage.value.key_agreement())
    {
        return fault(
            "must not sign: its key usage lacks digitalSignature".to_owned(),
            format!("reissue it: {ISSUE_CLIENT}"),
        );
    }
    if let Some(why) = chain.iter().find_map(|one| facts::key_fault(one.public_key())) {
        return fault(format!("cannot be used: {why}"), NEW_KEY.to_owned());
    }
    // The root's own signature counts for nothing.
    let signed = chain.iter().filter(|one| !facts::is_self_issued(one));
    if let Some(hash) = signed.filter_map(facts::weak_signature).next() {
        return fault(
            format!("is signed with {hash}, which is not taken any more"),
            "reissue it with SHA-256: openssl x509 -req -sha256 ...".to_owned(),
        );
    }
    let issuer = chain.last().map(|last| last.issuer().to_string()).unwrap_or_default();
    let may_lack_intermediate =
        client.whose == Whose::Admin && matches!(chain.as_slice(), [only] if !facts::is_self_issued(only));
    let trust = (client.trust)(&issuer);
    let why = "is not accepted by the server, which does not trust its CA".to_owned();
    if !may_lack_intermediate {
        return fault(format!("{why}, {issuer}"), trust);
    }
    fault(
        format!("{why}, {issuer}"),
        format!(
            "{trust}; where {issuer} is an intermediate CA and the server knows the root, append the intermediate's certificate to tls.crt (cat admin.crt intermediate.crt)"
        ),
    )
}

/// How a client's certificate is issued.
const ISSUE_CLIENT: &str = "printf 'extendedKeyUsage=clientAuth\\n' | openssl x509 -req -in admin.csr -CA root.crt -CAkey root.key -CAcreateserial -days 365 -extfile /dev/stdin -out tls.crt";
