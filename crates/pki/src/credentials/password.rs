//! Passwords: made here, known to the server only as a verifier.

use rustls::crypto::aws_lc_rs;
use secrecy::{ExposeSecret, SecretString};

use rolecall_engine::{Class, Error, Reason};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 32;

/// A new password: 32 letters and digits, 190 bits, from the operating system's randomness.
///
/// # Errors
///
/// When the system has no randomness to give.
pub fn generate() -> Result<SecretString, Error> {
    let mut password = String::with_capacity(LENGTH);
    while password.len() < LENGTH {
        let mut bytes = [0; 2 * LENGTH];
        random(&mut bytes)?;
        // 248 = 4 * 62: beyond it the remainder would favour the first letters.
        let letters = bytes.iter().filter(|&&byte| byte < 248).map(|byte| ALPHABET[usize::from(byte % 62)]);
        password.extend(letters.map(char::from).take(LENGTH - password.len()));
    }
    Ok(password.into())
}

/// The verifier that a PostgreSQL server stores instead of the password (`SCRAM-SHA-256$4096:...`). It is not good
/// for a login, but lets the password be guessed: treat it as a secret anyway.
pub fn verifier(password: &SecretString) -> SecretString {
    postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes()).into()
}

/// Fills `bytes` from the TLS provider's generator, which the operating system seeds.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), Error> {
    aws_lc_rs::default_provider().secure_random.fill(bytes).map_err(|_| Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: "reading random bytes".to_owned(),
        code: String::new(),
        detail: "the system has none to give".to_owned(),
        remedy: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let one = generate().unwrap();
        let two = generate().unwrap();
        assert_eq!(one.expose_secret().len(), LENGTH);
        assert!(one.expose_secret().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one.expose_secret(), two.expose_secret());
    }

    #[test]
    fn a_verifier_does_not_contain_the_password() {
        let password = generate().unwrap();
        let verifier = verifier(&password);
        assert!(verifier.expose_secret().starts_with("SCRAM-SHA-256$4096:"));
        assert!(!verifier.expose_secret().contains(password.expose_secret()));
        assert!(!verifier.expose_secret().contains('\''));
    }
}
