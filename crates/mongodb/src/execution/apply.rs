//! Carrying out plans: which command when, and what follows from a failure.
//!
//! The server locks no user for us, and changes one without asking what it is. So a user is read right before each
//! change, and right after it: what somebody else did in the milliseconds between is noticed and reported.

use std::collections::BTreeSet;
use std::time::Instant;

use mongodb::bson::Document;
use rolecall_engine::dialect::mongodb::{RoleName, remedy, user_name};
use rolecall_engine::plan::{Activate, Adjust, End};
use rolecall_engine::{AccountName, Applied, Class, Error, Owner, Reason};

use crate::Mongodb;
use crate::reads::members::MemberQuery;
use crate::reads::observe::Read;
use crate::statements::operation::Operation;
use crate::statements::user::{LoginAccess, User, custom_data};
use crate::transport::code::{
    self, BAD_VALUE, ROLE_EXISTS, ROLE_NOT_FOUND, UNAUTHORIZED, USER_EXISTS, USER_NOT_FOUND,
};
use crate::transport::failure::is_interrupted;

impl Mongodb {
    pub(crate) async fn activate(&self, plan: &Activate) -> Result<Applied, Error> {
        no_password(&plan.account, plan.verifier.is_some())?;
        let roles = parse(plan.grant.iter().chain(&plan.grant_sets))?;
        self.create_roles(&plan.create_roles).await?;
        let result = match self.try_activate(plan, &roles, false).await {
            Err(error) if is_interrupted(&error) => {
                self.again(&error);
                self.try_activate(plan, &roles, true).await
            }
            result => result,
        };
        if let Err(error) = &result
            && error.code == code::text(code::WRITE_CONCERN_FAILED)
        {
            // It was made, but may be undone by a failover. An account works completely or not at all.
            self.undo(plan).await;
        }
        result.map(|()| Applied::default()).map_err(|error| about_roles(error, &roles))
    }

    /// `again`: an attempt was interrupted, so that what is wanted may be there already.
    async fn try_activate(
        &self,
        plan: &Activate,
        roles: &BTreeSet<RoleName>,
        again: bool,
    ) -> Result<(), Error> {
        let account = &plan.account;
        let uid = &plan.owner.uid;
        if let Some(from_uid) = &plan.take_over_from {
            self.take_over(account, from_uid, &plan.owner).await?;
        }
        let is_wanted = |user: &User| {
            user.is_managed() && user.is_of(uid) && user.roles == *roles && user.access == LoginAccess::Open
        };
        let found = self.user(account).await?.user;
        match found {
            Some(user) if again && is_wanted(&user) => {
                // Seen on the primary of now; written once more, so that a majority confirms it.
                let request = self.change().enable(account, roles, user.custom_data.clone());
                self.server.run(&request).await?;
            }
            Some(_) if plan.create => return Err(changed(account, &code::text(USER_EXISTS))),
            None if !plan.create => return Err(changed(account, "")),
            None => {
                self.create(account, roles, custom_data(&plan.owner, None)).await?;
            }
            Some(user) => {
                let foreign = user.owner().is_some_and(|owner| owner.uid != *uid);
                let may = if plan.close_first { !foreign } else { user.access == LoginAccess::Locked };
                if !user.is_managed() || !may {
                    return Err(changed(account, ""));
                }
                let closed = if plan.close_first {
                    let locked = self.lock_once(&user).await?;
                    self.drain(account, locked).await?;
                    User { roles: BTreeSet::new(), access: LoginAccess::Locked, ..user }
                } else {
                    user
                };
                self.enable(&closed, roles, &plan.owner).await?;
            }
        }
        match self.user(account).await?.user {
            Some(user) if is_wanted(&user) => Ok(()),
            _ => Err(changed(account, "")),
        }
    }

    /// Unlocks a user that is still as it was found.
    ///
    /// A connection of an earlier session that has been idle since would have the new session's rights. The server
    /// identifies users by an id that they get when they are created: where there may be such connections, the user is
    /// created again.
    async fn enable(&self, closed: &User, roles: &BTreeSet<RoleName>, owner: &Owner) -> Result<(), Error> {
        let account = &closed.account;
        let hello = self.server.hello().await?;
        let query = MemberQuery { account: Some(account), after: None };
        let seen = self.server.ask_members(&hello, query, &self.away).await?;
        // All this may have taken seconds.
        if self.user(account).await?.user.as_ref() != Some(closed) {
            return Err(changed(account, ""));
        }
        let data = custom_data(owner, Some(closed));
        if seen.backends(account, false) == 0 && seen.unasked.is_empty() {
            return self.server.run(&self.change().enable(account, roles, data)).await.map(drop);
        }
        self.server.run(&self.change().drop_user(account)).await?;
        let made = self.create(account, roles, data.clone()).await;
        if let Err(error) = &made
            && error.class == Class::Refused
            && let Err(error) = self.server.run(&self.change().create_locked(account, data)).await
        {
            tracing::info!(account = account.as_str(), %error, "the account is gone: it could not be kept");
        }
        made
    }

