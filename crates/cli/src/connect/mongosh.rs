//! mongosh, MongoDB's shell, and whatever takes MongoDB's URIs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;

use anyhow::{Context, anyhow, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rolecall_api::DatabaseAdmin;
use rolecall_resolve::MongodbAddress as Address;

use super::client::Program;
use super::identity::Identity;
use super::socks::{Routes, Socks};
use crate::input::Cluster;
use crate::output;
use crate::reach::Route;

/// The program.
pub(super) const MONGOSH: Program = Program {
    name: "mongosh",
    origin: "install MongoDB's shell: https://www.mongodb.com/docs/mongodb-shell/install",
};

/// How clients reach the servers.
pub(super) struct Way {
    /// The URI without a database, and its options.
    uri: String,
    options: String,
    /// What is dialled through, where the names of the servers do not lead to them from here.
    proxy: Option<Socks>,
}

impl Way {
    /// Finds the way. `asked`: the `HOST:PORT` of `--address`; `port`: with a proxy in any case, on this port.
    ///
    /// # Errors
    ///
    /// No server is reached from here, or the address cannot be used.
    pub(super) async fn find(
        cluster: &Cluster,
        admin: &DatabaseAdmin,
        asked: Option<&str>,
        port: Option<u16>,
    ) -> anyhow::Result<Self> {
        let address = Address::parse(&admin.spec.uri).context("reading spec.uri of the DatabaseAdmin")?;
        let uri = address.uri();
        let options = uri.split_once('?').map_or("", |(_, options)| options).to_owned();
        let mut way = Self { uri: address.to_string(), options, proxy: None };
        if address.is_srv() {
            // Its servers are known to whoever looks the records up.
            if asked.is_some() || port.is_some() {
                bail!(
                    "the address {way_uri} names no server, but records that list them; connect without --address and --proxy, from \
                     where it resolves",
                    way_uri = way.uri
                );
            }
            return Ok(way);
        }
        let mut known = BTreeMap::new();
        let mut failed = None;
        for (host, port) in address.hosts() {
            match Route::find(cluster, host, *port, asked).await {
                Ok(route) => {
                    known.insert((host.clone(), *port), route);
                }
                // Some members are enough.
                Err(error) => failed = failed.or(Some(error)),
            }
            if asked.is_some() {
                break;
            }
        }
        if known.is_empty() {
            return Err(failed.unwrap_or_else(|| anyhow!("the address names no server")));
        }
        if port.is_none() && failed.is_none() && known.values().all(Route::is_direct) {
            return Ok(way);
        }
        if asked.is_some() {
            (way.uri, way.options) = single(&address, &way.options);
        }
        for route in known.values().filter(|route| route.is_forwarded()) {
            output::say(format_args!("connecting {}", route.describe()));
        }
        let proxy = Socks::open(Routes::new(cluster, known), port.unwrap_or(0)).await?;
        way.options.push_str(&proxy_options(proxy.address()));
        way.proxy = Some(proxy);
        Ok(way)
    }

    /// The URI for a logical database. The files are not part of it.
    fn uri(&self, database: Option<&str>) -> String {
        let database = utf8_percent_encode(database.unwrap_or_default(), NON_ALPHANUMERIC);
        format!("{}/{database}?{}", self.uri, self.options)
    }

    /// The URI with the files, for clients that take them there. The user is not named: it is the subject of the
    /// certificate.
    pub(super) fn uri_with_files(&self, database: Option<&str>, identity: &Identity) -> String {
        let path = |path: std::path::PathBuf| {
            utf8_percent_encode(&path.display().to_string(), NON_ALPHANUMERIC).to_string()
        };
        let mut uri = format!("{}&tlsCertificateKeyFile={}", self.uri(database), path(identity.together()));
        if let Some(authorities) = identity.authorities() {
            uri.push_str(&format!("&tlsCAFile={}", path(authorities)));
        }
        uri
    }

    /// The arguments for mongosh. Nothing in them is secret.
    pub(super) fn arguments(&self, database: Option<&str>, identity: &Identity) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            vec![self.uri(database).into(), "--tlsCertificateKeyFile".into(), identity.together().into()];
        arguments
            .extend(identity.authorities().into_iter().flat_map(|file| ["--tlsCAFile".into(), file.into()]));
        arguments
    }
}

/// The URI of the first server alone: an address that somebody names leads to one server, and its certificate must carry
/// that one's name.
fn single(address: &Address, options: &str) -> (String, String) {
    let uri = address.to_string();
    let first = uri.split(',').next().unwrap_or_default().to_owned();
    let own = |option: &&str| !option.starts_with("replicaSet=") && !option.starts_with("directConnection=");
    let mut options: Vec<&str> = options.split('&').filter(own).collect();
    options.push("directConnection=true");
    (first, options.join("&"))
}

fn proxy_options(address: SocketAddr) -> String {
    format!("&proxyHost={}&proxyPort={}", address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(text: &str) -> Way {
        let address = Address::parse(text).expect("it is an address");
        let uri = address.uri();
        let options = uri.split_once('?').map_or("", |(_, options)| options).to_owned();
        Way { uri: address.to_string(), options, proxy: None }
    }

    #[test]
    fn the_shell_gets_every_host_and_the_files() {
        let mut identity = Identity::new().expect("a key can be made");
        identity.put_certificate(b"crt").expect("it is written");
        let key = identity.together().display().to_string();
        let given = way("m0:1").arguments(None, &identity);
        let uri = "mongodb://m0:1/?tls=true&authMechanism=MONGODB-X509&authSource=%24external";
        // Without authorities of one's own the shell trusts those of the system.
        assert_eq!(given, [uri, "--tlsCertificateKeyFile", &key]);
        identity.put_authorities(b"ca").expect("they are written");
        let authorities = identity.authorities().expect("there are some").display().to_string();
        let given = way("mongodb://m0,m1/?replicaSet=rs0").arguments(Some("sh op"), &identity);
        let uri = "mongodb://m0:27017,m1:27017/sh%20op?tls=true&authMechanism=MONGODB-X509&authSource=%24external\
                   &replicaSet=rs0";
        assert_eq!(given, [uri, "--tlsCertificateKeyFile", &key, "--tlsCAFile", &authorities]);
        let with_files = way("m0:1").uri_with_files(Some("shop"), &identity);
        assert!(with_files.starts_with("mongodb://m0:1/shop?tls=true&"), "{with_files}");
        assert!(with_files.contains("&tlsCertificateKeyFile=%2F") && with_files.contains("&tlsCAFile=%2F"));
    }

    #[test]
    fn an_address_leads_to_one_server() {
        let address = Address::parse("mongodb://m0,m1/?replicaSet=rs0").expect("it is an address");
        let options = "tls=true&replicaSet=rs0";
        let expected = ("mongodb://m0:27017".to_owned(), "tls=true&directConnection=true".to_owned());
        assert_eq!(single(&address, options), expected);
    }
}
