//! What the Secret of a session says about its server, by the Service Binding specification.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rolecall_engine::{AccountName, mongodb};

/// Everything but what RFC 3986 calls unreserved.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How the clients of a protocol want to be told: the same for all its servers.
#[derive(Debug)]
pub struct Shape {
    /// `type` of the Service Binding specification.
    pub kind: &'static str,
    /// The type of the Secret.
    pub secret_type: &'static str,
    /// The key for certificate and key together in one PEM; `None` where clients read them from two files.
    pub identity_key: Option<&'static str>,
    /// What an account is called when it logs in.
    pub username: fn(&AccountName) -> String,
    /// The URI names the user.
    pub names_user: bool,
}

/// PostgreSQL.
pub static POSTGRES: Shape = Shape {
    kind: "postgresql",
    secret_type: "servicebinding.io/postgresql",
    identity_key: None,
    username: AccountName::to_string,
    names_user: true,
};

/// MongoDB: the user is the subject of its certificate, and clients read certificate and key from one file.
///
/// The server takes the user from the certificate. A URI that names it as well is more than MongoDB's own rules for
/// drivers ask for since version 3.4, and there are drivers that cannot log in with it.
pub static MONGODB: Shape = Shape {
    kind: "mongodb",
    secret_type: "servicebinding.io/mongodb",
    identity_key: Some("tls.pem"),
    username: mongodb::user_name,
    names_user: false,
};

/// How users reach one server.
#[derive(Clone, Debug)]
pub struct Binding {
    /// What holds for all servers of the protocol.
    pub shape: &'static Shape,
    /// The scheme of the URI.
    pub scheme: String,
    /// Hosts and ports as they stand in the URI.
    pub authority: String,
    /// The host; of several the first.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the URI says behind its question mark.
    pub options: String,
    /// The CA that users check the server's certificate against, as PEM; `None`: the system's.
    pub server_ca: Option<String>,
}

impl Binding {
    /// The data of the Secret, but for the credentials themselves. `database` is the session's logical database.
    pub fn data(&self, account: &AccountName, database: Option<&str>) -> BTreeMap<&'static str, String> {
        let encode = |text: &str| utf8_percent_encode(text, COMPONENT).to_string();
        let username = (self.shape.username)(account);
        let user = if self.shape.names_user { format!("{}@", encode(&username)) } else { String::new() };
        let uri = format!(
            "{}://{user}{}/{}?{}",
            self.scheme,
            self.authority,
            encode(database.unwrap_or_default()),
            self.options
        );
        let mut data = BTreeMap::from([
            ("type", self.shape.kind.to_owned()),
            ("host", self.host.clone()),
            ("port", self.port.to_string()),
            ("username", username),
            ("uri", uri),
        ]);
        if let Some(database) = database {
            data.insert("database", database.to_owned());
        }
        if let Some(ca) = &self.server_ca {
            data.insert("ca.crt", ca.clone());
        }
        data
    }

    /// A certificate with its chain and its key, as the keys of the Secret.
    pub fn identity(&self, chain_pem: String, key_pem: &str) -> Vec<(&'static str, String)> {
        let together = self.shape.identity_key.map(|key| {
            let separator = if chain_pem.ends_with('\n') { "" } else { "\n" };
            (key, format!("{chain_pem}{separator}{key_pem}"))
        });
        let apart = [("tls.crt", chain_pem), ("tls.key", key_pem.to_owned())];
        apart.into_iter().chain(together).collect()
    }
}

/// What users would notice a change of.
impl std::hash::Hash for Binding {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let Self { shape, scheme, authority, host, port, options, server_ca } = self;
        (shape.kind, scheme, authority, host, port, options, server_ca).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_the_uri() {
        let binding = Binding {
            shape: &POSTGRES,
            scheme: "postgresql".to_owned(),
            authority: "[::1]:5432".to_owned(),
            host: "::1".to_owned(),
            port: 5432,
            options: "sslmode=verify-full".to_owned(),
            server_ca: None,
        };
        let account = AccountName::new("a b@c/%é").unwrap();
        let data = binding.data(&account, Some("d?b"));
        assert_eq!(data["uri"], "postgresql://a%20b%40c%2F%25%C3%A9@[::1]:5432/d%3Fb?sslmode=verify-full");
        assert_eq!((data["username"].as_str(), data["database"].as_str()), ("a b@c/%é", "d?b"));
        assert!(!data.contains_key("ca.crt"));
    }
}
