//! Dropping users, where nothing depends on them in any database.
//!
//! DROP USER looks at the database alone that it runs in. What a user owns elsewhere would belong to nobody, and rights
//! elsewhere to whoever gets its number next. So each logical database is looked at first, and one that cannot be keeps
//! the user, closed.

use rolecall_engine::{AccountName, Class, Error};

use super::guard::{Whose, claim};
use crate::Redshift;
use crate::reads::observe::names;
use crate::statements::{query, user};
use crate::transport::rows::number;
use crate::transport::server::TargetDatabase;
use crate::transport::sqlstate;

impl Redshift {
    /// Drops a closed account of ours. Why it was kept, where it was.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or the account is not what it was.
    pub(crate) async fn drop_user(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        owner_uid: &str,
    ) -> Result<Option<String>, Error> {
        let user = account.as_str();
        let statements = [query::databases(), query::users(Some(&[user]))];
        let answers = self.server.read(run_in, &statements).await?;
        let rows = |number: usize| answers.get(number).map(Vec::as_slice).unwrap_or_default();
        let Some(user_id) = rows(1).first().map(|row| number(row, 1)) else { return Ok(None) };
        let mut last = run_in.clone();
        for database in names(rows(0)) {
            if let Some(why) = self.clear_dependents(&database, user, user_id).await? {
                return Ok(Some(why));
            }
            last = TargetDatabase::Exactly(database);
        }
        let mut retries = self.server.retries();
        loop {
            match self.drop_once(&last, account, owner_uid).await {
                Ok(()) => return Ok(None),
                Err(error) if retries.again(&error).await => {}
                Err(error) if error.class == Class::Unreachable || error.is_of_changed_account() => {
                    return Err(error);
                }
                // Whatever the reason: it is closed, and stays.
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
    }

    /// Revokes the user's rights in one database. Why something is left there, where it is.
    async fn clear_dependents(
        &self,
        database: &str,
        user: &str,
        user_id: i64,
    ) -> Result<Option<String>, Error> {
        let found = match self.dependents(database, user, user_id).await {
            Ok(found) => found,
            Err(error) if error.class == Class::Unreachable => return Err(error),
            Err(error) => return Ok(Some(unknown(database, &error))),
        };
        if !found.fixed.is_empty() {
            return Ok(Some(found.named(database)));
        }
        if found.is_empty() {
            return Ok(None);
        }
        let run_in = TargetDatabase::Exactly(database.to_owned());
        for revoke in found.revokes(user) {
            match self.server.run(&run_in, &revoke).await {
                Err(error) if error.class == Class::Unreachable => return Err(error),
                // It shows below whether something is left.
                Err(error) => tracing::debug!(%error, "a right of a user could not be revoked"),
                Ok(_) => {}
            }
        }
        match self.dependents(database, user, user_id).await {
            Ok(left) => Ok((!left.is_empty()).then(|| left.named(database))),
            Err(error) if error.class == Class::Unreachable => Err(error),
            Err(error) => Ok(Some(unknown(database, &error))),
        }
    }

    async fn drop_once(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        owner_uid: &str,
    ) -> Result<(), Error> {
        let mut transaction = self.server.begin(run_in).await?;
        claim(&mut transaction, account, &user::close(account), Whose::Ours(owner_uid)).await?;
        match transaction.run(&user::drop(account)).await {
            Err(error) if error.code == sqlstate::OBJECT_IN_USE => {
                Err(Error { remedy: "drop what it owns, or give it to somebody else".to_owned(), ..error })
            }
            result => {
                result?;
                transaction.commit().await
            }
        }
    }
}

fn unknown(database: &str, error: &Error) -> String {
    format!("what it owns in the logical database {database:?} is not known: {error}")
}
