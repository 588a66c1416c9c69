//! What people do to accounts by hand.

use anyhow::Result;
use mongodb::bson::doc;
use rand::RngExt;
use rand::rngs::StdRng;

use super::{one_of, pass};
use crate::lane::{Lane, USERS};
use crate::server::{DATABASE, Server};
use crate::world::World;

fn one_account(lane: &Lane, random: &mut StdRng) -> String {
    lane.username(USERS[random.random_range(0..USERS.len())].0)
}

pub(super) async fn changed(world: &World, lane: &Lane, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::ALL);
    let account = one_account(lane, random);
    pass(random, 0, 1_000).await;
    let Some(pg) = world.postgres(server) else {
        let role = doc! { "role": "extra", "db": DATABASE };
        let users = world.mongo.run("$external", doc! { "usersInfo": format!("CN={account}") }).await?;
        let has_roles = |user: &mongodb::bson::Bson| {
            user.as_document()
                .is_some_and(|user| user.get_array("roles").is_ok_and(|roles| !roles.is_empty()))
        };
        if !users.get_array("users").is_ok_and(|users| users.iter().any(has_roles)) {
            return Ok(format!("{account} on {}: nothing, it is closed", server.name()));
        }
        let command = match random.random_range(0..2) {
            0 => doc! { "grantRolesToUser": format!("CN={account}"), "roles": [role] },
            _ => doc! { "updateUser": format!("CN={account}"), "roles": [] },
        };
        // There may be no such user now.
        let changed = world.mongo.run("$external", command.clone()).await.is_ok();
        return Ok(format!("{account} on {}: {command} {changed}", server.name()));
    };
    let change = [
        "alter role {} nologin",
        "alter role {} login",
        // Where it is open: a role of a closed account gives nobody anything, and goes with the next start.
        "do $$ begin if exists (select from pg_roles where quote_ident(rolname) = '{}' and rolcanlogin) then
         set local role \"teleport-admin\"; grant extra to {}; end if; end $$",
        "set role \"teleport-admin\"; revoke reader from {}; reset role",
    ];
    let change = change[random.random_range(0..change.len())].replace("{}", &format!("\"{account}\""));
    let changed = pg.sql("postgres", &change).await.is_ok();
    Ok(format!("on {}: {change} {changed}", server.name()))
}

pub(super) async fn limited(world: &World, lane: &Lane, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::POSTGRES);
    let account = one_account(lane, random);
    pass(random, 0, 1_000).await;
    let Some(pg) = world.postgres(server) else { return Ok(String::new()) };
    let limits =
        ["connection limit 0", "valid until '2001-01-01'", "connection limit 0 valid until '2001-01-01'"];
    let limit = limits[random.random_range(0..limits.len())];
    // A closed account is limited anyway.
    let change = format!(
        "do $$ begin if exists (select from pg_roles where rolname = '{account}' and rolcanlogin) then
         alter role \"{account}\" {limit}; end if; end $$"
    );
    pg.sql("postgres", &change).await?;
    Ok(format!("{account} on {}: {limit}", server.name()))
}

pub(super) async fn dropped(world: &World, lane: &Lane, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::ALL);
    let account = one_account(lane, random);
    pass(random, 0, 1_000).await;
    let done = match world.postgres(server) {
        Some(pg) => {
            // There may be no such role now, or it has a right in another database.
            pg.sql(DATABASE, &format!("drop owned by \"{account}\"; drop role \"{account}\"")).await.is_ok()
        }
        None => world.mongo.run("$external", doc! { "dropUser": format!("CN={account}") }).await.is_ok(),
    };
    Ok(format!("{account} on {} {done}", server.name()))
}
