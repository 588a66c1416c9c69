//! A bare client that ends accesses at the rate at which sessions expire: what this machine can do at best.
//!
//! It decides and checks nothing. For each end it sends the least to a server and reads that back, and then writes what the
//! operator writes: the status of the session, its finalizer, an event, and the status of the user. On the same servers and
//! the same API server, right after the operator.

use std::time::Duration;

use anyhow::Context;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use mongodb::bson::{Document, doc};
use rolecall_api::names::{ACCOUNT_FINALIZER, FIELD_MANAGER};
use rolecall_api::{DatabaseSession, DatabaseUser};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::bed::{Bed, FLOOR_NAMESPACE, NAMESPACE, database, own};
use crate::expiry::now;
use crate::figures::{Delays, FloorFigures};
use crate::gauge::Gauges;
use crate::load::name;
use crate::server::Server;

/// Requests under way at once while everything is made.
const PARALLEL: usize = 16;
/// Until the first end.
const AHEAD: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Floor {
    count: usize,
    accounts: Vec<Accounts>,
    sessions: Api<DatabaseSession>,
    users: Api<DatabaseUser>,
    events: Api<Event>,
}

/// The accounts on one server.
enum Accounts {
    Postgres(Client),
    Mongodb(mongodb::Client, Document),
    /// The simulator says nothing about time.
    None,
}

impl Floor {
    /// Makes accounts and sessions.
    pub(crate) async fn new(bed: &Bed, count: u32) -> anyhow::Result<Self> {
        let client = || bed.client.clone();
        let accounts = try_join_all(bed.servers.iter().map(|server| Accounts::new(bed, server))).await?;
        let floor = Self {
            count: count as usize,
            accounts,
            sessions: Api::namespaced(client(), FLOOR_NAMESPACE),
            users: Api::namespaced(client(), FLOOR_NAMESPACE),
            events: Api::namespaced(client(), FLOOR_NAMESPACE),
        };
        let (bed, made) = (bed, &floor);
        stream::iter(0..floor.count)
            .map(|index| made.make(bed, index))
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(floor)
    }

    async fn make(&self, bed: &Bed, index: usize) -> anyhow::Result<()> {
        let name = name(index);
        let user = own("DatabaseUser", FLOOR_NAMESPACE, &name, json!({"roles": ["reader"]}));
        self.users.create(&PostParams::default(), &serde_json::from_value(user)?).await?;
        let spec = json!({"user": name, "database": database(bed.server_of(index)),
            "databaseName": bed.engine.logical_database(), "ttl": "1h"});
        let mut session = own("DatabaseSession", FLOOR_NAMESPACE, &name, spec);
        session["metadata"]["finalizers"] = json!([ACCOUNT_FINALIZER]);
        self.sessions.create(&PostParams::default(), &serde_json::from_value(session)?).await?;
        self.accounts_of(bed, index)?.start(&format!("floor{index:05}")).await
    }

    /// Ends all accesses, so many in a second.
    pub(crate) async fn measure(&self, bed: &Bed, rate: f64) -> anyhow::Result<FloorFigures> {
        let template = Template::learn(bed).await?;
        let before = Gauges::read(bed).await?;
        let begun = now() + i64::try_from(AHEAD.as_millis())?;
        let ends = (0..self.count).map(|index| {
            let due = begun + millis(index, rate);
            self.end(bed, index, due, &template)
        });
        let ended = try_join_all(ends).await?;
        let spent = Gauges::read(bed).await?.since(&before);
        let server = ended.iter().map(|(server, _)| *server).collect();
        let written = ended.iter().map(|(_, written)| *written).collect();
        Ok(FloorFigures { rate, server: Delays::from(server), written: Delays::from(written), spent })
    }

