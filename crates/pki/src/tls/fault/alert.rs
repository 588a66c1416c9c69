//! What a TLS alert of the server says.

use rustls::AlertDescription;
use rustls_pki_types::UnixTime;

use super::client::refused_client;
use super::{ClientFacts, OLD_TLS};
use crate::pem::Fault;

/// The server refuses the handshake, in most cases because of the client's certificate.
pub(super) fn fault(alert: AlertDescription, client: Option<ClientFacts<'_>>, now: UnixTime) -> Fault {
    let of_protocol = matches!(
        alert,
        AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
    );
    let said = format!("the server answered with the TLS alert {}", alert_name(alert));
    match client {
        Some(client) if !of_protocol => {
            let fault = refused_client(client, now);
            Fault::new(format!("{}; {said}", fault.detail), fault.remedy)
        }
        _ if of_protocol => Fault::new(
            format!("the client and the server have no version or cipher of TLS in common: {said}"),
            OLD_TLS,
        ),
        _ if alert == AlertDescription::CertificateRequired => Fault::new(
            format!("the server wants a client certificate from everybody: {said}"),
            "use auth.x509, or let the server ask without demanding",
        ),
        _ => Fault::new(said, "the server's log says why"),
    }
}

/// A name of RFC 8446.
pub fn alert_name(alert: AlertDescription) -> String {
    let name = match alert {
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::IllegalParameter => "illegal_parameter",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::DecodeError => "decode_error",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::CertificateRequired => "certificate_required",
        other => return u8::from(other).to_string(),
    };
    name.to_owned()
}
