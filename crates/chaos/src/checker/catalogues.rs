//! What the catalogues of the servers show. One look serves all lanes that ask for one meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mongodb::bson::{Document, doc};
use rolecall_testbed::run_through_elections;
use tokio::sync::Mutex;

use super::judge::Account;
use crate::server::{DATABASE, Server};
use crate::world::World;

/// What marks an account as managed: Teleport's name for it.
const MARKER: &str = "teleport-auto-user";
/// What the names of permission sets begin with.
const SETS: &str = "rolecall:";
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// Accounts, by their name.
pub(super) type Accounts = BTreeMap<String, Account>;

/// See the module. It keeps clients, as they are expensive to make.
#[derive(Debug, Default)]
pub struct Catalogues {
    servers: [Mutex<Catalogue>; Server::ALL.len()],
}

/// Of one server.
#[derive(Debug, Default)]
struct Catalogue {
    postgres: Option<tokio_postgres::Client>,
    mongo: Option<mongodb::Client>,
    /// When the last look was begun, and what it showed.
    last: Option<(Instant, Arc<Accounts>)>,
}

impl Catalogues {
    /// The accounts of a server: all that are managed, or can log in, as they were at `since` or later.
    pub(super) async fn accounts(
        &self,
        world: &World,
        server: Server,
        since: Instant,
    ) -> Result<Arc<Accounts>> {
        // There are as many as servers.
        let mut catalogue = self.servers[server as usize].lock().await;
        if let Some((_, accounts)) = catalogue.last.as_ref().filter(|(begun, _)| *begun >= since) {
            return Ok(Arc::clone(accounts));
        }
        let begun = Instant::now();
        let read = tokio::time::timeout(PATIENCE, catalogue.read(world, server)).await;
        let read = read.map_err(anyhow::Error::from).flatten();
        if read.is_err() {
            *catalogue = Catalogue::default();
        }
        let accounts = Arc::new(read.with_context(|| format!("reading the accounts of {}", server.name()))?);
        catalogue.last = Some((begun, Arc::clone(&accounts)));
        Ok(accounts)
    }
}

impl Catalogue {
    async fn read(&mut self, world: &World, server: Server) -> Result<Accounts> {
        let Some(pg) = world.postgres(server) else { return self.of_mongo(world).await };
        let client = match self.postgres.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => pg.superuser(DATABASE).await?,
        };
        of_postgres(self.postgres.insert(client)).await
    }

    async fn of_mongo(&mut self, world: &World) -> Result<Accounts> {
        let client = match &self.mongo {
            Some(client) => client.clone(),
            None => self.mongo.insert(world.mongo.superuser().await?).clone(),
        };
        let all = run_through_elections(&client, "$external", doc! { "usersInfo": 1 }).await?;
        let names: Vec<Document> = users_of(&all)
            .iter()
            .filter_map(|user| Some(doc! { "user": user.get_str("user").ok()?, "db": "$external" }))
            .collect();
        // Restrictions are shown only of users that are named.
        let command =
            doc! { "usersInfo": names, "showCustomData": true, "showAuthenticationRestrictions": true };
        let answer = run_through_elections(&client, "$external", command).await?;
        let users = users_of(&answer);
        let managed = users.iter().filter(|user| {
            user.get_document("customData").is_ok_and(|data| data.get_bool(MARKER).unwrap_or(false))
        });
        Ok(managed.map(|user| (mongo_name(user), mongo_account(user))).collect())
    }
}

/// Every role that is managed, or can log in, but those that the world is made with.
async fn of_postgres(client: &tokio_postgres::Client) -> Result<Accounts> {
    const QUERY: &str = "select rolname::text,
        rolcanlogin and (rolvaliduntil is null or rolvaliduntil > now()) and rolconnlimit <> 0,
        array(select parent.rolname::text from pg_auth_members join pg_roles parent on parent.oid = roleid
              where member = r.oid),
        (select count(*) from pg_stat_activity where usesysid = r.oid),
        has_table_privilege(r.oid, 'public.notes', 'select')
        from pg_roles r
        where rolname not in ('postgres', 'teleport-admin')
        and (rolcanlogin or exists (select from pg_auth_members join pg_roles marker on marker.oid = roleid
                                    where member = r.oid and marker.rolname = $1)
            -- Accounts are created through these, which may pass the marker on and cannot log in.
            and not starts_with(r.rolname::text, 'rolecall-creator:'))";
    let rows = client.query(QUERY, &[&MARKER]).await?;
    let accounts = rows.iter().map(|row| {
        let roles: BTreeSet<String> = row.get::<_, Vec<String>>(2).into_iter().collect();
        let (sets, mut roles): (BTreeSet<_>, BTreeSet<_>) =
            roles.into_iter().partition(|role| role.starts_with(SETS));
        roles.remove(MARKER);
        let connections = usize::try_from(row.get::<_, i64>(3)).unwrap_or(usize::MAX);
        (row.get(0), Account { login: row.get(1), roles, sets, reads: row.get(4), connections })
    });
    Ok(accounts.collect())
}

fn users_of(answer: &Document) -> Vec<Document> {
    let users = answer.get_array("users").cloned().unwrap_or_default();
    users.iter().filter_map(|user| user.as_document().cloned()).collect()
}

fn mongo_name(user: &Document) -> String {
    let subject = user.get_str("user").unwrap_or_default();
    subject.strip_prefix("CN=").unwrap_or(subject).to_owned()
}

fn mongo_account(user: &Document) -> Account {
    let list = |key: &str| user.get_array(key).cloned().unwrap_or_default();
    let text = |role: &Document, key: &str| role.get_str(key).unwrap_or_default().to_owned();
    let roles: BTreeSet<String> = list("roles")
        .iter()
        .filter_map(|role| role.as_document())
        .map(|role| format!("{}@{}", text(role, "role"), text(role, "db")))
        .collect();
    let login = list("authenticationRestrictions").is_empty();
    // What the role lets it read does not depend on anything else.
    Account { login, reads: !roles.is_empty(), roles, sets: BTreeSet::new(), connections: 0 }
}