    async fn create(
        &self,
        account: &AccountName,
        roles: &BTreeSet<RoleName>,
        data: Document,
    ) -> Result<(), Error> {
        let made = self.server.run(&self.change().create(account, roles, data)).await;
        made.map(drop).map_err(|error| about_name(error, account))
    }

    /// Best effort: the caller reads the account again in any case.
    async fn undo(&self, plan: &Activate) {
        let request = if plan.create {
            self.change().drop_user(&plan.account)
        } else {
            self.change().lock(&plan.account)
        };
        if let Err(error) = self.server.run(&request).await {
            tracing::info!(account = plan.account.as_str(), %error, "an incomplete change may not have been undone");
        }
    }

    pub(crate) async fn adjust(&self, plan: &Adjust) -> Result<Applied, Error> {
        no_password(&plan.account, plan.verifier.is_some())?;
        let granted = parse(plan.grant.iter().chain(&plan.grant_sets))?;
        self.create_roles(&plan.create_roles).await?;
        match self.try_adjust(plan, &granted).await {
            Err(error) if is_interrupted(&error) => {
                self.again(&error);
                self.try_adjust(plan, &granted).await
            }
            result => result,
        }
    }

    async fn try_adjust(&self, plan: &Adjust, granted: &BTreeSet<RoleName>) -> Result<Applied, Error> {
        let account = &plan.account;
        let user = match &plan.record {
            Some(owner) => self.record(account, owner).await?,
            None => self.owned(account, &plan.owner_uid).await?,
        };
        let kept = user.roles.iter().filter(|role| !plan.revoke.contains(&role.to_string()));
        let roles: BTreeSet<RoleName> = kept.chain(granted).cloned().collect();
        let changed_user = self.server.run(&self.change().adjust(account, &roles)).await;
        changed_user.map_err(|error| about_roles(error, &roles))?;
        let since = Instant::now();
        let user = self.owned(account, &plan.owner_uid).await?;
        if user.roles != roles || user.access != LoginAccess::Open {
            return Err(changed(account, ""));
        }
        if plan.terminate {
            // An open connection has what its user has, from one command to the next. What had begun goes on.
            let begun_before = self.running_since(account, since).await?;
            self.outlast(account, &begun_before).await?;
        }
        Ok(Applied::default())
    }

    /// What an account runs that it had begun by then.
    async fn running_since(
        &self,
        account: &AccountName,
        since: Instant,
    ) -> Result<Vec<(String, Operation)>, Error> {
        let hello = self.server.hello().await?;
        let query = MemberQuery { account: Some(account), after: None };
        // The members are asked later than this: nothing that began before is left out.
        let ago = since.elapsed();
        let seen = self.server.ask_members(&hello, query, &self.away).await?;
        Ok(seen.running(account).filter(|(_, operation)| operation.time >= ago).cloned().collect())
    }

    pub(crate) async fn end(&self, plan: &End) -> Result<Applied, Error> {
        match self.try_end(plan, false).await {
            Err(error) if is_interrupted(&error) => {
                self.again(&error);
                self.try_end(plan, true).await
            }
            result => result,
        }
    }

    async fn try_end(&self, plan: &End, again: bool) -> Result<Applied, Error> {
        let account = &plan.account;
        if let Some(take_over) = &plan.take_over {
            self.take_over(account, &take_over.from_uid, &take_over.owner).await?;
        }
        let dropped = Applied { dropped: true, ..Applied::default() };
        let read = self.user(account).await?;
        let gone = self.gone.of(account).or(read.at.filter(|_| again));
        if plan.drop && read.user.is_none() && (again || gone.is_some()) {
            // An earlier attempt dropped it, or somebody else did and that was seen. Its operations go on.
            self.until_idle(account, gone).await?;
            return Ok(dropped);
        }
        let user = owned(read, account, &plan.owner_uid)?;
        let locked = self.lock_once(&user).await?;
        let leftovers = self.drain(account, locked).await?;
        let user = self.owned(account, &plan.owner_uid).await?;
        if user.access != LoginAccess::Locked || !user.roles.is_empty() {
            return Err(changed(account, ""));
        }
        if !plan.drop {
            return Ok(Applied { leftovers, ..Applied::default() });
        }
        match self.server.run(&self.change().drop_user(account)).await {
            Err(error) if error.code == code::text(USER_NOT_FOUND) => {}
            result => drop(result?),
        }
        self.locks.forget(account);
        Ok(Applied { leftovers, ..dropped })
    }

