//! PEM texts of Secrets: what is taken from them, and what is output.
//!
//! People put more into a Secret than its key is for: a private key behind the certificate, the text of
//! `openssl x509 -text`, bag attributes. Only what was read as a certificate is ever output as one, encoded again.

use ::pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is wrong with a certificate or a key, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub detail: String,
    /// How to fix it.
    pub remedy: String,
}

impl Fault {
    /// A fault with its remedy.
    pub fn new(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { detail: detail.into(), remedy: remedy.into() }
    }
}

/// The certificates of a text, in their order; at least one. Everything else in it is ignored.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = text.trim_start_matches('\u{feff}');
    // A damaged block of another kind (a key with the headers of its encryption) does not matter here.
    let found: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok).collect();
    let blocks = labels(text).filter(|label| *label == "CERTIFICATE").count();
    for (index, der) in found.iter().enumerate() {
        // What follows a certificate within its block could be anything, even a key.
        if !matches!(X509Certificate::from_der(der), Ok((rest, _)) if rest.is_empty()) {
            return Err(damaged(index + 1, "is no X.509 certificate"));
        }
    }
    if found.len() < blocks {
        return Err(damaged(found.len() + 1, "cannot be decoded"));
    }
    if found.is_empty() { Err(no_certificate(text)) } else { Ok(found) }
}

/// Certificates as PEM, and nothing else.
pub fn encode_certificates<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> String {
    certificates.into_iter().map(|der| encode("CERTIFICATE", der)).collect()
}

/// A private key as PEM.
pub fn encode_key(key: &PrivateKeyDer<'_>) -> String {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    encode(label, key.secret_der())
}

fn encode(label: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    ::pem::encode_config(&Pem::new(label, der), config)
}

/// The private key of a text, whatever is before it (`BEGIN EC PARAMETERS` for example).
pub fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, Fault> {
    let text = text.trim_start_matches('\u{feff}');
    if let Some(key) = PrivateKeyDer::pem_slice_iter(text.as_bytes()).find_map(Result::ok) {
        return Ok(key);
    }
    Err(no_key(text))
}

/// What the BEGIN lines of a text name.
fn labels(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r']).filter_map(|line| {
        line.strip_prefix("-----BEGIN ").and_then(|line| line.trim_end().strip_suffix("-----"))
    })
}

fn damaged(number: usize, how: &str) -> Fault {
    Fault::new(
        format!("its CERTIFICATE block number {number} {how}"),
        "put it in again as it was issued; openssl x509 -in FILE -noout -text must be able to show it",
    )
}

fn no_certificate(text: &str) -> Fault {
    let labelled = |wanted: &[&str]| labels(text).any(|label| wanted.contains(&label));
    let (why, remedy) = if labelled(&["TRUSTED CERTIFICATE", "X509 CERTIFICATE"]) {
        ("it is one of OpenSSL's own format", "write it as a plain one: openssl x509 -in OLD -out NEW")
    } else if labelled(&["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"]) {
        (
            "it contains a certificate request, which no CA has signed yet",
            "have it signed: openssl x509 -req -in REQUEST -CA ca.crt -CAkey ca.key -CAcreateserial -out tls.crt",
        )
    } else if labelled(&["PKCS7", "CMS", "PKCS #7 SIGNED DATA"]) {
        ("it contains PKCS #7", "take the certificates out: openssl pkcs7 -in OLD -print_certs -out NEW")
    } else if labels(text).any(|label| label.ends_with("PRIVATE KEY")) {
        (
            "it contains a private key instead",
            "put the certificate there; only the key that is named for it may contain a private key",
        )
    } else if labelled(&["PUBLIC KEY"]) {
        ("it contains only a public key", "put the certificate of that key there")
    } else {
        let (why, remedy) = no_pem(text);
        return Fault::new(format!("there is no certificate in it: {why}"), remedy);
    };
    Fault::new(format!("there is no certificate in it: {why}"), remedy)
}

fn no_key(text: &str) -> Fault {
    let labelled = |wanted: &str| labels(text).any(|label| label == wanted);
    // The header of the encryption that OpenSSL used before PKCS #8.
    let (why, remedy) = if labelled("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        ("it is encrypted, and there is no passphrase for it", "decrypt it: openssl pkey -in OLD -out NEW")
    } else if labelled("OPENSSH PRIVATE KEY") {
        ("it is a key for SSH", "put the key of the certificate there")
    } else if labelled("DSA PRIVATE KEY") {
        ("it is a DSA key, which TLS does not take any more", NEW_KEY)
    } else if labels(text).any(|label| label.ends_with("PRIVATE KEY")) {
        (
            "its PRIVATE KEY block cannot be decoded",
            "put it in again as it was made; openssl pkey -in FILE -noout -text must be able to show it",
        )
    } else if labelled("CERTIFICATE") {
        ("it contains a certificate instead", "put the key of the certificate there (tls.key, not tls.crt)")
    } else if labelled("PUBLIC KEY") {
        ("it contains the public key", "put the private key there")
    } else if labelled("EC PARAMETERS") {
        ("it contains the parameters of a curve and no key", "append the key to it, or create a new one")
    } else {
        no_pem(text)
    };
    Fault::new(format!("there is no private key in it: {why}"), remedy)
}

