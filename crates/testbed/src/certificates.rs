//! Certificate authorities and the certificates that they issue, valid or deliberately not.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use crate::error::{Error, Result};

/// A certificate with its private key, both as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name: the database or cluster user.
    pub common_name: String,
    /// The certificate.
    pub cert_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: String,
}

/// What a client certificate says beside its common name.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The organisation, which Kubernetes reads as a group.
    pub organization: Option<String>,
    /// Start of its validity.
    pub not_before: OffsetDateTime,
    /// End of its validity.
    pub not_after: OffsetDateTime,
}

impl Default for ClientOptions {
    /// No organisation, valid from an hour ago for a day.
    fn default() -> Self {
        let now = OffsetDateTime::now_utc();
        Self { organization: None, not_before: now - Duration::HOUR, not_after: now + Duration::DAY }
    }
}

impl ClientOptions {
    /// Ran out a minute ago.
    pub fn expired() -> Self {
        let now = OffsetDateTime::now_utc();
        Self { not_after: now - Duration::MINUTE, ..Self::default() }
    }

    /// Begins in an hour.
    pub fn not_yet_valid() -> Self {
        let now = OffsetDateTime::now_utc();
        Self { not_before: now + Duration::HOUR, ..Self::default() }
    }

    /// With this organisation (a group in Kubernetes).
    pub fn organization(mut self, name: &str) -> Self {
        self.organization = Some(name.to_owned());
        self
    }
}

/// A certificate authority that lives as long as the tests that use it.
#[derive(Debug)]
pub struct Authority {
    cert_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority, valid from a day ago for ten years.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(common_name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.not_before = OffsetDateTime::now_utc() - Duration::DAY;
        params.not_after = OffsetDateTime::now_utc() + Duration::days(3650);
        let key = KeyPair::generate().map_err(refused)?;
        let cert_pem = params.self_signed(&key).map_err(refused)?.pem();
        Ok(Self { cert_pem, key_pem: key.serialize_pem(), issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate as PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The authority's private key as PEM (PKCS#8), for an operator that issues certificates itself.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Issues a client certificate that is valid now.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn client(&self, common_name: &str) -> Result<Certificate> {
        self.client_with(common_name, &ClientOptions::default())
    }

    /// Issues a client certificate with the validity and the organisation of `options`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn client_with(&self, common_name: &str, options: &ClientOptions) -> Result<Certificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name, options.organization.as_deref());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = options.not_before;
        params.not_after = options.not_after;
        self.issue(common_name, &params)
    }

    /// Issues a server certificate for these DNS names and IP addresses.
    ///
    /// # Errors
    /// When a name is neither, or no key can be made.
    pub fn server(&self, names: &[&str]) -> Result<Certificate> {
        self.server_of(names, None, vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// Issues a certificate for these DNS names and IP addresses with which a server is also the client of its like.
    /// `organization` is how the members of one cluster know each other.
    ///
    /// # Errors
    /// When a name is neither, or no key can be made.
    pub fn member(&self, names: &[&str], organization: &str) -> Result<Certificate> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.server_of(names, Some(organization), usages)
    }

    fn server_of(
        &self,
        names: &[&str],
        organization: Option<&str>,
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Certificate> {
        let mut params = CertificateParams::default();
        let common_name = names.first().copied().unwrap_or("localhost");
        params.distinguished_name = name(common_name, organization);
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().map_err(refused)?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.not_before = OffsetDateTime::now_utc() - Duration::HOUR;
        params.not_after = OffsetDateTime::now_utc() + Duration::days(365);
        self.issue(common_name, &params)
    }

    fn issue(&self, common_name: &str, params: &CertificateParams) -> Result<Certificate> {
        let key = KeyPair::generate().map_err(refused)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(refused)?;
        Ok(Certificate {
            common_name: common_name.to_owned(),
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// A TLS client that trusts only `ca_pem` and shows `identity` when it has one.
///
/// # Errors
/// When a PEM text cannot be read.
pub(crate) fn tls_client(ca_pem: &str, identity: Option<&Certificate>) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(cert.map_err(unreadable)?).map_err(unreadable)?;
    }
    // Named here, not taken from the process: a test must not depend on who installed a default first.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unreadable)?
        .with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let certs = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes())
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(unreadable)?;
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(unreadable)?;
            builder.with_client_auth_cert(certs, key).map_err(unreadable)
        }
    }
}

fn name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}

fn refused(error: rcgen::Error) -> Error {
    Error::Certificate(error.to_string())
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Certificate(error.to_string())
}
