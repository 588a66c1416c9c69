//! Ending an account that has no session.

use rolecall_engine::{AccountName, Applied, Class, Desired, Want, plan};

use super::Server;

/// Ends an account without any session: it is disabled, and dropped where that is wanted and possible. `None`: there was
/// nothing to do.
///
/// # Errors
///
/// What the server answered.
pub async fn end_account(
    server: &Server,
    account: AccountName,
    drop: bool,
) -> Result<Option<Applied>, rolecall_engine::Error> {
    let desired =
        Desired { account, owner: server.owner.clone(), session_database: None, want: Want::Ended { drop } };
    let observed = server.engine.observe(&desired.query()).await?;
    if let Err(refusal) = plan::check_ended(&desired, &observed, true) {
        return Err(rolecall_engine::Error {
            class: Class::Refused,
            reason: refusal.reason,
            attempted: format!("ending {}", desired.account),
            code: String::new(),
            detail: refusal.message,
            remedy: String::new(),
        });
    }
    // Planning an end is never refused: what is not ours is left alone.
    match plan::plan(&desired, &observed) {
        Ok(plan) if !plan.is_nothing() => server.engine.apply(&plan).await.map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}
