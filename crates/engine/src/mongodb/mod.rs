//! MongoDB, self-hosted: a replica set or a single server, users by X.509 certificates.
//!
//! An account is the user `CN=<name>` in `$external`, with `teleport-auto-user: true` and our ownership record in its
//! customData. The admin user proves itself by a certificate as well.
//!
//! | module | holds |
//! |---|---|
//! | `address`, `config` | how the server is reached |
//! | `name`, `role` | names of users and roles as the server has them |
//! | `remedy` | commands for people to paste |

mod address;
mod config;
mod name;
pub(crate) mod remedy;
mod role;

use async_trait::async_trait;

pub use address::Address;
pub use config::{ClientCertificate, Config, Tls, TlsMode};
pub use name::{account_name, user_name};
pub use role::RoleName;

use crate::{Applied, Census, Class, Dialect, Engine, Error, Needs, Observed, Plan, Probe, Query, Reason};

/// One MongoDB server, reached as its admin user.
#[derive(Debug)]
pub struct Mongodb {
    config: Config,
}

impl Mongodb {
    /// An engine for one server. Nothing is sent yet: the first call connects.
    ///
    /// # Errors
    ///
    /// `Invalid` when something in the configuration cannot be used; the message names it.
    pub fn new(config: Config) -> Result<Self, Error> {
        if config.tls.mode != TlsMode::VerifyFull || config.tls.server_name.is_some() {
            return Err(Error {
                class: Class::Invalid,
                reason: Reason::TlsFailed,
                attempted: "reading spec.tls".to_owned(),
                code: String::new(),
                detail: "for MongoDB the certificate of a server is verified in full, by the name that is dialled"
                    .to_owned(),
                remedy: "set tls.mode: VerifyFull without serverName, and write the names of the servers' certificates into spec.uri"
                    .to_owned(),
            });
        }
        Ok(Self { config })
    }

    fn not_yet(&self, what: &str) -> Error {
        Error::unsupported(format!("{what} on {}", self.config.address))
    }
}

#[async_trait]
impl Engine for Mongodb {
    fn dialect(&self) -> Dialect {
        Dialect::MongoDb
    }

    async fn probe(&self, _: &Needs) -> Result<Probe, Error> {
        Err(self.not_yet("looking at the server"))
    }

    async fn census(&self) -> Result<Census, Error> {
        Err(self.not_yet("listing the managed accounts"))
    }

    async fn observe(&self, query: &Query) -> Result<Observed, Error> {
        Err(self.not_yet(&format!("reading the account {:?}", query.account.as_str())))
    }

    async fn apply(&self, plan: &Plan) -> Result<Applied, Error> {
        match plan {
            Plan::Nothing => Ok(Applied::default()),
            plan => Err(self.not_yet(&plan.to_string())),
        }
    }

    async fn close(&self) {}
}
