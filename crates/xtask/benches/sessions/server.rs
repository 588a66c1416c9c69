//! The database servers that sessions are measured on, as far as the benchmark knows them apart.

use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use mongodb::bson::{Document, doc};
use rolecall_testbed::{Authority, Certificate, Mongo, MongoAdmin, PgVersion, Postgres, components};
use serde_json::{Value, json};

use crate::rds::{self, Rds};
use crate::redshift::{self, Simulator};

/// The admin user, on both sides.
pub(crate) const ADMIN: &str = "teleport-admin";
/// The role that every session gives.
const ROLE: &str = "reader";
/// The logical database that every session names.
const LOGICAL: &str = "postgres";
/// Commands that an engine sends, by which its messages are counted. Drivers say hello all the time.
const COMMANDS: [&str; 8] = [
    "usersInfo",
    "createUser",
    "updateUser",
    "dropUser",
    "aggregate",
    "connectionStatus",
    "rolesInfo",
    "appendOplogNote",
];

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// PostgreSQL 17.
    Postgres,
    /// PostgreSQL 17 behind a front that stands for RDS: logins with IAM tokens.
    Rds,
    /// MongoDB, a replica set of one member.
    Mongodb,
    /// A simulator of Amazon Redshift.
    Redshift,
}

impl Engine {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL 17",
            Self::Rds => "PostgreSQL 17 as RDS (behind a front that takes IAM tokens)",
            Self::Mongodb => "MongoDB 6.0 (a replica set of one member)",
            Self::Redshift => "a simulator of Amazon Redshift",
        }
    }

    /// Builds or fetches what is missing.
    pub(crate) fn prepare(self) -> anyhow::Result<()> {
        match self {
            Self::Postgres | Self::Rds => components::postgres(PgVersion::V17).map(drop)?,
            Self::Mongodb => components::mongodb().map(drop)?,
            Self::Redshift => {}
        }
        Ok(())
    }

    /// The role that every session gives, as `dbRoles` names it.
    pub(crate) fn role(self) -> String {
        match self {
            Self::Postgres | Self::Rds | Self::Redshift => ROLE.to_owned(),
            Self::Mongodb => format!("{ROLE}@{LOGICAL}"),
        }
    }

    /// The logical database that every session names.
    pub(crate) fn logical_database(self) -> &'static str {
        match self {
            Self::Redshift => redshift::LOGICAL,
            _ => LOGICAL,
        }
    }
}

/// One server, with the admin user and the role on it.
pub(crate) enum Server {
    /// See [`Engine::Postgres`].
    Postgres {
        /// What stands for RDS before it, for the operator.
        rds: Option<Rds>,
        /// The server.
        postgres: Box<Postgres>,
    },
    /// See [`Engine::Mongodb`].
    Mongodb {
        /// The server.
        mongo: Box<Mongo>,
        /// A client with every right.
        root: mongodb::Client,
        /// The admin user's certificate.
        admin: Box<Certificate>,
    },
    /// See [`Engine::Redshift`].
    Redshift(Box<Simulator>),
}

impl Server {
    pub(crate) async fn start(engine: Engine) -> anyhow::Result<Self> {
        match engine {
            Engine::Postgres | Engine::Rds => {
                let builder = Postgres::builder(PgVersion::V17);
                let hba = format!("{}{}", rds::HBA, Postgres::default_hba());
                let postgres = match engine {
                    Engine::Rds => builder.hba(&hba).start().await?,
                    _ => builder.start().await?,
                };
                postgres.create_admin(ADMIN).await?;
                let grant = format!("create role {ROLE}; grant {ROLE} to \"{ADMIN}\" with admin option");
                postgres.sql("postgres", &grant).await?;
                let rds = match engine {
                    Engine::Rds => Some(Rds::start(&postgres).await?),
                    _ => None,
                };
                Ok(Self::Postgres { rds, postgres: Box::new(postgres) })
            }
            Engine::Redshift => Ok(Self::Redshift(Box::new(Simulator::start(ROLE).await?))),
            Engine::Mongodb => {
                let mongo = Box::new(Mongo::start().await?);
                let admin = Box::new(mongo.create_admin(ADMIN, &MongoAdmin::documented()).await?);
                let root = mongo.superuser().await?;
                let role = doc! { "createRole": ROLE, "privileges": [], "roles": [] };
                root.database(LOGICAL).run_command(role).await.context("creating the role")?;
                Ok(Self::Mongodb { mongo, root, admin })
            }
        }
    }

