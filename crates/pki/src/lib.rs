//! Certificates, keys and TLS, as engines, operator and `kubectl rolecall` share them.
//!
//! | module | contains |
//! |---|---|
//! | [`tls`] | how servers prove themselves, and what the PEM in Secrets must be |
//! | [`credentials`] | client certificates and password verifiers for users |
//! | [`pem`] | PEM texts of Secrets |

pub mod credentials;
pub mod pem;
pub mod tls;
