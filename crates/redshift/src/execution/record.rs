//! The roles that records are kept in: made before they are needed, in a transaction of their own.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use rolecall_engine::dialect::redshift::record::{owner_role, text_roles, text_roles_of};
use rolecall_engine::{Error, MARKER, Owner};

use crate::Redshift;
use crate::reads::observe::names;
use crate::statements::{Statement, query, role};
use crate::transport::server::TargetDatabase;

/// What makes the roles describe this owner, whatever they said before.
pub(crate) fn changes(owner: &Owner, existing: &[String]) -> Vec<Statement> {
    let wanted: BTreeSet<String> = text_roles(owner);
    let stale = text_roles_of(&owner.uid, existing);
    let dropped = stale.difference(&wanted).map(|role| role::drop(role));
    let needed = [MARKER.to_owned(), owner_role(&owner.uid)].into_iter().chain(wanted.iter().cloned());
    let created = needed.filter(|role| !existing.contains(role)).map(|role| role::create(&role));
    dropped.chain(created).collect()
}

impl Redshift {
    /// Makes sure that the marker and the record of this owner exist. Once is enough, as long as nobody drops them.
    pub(crate) async fn ensure_record(&self, run_in: &TargetDatabase, owner: &Owner) -> Result<(), Error> {
        let owner = Owner { password_generation: 0, ..owner.clone() };
        let _recording = self.recording.lock().await;
        if self.recorded().as_ref() == Some(&owner) {
            return Ok(());
        }
        self.create_missing(run_in, |existing| changes(&owner, existing)).await?;
        *self.recorded() = Some(owner);
        Ok(())
    }

    /// The roles of records were found to be gone: they are made anew before they are needed next.
    pub(crate) fn forget_record(&self) {
        self.recorded().take();
    }

    // A poisoned lock means that a thread panicked between two plain assignments.
    fn recorded(&self) -> MutexGuard<'_, Option<Owner>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the marker exists.
    pub(crate) async fn ensure_marker(&self, run_in: &TargetDatabase) -> Result<(), Error> {
        self.ensure_role(run_in, MARKER).await
    }

    /// Makes sure that a role exists.
    pub(crate) async fn ensure_role(&self, run_in: &TargetDatabase, name: &str) -> Result<(), Error> {
        let create = |existing: &[String]| {
            let missing = !existing.iter().any(|role| role == name);
            missing.then(|| role::create(name)).into_iter().collect()
        };
        self.create_missing(run_in, create).await
    }

    async fn create_missing(
        &self,
        run_in: &TargetDatabase,
        changes: impl Fn(&[String]) -> Vec<Statement> + Send + Sync,
    ) -> Result<(), Error> {
        let mut retries = self.server.retries();
        loop {
            match self.create_once(run_in, &changes).await {
                // Another operator was quicker: then it exists.
                Err(error) if error.code == "42710" && retries.once_more() => {}
                Err(error) if retries.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn create_once(
        &self,
        run_in: &TargetDatabase,
        changes: &(impl Fn(&[String]) -> Vec<Statement> + Send + Sync),
    ) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let answers = self.server.read(run_in, &[query::roles()]).await?;
        let existing = names(answers.first().map(Vec::as_slice).unwrap_or_default());
        let statements = changes(&existing);
        if statements.is_empty() {
            return Ok(());
        }
        let mut transaction = self.server.begin(run_in).await?;
        for statement in &statements {
            transaction.run(statement).await?;
        }
        transaction.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_made_again_and_what_is_stale_goes() {
        let owner = |admin: &str| Owner {
            uid: "u".into(),
            admin: admin.into(),
            cluster: "blue".into(),
            ..Owner::default()
        };
        let sql = |existing: &[String]| -> Vec<String> {
            changes(&owner("shop/new"), existing).into_iter().map(|statement| statement.sql).collect()
        };
        let all = sql(&[]);
        assert_eq!(all.len(), 3, "{all:?}");
        let mut existing: Vec<String> = text_roles(&owner("shop/old")).into_iter().collect();
        existing.extend([MARKER.to_owned(), owner_role("u")]);
        let renamed = sql(&existing);
        assert!(
            renamed[0].starts_with("DROP ROLE ") && renamed[1].starts_with("CREATE ROLE "),
            "{renamed:?}"
        );
        existing.extend(text_roles(&owner("shop/new")));
        existing.retain(|role| !text_roles(&owner("shop/old")).contains(role));
        assert_eq!(sql(&existing), Vec::<String>::new());
    }
}
