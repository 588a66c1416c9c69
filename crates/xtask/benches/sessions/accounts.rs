//! The bare accounts of the floor: the least that gives and ends an access on a server, and a read-back.

use anyhow::Context;
use mongodb::bson::{Document, doc};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Client;

use crate::bed::Bed;
use crate::redshift;
use crate::server::{ADMIN, Server};

/// The operator's `--max-connections-per-server`.
const CONNECTIONS: usize = 5;

/// The accounts on one server.
pub(crate) enum Accounts {
    /// Statements without which there is no access or no end of it, in one transaction and one round trip.
    Postgres {
        /// Connections of the admin user.
        pool: Pool,
        /// The role that sessions give.
        role: String,
    },
    /// The same on a simulator, over one connection: two transactions that give one role would be in conflict.
    Redshift {
        /// A connection of the admin user.
        pool: Pool,
        /// The role that sessions give.
        role: String,
    },
    /// One command that makes the user, or ends it.
    Mongodb {
        /// A client of the admin user, with as many connections as the operator.
        client: mongodb::Client,
        /// The role that sessions give.
        role: Document,
    },
}

impl Accounts {
    pub(crate) async fn new(bed: &Bed) -> anyhow::Result<Self> {
        let admin = bed.floor_server.admin_certificate()?;
        let role = bed.engine.role();
        match &bed.floor_server {
            Server::Postgres { postgres, .. } => {
                let mut clients = Vec::new();
                for _ in 0..CONNECTIONS {
                    clients.push(postgres.connect("postgres", &admin).await?);
                }
                clients[0]
                    .batch_execute("create role \"teleport-auto-user\"")
                    .await
                    .context("creating the marker on the floor's server")?;
                Ok(Self::Postgres { pool: Pool::new(clients), role })
            }
            Server::Redshift(simulator) => {
                let client =
                    simulator.redshift.connect(ADMIN, &simulator.password, redshift::LOGICAL).await?;
                client.simple_query("create role \"teleport-auto-user\"").await?;
                client.simple_query("create role rolecall_owner_floor").await?;
                Ok(Self::Redshift { pool: Pool::new(vec![client]), role })
            }
            Server::Mongodb { mongo, .. } => {
                let (name, database) = role.split_once('@').context("a role is written role@database")?;
                let role = doc! { "role": name, "db": database };
                Ok(Self::Mongodb { client: mongo.connect(&admin).await?, role })
            }
        }
    }

    /// Gives an access.
    pub(crate) async fn start(&self, user: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres { pool, role } => {
                pool.run(&format!(
                    "begin; create role \"{user}\" nologin; comment on role \"{user}\" is 'floor'; \
                     grant {role}, \"teleport-auto-user\" to \"{user}\"; alter role \"{user}\" login; commit"
                ))
                .await?;
            }
            Self::Redshift { pool, role } => {
                pool.run(&format!(
                    "begin; create user \"{user}\" password disable connection limit 0; \
                     grant role \"teleport-auto-user\" to \"{user}\"; grant role rolecall_owner_floor to \"{user}\"; \
                     grant role {role} to \"{user}\"; alter user \"{user}\" connection limit unlimited; commit"
                ))
                .await?;
            }
            Self::Mongodb { client, role } => {
                let command = doc! {
                    "createUser": format!("CN={user}"), "roles": [role],
                    "customData": { "teleport-auto-user": true, "rolecall": "floor" }, "writeConcern": confirmed(),
                };
                external(client, command).await?;
            }
        }
        self.read_back(user).await
    }

    /// Ends an access.
    pub(crate) async fn end(&self, user: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres { pool, role } => {
                pool.run(&format!("alter role \"{user}\" nologin password null")).await?;
                pool.run(&format!("revoke {role} from \"{user}\"")).await?;
            }
            Self::Redshift { pool, role } => {
                pool.run(&format!("alter user \"{user}\" connection limit 0")).await?;
                pool.run("select process, user_name from stv_sessions").await?;
                pool.run(&format!("revoke role {role} from \"{user}\"")).await?;
            }
            Self::Mongodb { client, .. } => {
                let command = doc! {
                    "updateUser": format!("CN={user}"), "roles": [],
                    "authenticationRestrictions": [{ "clientSource": ["0.0.0.0"] }], "writeConcern": confirmed(),
                };
                external(client, command).await?;
                let running =
                    doc! { "currentOp": 1, "$ownOps": false, "effectiveUsers.user": format!("CN={user}") };
                client.database("admin").run_command(running).await.context("looking at what runs")?;
            }
        }
        self.read_back(user).await
    }

    async fn read_back(&self, user: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres { pool, .. } => {
                pool.run(&format!(
                    "select r.rolcanlogin, (select count(*) from pg_stat_activity a where a.usesysid = r.oid), \
                     array(select m.roleid from pg_auth_members m where m.member = r.oid) \
                     from pg_roles r where r.rolname = '{user}'"
                ))
                .await
            }
            Self::Redshift { pool, .. } => {
                pool.run(&format!("select connection_limit from svv_user_info where user_name = '{user}'")).await?;
                pool.run(&format!("select role_name from svv_user_grants where user_name = '{user}'")).await
            }
            Self::Mongodb { client, .. } => {
                external(client, doc! { "usersInfo": format!("CN={user}"), "showCustomData": true }).await
            }
        }
    }
}

/// As durable as the operator's changes are.
fn confirmed() -> Document {
    doc! { "w": "majority", "j": true }
}

async fn external(client: &mongodb::Client, command: Document) -> anyhow::Result<()> {
    client.database("$external").run_command(command).await.map(drop).context("changing or reading a user")
}

/// Connections, one user each at a time.
pub(crate) struct Pool {
    permits: Semaphore,
    clients: std::sync::Mutex<Vec<Client>>,
}

impl Pool {
    fn new(clients: Vec<Client>) -> Self {
        Self { permits: Semaphore::new(clients.len()), clients: std::sync::Mutex::new(clients) }
    }

    async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let _permit: SemaphorePermit<'_> = self.permits.acquire().await?;
        let client = self.lock().pop().context("there are as many permits as connections")?;
        let result = client.simple_query(sql).await;
        self.lock().push(client);
        result.map(drop).with_context(|| format!("running {sql}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
