//! What each kind of fault does. When it returns, what was broken works again, and an operator runs: all that is left
//! is to heal.

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
use crate::schedule::Kind;
use crate::world::{Server, World};

/// Lets a fault happen; says what it was in detail.
///
/// # Errors
/// When it could not be inflicted as a whole: see [`World::recover`].
pub async fn inflict(
    kind: Kind,
    world: &mut World,
    checker: &mut Checker,
    mut random: StdRng,
) -> Result<String> {
    let random = &mut random;
    match kind {
        Kind::OperatorKilled => operators::killed(world, random).await,
        Kind::OperatorKillPoint => operators::kill_point(world, random).await,
        Kind::OperatorFrozen => operators::frozen(world, random).await,
        Kind::TwoLeaders => operators::two(world, random).await,
        Kind::LateLeader => operators::late(world, random).await,
        Kind::LeaderLost => operators::leader_lost(world, random).await,
        Kind::DatabaseKilled => databases::killed(world, random).await,
        Kind::DatabaseFrozen => databases::frozen(world, random).await,
        Kind::DatabaseRestarted => databases::restarted(world, random).await,
        Kind::DatabaseFull => databases::full(world, random).await,
        Kind::DatabaseReadOnly => databases::read_only(world, random).await,
        Kind::DatabaseFailedOver => databases::failed_over(world, random).await,
        Kind::DatabaseSlow => databases::slow(world, random).await,
        Kind::DatabaseUnreachable => databases::unreachable(world, random).await,
        Kind::MongoElection => databases::election(world, random).await,
        Kind::MongoKilled => databases::primary_killed(world, random).await,
        Kind::MongoFrozen => databases::primary_frozen(world, random).await,
        Kind::ApiKilled => api::killed(world, random).await,
        Kind::ApiFrozen => api::frozen(world, random).await,
        Kind::ApiUnreachable => api::unreachable(world, random).await,
        Kind::ApiSilent => api::silent(world, random).await,
        Kind::ApiSlow => api::slow(world, random).await,
        Kind::EtcdRestored => api::restored(world, random).await,
        Kind::SecretDeleted => objects::secret_deleted(world, random).await,
        Kind::AdminSecretsDeleted => objects::admin_secrets_deleted(world, random).await,
        Kind::AdminDeleted => objects::admin_deleted(world, random).await,
        Kind::NamespaceDeleted => objects::namespace_deleted(world, random).await,
        Kind::FinalizerRemoved => objects::finalizer_removed(world, checker, random).await,
        Kind::AccountChanged => objects::account_changed(world, random).await,
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
