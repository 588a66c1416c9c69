//! Certificates and keys, as Secrets have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rolecall_pki::{credentials, pem, tls};

fuzz_target!(|text: &str| {
    let read = pem::certificates(text);
    if let Ok(certificates) = &read {
        let again = pem::certificates(&pem::encode_certificates(certificates));
        assert_eq!(again.ok().as_ref(), Some(certificates), "what is written is read");
    }
    let _ = pem::private_key(text);
    let _ = credentials::only_certificates(text);
    let _ = tls::authorities(text);
});
