//! Dropping users, where nothing depends on them in any database.
//!
//! DROP USER looks at the database alone that it runs in. What a user owns elsewhere would belong to nobody, and rights
//! elsewhere to whoever gets its number next. So each logical database is looked at first, and one that cannot be keeps
//! the user, closed.

use rolecall_engine::plan::End;
use rolecall_engine::{AccountName, Applied, Class, Error, Reassigned};

use super::guard::{Whose, changed, claim};
use crate::Redshift;
use crate::reads::dependents::Dependents;
use crate::reads::new_owner::new_owner_fault;
use crate::reads::observe::databases;
use crate::reads::sight::Sight;
use crate::reads::users::Users;
use crate::statements::{query, user};
use crate::transport::server::TargetDatabase;
use crate::transport::sqlstate;

impl Redshift {
    /// Drops a closed account of ours, after what it owns was given to whom the plan names.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or the account is not what it was.
    pub(crate) async fn drop_user(&self, run_in: &TargetDatabase, plan: &End) -> Result<Applied, Error> {
        let mut reassigned = None;
        let kept_because = self.drop_or_say_why_not(run_in, plan, &mut reassigned).await?;
        Ok(Applied { dropped: kept_because.is_none(), kept_because, reassigned, ..Applied::default() })
    }

    /// Why it was kept, where it was.
    async fn drop_or_say_why_not(
        &self,
        run_in: &TargetDatabase,
        plan: &End,
        reassigned: &mut Option<Reassigned>,
    ) -> Result<Option<String>, Error> {
        let (account, user) = (&plan.account, plan.account.as_str());
        let admin = self.server.config().admin_user.as_str();
        let to = plan.reassign_to.as_deref();
        let names: Vec<&str> = [user, admin].into_iter().chain(to).collect();
        let names = names.as_slice();
        let statements = [
            query::databases(),
            query::catalog_databases(),
            query::users(Some(names)),
            query::user_info(Some(names)),
            query::user_grants(Some(names)),
        ];
        let answers = self.server.read(run_in, &statements).await?;
        let rows = |number: usize| answers.get(number).map(Vec::as_slice).unwrap_or_default();
        let users = Users::read(rows(2), rows(3), rows(4));
        let Some(user_id) = users.users.get(user).map(|user| user.id) else {
            return if users.users.contains_key(admin) { Ok(None) } else { Err(changed(account, "")) };
        };
        let sight = Sight::of(&users, None, admin);
        if !sight.sees_privileges() {
            return Ok(Some(sight.error(format!("reading the privileges of {user:?}"), admin).to_string()));
        }
        let databases = databases(rows(0), rows(1));
        let Some(last) = databases.last() else {
            return Ok(Some("which logical databases there are is not known".to_owned()));
        };
        // All are looked at before anything is taken: a user that is kept keeps everything.
        let mut found = Vec::new();
        for database in &databases {
            match self.known_dependents(database, user, user_id).await? {
                Ok(dependents) if dependents.keeps(to.is_some()) => {
                    return Ok(Some(dependents.named(database)));
                }
                Ok(dependents) => found.push((database, dependents)),
                Err(why) => return Ok(Some(why)),
            }
        }
        let gives = found.iter().any(|(_, dependents)| !dependents.owned.is_empty());
        if let Some(to) = to.filter(|_| gives) {
            if let Some(fault) = new_owner_fault(&users, to, user) {
                return Ok(Some(fault.message));
            }
            for (database, dependents) in found.iter().filter(|(_, found)| !found.owned.is_empty()) {
                if let Some(why) = self.give_away(database, plan, to, dependents).await? {
                    return Ok(Some(format!("{why}: {}", dependents.named(database))));
                }
                let given =
                    reassigned.get_or_insert_with(|| Reassigned { to: to.to_owned(), objects: Vec::new() });
                given.objects.push(dependents.described(database));
            }
        }
        for (database, dependents) in found.iter().filter(|(_, dependents)| !dependents.is_empty()) {
            if let Some(why) = self.clear_dependents(database, user, user_id, dependents).await? {
                return Ok(Some(why));
            }
        }
        let last = TargetDatabase::Exactly(last.clone());
        let mut retries = self.server.retries();
        loop {
            match self.drop_once(&last, account, &plan.owner_uid).await {
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

    /// What depends on the user in one database; in words, why that is not known.
    async fn known_dependents(
        &self,
        database: &str,
        user: &str,
        user_id: i64,
    ) -> Result<Result<Dependents, String>, Error> {
        match self.dependents(database, user, user_id).await {
            Err(error) if error.class == Class::Unreachable => Err(error),
            Err(error) => {
                Ok(Err(format!("what it owns in the logical database {database:?} is not known: {error}")))
            }
            Ok(found) => Ok(Ok(found)),
        }
    }

    /// Revokes the user's rights in one database. Why something is left there, where it is.
    async fn clear_dependents(
        &self,
        database: &str,
        user: &str,
        user_id: i64,
        found: &Dependents,
    ) -> Result<Option<String>, Error> {
        let run_in = TargetDatabase::Exactly(database.to_owned());
        for revoke in found.revokes(user) {
            match self.server.run(&run_in, &revoke).await {
                Err(error) if error.class == Class::Unreachable => return Err(error),
                // It shows below whether something is left.
                Err(error) => tracing::debug!(%error, "a right of a user could not be revoked"),
                Ok(_) => {}
            }
        }
        Ok(match self.known_dependents(database, user, user_id).await? {
            Ok(left) => (!left.is_empty()).then(|| left.named(database)),
            Err(why) => Some(why),
        })
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
