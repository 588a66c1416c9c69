//! What the API server and the catalogues show.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rolecall_testbed::run_through_elections;
use serde_json::Value;

use super::judge::{Account, Facts, Session};
use crate::objects::{Kind, name_of};
use crate::world::{DATABASE, Server, World, username};

/// What marks an account as managed: Teleport's name for it.
const MARKER: &str = "teleport-auto-user";
/// What the names of permission sets begin with.
const SETS: &str = "rolecall:";

/// Reads; keeps a client of MongoDB, which is expensive to make.
#[derive(Debug, Default)]
pub(super) struct Reader {
    mongo: Option<Client>,
}

impl Reader {
    pub(super) async fn facts(&mut self, world: &World) -> Result<Facts> {
        let sessions = world.objects.list(Kind::Session).await?.iter().map(session).collect();
        let secrets = world.objects.list(Kind::Secret).await?;
        let secrets = secrets.iter().filter_map(|secret| Some((name_of(secret).to_owned(), owner(secret)?)));
        let secrets = secrets.collect();
        let mut accounts = BTreeMap::new();
        for server in Server::POSTGRES {
            for (name, account) in of_postgres(world, server).await? {
                accounts.insert((server, name), account);
            }
        }
        for (name, account) in self.of_mongo(world).await? {
            accounts.insert((Server::Events, name), account);
        }
        // Last: a session that has expired by now must have been live when it was read.
        let now = Timestamp::now();
        Ok(Facts { now, sessions, secrets, accounts, logins: Vec::new() })
    }

    async fn of_mongo(&mut self, world: &World) -> Result<BTreeMap<String, Account>> {
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

fn session(object: &Value) -> Session {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (spec, status) = (&object["spec"], &object["status"]);
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
    Session {
        name: name_of(object).to_owned(),
        uid: text(&object["metadata"]["uid"]),
        server: spec["database"].as_str().and_then(Server::of),
        username: username(spec["user"].as_str().unwrap_or_default()),
        phase: text(&status["phase"]),
        reason: ready.map(|ready| text(&ready["reason"])).unwrap_or_default(),
        end_reason: text(&status["endReason"]),
        deleting: !object["metadata"]["deletionTimestamp"].is_null(),
        timed: !spec["ttl"].is_null(),
        expires_at: status["expiresAt"].as_str().and_then(|at| at.parse().ok()),
    }
}

/// The uid of the session that a Secret is of.
fn owner(secret: &Value) -> Option<String> {
    let owners = secret["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["kind"] == "DatabaseSession")?;
    Some(owner["uid"].as_str()?.to_owned())
}

/// Every role that is managed, or can log in, but those that the world is made with.
async fn of_postgres(world: &World, server: Server) -> Result<BTreeMap<String, Account>> {
    const QUERY: &str = "select rolname::text,
        rolcanlogin and (rolvaliduntil is null or rolvaliduntil > now()) and rolconnlimit <> 0,
        array(select parent.rolname::text from pg_auth_members join pg_roles parent on parent.oid = roleid
              where member = r.oid),
        (select count(*) from pg_stat_activity where usesysid = r.oid),
        has_table_privilege(r.oid, 'public.notes', 'select')
        from pg_roles r
        where rolname not in ('postgres', 'teleport-admin')
        and (rolcanlogin or exists (select from pg_auth_members join pg_roles marker on marker.oid = roleid
                                    where member = r.oid and marker.rolname = $1))";
    let client = world.postgres[&server].superuser(DATABASE).await?;
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