    /// Ends one access when it is due. Returns how late the server and the API server showed it, in milliseconds.
    async fn end(
        &self,
        bed: &Bed,
        index: usize,
        due: i64,
        template: &Template,
    ) -> anyhow::Result<(i64, i64)> {
        tokio::time::sleep(Duration::from_millis(u64::try_from(due - now()).unwrap_or_default())).await;
        let (name, account) = (name(index), format!("floor{index:05}"));
        self.accounts_of(bed, index)?.end(&account).await?;
        let shown = now() - due;
        let status = |kind: &str, status: &Value| {
            Patch::Apply(
                json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
                "status": status}),
            )
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.sessions.patch_status(&name, &params, &status("DatabaseSession", &template.session)).await?;
        let written = now() - due;
        let none = json!({"metadata": {"finalizers": []}});
        self.sessions.patch(&name, &PatchParams::default(), &Patch::Merge(none)).await?;
        let mut event = template.event.clone();
        event.metadata.name = Some(format!("{name}.end"));
        self.events.create(&PostParams::default(), &event).await?;
        self.users.patch_status(&name, &params, &status("DatabaseUser", &template.user)).await?;
        Ok((shown, written))
    }

    fn accounts_of(&self, bed: &Bed, index: usize) -> anyhow::Result<&Accounts> {
        self.accounts.get(bed.server_of(index)).context("there are as many as servers")
    }
}

impl Accounts {
    async fn new(bed: &Bed, server: &Server) -> anyhow::Result<Self> {
        let admin = server.admin_certificate()?;
        Ok(match server {
            Server::Postgres { postgres, .. } => Self::Postgres(postgres.connect("postgres", &admin).await?),
            Server::Mongodb { mongo, .. } => {
                let role = bed.engine.role();
                let (name, database) = role.split_once('@').context("a role is written role@database")?;
                Self::Mongodb(mongo.connect(&admin).await?, doc! { "role": name, "db": database })
            }
            Server::Redshift(_) => Self::None,
        })
    }

    async fn start(&self, user: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(client) => {
                let sql = format!("create role {user} login; grant reader to {user}");
                client.batch_execute(&sql).await.context("making an account")
            }
            Self::Mongodb(client, role) => {
                let command = doc! { "createUser": format!("CN={user}"), "roles": [role] };
                external(client, command).await
            }
            Self::None => Ok(()),
        }
    }

    /// Takes the access away, and reads that back.
    async fn end(&self, user: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres(client) => {
                let sql = format!("alter role {user} nologin password null; revoke reader from {user}");
                client.batch_execute(&sql).await.context("ending an access")?;
                let read = format!(
                    "select rolcanlogin, (select count(*) from pg_stat_activity where usesysid = r.oid), \
                     array(select roleid from pg_auth_members where member = r.oid) from pg_roles r where rolname = '{user}'"
                );
                client.simple_query(&read).await.map(drop).context("reading an account")
            }
            Self::Mongodb(client, _) => {
                let none: [Document; 0] = [];
                let command = doc! { "updateUser": format!("CN={user}"), "roles": none.to_vec(),
                "writeConcern": { "w": "majority", "j": true } };
                external(client, command).await?;
                external(client, doc! { "usersInfo": format!("CN={user}") }).await
            }
            Self::None => Ok(()),
        }
    }
}

async fn external(client: &mongodb::Client, command: Document) -> anyhow::Result<()> {
    client.database("$external").run_command(command).await.map(drop).context("changing or reading a user")
}

/// What the operator wrote about an end.
struct Template {
    session: Value,
    user: Value,
    event: Event,
}

impl Template {
    async fn learn(bed: &Bed) -> anyhow::Result<Self> {
        let client = || bed.client.clone();
        let session = Api::<DatabaseSession>::namespaced(client(), NAMESPACE).get(&name(0)).await?;
        let user = Api::<DatabaseUser>::namespaced(client(), NAMESPACE).get(&name(0)).await?;
        let events = Api::<Event>::namespaced(client(), NAMESPACE);
        let written = events.list(&ListParams::default().limit(1)).await?.items.into_iter().next();
        let mut event = written.context("the operator sent no event")?;
        event.metadata = Default::default();
        if let Some(regarding) = &mut event.regarding {
            regarding.namespace = Some(FLOOR_NAMESPACE.to_owned());
        }
        let (session, user) = (serde_json::to_value(session.status)?, serde_json::to_value(user.status)?);
        Ok(Self { session, user, event })
    }
}

/// When the end of this number is due, in milliseconds after the first.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "far below 2^53")]
fn millis(index: usize, rate: f64) -> i64 {
    (index as f64 * 1000.0 / rate.max(f64::EPSILON)) as i64
}
