//! How a deployment is set up before its first start.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::sync::Mutex;

use super::member::Member;
use super::{Mongo, ROOT};
use crate::account::Account;
use crate::certificates::{Authority, Certificate};
use crate::error::{Error, Result};
use crate::scratch::Scratch;
use crate::{components, ports};

/// By this name in their certificates the members of one set know each other.
const MEMBERS: &str = "Rolecall test members";

/// Small and quick to start, because many run at once.
const PARAMETERS: [(&str, &str); 3] = [
    ("diagnosticDataCollectionEnabled", "false"),
    // An ordered stop of a primary otherwise waits 15 seconds for its clients.
    ("shutdownTimeoutMillisForSignaledShutdown", "100"),
    // Clients that come and go by the hundred leave sessions behind.
    ("maxSessions", "100000"),
];

/// MongoDB servers that are about to be started.
#[derive(Clone, Debug)]
pub struct MongoBuilder {
    members: usize,
    replica_set: bool,
    parameters: BTreeMap<String, String>,
    client_cas: String,
    names: Vec<String>,
}

impl MongoBuilder {
    pub(super) fn new() -> Self {
        let parameters =
            PARAMETERS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { members: 1, replica_set: true, parameters, client_cas: String::new(), names: Vec::new() }
    }

    /// A replica set of so many members instead of one; three or more survive the loss of one.
    pub fn members(mut self, count: usize) -> Self {
        self.members = count.max(1);
        self.replica_set = true;
        self
    }

    /// One server outside of any replica set, which knows no transactions.
    pub fn standalone(mut self) -> Self {
        self.members = 1;
        self.replica_set = false;
        self
    }

    /// Sets a server parameter, for example `("transactionLifetimeLimitSeconds", "5")`.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// More CAs, as PEM, whose client certificates the servers take.
    pub fn client_cas(mut self, pem: &str) -> Self {
        self.client_cas.push_str(pem);
        self
    }

    /// More DNS names in the certificates of the servers.
    pub fn names(mut self, names: &[&str]) -> Self {
        self.names.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Starts the servers and waits until one is primary and the others follow it.
    ///
    /// # Errors
    /// When the component cannot be fetched or a server does not start.
    pub async fn start(self) -> Result<Mongo> {
        let prepared = tokio::task::spawn_blocking(move || self.prepare()).await;
        // The closure does not panic, and the runtime cancels blocking tasks only while it shuts down.
        let mut mongo = prepared
            .map_err(|error| Error::Build { component: "MongoDB".to_owned(), detail: error.to_string() })??;
        let (installation, account) = (mongo.installation.clone(), mongo.account);
        let starting = mongo.members.iter_mut().map(|member| member.create(&installation, account));
        futures::future::try_join_all(starting).await?;
        mongo.initiate().await?;
        Ok(mongo)
    }

    /// Everything before the processes: blocking work on files.
    fn prepare(self) -> Result<Mongo> {
        let installation = components::mongodb()?;
        let account = Account::unprivileged();
        let dir = Scratch::new("mongo", account)?;
        let server_authority = Authority::new("Rolecall test server CA")?;
        let client_authority = Authority::new("Rolecall test client CA")?;
        let names: Vec<&str> =
            ["localhost", "127.0.0.1"].into_iter().chain(self.names.iter().map(String::as_str)).collect();
        let own = server_authority.member(&names, MEMBERS)?;
        let root = client_authority.client(ROOT)?;

        let pem = |name: &str| dir.path().join(name);
        write(&pem("member.pem"), &with_key(&own), account)?;
        write(&pem("root.pem"), &with_key(&root), account)?;
        write(&pem("servers.crt"), server_authority.cert_pem(), account)?;
        // Members are each other's clients.
        let clients =
            format!("{}{}{}", client_authority.cert_pem(), server_authority.cert_pem(), self.client_cas);
        write(&pem("clients.crt"), &clients, account)?;

        let args = self.arguments(dir.path());
        let member = |index: usize| {
            let dir = dir.path().join(index.to_string());
            let data = dir.join("data");
            fs::create_dir_all(&data).map_err(Error::io("creating", &data))?;
            account.own(&dir)?;
            account.own(&data)?;
            Ok(Member { port: ports::free()?, dir, args: args.clone(), program: Mutex::new(None) })
        };
        let members = (0..self.members).map(member).collect::<Result<_>>()?;
        Ok(Mongo {
            installation,
            members,
            replica_set: self.replica_set,
            server_authority,
            client_authority,
            account,
            dir,
        })
    }

    fn arguments(&self, dir: &Path) -> Vec<String> {
        let path = |name: &str| dir.join(name).display().to_string();
        let mut args: Vec<String> = Vec::new();
        let mut option = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        option("bind_ip", "127.0.0.1".to_owned());
        option("tlsMode", "requireTLS".to_owned());
        option("tlsCertificateKeyFile", path("member.pem"));
        option("tlsCAFile", path("servers.crt"));
        option("tlsClusterCAFile", path("clients.crt"));
        option("clusterAuthMode", "x509".to_owned());
        // The smallest that it takes.
        option("wiredTigerCacheSizeGB", "0.25".to_owned());
        if self.replica_set {
            option("replSet", Mongo::REPLICA_SET.to_owned());
            option("oplogSize", "50".to_owned());
        }
        for (name, value) in &self.parameters {
            option("setParameter", format!("{name}={value}"));
        }
        // Passwords are for tests of admin users; everybody else has a certificate.
        option("setParameter", "authenticationMechanisms=MONGODB-X509,SCRAM-SHA-256".to_owned());
        // Not every client has a certificate; who has none logs in with a password.
        args.extend(
            ["--auth", "--nounixsocket", "--tlsAllowConnectionsWithoutCertificates"].map(str::to_owned),
        );
        args
    }
}

/// Certificate and key in one text, as mongod and the driver want them.
pub(super) fn with_key(certificate: &Certificate) -> String {
    format!("{}{}", certificate.cert_pem, certificate.key_pem)
}

/// Writes a file that only `account` may read.
pub(super) fn write(path: &Path, text: &str, account: Account) -> Result<()> {
    fs::write(path, text).map_err(Error::io("writing", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io("closing", path))?;
    account.own(path)
}
