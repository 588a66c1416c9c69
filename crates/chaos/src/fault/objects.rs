//! What people do to objects and accounts, in the wrong order, or by hand.

use std::time::Duration;

use anyhow::{Result, bail};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::{one_of, pass};
use crate::checker::Checker;
use crate::lane::{Lane, USERS};
use crate::objects::{Kind, is_active, name_of, names};
use crate::server::{DATABASE, Server};
use crate::world::World;

/// A namespace goes some seconds after its objects.
const UNTIL_GONE: Duration = Duration::from_secs(150);
const UNTIL_ACTIVE: Duration = Duration::from_secs(60);

async fn live(lane: &Lane) -> Result<Vec<String>> {
    names(&lane.objects, Kind::Session, is_active).await
}

pub(super) async fn secret_deleted(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    pass(random, 300, 1_500).await;
    let sessions = live(lane).await?;
    let Some(session) = sessions.choose(random) else { return Ok("of none".to_owned()) };
    // The session may end right now, and its Secret with it.
    let _ = lane.objects.delete(Kind::Secret, session).await;
    Ok(format!("of {session}"))
}

pub(super) async fn admin_secrets_deleted(
    world: &World,
    lane: &mut Lane,
    random: &mut StdRng,
) -> Result<String> {
    let server = one_of(random, &Server::ALL);
    delete_secrets(lane, server).await?;
    let time = pass(random, 500, 5_000).await;
    lane.make_secrets(world, &lane.objects, server).await?;
    Ok(format!("{} for {time} ms", server.name()))
}

async fn delete_secrets(lane: &Lane, server: Server) -> Result<()> {
    for what in ["admin-cert", "ca", "client-ca"] {
        lane.objects.delete(Kind::Secret, &format!("{}-{what}", server.name())).await?;
    }
    Ok(())
}

pub(super) async fn admin_deleted(world: &World, lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &Server::ALL);
    pass(random, 0, 700).await;
    let secrets_first = random.random_bool(0.5);
    if secrets_first {
        delete_secrets(lane, server).await?;
    }
    lane.objects.delete(Kind::Admin, server.name()).await?;
    lane.objects.gone(Kind::Admin, server.name(), UNTIL_GONE).await?;
    lane.make_secrets(world, &lane.objects, server).await?;
    lane.objects.apply(lane.admin(world, server)).await?;
    Ok(format!("{}{}", server.name(), if secrets_first { ", its Secrets first" } else { "" }))
}

pub(super) async fn namespace_deleted(world: &World, lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let server = one_of(random, &[Server::Orders, Server::Ledger, Server::Archive]);
    let namespace = lane.doomed();
    let unique = format!("{:08x}", random.random::<u32>());
    let objects = lane.objects.of(&namespace);
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    objects.apply(manifest).await?;
    lane.make_secrets(world, &objects, server).await?;
    objects.apply(lane.admin(world, server)).await?;
    for mut object in lane.policy() {
        if object["kind"] == "DatabaseUser" {
            // Names of their own: those of the other namespace are others' accounts here.
            object["spec"]["username"] = lane.username(&format!("{}-{unique}", name_of(&object))).into();
        }
        objects.apply(object).await?;
    }
    for (user, _) in [USERS[0], USERS[USERS.len() - 1]] {
        let spec = json!({"user": user, "database": server.name(), "databaseName": DATABASE});
        objects.apply(session(user, spec)).await?;
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
        drop(lane.operator.current.take());
    }
    objects.delete(Kind::Namespace, &namespace).await?;
    pass(random, 500, 3_000).await;
    if restarted {
        lane.operator.restart().await?;
    }
    // Whether its accounts are closed the checker sees.
    objects.gone(Kind::Namespace, &namespace, UNTIL_GONE).await?;
    Ok(format!("on {}{}", server.name(), if restarted { ", no operator" } else { "" }))
}

pub(super) async fn finalizer_removed(
    lane: &mut Lane,
    checker: &mut Checker,
    random: &mut StdRng,
) -> Result<String> {
    pass(random, 300, 1_500).await;
    checker.remember_credentials(lane).await?;
    let sessions = live(lane).await?;
    let absent = random.random_bool(0.3);
    if absent {
        drop(lane.operator.current.take());
    }
    let many = random.random_range(1..5);
    let mut taken = Vec::new();
    for _ in 0..many {
        let Some(session) = sessions.choose(random).filter(|session| !taken.contains(*session)) else {
            continue;
        };
        taken.push(session.clone());
        // It may have gone meanwhile.
        let _ = lane.objects.force_delete(Kind::Session, session).await;
    }
    if absent {
        checker.forget_passwords(&taken);
        lane.operator.restart().await?;
    }
    Ok(format!("{}{}", taken.join(" "), if absent { ", no operator" } else { "" }))
}

pub(super) async fn sessions_deleted(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let (user, _) = USERS[random.random_range(0..USERS.len())];
    let server = one_of(random, &Server::ALL);
    let names: Vec<String> = (0..random.random_range(2..6)).map(|number| format!("brief-{number}")).collect();
    let mut deleted = 0;
    for round in 0..2 {
        for name in &names {
            let spec = json!({"user": user, "database": server.name(), "databaseName": DATABASE});
            // One of that name may be going still: then it is not another one.
            let _ = lane.objects.apply(session(name, spec)).await;
            pass(random, 0, 60).await;
        }
        for name in &names {
            // The second time some stay, and are deleted with a later fault.
            if round == 0 || random.random_bool(0.7) {
                pass(random, 0, 120).await;
                deleted += usize::from(lane.objects.delete(Kind::Session, name).await.is_ok());
            }
        }
    }
    Ok(format!("{deleted} of {user} on {}", server.name()))
}

pub(super) async fn roles_taken(lane: &mut Lane, random: &mut StdRng) -> Result<String> {
    let (user, role) = USERS[random.random_range(0..USERS.len())];
    lane.revoked.insert(user.to_owned());
    pass(random, 0, 700).await;
    lane.objects.apply(lane.user(user, role, false)).await?;
    let time = pass(random, 100, 2_000).await;
    lane.objects.apply(lane.user(user, role, true)).await?;
    Ok(format!("{user} for {time} ms"))
}

fn session(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession",
        "metadata": {"name": name}, "spec": spec,
    })
}
