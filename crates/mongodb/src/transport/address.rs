//! Addresses of servers: a list of `host:port`, or a URI without credentials.

use std::fmt;

use rolecall_engine::address::host_and_port;
use rolecall_engine::{Class, Error, Reason};

/// The port of a server whose address names none.
const PORT: u16 = 27017;

/// Where a server is found: some members of a replica set, a single server, or a name whose SRV records list them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    hosts: Vec<(String, u16)>,
    /// The hosts are listed by the SRV records of this one name.
    srv: bool,
    replica_set: Option<String>,
    direct: bool,
}

impl Address {
    /// Parses `m0:27017,m1:27017`, `mongodb://m0,m1/?replicaSet=rs0` or `mongodb+srv://db.example.org`.
    ///
    /// Of a URI's options `replicaSet` and `directConnection` count. `tls=true`, `authSource=$external` and
    /// `authMechanism=MONGODB-X509` say what is the case anyway; others that only tune a client are ignored.
    ///
    /// # Errors
    ///
    /// `Invalid` where the text is no address, contains credentials, or an option that spec.tls or spec.auth decides.
    /// `Unsupported` for servers where users cannot be provisioned: MongoDB Atlas, Amazon DocumentDB, Azure Cosmos DB,
    /// load balancers. Nothing is tried to find that out.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.contains('@') {
            // Not to be shown: it may be a password.
            return Err(invalid("", "it contains a user name or a password"));
        }
        let (srv, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("mongodb", rest)) => (false, rest),
            Some(("mongodb+srv", rest)) => (true, rest),
            Some(_) => return Err(invalid(text, "the scheme is neither mongodb nor mongodb+srv")),
        };
        let (hosts, options) = match rest.split_once('?') {
            Some((hosts, options)) => (hosts, options),
            None => (rest, ""),
        };
        let hosts = hosts.split_once('/').map_or(hosts, |(hosts, _)| hosts);
        let hosts = hosts
            .split(',')
            .map(|host| host_and_port(host, PORT).map_err(|error| invalid(text, &error.detail)))
            .collect::<Result<Vec<_>, Error>>()?;
        if srv && (hosts.len() != 1 || rest.split(['/', '?']).next().is_some_and(|host| host.contains(':'))) {
            return Err(invalid(text, "mongodb+srv takes one host name without a port"));
        }
        for (host, _) in &hosts {
            supported(host)?;
        }
        let mut address = Self { hosts, srv, replica_set: None, direct: false };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            address.take(text, option)?;
        }
        if address.direct && address.hosts.len() > 1 {
            return Err(invalid(text, "directConnection=true needs a single host"));
        }
        Ok(address)
    }

    fn take(&mut self, text: &str, option: &str) -> Result<(), Error> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match (name.to_ascii_lowercase().as_str(), value) {
            ("replicaset", value) => self.replica_set = Some(value.to_owned()),
            ("directconnection", value) => self.direct = value == "true",
            ("tls" | "ssl", "true")
            | ("authsource", "$external" | "%24external")
            | ("authmechanism", "MONGODB-X509") => {}
            ("loadbalanced", "true") => return Err(unsupported(text, "a load balancer")),
            (name, _) if name.starts_with("tls") || name.starts_with("ssl") => {
                return Err(invalid("", &format!("the option {name} is decided by spec.tls")));
            }
            (name, _) if name.starts_with("auth") => {
                return Err(invalid("", &format!("the option {name} is decided by spec.auth")));
            }
            (name, _) if name.starts_with("proxy") => {
                return Err(invalid("", &format!("the option {name} is not supported")));
            }
            _ => {}
        }
        Ok(())
    }

    /// The hosts that are named, with their ports. Of a `mongodb+srv` address: the name whose records are looked up.
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }

    /// The hosts are listed by SRV records.
    pub fn is_srv(&self) -> bool {
        self.srv
    }

    /// A single member is dialled, and other members of its replica set are not discovered.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// As a client that proves itself by a certificate takes it, to be handed to users as well.
    pub fn uri(&self) -> String {
        let mut uri = self.to_string();
        uri.push_str("/?tls=true&authMechanism=MONGODB-X509&authSource=%24external");
        if let Some(replica_set) = &self.replica_set {
            uri.push_str(&format!("&replicaSet={replica_set}"));
        }
        if self.direct {
            uri.push_str("&directConnection=true");
        }
        uri
    }
}

