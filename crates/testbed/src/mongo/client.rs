//! Speaking to the servers: as the superuser, or as a user with a certificate or a password.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{AuthMechanism, ClientOptions, Credential, ServerAddress, Tls, TlsOptions};
use sha2::{Digest, Sha256};

use super::Mongo;
use super::builder::{with_key, write};
use crate::certificates::Certificate;
use crate::error::{Error, Result};

/// Long enough for a loaded machine and an election, short enough for a test.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Within that time one member of those that are left is primary.
const ELECTION: Duration = Duration::from_secs(30);

/// As whom a client logs in.
pub(super) enum Who<'a> {
    /// With the certificate of the members, which is above all users.
    Member,
    /// The superuser.
    Root,
    /// A user of `$external`.
    Certificate(&'a Certificate),
    /// A user of a database, with a password.
    Password { database: &'a str, user: &'a str, password: &'a str },
}

/// Which members a client speaks to.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// Whichever is primary.
    ReplicaSet,
    /// This one, whatever it is.
    One(usize),
}

impl Mongo {
    /// Runs a command as the superuser and returns the answer.
    ///
    /// # Errors
    /// When the server refuses; [`Error::mongo_code`] says why.
    pub async fn run(&self, database: &str, command: Document) -> Result<Document> {
        let client = self.superuser().await?;
        let answer = run_on(&client, database, command).await;
        client.shutdown().immediate(true).await;
        answer
    }

    /// A client of the superuser, who may do everything. It belongs to the runtime that it was made in.
    ///
    /// # Errors
    /// When no server answers.
    pub async fn superuser(&self) -> Result<Client> {
        self.client(Who::Root, self.everywhere()).await
    }

    /// A client with a certificate, as the user of `$external` that it names.
    ///
    /// # Errors
    /// When the server refuses the certificate or the user.
    pub async fn connect(&self, identity: &Certificate) -> Result<Client> {
        self.client(Who::Certificate(identity), self.everywhere()).await
    }

    /// A client of one member only, whether primary or not, with a certificate.
    ///
    /// # Errors
    /// When the server refuses the certificate or the user.
    pub async fn connect_to(&self, member: usize, identity: &Certificate) -> Result<Client> {
        self.client(Who::Certificate(identity), Reach::One(member)).await
    }

    /// A client with a password, as a user of `database`.
    ///
    /// # Errors
    /// When the server refuses the password or the user.
    pub async fn connect_with_password(&self, database: &str, user: &str, password: &str) -> Result<Client> {
        self.client(Who::Password { database, user, password }, self.everywhere()).await
    }

    /// Makes the user `CN=name` of `$external` with these roles, each as `role@database`, and its certificate.
    ///
    /// # Errors
    /// When the user exists already or a role does not.
    pub async fn create_user(&self, name: &str, roles: &[&str]) -> Result<Certificate> {
        let command = doc! { "createUser": format!("CN={name}"), "roles": role_list(roles) };
        self.run("$external", command).await?;
        self.client_cert(name)
    }

    /// As [`Mongo::create_user`], and every member knows it; any other write is known to a majority.
    ///
    /// # Errors
    /// As there, and when a member does not follow within a minute.
    pub async fn create_user_everywhere(&self, name: &str, roles: &[&str]) -> Result<Certificate> {
        let command = doc! {
            "createUser": format!("CN={name}"),
            "roles": role_list(roles),
            "writeConcern": { "w": i32::try_from(self.members.len()).unwrap_or(i32::MAX), "wtimeout": 60_000 },
        };
        self.run("$external", command).await?;
        self.client_cert(name)
    }

    /// Makes a user of `database` that logs in with a password, with these roles, each as `role@database`.
    ///
    /// # Errors
    /// When the user exists already or a role does not.
    pub async fn create_password_user(
        &self,
        database: &str,
        name: &str,
        password: &str,
        roles: &[&str],
    ) -> Result<()> {
        let command = doc! {
            "createUser": name,
            "pwd": password,
            "roles": role_list(roles),
            "mechanisms": ["SCRAM-SHA-256"],
        };
        self.run(database, command).await.map(drop)
    }

    pub(super) fn everywhere(&self) -> Reach {
        if self.replica_set { Reach::ReplicaSet } else { Reach::One(0) }
    }

