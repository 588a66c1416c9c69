//! Accounts: started and adjusted.

use rolecall_engine::dialect::redshift::record::is_record;
use rolecall_engine::plan::{Activate, Adjust};
use rolecall_engine::{AccountName, Applied, Class, Error, MARKER, Reason};
use secrecy::SecretString;

use super::guard::{Found, Whose, changed, claim};
use super::reset;
use crate::Redshift;
use crate::quote::is_possible;
use crate::reads::observe::read_in;
use crate::reads::roles::Roles;
use crate::statements::{Needs, Statement, role, user};
use crate::transport::server::{TargetDatabase, Transaction};

impl Redshift {
    pub(crate) async fn activate(&self, plan: &Activate) -> Result<Applied, Error> {
        check_verifier(&plan.account, plan.verifier.as_ref())?;
        let run_in = self.server.target_database(plan.session_database.as_deref());
        if plan.close_first {
            let whose = match &plan.take_over_from {
                Some(from) => Whose::OursOr(&plan.owner.uid, from),
                None => Whose::OursOrNone(&plan.owner.uid),
            };
            // Before anything else, so that nothing else keeps it from being closed.
            self.close_account(&run_in, &plan.account, whose).await?;
            let taken = match &plan.take_over_from {
                Some(from) => self.take_over(&run_in, &plan.account, from, &plan.owner).await,
                None => Ok(()),
            };
            self.drain(&run_in, &plan.account).await?;
            taken?;
        }
        self.ensure_record(&run_in, &plan.owner).await?;
        let mut retries = self.server.retries();
        loop {
            match self.try_activate(&run_in, plan).await {
                Err(error) if retries.again(&error).await => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Applied::default()),
            }
        }
    }

    async fn try_activate(&self, run_in: &TargetDatabase, plan: &Activate) -> Result<(), Error> {
        let account = &plan.account;
        let uid = plan.owner.uid.as_str();
        let _changing = self.changing.lock().await;
        let mut transaction = self.server.begin(run_in).await?;
        let Found { users, roles, .. } = if plan.create {
            let (users, roles) = read_in(&mut transaction, account).await?;
            if users.users.contains_key(account.as_str()) {
                return Err(changed(account, "42710"));
            }
            transaction.run(&user::create(account)).await?;
            Found { users, roles, owner_uid: None }
        } else {
            let whose = if plan.close_first { Whose::OursOrNone(uid) } else { Whose::ClosedOfAnybody };
            let found = claim(&mut transaction, account, &user::claim(account), whose).await?;
            if found.users.is_open(account) != Some(false) {
                return Err(changed(account, ""));
            }
            for statement in reset::clear(&found.users, account) {
                transaction.run(&statement).await?;
            }
            for statement in reset::strip(&found.users, account, uid) {
                transaction.run(&statement).await?;
            }
            found
        };
        let granted: Vec<&String> = plan.grant.iter().chain(&plan.grant_sets).collect();
        self.check_roles(&roles, &plan.create_roles, &granted)?;
        let mut statements: Vec<Statement> = create_roles(&roles, &plan.create_roles);
        if plan.create {
            statements.push(role::grant(MARKER, account));
        }
        statements.extend(reset::own(&users, account, uid));
        statements.extend(granted.iter().map(|granted| role::grant(granted, account)));
        statements.extend(plan.verifier.as_ref().map(|verifier| user::set_password(account, verifier)));
        statements.push(user::open(account));
        for statement in &statements {
            self.run_with_records(&mut transaction, statement).await?;
        }
        if plan.create {
            self.check_name(&mut transaction, account).await?;
        }
        transaction.commit().await
    }

    /// A server may have kept the name in another way than it was written. Such a user nobody would find again.
    async fn check_name(
        &self,
        transaction: &mut Transaction<'_>,
        account: &AccountName,
    ) -> Result<(), Error> {
        let (users, _) = read_in(transaction, account).await?;
        if users.users.contains_key(account.as_str()) {
            return Ok(());
        }
        Err(Error {
            class: Class::Refused,
            reason: Reason::InvalidUsername,
            attempted: format!("creating the user {:?}", account.as_str()),
            code: String::new(),
            detail: "the server keeps the name in another way, so that nothing was created".to_owned(),
            remedy: "set a spec.username without upper case in the DatabaseUser".to_owned(),
        })
    }

    pub(crate) async fn adjust(&self, plan: &Adjust) -> Result<Applied, Error> {
        check_verifier(&plan.account, plan.verifier.as_ref())?;
        let run_in = self.server.target_database(plan.session_database.as_deref());
        if let Some(owner) = &plan.record {
            self.ensure_record(&run_in, owner).await?;
        }
        let mut retries = self.server.retries();
        loop {
            match self.try_adjust(&run_in, plan).await {
                Err(error) if retries.again(&error).await => {}
                result => break result?,
            }
        }
        if plan.terminate {
            self.disconnect(&run_in, &plan.account).await?;
        }
        Ok(Applied::default())
    }

    async fn try_adjust(&self, run_in: &TargetDatabase, plan: &Adjust) -> Result<(), Error> {
        let account = &plan.account;
        let uid = plan.owner_uid.as_str();
        let whose = if plan.record.is_some() { Whose::OursOrNone(uid) } else { Whose::Ours(uid) };
        let _changing = self.changing.lock().await;
        let mut transaction = self.server.begin(run_in).await?;
        let found = claim(&mut transaction, account, &user::claim(account), whose).await?;
        let granted: Vec<&String> = plan.grant.iter().chain(&plan.grant_sets).collect();
        self.check_roles(&found.roles, &plan.create_roles, &granted)?;
        let mut statements = create_roles(&found.roles, &plan.create_roles);
        statements.extend(reset::own(&found.users, account, uid));
        let has: Vec<&str> = found.users.roles_of(account.as_str()).collect();
        let revoked = plan.revoke.iter().filter(|role| has.contains(&role.as_str()));
        statements.extend(revoked.map(|revoked| role::revoke(revoked, account)));
        let missing = granted.iter().filter(|role| !has.contains(&role.as_str()));
        statements.extend(missing.map(|granted| role::grant(granted, account)));
        statements.extend(plan.verifier.as_ref().map(|verifier| user::set_password(account, verifier)));
        statements.extend(plan.enable.then(|| user::open(account)));
        for statement in &statements {
            self.run_with_records(&mut transaction, statement).await?;
        }
        transaction.commit().await
    }

    /// The roles that are granted must exist by then; and those of records, which somebody may have dropped.
    fn check_roles(&self, roles: &Roles, created: &[String], granted: &[&String]) -> Result<(), Error> {
        if !roles.exists(MARKER) {
            self.forget_record();
        }
        match granted.iter().find(|role| !roles.exists(role) && !created.contains(role)) {
            None => Ok(()),
            Some(missing) => Err(Error {
                class: Class::Refused,
                reason: Reason::DbRoleNotFound,
                attempted: format!("granting the role {missing:?}"),
                code: String::new(),
                detail: "it does not exist any more".to_owned(),
                remedy: rolecall_engine::Dialect::Redshift.create_role(missing),
            }),
        }
    }

    /// Runs a statement. Where a role of a record is gone, it is made anew the next time.
    pub(super) async fn run_with_records(
        &self,
        transaction: &mut Transaction<'_>,
        statement: &Statement,
    ) -> Result<(), Error> {
        match transaction.run(statement).await {
            Err(error) if error.reason == Reason::DbRoleNotFound => {
                self.forget_record();
                let is_ours =
                    matches!(&statement.needs, Needs::Role(role) if role == MARKER || is_record(role));
                Err(Error { class: if is_ours { Class::Transient } else { error.class }, ..error })
            }
            result => result.map(drop),
        }
    }
}

/// Creates the roles that are still missing.
fn create_roles(roles: &Roles, wanted: &[String]) -> Vec<Statement> {
    let missing = wanted.iter().filter(|role| !roles.exists(role) && is_possible(role));
    missing.map(|missing| role::create(missing)).collect()
}

/// Any other text would be stored as a password.
fn check_verifier(account: &AccountName, verifier: Option<&SecretString>) -> Result<(), Error> {
    if verifier.is_none_or(user::is_verifier) {
        return Ok(());
    }
    let what = format!("storing a password for {:?}", account.as_str());
    Err(Error { detail: "what is to be stored is no md5 verifier".to_owned(), ..Error::unsupported(what) })
}
