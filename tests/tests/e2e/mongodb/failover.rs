//! A replica set whose primary changes.

use anyhow::Result;
use rolecall_api::DatabaseSession;
use rolecall_tests::{MongoWorld, mongo};
use serde_json::json;

use super::is_over;

#[tokio::test]
async fn sessions_start_and_end_over_a_failover_and_the_loss_of_a_member() -> Result<()> {
    let world = MongoWorld::builder().members(3).start().await?;
    world.session("first", json!({})).await?;
    world.active("first").await?;
    let client = world.login("first").await?;
    let secret = world.secret("first").await?;

    let primary = world.mongo().step_down().await?;
    world.session("second", json!({})).await?;
    world.active("second").await?;
    assert!(world.read(&client).await?.is_some());

    world.mongo().kill(primary).await;
    world.delete::<DatabaseSession>("second").await?;
    world.delete::<DatabaseSession>("first").await?;
    world.gone::<DatabaseSession>("second").await?;
    world.gone::<DatabaseSession>("first").await?;
    is_over(&world, &client).await?;
    assert!(mongo::login_with(&secret).await.is_err());

    // Who comes back has heard of it before anybody can log in there.
    world.mongo().start_again(primary).await?;
    let identity = world.mongo().client_cert(&world.alice)?;
    let deadline = std::time::Instant::now() + rolecall_tests::PATIENCE;
    while world.mongo().connect_to(primary, &identity).await.is_ok() {
        anyhow::ensure!(std::time::Instant::now() < deadline, "the member that came back lets alice in");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}
