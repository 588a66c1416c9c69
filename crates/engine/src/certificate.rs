//! Client certificates.

use std::fmt;

use secrecy::SecretString;

/// A client certificate with its key.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, with its chain, as PEM.
    pub cert_pem: String,
    /// Its private key, as PEM.
    pub key_pem: SecretString,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}