    /// What the operator's environment has to say for it.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        match self {
            Self::Postgres { rds: Some(rds), .. } => rds.variables(),
            Self::Redshift(simulator) => simulator.variables(),
            _ => Vec::new(),
        }
    }

    /// How often AWS was called; `None` where it cannot be.
    pub(crate) fn aws_calls(&self) -> Option<u64> {
        match self {
            Self::Postgres { rds: Some(rds), .. } => Some(rds.calls()),
            Self::Redshift(simulator) => Some(simulator.calls()),
            _ => None,
        }
    }

    /// What its DatabaseAdmin says of it.
    pub(crate) fn spec(&self) -> Value {
        let (protocol, uri) = match self {
            Self::Postgres { rds: Some(rds), .. } => ("postgres", rds.front.address().to_string()),
            Self::Postgres { postgres, .. } => ("postgres", postgres.address()),
            Self::Mongodb { mongo, .. } => ("mongodb", mongo.uri()),
            Self::Redshift(simulator) => {
                let redshift = &simulator.redshift;
                ("redshift", format!("{}:{}", redshift.host(), redshift.port()))
            }
        };
        let mut spec = json!({
            "protocol": protocol, "uri": uri, "labels": {"env": "bench"},
            "adminUser": {"name": ADMIN},
            "tls": {"caSecretRef": {"name": "server-ca", "key": "ca.crt"}},
            "auth": {"x509": {"secretRef": {"name": "admin-cert"}}},
            "userCredentials": {"x509": {"caSecretRef": {"name": "client-ca"}, "ttl": "1h"}},
        });
        if let Self::Postgres { rds: Some(_), .. } = self {
            spec["platform"] = json!("RDS");
            spec["auth"] = json!({"awsIam": {"endpoint": rds::ENDPOINT}});
            spec["userCredentials"] = json!({"awsIam": {}});
        }
        if let Self::Redshift(_) = self {
            spec["auth"] = Simulator::auth();
            spec["userCredentials"] = json!({"awsIam": {}});
        }
        if let Self::Postgres { .. } = self {
            spec["adminUser"]["defaultDatabase"] = json!("postgres");
        }
        spec
    }

    /// A certificate of the admin user.
    pub(crate) fn admin_certificate(&self) -> anyhow::Result<Certificate> {
        match self {
            Self::Postgres { postgres, .. } => Ok(postgres.client_cert(ADMIN)?),
            Self::Mongodb { admin, .. } => Ok((**admin).clone()),
            Self::Redshift(simulator) => Ok(simulator.authority.client(ADMIN)?),
        }
    }

    /// Who signs the certificates of users.
    pub(crate) fn client_authority(&self) -> &Authority {
        match self {
            Self::Postgres { postgres, .. } => postgres.client_authority(),
            Self::Mongodb { mongo, .. } => mongo.client_authority(),
            Self::Redshift(simulator) => &simulator.authority,
        }
    }

    /// Who signed the server's certificate.
    pub(crate) fn server_ca_pem(&self) -> &str {
        match self {
            Self::Postgres { postgres, .. } => postgres.server_ca_pem(),
            Self::Mongodb { mongo, .. } => mongo.server_ca_pem(),
            Self::Redshift(simulator) => simulator.redshift.ca_pem(),
        }
    }

    /// The directory below which its processes run.
    pub(crate) fn dir(&self) -> &Path {
        match self {
            Self::Postgres { postgres, .. } => postgres.socket_dir(),
            Self::Mongodb { mongo, .. } => mongo.dir(),
            // It is no process of its own.
            Self::Redshift(_) => Path::new("/nonexistent"),
        }
    }

    /// Drops the accounts that sessions left behind.
    pub(crate) async fn forget_accounts(&self) -> anyhow::Result<()> {
        match self {
            Self::Postgres { postgres, .. } => {
                let drop_all = "do $$ declare name text; begin
                    for name in select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.member
                        where m.roleid = '\"teleport-auto-user\"'::regrole and r.rolname <> 'teleport-admin'
                    loop execute format('drop role %I', name); end loop; end $$; checkpoint";
                postgres.sql("postgres", drop_all).await.map(drop).context("dropping the accounts")
            }
            Self::Redshift(simulator) => simulator.forget_accounts().await,
            Self::Mongodb { root, .. } => {
                let managed = doc! { "customData.teleport-auto-user": true };
                let list = doc! { "usersInfo": 1, "filter": managed };
                let found = root.database("$external").run_command(list).await?;
                let users = found.get_array("users")?.iter().filter_map(|user| user.as_document());
                for name in users.filter_map(|user| user.get_str("user").ok()) {
                    let drop_user = doc! { "dropUser": name };
                    root.database("$external")
                        .run_command(drop_user)
                        .await
                        .context("dropping the accounts")?;
                }
                Ok(())
            }
        }
    }

    /// Connections of the admin user now. (MongoDB: of everybody, those of this benchmark too.)
    pub(crate) async fn connections(&self) -> anyhow::Result<i64> {
        match self {
            Self::Postgres { postgres, .. } => {
                let query = "select count(*) from pg_stat_activity where usename = 'teleport-admin'";
                let count = postgres.value("postgres", query).await?.unwrap_or_default();
                Ok(count.parse().unwrap_or(0))
            }
            Self::Redshift(simulator) => Ok(i64::try_from(simulator.redshift.logins(ADMIN).len())?),
            Self::Mongodb { root, .. } => {
                let status = server_status(root).await?;
                let current = status.get_document("connections")?.get("current");
                Ok(current.and_then(whole).unwrap_or(0))
            }
        }
    }

    /// Makes the server count messages, or not any more.
    pub(crate) async fn count_messages(&self, on: bool) -> anyhow::Result<()> {
        let Self::Postgres { postgres, .. } = self else { return Ok(()) };
        let value = if on { "all" } else { "none" };
        let statement = format!("alter role \"{ADMIN}\" set log_statement = '{value}'");
        postgres.sql("postgres", &statement).await?;
        // Settings of a role reach new connections only.
        let everywhere = format!("alter system set log_statement = '{value}'");
        postgres.sql("postgres", &everywhere).await?;
        postgres.sql("postgres", "select pg_reload_conf()").await?;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        Ok(())
    }

    /// The messages that the server counted itself: those of the admin user in its log; on MongoDB the commands that
    /// engines send.
    pub(crate) async fn messages(&self) -> anyhow::Result<i64> {
        match self {
            Self::Postgres { postgres, .. } => {
                let user = format!("{ADMIN}@");
                let log = postgres.log();
                let messages = log.lines().filter(|line| {
                    line.contains(&user)
                        && (line.contains("LOG:  statement:") || line.contains("LOG:  execute "))
                });
                Ok(i64::try_from(messages.count())?)
            }
            Self::Redshift(simulator) => Ok(simulator.statements()),
            Self::Mongodb { root, .. } => {
                let status = server_status(root).await?;
                let commands = status.get_document("metrics")?.get_document("commands")?;
                let total = |name: &&str| commands.get_document(name).ok()?.get("total").and_then(whole);
                Ok(COMMANDS.iter().filter_map(total).sum())
            }
        }
    }
}

async fn server_status(root: &mongodb::Client) -> anyhow::Result<Document> {
    let command = doc! { "serverStatus": 1 };
    root.database("admin").run_command(command).await.context("asking for the server's counters")
}

fn whole(value: &mongodb::bson::Bson) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}
