//! Passwords: made here, known to the server only as a verifier.

use rustls::crypto::aws_lc_rs;
use secrecy::{ExposeSecret, SecretString};

use rolecall_engine::{AccountName, Class, Dialect, Error, Reason};

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

/// The verifier that a server stores instead of the password: `SCRAM-SHA-256$4096:...` on PostgreSQL, `md5...` on
/// Redshift, whose other form (`sha256|...`) the usual clients do not speak. It lets the password be guessed, and an md5
/// one is even good for a login: treat it as a secret.
pub fn verifier(dialect: Dialect, account: &AccountName, password: &SecretString) -> SecretString {
    let password = password.expose_secret().as_bytes();
    match dialect {
        Dialect::Redshift => postgres_protocol::password::md5(password, &dialect.login_name(account)),
        // MongoDB stores none: its engine refuses it.
        Dialect::PostgreSql | Dialect::MongoDb => postgres_protocol::password::scram_sha_256(password),
    }
    .into()
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
    fn a_verifier_for_redshift_is_of_the_password_and_the_user() {
        let of = |user: &str| {
            verifier(Dialect::Redshift, &AccountName::new(user).unwrap(), &"secret".to_owned().into())
                .expose_secret()
                .to_owned()
        };
        // md5 of "secretalice".
        assert_eq!(of("alice"), "md54a0a68b43b6cd5cf266fa02f196e2371");
        assert_ne!(of("alice"), of("bob"));
    }

    #[test]
    fn a_verifier_does_not_contain_the_password() {
        let password = generate().unwrap();
        let account = AccountName::new("alice").unwrap();
        for (dialect, start) in [(Dialect::PostgreSql, "SCRAM-SHA-256$4096:"), (Dialect::Redshift, "md5")] {
            let verifier = verifier(dialect, &account, &password);
            assert!(verifier.expose_secret().starts_with(start));
            assert!(!verifier.expose_secret().contains(password.expose_secret()));
            assert!(!verifier.expose_secret().contains('\''));
        }
    }
}
