//! Certificates with the issuer exactly as the CA has its name.
//!
//! rcgen keeps the attributes of a name by their types: of `DC=example, DC=com` one is lost, of an attribute of several
//! values all but one, and some kinds of strings are not kept as they are. A server compares names. So the name of the
//! issuer is put in here, byte for byte, before the certificate is signed.

use rcgen::{
    CertificateParams, DistinguishedName, Issuer, KeyIdMethod, KeyPair, PublicKeyData, SignatureAlgorithm,
    SigningKey,
};
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, FromDer, Tag};

/// Who signs.
pub(super) struct Signer {
    key: KeyPair,
    /// The CA's subject, in DER.
    subject: Vec<u8>,
    /// The CA's subjectKeyIdentifier, where it has one.
    key_identifier: Option<Vec<u8>>,
}

/// The place of the issuer among the fields of a certificate of version 3.
const ISSUER: usize = 3;

impl Signer {
    pub(super) fn new(key: KeyPair, subject: Vec<u8>, key_identifier: Option<Vec<u8>>) -> Self {
        Self { key, subject, key_identifier }
    }

    pub(super) fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        // The CA names no key identifier, so none is written.
        params.use_authority_key_identifier_extension = self.key_identifier.is_some();
        let mut ca = CertificateParams::default();
        ca.distinguished_name = DistinguishedName::new();
        if let Some(identifier) = &self.key_identifier {
            ca.key_identifier_method = KeyIdMethod::PreSpecified(identifier.clone());
        }
        let unsigned = params.signed_by(key, &Issuer::new(ca, Unsigned(&self.key)))?;
        let parts = fields(unsigned.der()).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        let [body, algorithm, _] = parts.as_slice() else {
            return Err(rcgen::Error::CouldNotParseCertificate);
        };
        let mut fields = fields(body).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        *fields.get_mut(ISSUER).ok_or(rcgen::Error::CouldNotParseCertificate)? = &self.subject;
        let body = sequence(&fields);
        let signature = self.key.sign(&body)?;
        let signature =
            yasna::construct_der(|writer| writer.write_bitvec_bytes(&signature, signature.len() * 8));
        Ok(sequence(&[&body, algorithm, &signature]).into())
    }
}

/// The key, for a certificate that is signed later.
struct Unsigned<'a>(&'a KeyPair);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(self.0)
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// The elements of a sequence, each as it is encoded.
fn fields(der: &[u8]) -> Option<Vec<&[u8]>> {
    let (rest, sequence) = Any::from_der(der).ok()?;
    if !rest.is_empty() || sequence.tag() != Tag::Sequence {
        return None;
    }
    let mut content: &[u8] = sequence.data;
    let mut fields = Vec::new();
    while !content.is_empty() {
        let (rest, _) = Any::from_der(content).ok()?;
        fields.push(content.get(..content.len() - rest.len())?);
        content = rest;
    }
    Some(fields)
}

fn sequence(fields: &[&[u8]]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for field in fields {
                writer.next().write_der(field);
            }
        });
    })
}
