//! What the Secret of a session says about its server, by the Service Binding specification.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rolecall_engine::{AccountName, Dialect};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::pem::parse_x509_pem;

/// The data of a Secret.
pub type Data = BTreeMap<&'static str, Vec<u8>>;

/// `provider` of the Service Binding specification.
const PROVIDER: &str = "rolecall";

/// The key of the Secret for the server's CAs.
const SERVER_CA: &str = "ca.crt";

/// Everything but what RFC 3986 calls unreserved.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the clients of a protocol expect to read: the same for all its servers.
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
    username: |account| Dialect::PostgreSql.login_name(account),
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
    username: |account| Dialect::MongoDb.login_name(account),
    names_user: false,
};

/// Redshift, whose clients speak PostgreSQL's protocol. A user of IAM asks for credentials by this name, and logs in as the
/// one that comes back.
pub static REDSHIFT: Shape = Shape {
    kind: "redshift",
    secret_type: "servicebinding.io/redshift",
    identity_key: None,
    username: |account| Dialect::Redshift.login_name(account),
    names_user: true,
};

/// How users reach one server.
#[derive(Clone, Debug)]
pub struct Binding {
    /// What is the same for all servers of the protocol.
    pub shape: &'static Shape,
    /// The scheme of the URI.
    pub scheme: String,
    /// Hosts and ports as in the URI.
    pub authority: String,
    /// The host; of several the first.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the URI says behind its question mark.
    pub options: String,
    /// libpq's word for how the server's certificate is verified, for readers that build a URI of their own from the
    /// keys of the Secret; `None` where the protocol has no such word.
    pub ssl_mode: Option<&'static str>,
    /// The CA that users check the server's certificate against, as PEM of certificates alone; `None`: the system's.
    pub server_ca: Option<String>,
}

impl Binding {
    /// The data of the Secret, but for certificate and key. `database` is the session's logical database.
    pub fn data(
        &self,
        account: &AccountName,
        database: Option<&str>,
        password: Option<&SecretString>,
    ) -> Data {
        let encode = |text: &str| utf8_percent_encode(text, COMPONENT).to_string();
        let username = (self.shape.username)(account);
        let user = match (self.shape.names_user, password) {
            (false, _) => String::new(),
            (true, None) => format!("{}@", encode(&username)),
            (true, Some(password)) => format!("{}:{}@", encode(&username), encode(password.expose_secret())),
        };
        let uri = format!(
            "{}://{user}{}/{}?{}",
            self.scheme,
            self.authority,
            encode(database.unwrap_or_default()),
            self.options
        );
        let mut data = Data::from([
            ("type", self.shape.kind.into()),
            ("provider", PROVIDER.into()),
            ("host", self.host.clone().into_bytes()),
            ("port", self.port.to_string().into_bytes()),
            ("username", username.into_bytes()),
            ("uri", uri.into_bytes()),
        ]);
        if let Some(database) = database {
            data.insert("database", database.into());
        }
        if let Some(password) = password {
            data.insert("password", password.expose_secret().into());
        }
        if let Some(ca) = &self.server_ca {
            data.insert(SERVER_CA, ca.clone().into_bytes());
        }
        if let Some(mode) = self.ssl_mode {
            data.insert("sslmode", mode.into());
            // The name of the file, as readers of a mounted Secret want it.
            if self.server_ca.is_some() {
                data.insert("sslrootcert", SERVER_CA.into());
            }
        }
        data
    }

    /// A certificate with its chain and its key (PKCS #8), as the keys of the Secret.
    pub fn identity(&self, chain_pem: &str, key_pem: &str) -> Data {
        let mut data = Data::from([
            ("tls.crt", chain_pem.into()),
            ("tls.key", key_pem.into()),
            // The names of the Service Binding specification for the same.
            ("certificates", chain_pem.into()),
            ("private-key", key_pem.into()),
        ]);
        // Java takes a PEM key for RSA unless configured otherwise, and a DER key as it is.
        if let Ok((_, key)) = parse_x509_pem(key_pem.as_bytes()) {
            data.insert("tls.pk8", key.contents);
        }
        if let Some(key) = self.shape.identity_key {
            let separator = if chain_pem.ends_with('\n') { "" } else { "\n" };
            data.insert(key, format!("{chain_pem}{separator}{key_pem}").into_bytes());
        }
        data
    }
}

/// What users would notice a change of.
impl std::hash::Hash for Binding {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let Self { shape, scheme, authority, host, port, options, ssl_mode, server_ca } = self;
        (shape.kind, scheme, authority, host, port, options, ssl_mode, server_ca).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Binding {
        Binding {
            shape: &POSTGRES,
            scheme: "postgresql".to_owned(),
            authority: "[::1]:5432".to_owned(),
            host: "::1".to_owned(),
            port: 5432,
            options: "sslmode=verify-full".to_owned(),
            ssl_mode: Some("verify-full"),
            server_ca: None,
        }
    }

    fn text<'a>(data: &'a Data, key: &str) -> &'a str {
        std::str::from_utf8(&data[key]).unwrap()
    }

    #[test]
    fn names_are_escaped_in_the_uri() {
        let account = AccountName::new("a b@c/%é").unwrap();
        let data = binding().data(&account, Some("d?b"), None);
        assert_eq!(
            text(&data, "uri"),
            "postgresql://a%20b%40c%2F%25%C3%A9@[::1]:5432/d%3Fb?sslmode=verify-full"
        );
        assert_eq!((text(&data, "username"), text(&data, "database")), ("a b@c/%é", "d?b"));
        assert_eq!((text(&data, "type"), text(&data, "provider")), ("postgresql", "rolecall"));
    }

    #[test]
    fn a_password_is_in_the_uri_too() {
        let account = AccountName::new("alice").unwrap();
        let data = binding().data(&account, Some("app"), Some(&"p:w/@%".into()));
        assert_eq!(
            text(&data, "uri"),
            "postgresql://alice:p%3Aw%2F%40%25@[::1]:5432/app?sslmode=verify-full"
        );
        assert_eq!(text(&data, "password"), "p:w/@%");
    }

    #[test]
    fn readers_that_build_their_own_uri_learn_how_to_verify() {
        let account = AccountName::new("alice").unwrap();
        let data = binding().data(&account, None, None);
        // Without authorities of one's own there is no file to name.
        assert_eq!(text(&data, "sslmode"), "verify-full");
        assert!(!data.contains_key("ca.crt") && !data.contains_key("sslrootcert"));
        let data = Binding { server_ca: Some("CA".to_owned()), ..binding() }.data(&account, None, None);
        assert_eq!((text(&data, "sslrootcert"), text(&data, "ca.crt")), ("ca.crt", "CA"));
        let mongodb =
            Binding { shape: &MONGODB, ssl_mode: None, server_ca: Some("CA".to_owned()), ..binding() };
        let data = mongodb.data(&account, None, None);
        assert!(!data.contains_key("sslmode") && !data.contains_key("sslrootcert"));
    }

    #[test]
    fn a_key_is_there_in_every_form_that_clients_read() {
        let key = "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n";
        let data = binding().identity("CHAIN", key);
        assert_eq!(data["tls.pk8"], [1, 2, 3]);
        assert_eq!((&data["tls.key"], &data["tls.crt"]), (&data["private-key"], &data["certificates"]));
        assert!(!data.contains_key("tls.pem"));
        let mongodb = Binding { shape: &MONGODB, ..binding() };
        assert_eq!(text(&mongodb.identity("CHAIN", key), "tls.pem"), format!("CHAIN\n{key}"));
    }
}
