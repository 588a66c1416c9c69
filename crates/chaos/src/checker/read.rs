//! What the API server and the catalogues show of a lane.

use std::time::Instant;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use super::catalogues::Catalogues;
use super::judge::{Facts, Other, Session, unsettled};
use crate::lane::{Lane, is_of_a_lane};
use crate::objects::{Kind, name_of};
use crate::server::Server;
use crate::teleport::is_of_teleport;
use crate::world::World;

/// Everything but logins. Where sessions have not settled yet it is they alone: false.
pub(super) async fn facts(world: &World, lane: &Lane, catalogues: &Catalogues) -> Result<(Facts, bool)> {
    let sessions =
        lane.objects.list(Kind::Session).await?.iter().map(|object| session(lane, object)).collect();
    let mut facts = Facts { now: Timestamp::now(), sessions, ..Facts::default() };
    if !unsettled(&facts).is_empty() {
        return Ok((facts, false));
    }
    let secrets = lane.objects.list(Kind::Secret).await?;
    let secrets = secrets.iter().filter_map(|secret| Some((name_of(secret).to_owned(), owner(secret)?)));
    facts.secrets = secrets.collect();
    let since = Instant::now();
    for server in Server::ALL {
        let accounts = catalogues.accounts(world, server, since).await?;
        let of_lane = |name: &str| {
            let is_of_none = !is_of_a_lane(name, world.ways.len()) && !is_of_teleport(name);
            name.ends_with(&lane.suffix()) || lane.is_first() && is_of_none
        };
        let of_lane = accounts.iter().filter(|(name, _)| of_lane(name));
        facts.accounts.extend(of_lane.map(|(name, account)| ((server, name.clone()), account.clone())));
    }
    if lane.is_first() {
        facts.others = others(world, catalogues).await?;
    }
    // Last: a session that has expired by now must have been live when it was read.
    facts.now = Timestamp::now();
    Ok((facts, true))
}

/// Teleport's accounts, which must not change while they are read.
async fn others(world: &World, catalogues: &Catalogues) -> Result<Vec<Other>> {
    let left = world.teleport.left().await;
    let (since, mut others) = (Instant::now(), Vec::new());
    for server in Server::POSTGRES {
        let accounts = catalogues.accounts(world, server, since).await?;
        let here = left.iter().filter(|((on, _), _)| *on == server);
        others.extend(here.map(|(account, left)| Other {
            account: account.clone(),
            left: (left.login, left.roles.clone()),
            seen: accounts.get(&account.1).cloned(),
        }));
    }
    Ok(others)
}

fn session(lane: &Lane, object: &Value) -> Session {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (spec, status) = (&object["spec"], &object["status"]);
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
    let user = text(&spec["user"]);
    Session {
        name: name_of(object).to_owned(),
        uid: text(&object["metadata"]["uid"]),
        server: spec["database"].as_str().and_then(Server::of),
        username: lane.username(&user),
        phase: text(&status["phase"]),
        reason: ready.map(|ready| text(&ready["reason"])).unwrap_or_default(),
        end_reason: text(&status["endReason"]),
        deleting: !object["metadata"]["deletionTimestamp"].is_null(),
        timed: !spec["ttl"].is_null(),
        revocable: lane.revoked.contains(&user),
        expires_at: status["expiresAt"].as_str().and_then(|at| at.parse().ok()),
    }
}

/// The uid of the session that a Secret is of.
fn owner(secret: &Value) -> Option<String> {
    let owners = secret["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["kind"] == "DatabaseSession")?;
    Some(owner["uid"].as_str()?.to_owned())
}
