//! MongoDB from end to end, on a real server that the tests share.

mod accounts;
mod admins;
mod drift;
mod endings;
mod failover;
mod hanging;
mod life;
mod permissions;
mod policy;
mod rebuild;
mod roles;
mod secrets;

use anyhow::{Context, Result};
use mongodb::Client;
use rolecall_tests::mongo::{self, MongoTestEnv};

/// The account is disabled, and its open connections can do nothing any more.
async fn is_over(env: &MongoTestEnv, client: &Client) -> Result<()> {
    let account = env.account().await?.context("the account")?;
    anyhow::ensure!(account.is_disabled(), "{account:?}");
    let refused = env.read(client).await.err().context("the connection has no rights")?;
    anyhow::ensure!(
        matches!(mongo::code(&refused), Some(mongo::UNAUTHORIZED | mongo::AUTHENTICATION_FAILED)),
        "{refused}"
    );
    Ok(())
}
