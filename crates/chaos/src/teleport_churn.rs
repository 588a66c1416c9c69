//! What Teleport does on the same PostgreSQL servers: it gives people access and takes it away, all the time.
//!
//! It does what Teleport's procedures do, by the admin user that both share: an account has the marker; for an access it
//! gets its roles and its login, afterwards it loses both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rolecall_testbed::Postgres;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::server::{ADMIN, DATABASE, ROLE, Server};
use crate::teleport::{Left, SUFFIX};
use crate::world::World;

const MARKER: &str = "teleport-auto-user";
const PEOPLE: [&str; 3] = ["nina", "otto", "paula"];
/// A step on a server that is broken is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives access and takes it away, until the task is aborted.
pub fn start(world: Arc<World>, seed: u64) -> JoinHandle<()> {
    let mut random = StdRng::seed_from_u64(seed ^ 0x7e1e);
    tokio::spawn(async move {
        loop {
            let server = Server::POSTGRES[random.random_range(0..Server::POSTGRES.len())];
            let person = format!("{}{SUFFIX}", PEOPLE[random.random_range(0..PEOPLE.len())]);
            step(&world, server, person, random.random_bool(0.5)).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(200..1_500))).await;
        }
    })
}

/// One account gets access, or loses it.
async fn step(world: &World, server: Server, person: String, both: bool) {
    let Some(pg) = world.postgres(server) else { return };
    let mut accounts = world.teleport.left().await;
    // Whatever happens now: until it is through nothing is known.
    let left = accounts.remove(&(server, person.clone()));
    let done = match left {
        Some(left) if left.login => tokio::time::timeout(PATIENCE, deactivate(&pg, &person, left)).await,
        _ => tokio::time::timeout(PATIENCE, activate(&pg, &person, both)).await,
    };
    // The server may be the one that is broken.
    let Ok(Ok(left)) = done else { return };
    world.teleport.count(left.login);
    accounts.insert((server, person), left);
}

async fn activate(pg: &Postgres, person: &str, both: bool) -> Result<Left> {
    let client = as_admin(pg).await?;
    let marker = format!(
        "do $$ begin create role \"{MARKER}\"; exception when duplicate_object or unique_violation then null; end $$"
    );
    client.batch_execute(&marker).await?;
    let exists = client.query_opt("select from pg_roles where rolname = $1", &[&person]).await?.is_some();
    let mut roles = BTreeSet::from([ROLE.to_owned()]);
    roles.extend(both.then(|| "extra".to_owned()));
    let list = roles.iter().cloned().collect::<Vec<_>>().join(", ");
    let made = if exists {
        // What a step that failed may have left.
        format!("revoke {ROLE}, extra from \"{person}\"; alter role \"{person}\" login")
    } else {
        format!("create user \"{person}\" in role \"{MARKER}\"")
    };
    client.batch_execute(&format!("begin; {made}; grant {list} to \"{person}\"; commit")).await?;
    // Where passwords are asked for nobody logs in: Teleport's people have certificates.
    let connection = pg.connect(DATABASE, &pg.client_cert(person)?).await.ok();
    Ok(Left { login: true, roles, connection })
}

async fn deactivate(pg: &Postgres, person: &str, left: Left) -> Result<Left> {
    drop(left.connection);
    let client = as_admin(pg).await?;
    let connected = "select from pg_stat_activity where usename = $1";
    for _ in 0..20 {
        if client.query(connected, &[&person]).await?.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(client.query(connected, &[&person]).await?.is_empty(), "{person} is still connected");
    let taken =
        format!("begin; revoke {ROLE}, extra from \"{person}\"; alter role \"{person}\" nologin; commit");
    client.batch_execute(&taken).await?;
    Ok(Left::default())
}

/// Past the network, and with the rights of the admin user.
async fn as_admin(pg: &Postgres) -> Result<Client> {
    let client = pg.superuser("postgres").await?;
    client.batch_execute(&format!("set role \"{ADMIN}\"")).await.context("as the admin user")?;
    Ok(client)
}