impl fmt::Display for Address {
    /// The URI without options, as messages show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.srv {
            let host = self.hosts.first().map_or("", |(host, _)| host);
            return write!(f, "mongodb+srv://{host}");
        }
        let hosts: Vec<String> = self.hosts.iter().map(|(host, port)| host_port(host, *port)).collect();
        write!(f, "mongodb://{}", hosts.join(","))
    }
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Is the host that of a service whose users are not made by createUser?
///
/// # Errors
///
/// `Unsupported`, with the name of the service.
pub(crate) fn supported(host: &str) -> Result<(), Error> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    let service = if ends(&[".mongodb.net", ".mongodb-dev.net", ".mongodb-qa.net", ".mongodbgov.net"]) {
        "MongoDB Atlas"
    } else if name.contains(".docdb.") || name.contains(".docdb-elastic.") {
        "Amazon DocumentDB"
    } else if ends(&[".cosmos.azure.com", ".cosmos.azure.us", ".cosmos.azure.cn"]) {
        "Azure Cosmos DB"
    } else {
        return Ok(());
    };
    Err(unsupported(host, service))
}

fn unsupported(address: &str, service: &str) -> Error {
    Error {
        class: Class::Invalid,
        reason: Reason::Unsupported,
        attempted: format!("reading the address {address:?}"),
        code: String::new(),
        detail: format!("it is that of {service}, where users cannot be provisioned"),
        remedy: "use a self-hosted MongoDB, and its own address".to_owned(),
    }
}

fn invalid(text: &str, why: &str) -> Error {
    Error {
        class: Class::Invalid,
        reason: Reason::DatabaseUnreachable,
        attempted: if text.is_empty() {
            "reading the address".to_owned()
        } else {
            format!("reading the address {text:?}")
        },
        code: String::new(),
        detail: why.to_owned(),
        remedy: "write mongodb://host:port, with the other members after commas, or mongodb+srv://host"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, uri) in [
            ("m0", "mongodb://m0:27017"),
            ("m0:1,m1:2", "mongodb://m0:1,m1:2"),
            ("mongodb://m0.shop.svc:27018", "mongodb://m0.shop.svc:27018"),
            ("mongodb://[fd00::5]:1/shop?readPreference=secondary&w=1", "mongodb://[fd00::5]:1"),
            ("mongodb+srv://db.example.org/?tls=true", "mongodb+srv://db.example.org"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), uri, "{text}");
        }
        let address = Address::parse("mongodb://m0,m1/?replicaSet=rs0").unwrap();
        assert_eq!(
            address.uri(),
            "mongodb://m0:27017,m1:27017/?tls=true&authMechanism=MONGODB-X509&authSource=%24external&replicaSet=rs0"
        );
    }

    #[test]
    fn what_is_no_address_or_weakens_tls_is_refused() {
        for text in [
            "",
            "postgres://m0",
            "mongodb://",
            "mongodb://m0:0",
            "mongodb://m0,",
            "mongodb+srv://a,b",
            "mongodb+srv://a:1",
            "mongodb://m0/?tlsInsecure=true",
            "mongodb://m0/?tls=false",
            "mongodb://m0/?tlsAllowInvalidCertificates=true",
            "mongodb://m0/?authMechanism=SCRAM-SHA-256",
            "mongodb://m0,m1/?directConnection=true",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!((error.class, error.reason), (Class::Invalid, Reason::DatabaseUnreachable), "{text}");
        }
        // In whatever is wrong with it.
        for text in ["mongodb://root:hunter2@m0", "mongdb://root:hunter2@m0", "root:hunter2@m0"] {
            let error = Address::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn services_without_users_of_their_own_are_recognized_by_name() {
        for text in [
            "mongodb+srv://cluster0.ab1cd.mongodb.net",
            "mongodb://Cluster0-shard-00-00.ab1cd.MONGODB.net.:27017",
            "mongodb://m0,orders.cluster-x.eu-west-1.docdb.amazonaws.com:27017",
            "mongodb://orders.mongo.cosmos.azure.com:10255",
            "mongodb://m0/?loadBalanced=true",
        ] {
            assert_eq!(Address::parse(text).unwrap_err().reason, Reason::Unsupported, "{text}");
        }
        assert!(Address::parse("mongodb://mongodb.net.shop.svc").is_ok());
    }
}
