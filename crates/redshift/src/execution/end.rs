//! Accounts ended: closed before anything else. From then on no failure keeps the rest from being tried.

use rolecall_engine::dialect::redshift::record::owner_role;
use rolecall_engine::plan::End;
use rolecall_engine::{AccountName, Applied, Class, Error, Owner, Reason};

use super::guard::{Whose, changed, claim};
use super::reset;
use crate::Redshift;
use crate::reads::observe::read_in;
use crate::reads::users::Users;
use crate::statements::{query, role, user};
use crate::transport::rows::text;
use crate::transport::server::TargetDatabase;

impl Redshift {
    pub(crate) async fn end(&self, plan: &End) -> Result<Applied, Error> {
        let run_in = self.server.target_database(plan.session_database.as_deref());
        let account = &plan.account;
        let uid = plan.owner_uid.as_str();
        let whose = match &plan.take_over {
            Some(from) => Whose::OursOr(uid, &from.from_uid),
            None => Whose::Ours(uid),
        };
        if let Err(error) = self.close_account(&run_in, account, whose).await {
            return self.end_dropped(&run_in, account, error).await;
        }
        let taken = match &plan.take_over {
            Some(from) => self.take_over(&run_in, account, &from.from_uid, &from.owner).await,
            None => Ok(()),
        };
        let stripped = self.strip_account(&run_in, account, whose).await;
        self.drain(&run_in, account).await?;
        taken?;
        stripped?;
        if !plan.drop {
            return Ok(Applied::default());
        }
        self.drop_user(&run_in, plan).await
    }

    /// Where an account could not be closed because somebody has dropped it: its sessions go on, and are ended.
    ///
    /// # Errors
    ///
    /// `why` it could not be closed, where it exists; that it has changed, where it was gone with its sessions.
    async fn end_dropped(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        why: Error,
    ) -> Result<Applied, Error> {
        if why.class == Class::Unreachable || !self.is_gone(run_in, account).await? {
            return Err(why);
        }
        if self.drain(run_in, account).await? {
            return Ok(Applied { dropped: true, ..Applied::default() });
        }
        Err(changed(account, &why.code))
    }

    /// Everybody sees all users, so the admin user among them.
    async fn is_gone(&self, run_in: &TargetDatabase, account: &AccountName) -> Result<bool, Error> {
        let names = [account.as_str(), self.server.config().admin_user.as_str()];
        let answers = self.server.read(run_in, &[query::users(Some(&names))]).await?;
        let shows = |name: &str| answers.iter().flatten().any(|row| text(row, 0) == name);
        Ok(!shows(names[0]) && shows(names[1]))
    }

    /// Lets nobody in any more, in a transaction of its own.
    pub(super) async fn close_account(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        whose: Whose<'_>,
    ) -> Result<(), Error> {
        let mut retries = self.server.retries();
        loop {
            match self.try_close(run_in, account, whose).await {
                Err(error) if retries.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn try_close(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        whose: Whose<'_>,
    ) -> Result<(), Error> {
        let mut transaction = self.server.begin(run_in).await?;
        let found = claim(&mut transaction, account, &user::close(account), whose).await?;
        // The limit is not kept for superusers.
        if found.users.users.get(account.as_str()).is_some_and(|user| user.is_superuser) {
            transaction.run(&user::no_superuser(account)).await?;
        }
        transaction.commit().await
    }

    /// Writes our record on a closed account that carries that of a predecessor.
    pub(super) async fn take_over(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        from_uid: &str,
        owner: &Owner,
    ) -> Result<(), Error> {
        self.ensure_record(run_in, owner).await?;
        let mut retries = self.server.retries();
        loop {
            match self.try_take_over(run_in, account, from_uid, &owner.uid).await {
                Err(error) if retries.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn try_take_over(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        from_uid: &str,
        uid: &str,
    ) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let mut transaction = self.server.begin(run_in).await?;
        let whose = Whose::OursOr(uid, from_uid);
        let found = claim(&mut transaction, account, &user::claim(account), whose).await?;
        let theirs = found.owner_uid.filter(|found| found != uid);
        let revoked = theirs.map(|theirs| role::revoke(&owner_role(&theirs), account));
        for statement in revoked.into_iter().chain(reset::own(&found.users, account, uid)) {
            self.run_with_records(&mut transaction, &statement).await?;
        }
        transaction.commit().await
    }

    /// Takes everything from a closed account but the marker and its record, and reads that back.
    async fn strip_account(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        whose: Whose<'_>,
    ) -> Result<(), Error> {
        let mut retries = self.server.retries();
        loop {
            match self.try_strip(run_in, account, whose).await {
                Err(error) if retries.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn try_strip(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        whose: Whose<'_>,
    ) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let mut transaction = self.server.begin(run_in).await?;
        let found = claim(&mut transaction, account, &user::claim(account), whose).await?;
        if found.users.is_open(account) != Some(false) {
            return Err(changed(account, ""));
        }
        // A predecessor's, where the account could not be taken over: whose it is must go on showing.
        let owner_uid = found.owner_uid.unwrap_or_default();
        let revokes = reset::strip(&found.users, account, &owner_uid);
        for statement in revokes.into_iter().chain(reset::clear(&found.users, account)) {
            transaction.run(&statement).await?;
        }
        let (users, _) = read_in(&mut transaction, account).await?;
        let checked = check_stripped(&users, account, &owner_uid);
        // What was taken is taken, whatever is left.
        transaction.commit().await?;
        checked
    }
}

/// What the server did not complain about is not proven by that.
fn check_stripped(users: &Users, account: &AccountName, owner_uid: &str) -> Result<(), Error> {
    if users.is_open(account) != Some(false) {
        return Err(changed(account, ""));
    }
    let left = reset::strip(users, account, owner_uid);
    if left.is_empty() {
        return Ok(());
    }
    let statements: Vec<&str> = left.iter().map(|statement| statement.sql.as_str()).collect();
    Err(Error {
        class: Class::Transient,
        reason: Reason::LeftoverMembership,
        attempted: format!("taking all roles from {:?}", account.as_str()),
        code: String::new(),
        detail: "the server has refused nothing, and still shows some of them".to_owned(),
        remedy: format!("run {}", statements.join("; ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reads::users::tests::account;
    use crate::transport::rows::tests::row;

    #[test]
    fn an_account_has_ended_only_as_the_server_shows_it() {
        let ours = owner_role("us");
        let check = |limit: &str, roles: &[&str]| {
            let info = [row(["alice", "f", "f", limit, "RESTRICTED", "0"])];
            let grants: Vec<_> = roles.iter().map(|role| row(["alice", role, "f"])).collect();
            check_stripped(&Users::read(&[], &info, &grants), &account(), "us").map_err(|error| error.reason)
        };
        assert_eq!(check("0", &[rolecall_engine::MARKER, &ours]), Ok(()));
        assert_eq!(check("0", &[&ours, "reader"]), Err(Reason::LeftoverMembership));
        assert_eq!(check("UNLIMITED", &[&ours]), Err(Reason::AccountInUse));
        let hidden = Users::read(&[], &[], &[]);
        assert!(check_stripped(&hidden, &account(), "us").is_err());
    }
}
