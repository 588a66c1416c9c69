//! Where a MongoDB server is: what `uri` of a DatabaseAdmin says.

use std::net::Ipv6Addr;

/// The port where none is written.
const DEFAULT_PORT: u16 = 27017;

/// Hosts whose users are not kept in the server, with what runs there.
const ELSEWHERE: [(&str, &str); 4] = [
    (".mongodb.net", "MongoDB Atlas"),
    (".docdb.amazonaws.com", "Amazon DocumentDB"),
    (".docdb-elastic.amazonaws.com", "Amazon DocumentDB"),
    (".docdb.amazonaws.com.cn", "Amazon DocumentDB"),
];

/// The address of a MongoDB server: one host, the members of a replica set, or a name that DNS resolves to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongodbAddress {
    /// The one host is a name whose SRV records name the members.
    pub srv: bool,
    /// Host names or IP addresses, each with its port; never empty. Where `srv` is set the port means nothing.
    pub hosts: Vec<(String, u16)>,
    /// The name of the replica set, where it is given.
    pub replica_set: Option<String>,
}

impl MongodbAddress {
    /// Reads `host:port`, or a `mongodb://` or `mongodb+srv://` URI without credentials and path and with no option but
    /// `replicaSet`. A port that is missing is 27017.
    ///
    /// # Errors
    ///
    /// What is wrong with it and what to write, in one sentence that holds nothing of the text: credentials may be in
    /// it.
    pub fn parse(uri: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "{what}; write host:port, mongodb://host:port,host:port/?replicaSet=name or mongodb+srv://host, without \
                 credentials"
            )
        };
        if uri.contains('@') {
            return Err(wrong("spec.uri holds a user name or password"));
        }
        let (srv, rest) = match uri.split_once("://") {
            None => (false, uri),
            Some(("mongodb", rest)) => (false, rest),
            Some(("mongodb+srv", rest)) => (true, rest),
            Some(_) => return Err(wrong("spec.uri has a scheme that is not MongoDB's")),
        };
        let (hosts, options) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        let replica_set = match options.split_once('=') {
            None if options.is_empty() => None,
            Some(("replicaSet", name)) if !name.is_empty() && !name.contains(['&', '=']) => {
                Some(name.to_owned())
            }
            _ => return Err(wrong("spec.uri has an option other than replicaSet")),
        };
        let hosts: Vec<(String, u16)> = hosts
            .split(',')
            .map(|host| host_and_port(host).ok_or_else(|| wrong("spec.uri names a host that none can have")))
            .collect::<Result<_, _>>()?;
        if srv && (hosts.len() > 1 || rest.contains(':')) {
            return Err(wrong("a mongodb+srv:// URI names one host, without a port"));
        }
        Ok(Self { srv, hosts, replica_set })
    }

    /// `mongodb` or `mongodb+srv`.
    pub fn scheme(&self) -> &'static str {
        if self.srv { "mongodb+srv" } else { "mongodb" }
    }

    /// The hosts as they stand in a URI, each with its port: `m0:27017,[::1]:27018`; of `mongodb+srv` the name alone.
    pub fn authority(&self) -> String {
        let written = |(host, port): &(String, u16)| match (self.srv, host.contains(':')) {
            (true, _) => host.clone(),
            (false, true) => format!("[{host}]:{port}"),
            (false, false) => format!("{host}:{port}"),
        };
        self.hosts.iter().map(written).collect::<Vec<_>>().join(",")
    }

    /// The host that is named first, with its port.
    pub fn first(&self) -> (&str, u16) {
        self.hosts.first().map_or(("", DEFAULT_PORT), |(host, port)| (host, *port))
    }

    /// What runs there, where users cannot be provisioned on it: Atlas and DocumentDB keep users outside of the server.
    pub fn unsupported(&self) -> Option<&'static str> {
        self.hosts.iter().find_map(|(host, _)| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            ELSEWHERE.iter().find(|(suffix, _)| host.ends_with(suffix)).map(|(_, what)| *what)
        })
    }
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let strange = |c: char| c.is_whitespace() || c.is_control() || "/@?#%\\[]".contains(c);
    if host.is_empty() || host.contains(strange) {
        return None;
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|number| *number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()))?,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_put_together() {
        for (uri, scheme, authority, replica_set) in [
            ("m0.shop.svc:27018", "mongodb", "m0.shop.svc:27018", None),
            ("m0", "mongodb", "m0:27017", None),
            ("mongodb://m0", "mongodb", "m0:27017", None),
            ("mongodb://m0:1,[::1]:2/?replicaSet=rs0", "mongodb", "m0:1,[::1]:2", Some("rs0")),
            ("mongodb://10.0.0.7,m1?replicaSet=rs0", "mongodb", "10.0.0.7:27017,m1:27017", Some("rs0")),
            ("mongodb+srv://mongo.shop.example/", "mongodb+srv", "mongo.shop.example", None),
        ] {
            let address = MongodbAddress::parse(uri).unwrap();
            assert_eq!((address.scheme(), address.authority().as_str()), (scheme, authority), "{uri}");
            assert_eq!(address.replica_set.as_deref(), replica_set, "{uri}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for uri in [
            "",
            "mongodb://",
            "mongodb://m0,",
            "mongodb://secret@m0",
            "postgres://secret",
            "mongodb://m0/secret",
            "mongodb://m0/?tls=secret",
            "mongodb://m0/?replicaSet=a&tls=secret",
            "mongodb://m0/?replicaSet=",
            "mongodb+srv://a,b",
            "mongodb+srv://a:27017",
            "m0:0",
            "m0:+1",
            "m0:65536",
            "::1",
            "[::1",
            "[m0]:1",
        ] {
            let refused = MongodbAddress::parse(uri).unwrap_err();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn services_that_keep_their_own_users_are_told_by_the_host() {
        let unsupported = |uri: &str| MongodbAddress::parse(uri).unwrap().unsupported();
        assert_eq!(unsupported("mongodb+srv://cluster0.ab1cd.mongodb.net/"), Some("MongoDB Atlas"));
        assert_eq!(unsupported("mongodb://a:1,S.ab1cd.MongoDB.net.:1"), Some("MongoDB Atlas"));
        assert_eq!(
            unsupported("docs.cluster-abc.eu-west-1.docdb.amazonaws.com:27017"),
            Some("Amazon DocumentDB")
        );
        for own in ["m0.shop.svc:27017", "mongodb.net:27017", "m0.mongodb.net.example.org:27017"] {
            assert_eq!(unsupported(own), None, "{own}");
        }
    }
}
