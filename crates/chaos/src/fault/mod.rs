//! What each kind of fault does. When it returns, what was broken works again, and an operator runs: all that is left
//! is to heal.

mod accounts;
mod api;
mod databases;
mod objects;
mod operators;

use std::time::Duration;

use anyhow::Result;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::checker::Checker;
use crate::lane::Lane;
use crate::schedule::Kind;
use crate::server::Server;
use crate::world::World;

/// Lets a fault happen, in this lane where it is one of a lane; says what it was in detail.
///
/// # Errors
/// When it could not be inflicted as a whole: see [`World::recover`] and [`Lane::recover`].
pub async fn inflict(
    kind: Kind,
    world: &World,
    lane: &mut Lane,
    checker: &mut Checker,
    random: &mut StdRng,
) -> Result<String> {
    match kind {
        Kind::OperatorKilled => operators::killed(lane, random).await,
        Kind::OperatorKillPoint => operators::kill_point(lane, random).await,
        Kind::OperatorFrozen => operators::frozen(lane, random).await,
        Kind::TwoLeaders => operators::two(lane, random).await,
        Kind::LateLeader => operators::late(lane, random).await,
        Kind::LeaderLost => operators::leader_lost(lane, random).await,
        Kind::ClockJumped => operators::clock_jumped(lane, random).await,
        Kind::DatabaseKilled => databases::killed(world, random).await,
        Kind::DatabaseFrozen => databases::frozen(world, random).await,
        Kind::DatabaseRestarted => databases::restarted(world, random).await,
        Kind::DatabaseFull => databases::full(world, random).await,
        Kind::DatabaseReadOnly => databases::read_only(world, random).await,
        Kind::DatabaseFailedOver => databases::failed_over(world, random).await,
        Kind::DatabaseSlow => databases::slow(lane, random).await,
        Kind::DatabaseUnreachable => databases::unreachable(lane, random).await,
        Kind::ConnectionsKilled => databases::connections_killed(world, random).await,
        Kind::MongoElection => databases::election(world, random).await,
        Kind::MongoKilled => databases::primary_killed(world, random).await,
        Kind::MongoFrozen => databases::primary_frozen(world, random).await,
        Kind::MongoRolledBack => databases::primary_rolled_back(world, random).await,
        Kind::ApiKilled => api::killed(world, random).await,
        Kind::ApiFrozen => api::frozen(world, random).await,
        Kind::ApiUnreachable => api::unreachable(lane, random).await,
        Kind::ApiSilent => api::silent(lane, random).await,
        Kind::ApiSlow => api::slow(lane, random).await,
        Kind::ApiJumbled => api::jumbled(lane, random).await,
        Kind::EtcdRestored => api::restored(world, random).await,
        Kind::SecretDeleted => objects::secret_deleted(lane, random).await,
        Kind::AdminSecretsDeleted => objects::admin_secrets_deleted(world, lane, random).await,
        Kind::AdminDeleted => objects::admin_deleted(world, lane, random).await,
        Kind::NamespaceDeleted => objects::namespace_deleted(world, lane, random).await,
        Kind::FinalizerRemoved => objects::finalizer_removed(lane, checker, random).await,
        Kind::SessionsDeleted => objects::sessions_deleted(lane, random).await,
        Kind::RolesTaken => objects::roles_taken(lane, random).await,
        Kind::AccountChanged => accounts::changed(world, lane, random).await,
        Kind::AccountLimited => accounts::limited(world, lane, random).await,
        Kind::AccountDropped => accounts::dropped(world, lane, random).await,
    }
}

/// Lets time pass, between so many milliseconds.
async fn pass(random: &mut StdRng, least: u64, most: u64) -> u64 {
    let time = random.random_range(least..most);
    tokio::time::sleep(Duration::from_millis(time)).await;
    time
}

/// One of these servers.
fn one_of(random: &mut StdRng, servers: &[Server]) -> Server {
    // There is always one.
    servers.choose(random).copied().unwrap_or(Server::Orders)
}
