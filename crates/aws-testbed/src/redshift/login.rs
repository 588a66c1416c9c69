//! Who gets in.

use jiff::Timestamp;
use md5::{Digest, Md5};
use sha2::Sha256;

use super::catalog::{OWNER, Password, User};
use super::error::{SqlError, SqlResult};
use super::state::{FAILED_LOGINS, Session, State};

/// How a client shows that it knows the password.
#[derive(Debug)]
pub(super) enum Proof {
    Clear(String),
    /// `md5` and MD5 over (MD5 over the password and the name as sent) and the salt.
    Md5 {
        salt: [u8; 4],
        response: String,
    },
    /// SHA-256 over (SHA-256 over the password and the salt), the server's nonce and the client's.
    Digest {
        salt: Vec<u8>,
        server_nonce: Vec<u8>,
        client_nonce: Vec<u8>,
        response: Vec<u8>,
    },
}

/// A login name: the user, and whether it comes with temporary credentials.
pub(super) fn user_of(login: &str) -> (&str, bool) {
    match ["IAM:", "IAMA:"].iter().find_map(|prefix| login.strip_prefix(prefix)) {
        // Groups follow the name.
        Some(rest) => (rest.split(':').next().unwrap_or(rest), true),
        None => (login, false),
    }
}

/// Opens a session.
///
/// # Errors
/// 28000 for a password that does not let in, 42704 for a user that is not there although its temporary password is
/// right, 3D000 for a missing database, 53300 above the connection limit.
pub(super) fn open(state: &mut State, login: &str, database: &str, proof: &Proof) -> SqlResult<Session> {
    let (name, is_temporary) = user_of(login);
    let user = if is_temporary {
        with_temporary(state, login, name, proof)?
    } else {
        with_password(state, name, proof)?
    };
    if !state.committed.databases.contains_key(database) {
        return Err(SqlError::new("3D000", format!("database \"{database}\" does not exist")));
    }
    let open = state.sessions.values().filter(|session| session.user == user.id).count();
    if !user.superuser && user.connection_limit.is_some_and(|limit| open >= limit as usize) {
        return Err(SqlError::new("53300", format!("too many connections for user \"{name}\"")));
    }
    Ok(state.open(user.id, login, database))
}

/// What NOLOGIN says and whether a password has run out does not matter here.
fn with_temporary(state: &State, login: &str, name: &str, proof: &Proof) -> SqlResult<User> {
    let now = state.now();
    let known = state.temporary.iter().any(|temporary| {
        temporary.login == login && temporary.expires > now && proof.is_of_plain(&temporary.password, login)
    });
    if !known {
        return Err(refused(login));
    }
    let user = state.committed.user(name);
    user.cloned().ok_or_else(|| SqlError::unknown("user", login))
}

fn with_password(state: &mut State, name: &str, proof: &Proof) -> SqlResult<User> {
    let now = state.now();
    let user = state.committed.user(name).cloned().ok_or_else(|| refused(name))?;
    let failures = state.failed_logins.entry(user.id).or_default();
    if *failures >= FAILED_LOGINS && user.name != OWNER {
        return Err(SqlError::new(
            "28000",
            format!("user \"{name}\" is locked after too many failed logins"),
        ));
    }
    let right = user.password.as_ref().is_some_and(|password| proof.is_of(password, name));
    if !right {
        *failures += 1;
        return Err(refused(name));
    }
    *failures = 0;
    if !user.login || user.valid_until.as_deref().is_some_and(|until| is_over(until, now)) {
        return Err(refused(name));
    }
    Ok(user)
}

fn refused(login: &str) -> SqlError {
    SqlError::new("28000", format!("password authentication failed for user \"{login}\""))
}

fn is_over(until: &str, now: Timestamp) -> bool {
    let text = until.trim().trim_end_matches("UTC").trim_end_matches("+00").trim().replacen(' ', "T", 1);
    let parsed = text.parse::<Timestamp>().ok().or_else(|| {
        let time = text.parse::<jiff::civil::DateTime>().ok()?;
        time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp())
    });
    parsed.is_some_and(|until| until <= now)
}

impl Proof {
    fn is_of(&self, password: &Password, name: &str) -> bool {
        match (password, self) {
            (Password::Plain(plain), _) => self.is_of_plain(plain, name),
            (Password::Md5(digest), Self::Clear(clear)) => *digest == md5_hex(&[clear, name]),
            (Password::Md5(digest), Self::Md5 { salt, response }) => *response == salted(digest, *salt),
            (Password::Sha256 { digest, salt }, Self::Clear(clear)) => {
                *digest == hex(&Sha256::digest([clear.as_bytes(), salt.as_bytes()].concat()))
            }
            (Password::Sha256 { digest, .. }, Self::Digest { .. }) => self.answers(&unhex(digest)),
            _ => false,
        }
    }

    fn is_of_plain(&self, password: &str, login: &str) -> bool {
        match self {
            Self::Clear(clear) => clear == password,
            Self::Md5 { salt, response } => *response == salted(&md5_hex(&[password, login]), *salt),
            Self::Digest { salt, .. } => self.answers(&Sha256::digest([password.as_bytes(), salt].concat())),
        }
    }

    fn answers(&self, stored: &[u8]) -> bool {
        let Self::Digest { server_nonce, client_nonce, response, .. } = self else {
            return false;
        };
        Sha256::digest([stored, server_nonce, client_nonce].concat()).as_slice() == response.as_slice()
    }
}

fn salted(digest: &str, salt: [u8; 4]) -> String {
    format!("md5{}", hex(&Md5::digest([digest.as_bytes(), &salt].concat())))
}

fn md5_hex(parts: &[&str]) -> String {
    hex(&Md5::digest(parts.concat().as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
