//! Names of accounts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Reason, Refusal};
use crate::{MARKER, OWN_ROLE_PREFIX};

/// The longest name that PostgreSQL keeps whole (NAMEDATALEN - 1); a longer one would be cut off and could hit
/// another user. It applies to every engine.
pub const MAX_NAME_BYTES: usize = 63;

/// The name of a database user: 1 to 63 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

impl AccountName {
    /// Takes a raw user name as it is in `DatabaseUser`, any Unicode.
    ///
    /// # Errors
    ///
    /// `InvalidUsername` for a name that no server could store, or that is reserved: empty, over 63 bytes, with a
    /// control character, the marker, one of Rolecall's own roles. What a kind of server reserves for itself,
    /// [`Dialect::user_fault`](crate::Dialect::user_fault) checks.
    pub fn new(name: impl Into<String>) -> Result<Self, Refusal> {
        let name = name.into();
        let fault = if name.is_empty() {
            Some("it is empty".to_owned())
        } else if name.len() > MAX_NAME_BYTES {
            Some(format!("it has {} bytes, and a server keeps at most {MAX_NAME_BYTES}", name.len()))
        } else if name.chars().any(char::is_control) {
            Some("it contains a control character".to_owned())
        } else if name == MARKER || name.starts_with(OWN_ROLE_PREFIX) {
            Some("the name is Rolecall's own".to_owned())
        } else {
            None
        };
        match fault {
            Some(fault) => Err(Refusal::new(
                Reason::InvalidUsername,
                format!(
                    "{name:?} cannot be a database user: {fault}; set another spec.username in the DatabaseUser"
                ),
            )),
            None => Ok(Self(name)),
        }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AccountName {
    type Error = Refusal;

    fn try_from(name: String) -> Result<Self, Refusal> {
        Self::new(name)
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}
