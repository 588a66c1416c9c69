//! What a server shows somebody who is not the operator.

use std::collections::HashSet;

use anyhow::Context;
use mongodb::bson::{Document, doc};
use tokio_postgres::Client;

use crate::redshift::{self, Simulator};
use crate::server::Server;

/// Commands of MongoDB that change users and roles.
const CHANGING: [&str; 9] = [
    "createUser",
    "updateUser",
    "dropUser",
    "grantRolesToUser",
    "revokeRolesFromUser",
    "createRole",
    "updateRole",
    "grantPrivilegesToRole",
    "dropRole",
];
/// How statements begin that change something.
const CHANGES: [&str; 8] = ["create", "alter", "drop", "grant", "revoke", "insert", "update", "delete"];

/// Somebody with every right on one server.
pub(crate) enum Observer<'a> {
    /// A superuser on its own connection.
    Postgres(Client),
    /// A client.
    Mongodb(&'a mongodb::Client),
    /// The simulator itself.
    Redshift(&'a Simulator),
}

impl<'a> Observer<'a> {
    pub(crate) async fn new(server: &'a Server) -> anyhow::Result<Self> {
        Ok(match server {
            Server::Postgres { postgres, .. } => Self::Postgres(postgres.superuser("postgres").await?),
            Server::Mongodb { root, .. } => Self::Mongodb(root),
            Server::Redshift(simulator) => Self::Redshift(simulator),
        })
    }

    /// The database users of sessions that can be used now.
    pub(crate) async fn usable(&self) -> anyhow::Result<HashSet<String>> {
        match self {
            Self::Postgres(client) => {
                let query = "select rolname from pg_roles where rolcanlogin and rolname like 'user%'";
                let rows = rolecall_testbed::rows(client, query).await?;
                Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
            }
            Self::Mongodb(root) => {
                let with_roles =
                    doc! { "customData.teleport-auto-user": true, "roles.0": { "$exists": true } };
                let command = doc! { "usersInfo": 1, "filter": with_roles };
                let found = root.database("$external").run_command(command).await.context("listing users")?;
                let users = found.get_array("users")?.iter().filter_map(|user| user.as_document());
                let names = users.filter_map(|user| user.get_str("user").ok()?.strip_prefix("CN="));
                Ok(names.map(str::to_owned).collect())
            }
            Self::Redshift(simulator) => {
                let query = "select user_name, connection_limit from svv_user_info";
                let rows = simulator.redshift.sql(redshift::LOGICAL, query).await?;
                let usable = rows.into_iter().filter(|row| row.get(1) != Some(&Some("0".to_owned())));
                let names = usable.filter_map(|row| row.into_iter().next().flatten());
                Ok(names.filter(|name| name.starts_with("user")).collect())
            }
        }
    }

    /// How much has been changed on the server so far, whoever did: transactions of PostgreSQL that wrote something, commands
    /// and statements that change users or roles elsewhere.
    pub(crate) async fn changes(&self) -> anyhow::Result<i64> {
        match self {
            Self::Postgres(client) => {
                let query = "select pg_snapshot_xmax(pg_current_snapshot())";
                let rows = rolecall_testbed::rows(client, query).await?;
                let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
                Ok(value.context("a server counted no transactions")?.parse()?)
            }
            Self::Mongodb(root) => {
                let status = root.database("admin").run_command(doc! { "serverStatus": 1 }).await?;
                let commands = status.get_document("metrics")?.get_document("commands")?;
                let total = |name: &&str| whole(commands.get_document(name).ok()?);
                Ok(CHANGING.iter().filter_map(total).sum())
            }
            Self::Redshift(simulator) => {
                let counts = simulator.redshift.counts();
                let changing = counts.iter().filter(|(kind, _)| {
                    let kind = kind.to_lowercase();
                    CHANGES.iter().any(|verb| kind.starts_with(verb))
                });
                Ok(i64::try_from(changing.map(|(_, count)| *count).sum::<u64>())?)
            }
        }
    }
}

fn whole(command: &Document) -> Option<i64> {
    let total = command.get("total")?;
    total.as_i64().or_else(|| total.as_i32().map(i64::from))
}
