//! Real MongoDB servers, each deployment with its own data, certificates and ports.

mod admin;
mod builder;
mod client;
mod member;
mod replica_set;

use std::path::Path;

use rustix::process::Signal;
use tokio::sync::OnceCell;

pub use admin::MongoAdmin;
pub use builder::MongoBuilder;
pub use client::run_through_elections;

use crate::account::Account;
use crate::certificates::{Authority, Certificate, ClientOptions};
use crate::components::MongoInstallation;
use crate::error::Result;
use crate::scratch::Scratch;
use member::Member;

/// The common name of the superuser.
const ROOT: &str = "rolecall-testbed-root";

/// Running MongoDB servers: a replica set of one member or more, or a standalone server. They stop, and their data is
/// removed, when this value is dropped or the process dies.
///
/// Only TLS is spoken, and every client logs in. Users are in `$external` and log in with a client certificate of
/// [`Mongo::client_authority`] whose common name is the user; users of a database
/// ([`Mongo::create_password_user`]) with a SCRAM password. The superuser is behind [`Mongo::run`].
#[derive(Debug)]
pub struct Mongo {
    installation: MongoInstallation,
    members: Vec<Member>,
    replica_set: bool,
    server_authority: Authority,
    client_authority: Authority,
    account: Account,
    // Dropped last: the directory goes when the programs have ended.
    dir: Scratch,
}

impl Mongo {
    /// The name of the replica set.
    pub const REPLICA_SET: &'static str = "rolecall";

    /// Servers with settings of your own.
    pub fn builder() -> MongoBuilder {
        MongoBuilder::new()
    }

    /// Starts a replica set of one member, which takes majority writes and transactions like a large one.
    ///
    /// # Errors
    /// When the component cannot be fetched or the server does not start.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// One replica set of one member for all tests of the process, started on first use.
    ///
    /// Users belong to the whole server: tests that share it must not use the same names.
    ///
    /// # Errors
    /// When the server does not start; the next call tries again.
    pub async fn shared() -> Result<&'static Self> {
        // Never dropped; the server ends because the process does.
        static SHARED: OnceCell<Mongo> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// The name that the servers' certificates are made out to, next to `127.0.0.1`.
    pub fn host(&self) -> &'static str {
        "localhost"
    }

    /// The TCP port of each member on 127.0.0.1. They stay the same over restarts.
    pub fn ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.port).collect()
    }

    /// `localhost:PORT` of one member.
    pub fn address(&self, member: usize) -> String {
        format!("{}:{}", self.host(), self.members[member].port)
    }

    /// The connection string of all members, without credentials and without options for TLS.
    pub fn uri(&self) -> String {
        let addresses: Vec<String> = (0..self.members.len()).map(|member| self.address(member)).collect();
        let options = if self.replica_set {
            format!("replicaSet={}", Self::REPLICA_SET)
        } else {
            "directConnection=true".to_owned()
        };
        format!("mongodb://{}/?{options}", addresses.join(","))
    }

    /// The CA certificate, as PEM, that the servers' certificates are verified with.
    pub fn server_ca_pem(&self) -> &str {
        self.server_authority.cert_pem()
    }

    /// The authority whose client certificates the servers accept.
    pub fn client_authority(&self) -> &Authority {
        &self.client_authority
    }

    /// A client certificate, valid now, to log in as `CN=user`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn client_cert(&self, user: &str) -> Result<Certificate> {
        self.client_authority.client(user)
    }

    /// A client certificate for `CN=user` that has expired.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn expired_client_cert(&self, user: &str) -> Result<Certificate> {
        self.client_authority.client_with(user, &ClientOptions::expired())
    }

    /// The directory with everything of these servers. Only their account and root may enter.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What one member has logged so far: one JSON document in each line.
    pub fn log(&self, member: usize) -> String {
        self.members[member].log()
    }

    /// Whether a member's process exists (it may be paused).
    pub async fn is_running(&self, member: usize) -> bool {
        self.members[member].is_running().await
    }

    /// Stops a member in order; its data is kept. A primary hands over first.
    pub async fn stop(&self, member: usize) {
        self.members[member].end(Signal::TERM).await;
    }

    /// Kills a member at once, as a crash would. What it had written to its journal is kept.
    pub async fn kill(&self, member: usize) {
        self.members[member].end(Signal::KILL).await;
    }

    /// Starts a member again after [`Mongo::stop`] or [`Mongo::kill`], on the same port with the same data, and waits
    /// until it serves reads (and writes, where it is the only member).
    ///
    /// # Errors
    /// When it does not start, for example because the port was taken meanwhile.
    pub async fn start_again(&self, member: usize) -> Result<()> {
        self.members[member].start_again(&self.installation, self.account).await?;
        self.until_serving(member).await
    }

    /// Freezes a member: connections are accepted by the kernel and never answered.
    pub async fn pause(&self, member: usize) {
        self.members[member].pause().await;
    }

    /// Ends a [`Mongo::pause`].
    pub async fn unpause(&self, member: usize) {
        self.members[member].unpause().await;
    }
}
