//! Dropping permission sets.

use rolecall_engine::dialect::redshift::record::is_set;
use rolecall_engine::{Applied, Class, Error};

use crate::Redshift;
use crate::quote::is_possible;
use crate::reads::observe::Seen;
use crate::reads::sets::Granted;
use crate::statements::object::{Grantee, Target, revoke_all};
use crate::statements::role;
use crate::transport::server::TargetDatabase;

impl Redshift {
    pub(crate) async fn retire_set(&self, set: &str, owner_uid: &str) -> Result<Applied, Error> {
        let kept = |why: String| Applied { kept_because: Some(why), ..Applied::default() };
        let dropped = Applied { dropped: true, ..Applied::default() };
        if !is_set(set) || !is_possible(set) {
            return Ok(kept(format!("{set:?} is no permission set")));
        }
        let run_in = self.server.target_database(None);
        let seen = Seen::read(&self.server.read(&run_in, &Seen::statements(None)).await?);
        if !seen.roles.exists(set) {
            return Ok(dropped);
        }
        if seen.roles.owner_uid(set).as_deref() != Some(owner_uid) {
            return Ok(kept("it does not carry our record".to_owned()));
        }
        let users = seen.users.roles.iter().filter(|(_, roles)| roles.contains_key(set));
        let members: Vec<&str> = users.map(|(user, _)| user.as_str()).chain(seen.roles.with(set)).collect();
        if !members.is_empty() {
            return Ok(kept(format!("it has {} members, {:?} among them", members.len(), members[0])));
        }
        let admin = self.server.config().admin_user.as_str();
        let sight = seen.sight(admin);
        if !sight.sees_privileges() {
            return Ok(kept(sight.error(format!("reading the privileges of {set:?}"), admin).to_string()));
        }
        if seen.databases.is_empty() {
            return Ok(kept("which logical databases there are is not known".to_owned()));
        }
        for database in &seen.databases {
            match self.revoke_everything(database, set).await {
                Ok(()) => {}
                Err(error) if error.class == Class::Unreachable => return Err(error),
                Err(error) => return Ok(kept(error.to_string())),
            }
        }
        let nested: Vec<String> = seen.roles.nested_in(set).map(str::to_owned).collect();
        let mut retries = self.server.retries();
        loop {
            match self.drop_role(&run_in, set, &nested).await {
                Ok(()) => return Ok(dropped),
                Err(error) if retries.again(&error).await => {}
                Err(error) if error.class == Class::Unreachable => return Err(error),
                Err(error) => return Ok(kept(error.to_string())),
            }
        }
    }

    /// Privileges in a database that nobody looks into would stay behind.
    async fn revoke_everything(&self, database: &str, set: &str) -> Result<(), Error> {
        let run_in = TargetDatabase::Exactly(database.to_owned());
        let granted = Granted::read(&self.server.read(&run_in, &Granted::statements(&[set])).await?);
        for (target, _) in granted.of(set) {
            match self.run_again(&run_in, &revoke_all(target, Grantee::Role(set))).await {
                // It may be a procedure, which is listed like a function.
                Err(error) if error.class != Class::Unreachable => {
                    let Target::Function { schema, name, arguments } = target else { return Err(error) };
                    let procedure = Target::Procedure {
                        schema: schema.clone(),
                        name: name.clone(),
                        arguments: arguments.clone(),
                    };
                    self.run_again(&run_in, &revoke_all(&procedure, Grantee::Role(set))).await?;
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Drops the role. The server refuses where somebody has become a member meanwhile.
    async fn drop_role(&self, run_in: &TargetDatabase, set: &str, nested: &[String]) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let mut transaction = self.server.begin(run_in).await?;
        for nested in nested {
            transaction.run(&role::revoke_from_role(nested, set)).await?;
        }
        transaction.run(&role::drop(set)).await?;
        transaction.commit().await
    }
}
