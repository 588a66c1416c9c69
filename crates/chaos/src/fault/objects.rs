//! What people do to objects and accounts, in the wrong order, or by hand.

use std::time::Duration;

use anyhow::{Result, bail};
use mongodb::bson::doc;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::{one_of, pass};
use crate::checker::Checker;
use crate::objects::{Kind, is_active, name_of, names};
use crate::world::{DATABASE, Server, USERS, World, policy, username};

/// A namespace goes some seconds after its objects.
const UNTIL_GONE: Duration = Duration::from_secs(150);
const UNTIL_ACTIVE: Duration = Duration::from_secs(60);

async fn live(world: &World) -> Result<Vec<String>> {
    names(&world.objects, Kind::Session, is_active).await
}

pub(super) async fn secret_deleted(world: &mut World, random: &mut StdRng) -> Result<String> {
    pass(random, 300, 1_500).await;
    let sessions = live(world).await?;
    let Some(session) = sessions.choose(random) else { return Ok("of none".to_owned()) };
    // The session may end right now, and its Secret with it.
    let _ = world.objects.delete(Kind::Secret, session).await;
    Ok(format!("of {session}"))
}

pub(super) async fn admin_secrets_deleted(world: &mut World, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::ALL);
    delete_secrets(world, server).await?;
    let time = pass(random, 500, 5_000).await;
    world.make_secrets(&world.objects, server).await?;
    Ok(format!("{} for {time} ms", server.name()))
}

async fn delete_secrets(world: &World, server: Server) -> Result<()> {
    for what in ["admin-cert", "ca", "client-ca"] {
        world.objects.delete(Kind::Secret, &format!("{}-{what}", server.name())).await?;
    }
    Ok(())
}

pub(super) async fn admin_deleted(world: &mut World, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::ALL);
    pass(random, 0, 700).await;
    let secrets_first = random.random_bool(0.5);
    if secrets_first {
        delete_secrets(world, server).await?;
    }
    world.objects.delete(Kind::Admin, server.name()).await?;
    world.objects.gone(Kind::Admin, server.name(), UNTIL_GONE).await?;
    world.make_secrets(&world.objects, server).await?;
    world.objects.apply(world.admin(server)).await?;
    Ok(format!("{}{}", server.name(), if secrets_first { ", its Secrets first" } else { "" }))
}

pub(super) async fn namespace_deleted(world: &mut World, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &[Server::Orders, Server::Ledger, Server::Archive]);
    let namespace = format!("chaos-{:08x}", random.random::<u32>());
    let objects = world.objects.of(&namespace);
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    objects.apply(manifest).await?;
    world.make_secrets(&objects, server).await?;
    objects.apply(world.admin(server)).await?;
    for mut object in policy() {
        if object["kind"] == "DatabaseUser" {
            // Names of their own: those of the other namespace are others' accounts here.
            let user = format!("{}-{namespace}", name_of(&object));
            object["spec"]["username"] = user.into();
        }
        objects.apply(object).await?;
    }
    for (user, _) in [USERS[0], USERS[USERS.len() - 1]] {
        let spec = json!({"user": user, "database": server.name(), "databaseName": DATABASE});
        objects
            .apply(json!({
                "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession",
                "metadata": {"name": user}, "spec": spec,
            }))
            .await?;
    }
    let deadline = tokio::time::Instant::now() + UNTIL_ACTIVE;
    while !objects.list(Kind::Session).await?.iter().all(is_active) {
        if tokio::time::Instant::now() > deadline {
            bail!("sessions in a new namespace do not start: {:?}", objects.list(Kind::Session).await?);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let restarted = random.random_bool(0.5);
    if restarted {
        // Nobody looks while it happens.
        drop(world.operator.current.take());
    }
    objects.delete(Kind::Namespace, &namespace).await?;
    pass(random, 500, 3_000).await;
    if restarted {
        world.operator.restart().await?;
    }
    // Whether its accounts are closed the checker sees.
    objects.gone(Kind::Namespace, &namespace, UNTIL_GONE).await?;
    Ok(format!("on {}{}", server.name(), if restarted { ", no operator" } else { "" }))
}

pub(super) async fn finalizer_removed(
    world: &mut World,
    checker: &mut Checker,
    random: &mut StdRng,
) -> Result<String> {
    pass(random, 300, 1_500).await;
    checker.remember_credentials(world).await?;
    let sessions = live(world).await?;
    let absent = random.random_bool(0.5);
    if absent {
        drop(world.operator.current.take());
    }
    let many = random.random_range(1..5);
    let mut taken = Vec::new();
    for _ in 0..many {
        let Some(session) = sessions.choose(random).filter(|session| !taken.contains(*session)) else {
            continue;
        };
        taken.push(session.clone());
        // It may have gone meanwhile.
        let _ = world.objects.force_delete(Kind::Session, session).await;
    }
    if absent {
        world.operator.restart().await?;
    }
    Ok(format!("{}{}", taken.join(" "), if absent { ", no operator" } else { "" }))
}

pub(super) async fn account_changed(world: &mut World, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::ALL);
    let account = username(USERS[random.random_range(0..USERS.len())].0);
    pass(random, 0, 1_000).await;
    let Some(pg) = world.postgres.get(&server) else {
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