/// How a key on a curve that everybody takes is made.
pub const NEW_KEY: &str = "make a key that TLS takes, and a certificate for it: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out tls.key";

fn no_pem(text: &str) -> (&'static str, &'static str) {
    let text = text.trim();
    if text.is_empty() {
        ("it is empty", "put PEM there: it begins with -----BEGIN")
    } else if text.starts_with("LS0tLS1CRUdJTi") {
        ("it is PEM in base64", "encode it only once: as it is under stringData, in base64 under data")
    } else if text.contains("-----BEGIN ") {
        ("it is PEM whose lines are lost", "keep its line breaks, and let no line begin with a blank")
    } else if text.starts_with("MI") {
        (
            "it is base64 without the lines around it",
            "write it as PEM: base64 -d OLD | openssl x509 -inform der -out NEW (a key: openssl pkey -inform der)",
        )
    } else {
        ("it is no PEM", "put PEM there: it begins with -----BEGIN")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn nothing_but_certificates_comes_out_of_a_text() {
        let (certificate, key) = made();
        let (other, _) = made();
        let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let clean = encode_certificates(&certificates(&format!("{certificate}{other}")).unwrap());
        for text in [
            format!("{certificate}{key}{other}"),
            format!("{key}{certificate}{other}{key}"),
            format!("Bag Attributes\n    key: {key}{certificate}\nsecret: hunter2\n{other}"),
            format!("{certificate}{legacy}{other}hunter2"),
            format!("\u{feff}{}", format!("{certificate}{other}{key}").replace('\n', "\r\n")),
        ] {
            let out = encode_certificates(&certificates(&text).unwrap());
            assert_eq!(out, clean, "{text}");
        }
    }

    #[test]
    fn a_key_that_pretends_to_be_a_certificate_is_refused() {
        let (certificate, key) = made();
        let disguised = key.replace("PRIVATE KEY", "CERTIFICATE");
        let behind = {
            let mut der = certificates(&certificate).unwrap()[0].to_vec();
            der.extend_from_slice(private_key(&key).unwrap().secret_der());
            encode("CERTIFICATE", &der)
        };
        // Its END line is missing, so that the key becomes part of the block.
        let open = certificate.replace("-----END CERTIFICATE-----\n", "");
        let open = format!("{open}{}", key.replace("END PRIVATE KEY", "END CERTIFICATE"));
        for text in [disguised.clone(), format!("{certificate}{disguised}"), behind, open] {
            assert!(certificates(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_damaged_certificate_is_not_left_out() {
        let (certificate, _) = made();
        let damaged = format!("{certificate}-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n");
        let cut = format!("{certificate}-----BEGIN CERTIFICATE-----\nAAAA\n");
        for text in [damaged, cut] {
            let fault = certificates(&text).unwrap_err();
            assert!(fault.detail.contains("number 2"), "{fault:?}");
        }
    }

    #[test]
    fn each_fault_of_a_text_has_a_remedy_of_its_own() {
        let (certificate, key) = made();
        let one_line = certificate.replace('\n', " ");
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (text, detail, remedy) in [
            (String::new(), "empty", "-----BEGIN"),
            (key.clone(), "a private key instead", "put the certificate"),
            (block("TRUSTED CERTIFICATE"), "OpenSSL's own", "openssl x509 -in"),
            (block("CERTIFICATE REQUEST"), "request", "openssl x509 -req"),
            (block("PKCS7"), "PKCS #7", "openssl pkcs7"),
            ("LS0tLS1CRUdJTiBDRVJU".to_owned(), "base64", "stringData"),
            ("MIIBszCCAVmgAwIBAgIU".to_owned(), "without the lines", "-inform der"),
            (one_line, "lines are lost", "line breaks"),
            ("no PEM".to_owned(), "no PEM", "-----BEGIN"),
        ] {
            let fault = certificates(&text).unwrap_err();
            assert!(fault.detail.contains(detail) && fault.remedy.contains(remedy), "{fault:?}");
        }
        for (text, detail, remedy) in [
            (block("ENCRYPTED PRIVATE KEY"), "encrypted", "openssl pkey"),
            ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----".to_owned(), "encrypted", "openssl pkey"),
            (certificate.clone(), "a certificate instead", "tls.key"),
            (block("OPENSSH PRIVATE KEY"), "SSH", "key of the certificate"),
            (block("EC PARAMETERS"), "parameters", "append the key"),
            ("-----BEGIN PRIVATE KEY-----\n%%%\n-----END PRIVATE KEY-----".to_owned(), "cannot be decoded", "openssl pkey"),
            ("no PEM".to_owned(), "no PEM", "-----BEGIN"),
        ] {
            let fault = private_key(&text).unwrap_err();
            assert!(fault.detail.contains(detail) && fault.remedy.contains(remedy), "{fault:?}");
        }
    }

    #[test]
    fn text_before_a_key_does_not_matter() {
        let (certificate, key) = made();
        let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        for before in [parameters, &certificate, "Bag Attributes\n    friendlyName: x\n"] {
            assert!(private_key(&format!("{before}{key}")).is_ok(), "{before}");
        }
    }
}
