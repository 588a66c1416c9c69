//! Giving what an account owns to another user, before it is dropped.
//!
//! Only tables and schemas: views, functions and procedures may work with the rights of their owner, and what the user wrote
//! must not run with more rights than the user had. They keep the account, as everything owned does without another owner.

use rolecall_engine::plan::End;
use rolecall_engine::{Class, Error};

use super::guard::{Whose, changed, claim};
use crate::Redshift;
use crate::reads::dependents::Dependents;
use crate::statements::{object, user};
use crate::transport::server::TargetDatabase;

impl Redshift {
    /// Gives what a closed account owns in one database to another user, all of it or nothing. Why not, where that cannot
    /// be.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or the account is not what it was.
    pub(super) async fn give_away(
        &self,
        database: &str,
        plan: &End,
        to: &str,
        found: &Dependents,
    ) -> Result<Option<String>, Error> {
        let mut retries = self.server.retries();
        loop {
            match self.try_give_away(database, plan, to, found).await {
                Ok(()) => return Ok(None),
                Err(error) if retries.again(&error).await => {}
                Err(error) if error.class == Class::Unreachable || error.is_of_changed_account() => {
                    return Err(error);
                }
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
    }

    async fn try_give_away(
        &self,
        database: &str,
        plan: &End,
        to: &str,
        found: &Dependents,
    ) -> Result<(), Error> {
        let run_in = TargetDatabase::Exactly(database.to_owned());
        let mut transaction = self.server.begin(&run_in).await?;
        let claimed =
            claim(&mut transaction, &plan.account, &user::claim(&plan.account), Whose::Ours(&plan.owner_uid))
                .await?;
        if claimed.users.is_open(&plan.account) != Some(false) {
            return Err(changed(&plan.account, ""));
        }
        for target in &found.owned {
            transaction.run(&object::set_owner(target, to)).await?;
        }
        transaction.commit().await
    }
}
