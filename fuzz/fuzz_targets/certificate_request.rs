//! Certificate requests, as sessions have them.
#![no_main]

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rolecall_engine::AccountName;
use rolecall_pki::credentials::{Ca, answer};

static CA: LazyLock<Ca> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Ca::from_pem(&certificate.pem(), &key.serialize_pem().into(), Timestamp::now()).unwrap()
});

fuzz_target!(|request: &str| {
    let (alice, now) = (AccountName::new("alice").unwrap(), Timestamp::now());
    if let Ok(certificate) = answer(&CA, request, &alice, now, now + SignedDuration::from_secs(60)) {
        assert_eq!(rolecall_pki::pem::certificates(&certificate.chain_pem).unwrap().len(), 1);
    }
});