    /// A client that has logged in.
    pub(super) async fn client(&self, who: Who<'_>, reach: Reach) -> Result<Client> {
        let (hosts, replica_set) = match reach {
            Reach::ReplicaSet => (0..self.members.len(), Some(Self::REPLICA_SET.to_owned())),
            Reach::One(member) => (member..member + 1, None),
        };
        let hosts: Vec<_> = hosts
            .map(|member| ServerAddress::Tcp {
                host: self.host().to_owned(),
                port: Some(self.members[member].port),
            })
            .collect();
        let direct = replica_set.is_none();
        let tls = TlsOptions::builder()
            .ca_file_path(self.dir.path().join("servers.crt"))
            .cert_key_file_path(self.identity_file(&who)?)
            .build();
        let options = ClientOptions::builder()
            .hosts(hosts)
            .repl_set_name(replica_set)
            .direct_connection(direct)
            .tls(Tls::Enabled(tls))
            .credential(credential(&who))
            .app_name("testbed".to_owned())
            .connect_timeout(TIMEOUT)
            .server_selection_timeout(TIMEOUT)
            .build();
        let client = Client::with_options(options).map_err(Error::mongo("connecting"))?;
        // The driver connects with the first command only.
        run_on(&client, "admin", doc! { "ping": 1 }).await?;
        Ok(client)
    }

    /// The file that the driver reads a certificate and its key from.
    fn identity_file(&self, who: &Who<'_>) -> Result<Option<PathBuf>> {
        let file = |name: &str| self.dir.path().join(name);
        let identity = match who {
            Who::Member => return Ok(Some(file("member.pem"))),
            Who::Root => return Ok(Some(file("root.pem"))),
            Who::Password { .. } => return Ok(None),
            Who::Certificate(identity) => identity,
        };
        let text = with_key(identity);
        let hash = Sha256::digest(&text);
        let path = file(&format!("client-{:02x}{:02x}{:02x}{:02x}.pem", hash[0], hash[1], hash[2], hash[3]));
        if !path.exists() {
            write(&path, &text, self.account)?;
        }
        Ok(Some(path))
    }
}

/// Runs a command with a client and returns the answer. While members stop and elect another primary it is tried again,
/// so that it may run twice.
///
/// # Errors
/// When the server refuses; when nobody is primary for longer than an election takes.
pub async fn run_through_elections(client: &Client, database: &str, command: Document) -> Result<Document> {
    let begun = Instant::now();
    loop {
        match client.database(database).run_command(command.clone()).await {
            Err(error) if is_of_an_election(&error) && begun.elapsed() < ELECTION => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => {
                let what = command.keys().next().cloned().unwrap_or_default();
                return answer.map_err(Error::mongo(&what));
            }
        }
    }
}

/// Does an error say that members stop, or elect another primary?
pub(super) fn is_of_an_election(error: &mongodb::error::Error) -> bool {
    match &*error.kind {
        ErrorKind::Io(_) | ErrorKind::ServerSelection { .. } | ErrorKind::ConnectionPoolCleared { .. } => {
            true
        }
        // Not primary, or shutting down.
        ErrorKind::Command(refusal) => {
            matches!(refusal.code, 91 | 189 | 10107 | 11600 | 11602 | 13435 | 13436)
        }
        _ => false,
    }
}

/// Runs a command with a client, on the primary or on the one member that it speaks to, and returns the answer.
pub(super) async fn run_on(client: &Client, database: &str, command: Document) -> Result<Document> {
    let what = command.keys().next().cloned().unwrap_or_default();
    client.database(database).run_command(command).await.map_err(Error::mongo(&what))
}

fn credential(who: &Who<'_>) -> Credential {
    match who {
        Who::Password { database, user, password } => Credential::builder()
            .mechanism(AuthMechanism::ScramSha256)
            .source((*database).to_owned())
            .username((*user).to_owned())
            .password((*password).to_owned())
            .build(),
        _ => Credential::builder().mechanism(AuthMechanism::MongoDbX509).build(),
    }
}

/// Roles as the server wants them, from `role@database`. A role without a database is one of `admin`.
fn role_list(roles: &[&str]) -> Vec<Document> {
    let role = |text: &&str| {
        let (role, database) = text.split_once('@').unwrap_or((text, "admin"));
        doc! { "role": role, "db": database }
    };
    roles.iter().map(role).collect()
}