    /// Writes our record on a user that carries that of a predecessor. One that is gone, or has ours already, is left to
    /// whoever asked.
    async fn take_over(&self, account: &AccountName, from_uid: &str, owner: &Owner) -> Result<(), Error> {
        let found = self.user(account).await?.user;
        match found.filter(|user| user.is_managed() && user.is_of(from_uid)) {
            Some(user) => self
                .server
                .run(&self.change().record(account, custom_data(owner, Some(&user))))
                .await
                .map(drop),
            None => Ok(()),
        }
    }

    /// The user with the record of this DatabaseAdmin, which it has or had.
    async fn record(&self, account: &AccountName, owner: &Owner) -> Result<User, Error> {
        let found = self.user(account).await?.user.filter(User::is_managed);
        let ours = |user: &User| user.owner().is_none_or(|found| found.uid == owner.uid);
        let Some(user) = found.filter(ours) else { return Err(changed(account, "")) };
        self.server.run(&self.change().record(account, custom_data(owner, Some(&user)))).await?;
        self.owned(account, &owner.uid).await
    }

    async fn owned(&self, account: &AccountName, uid: &str) -> Result<User, Error> {
        owned(self.user(account).await?, account, uid)
    }

    async fn create_roles(&self, roles: &[String]) -> Result<(), Error> {
        for role in parse(roles)? {
            match self.server.run(&self.change().create_role(&role)).await {
                Err(error) if error.code == code::text(ROLE_EXISTS) => {}
                Err(error) if error.code == code::text(UNAUTHORIZED) => {
                    let resource = serde_json::json!({"db": role.database, "collection": ""});
                    let admin = &self.server.config().admin_user;
                    let give = remedy::give(&[(resource, &["createRole"])], admin, None);
                    let remedy = format!(
                        "missingDbRoles: Create needs createRole on the database: run {give}, or set missingDbRoles: Reject"
                    );
                    return Err(Error { remedy, ..error });
                }
                result => drop(result?),
            }
        }
        Ok(())
    }

    fn again(&self, error: &Error) {
        tracing::info!(%error, "the connection was lost in between: trying again");
        self.server.counters().retried();
    }
}

/// The user, where it is managed and carries the record of this DatabaseAdmin.
fn owned(read: Read, account: &AccountName, uid: &str) -> Result<User, Error> {
    let user = read.user.filter(|user| user.is_managed() && user.is_of(uid));
    user.ok_or_else(|| changed(account, ""))
}

/// Explains an error where the server refuses the user's name: everything else in the command is known to be valid.
fn about_name(error: Error, account: &AccountName) -> Error {
    if error.code != code::text(BAD_VALUE) {
        return error;
    }
    let remedy = format!(
        "the server may take the subject {:?} for that of a member of its cluster (net.tls.clusterAuthX509): set another spec.username in the DatabaseUser, or identify members by what no user has",
        user_name(account)
    );
    Error { reason: Reason::InvalidUsername, remedy, ..error }
}

fn parse<'a>(roles: impl IntoIterator<Item = &'a String>) -> Result<BTreeSet<RoleName>, Error> {
    let parsed = roles.into_iter().map(|text| {
        RoleName::parse(text).map_err(|why| Error {
            class: Class::Refused,
            reason: Reason::DbRoleInvalid,
            attempted: format!("reading the database role {text:?}"),
            code: String::new(),
            detail: why.to_owned(),
            remedy: "write role@database in dbRoles".to_owned(),
        })
    });
    parsed.collect()
}

/// Adds what to do where a role does not exist. The server names one of them.
fn about_roles(error: Error, roles: &BTreeSet<RoleName>) -> Error {
    if error.code != code::text(ROLE_NOT_FOUND) {
        return error;
    }
    let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
    let remedy = format!(
        "create it (createRole on its database), or correct dbRoles; the roles are {}",
        names.join(", ")
    );
    Error { remedy, ..error }
}

/// Users prove themselves by certificates: `$external` keeps no passwords.
fn no_password(account: &AccountName, wanted: bool) -> Result<(), Error> {
    if wanted {
        let what = format!("storing a password for {:?}", account.as_str());
        return Err(Error { remedy: "set userCredentials.x509".to_owned(), ..Error::unsupported(what) });
    }
    Ok(())
}

/// An account is not what the plan took it for.
pub(crate) fn changed(account: &AccountName, code: &str) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::AccountInUse,
        attempted: format!("checking {:?}", account.as_str()),
        code: code.to_owned(),
        detail: "it has changed since it was read".to_owned(),
        remedy: String::new(),
    }
}
