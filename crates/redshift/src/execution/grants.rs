//! Statements that give and take privileges of one set, and what the server refused.

use std::collections::BTreeMap;

use rolecall_engine::{Class, Error};
use rolecall_policy::PrivilegeSet;

use crate::Redshift;
use crate::quote::identifier;
use crate::statements::object::{Grantee, Target, batches, grant, revoke};
use crate::statements::{Statement, role};
use crate::transport::server::TargetDatabase;
use crate::transport::sqlstate;

/// What the server said about objects, by number.
pub(crate) type Refusals = BTreeMap<usize, Error>;

/// Whether privileges are given or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Grant,
    Revoke,
}

impl Redshift {
    /// Gives or takes the same privileges on objects, and notes what was refused. Objects that are gone are passed over.
    pub(crate) async fn change_privileges(
        &self,
        run_in: &TargetDatabase,
        set: &str,
        verb: Verb,
        privileges: PrivilegeSet,
        objects: &[(usize, &Target)],
        refusals: &mut Refusals,
    ) -> Result<(), Error> {
        let statement = |targets: &[&Target]| match verb {
            Verb::Grant => grant(privileges, targets, Grantee::Role(set)),
            Verb::Revoke => revoke(privileges, targets, Grantee::Role(set)),
        };
        let mut single: Vec<(usize, &Target)> = Vec::new();
        for batch in batches(objects, |(_, target)| target) {
            let targets: Vec<&Target> = batch.iter().map(|(_, target)| *target).collect();
            match self.run_again(run_in, &statement(&targets)).await {
                Ok(()) => {}
                Err(error) if error.class == Class::Unreachable => return Err(error),
                // One of them is the reason: each by itself.
                Err(_) if batch.len() > 1 => single.extend(batch),
                Err(error) => note(refusals, batch[0].0, error),
            }
        }
        for (object, target) in single {
            match self.run_again(run_in, &statement(&[target])).await {
                Ok(()) => {}
                Err(error) if error.class == Class::Unreachable => return Err(error),
                Err(error) => note(refusals, object, error),
            }
        }
        Ok(())
    }

    /// Takes roles from a set that no set should have.
    pub(crate) async fn take_roles(
        &self,
        run_in: &TargetDatabase,
        set: &str,
        roles: &[String],
    ) -> Result<(), Error> {
        for taken in roles {
            match self.run_again(run_in, &role::revoke_from_role(taken, set)).await {
                Err(error) if error.class == Class::Unreachable => return Err(error),
                Err(error) => tracing::info!(set, %error, "a role of a permission set could not be revoked"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Runs a statement that may be run twice, until no other transaction gets in the way.
    pub(crate) async fn run_again(
        &self,
        run_in: &TargetDatabase,
        statement: &Statement,
    ) -> Result<(), Error> {
        let mut retries = self.server.retries();
        loop {
            let changed = {
                let _changing = self.changing.lock().await;
                self.server.run(run_in, statement).await
            };
            match changed {
                Err(error) if retries.again(&error).await => {}
                result => return result.map(drop),
            }
        }
    }
}

fn note(refusals: &mut Refusals, object: usize, error: Error) {
    if !sqlstate::is_gone(&error.code) {
        refusals.insert(object, error);
    }
}

/// The statement that lets the admin user grant something.
pub(crate) fn remedy(privileges: PrivilegeSet, target: &Target, admin: &str) -> String {
    let granted = grant(privileges, &[target], Grantee::User(admin)).sql;
    format!(
        "{granted} WITH GRANT OPTION, as the owner of it; or make {} a superuser (CREATEUSER)",
        identifier(admin)
    )
}
