//! Giving what an account owns to another role, before it is dropped.
//!
//! Everything is looked at before anything is given away: whether the role may get it, and whether code of the account
//! is among it, in every logical database. Whatever stands in the way keeps the account, as it is kept without another
//! owner; it never delays an end, which is proven by then.

use rolecall_engine::plan::End;
use rolecall_engine::{Class, Error, Reassigned};

use crate::Postgres;
use crate::quote::{identifier, is_possible};
use crate::reads::observe::parse;
use crate::statements::reassign::{self, NewOwner};
use crate::statements::rights::{Dependency, described_objects};
use crate::transport::server::Place;

/// How many of the objects with code are named.
const MOST_NAMED: usize = 5;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// What somebody else owns now.
    pub(crate) reassigned: Option<Reassigned>,
    /// Why the account still owns something.
    pub(crate) kept_because: Option<String>,
}

impl Postgres {
    /// Gives what the account owns to the role of the plan, where there is one.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached. Everything else is a reason to keep the account.
    pub(crate) async fn give_away(&self, place: &Place, plan: &End) -> Result<Given, Error> {
        let Some(role) = &plan.reassign_to else { return Ok(Given::default()) };
        let mut given = Given::default();
        match self.try_give_away(place, plan, role, &mut given).await {
            Ok(kept_because) => given.kept_because = kept_because,
            Err(error) => {
                // It may be about one logical database, which lets nobody in.
                if error.class == Class::Unreachable {
                    self.owned_by(place, plan).await.map_err(|_| error.clone())?;
                }
                given.kept_because = Some(error.to_string());
            }
        }
        Ok(given)
    }

    async fn try_give_away(
        &self,
        place: &Place,
        plan: &End,
        role: &str,
        given: &mut Given,
    ) -> Result<Option<String>, Error> {
        let mut owned = self.owned_by(place, plan).await?;
        if owned.is_empty() {
            return Ok(None);
        }
        if owned.iter().any(|one| one.database.is_none()) {
            return Ok(Some("what belongs to the whole server is not given away".to_owned()));
        }
        let to = match self.new_owner(place, plan, role).await? {
            Ok(to) => to,
            Err(why) => return Ok(Some(why)),
        };
        if let Some(why) = self.code_in(place, plan, &owned).await? {
            return Ok(Some(why));
        }
        if !to.by_superuser
            && let Some(why) = self.rights_missing_in(place, plan, &to.name, &owned).await?
        {
            return Ok(Some(why));
        }
        self.name(place, plan.account.as_str(), &mut owned).await;
        let dialect = self.server.dialect(place).await?;
        for one in &owned {
            let there = one.database.clone().map_or_else(|| place.clone(), Place::Exactly);
            let message = reassign::reassign(plan, &to, dialect, self.creators.in_use());
            self.server.run_unless_locked(&there, &message).await?;
            let reassigned = given
                .reassigned
                .get_or_insert_with(|| Reassigned { to: role.to_owned(), objects: Vec::new() });
            reassigned.objects.push(described_objects(one));
        }
        // Default privileges and the like, which nobody else can own.
        for one in self.owned_by(place, plan).await? {
            let there = one.database.map_or_else(|| place.clone(), Place::Exactly);
            let message = reassign::drop_personal(plan, to.by_superuser, dialect, self.creators.in_use());
            self.server.run_unless_locked(&there, &message).await?;
        }
        Ok(None)
    }

    async fn owned_by(&self, place: &Place, plan: &End) -> Result<Vec<Dependency>, Error> {
        let mut all = self.dependencies_of(place, plan.account.as_str()).await?;
        all.retain(|one| one.kind == "o");
        Ok(all)
    }

    /// The role that gets it; in words, why it cannot.
    async fn new_owner(
        &self,
        place: &Place,
        plan: &End,
        role: &str,
    ) -> Result<Result<NewOwner, String>, Error> {
        if let Some(fault) = reassign::name_fault(role, plan.account.as_str()) {
            return Ok(Err(fault.message));
        }
        if !is_possible(role) {
            return Ok(Err(reassign::missing(role).message));
        }
        let dialect = self.server.dialect(place).await?;
        let message = reassign::new_owner(role, dialect);
        let reply = self.server.run(place, &message).await?;
        let found: Vec<NewOwner> = parse(&reply, || message.attempted(0).to_owned())?;
        let Some(owner) = found.into_iter().next() else { return Ok(Err(reassign::missing(role).message)) };
        Ok(match owner.fault(&self.server.config().admin_user, dialect) {
            Some(fault) => Err(fault.message),
            None => Ok(owner),
        })
    }

    /// The rights that admin user and new owner lack, in words.
    async fn rights_missing_in(
        &self,
        place: &Place,
        plan: &End,
        to: &str,
        owned: &[Dependency],
    ) -> Result<Option<String>, Error> {
        for one in owned {
            let there = one.database.clone().map_or_else(|| place.clone(), Place::Exactly);
            let reply = self.server.run(&there, &reassign::missing_rights(&plan.account, to)).await?;
            let statements: Vec<&str> = reply.rows().iter().filter_map(|row| row.get(0)).collect();
            if !statements.is_empty() {
                return Ok(Some(format!(
                    "{to:?} cannot own it yet: in the database {:?} run {}",
                    one.database.as_deref().unwrap_or_default(),
                    statements.join("; ")
                )));
            }
        }
        Ok(None)
    }

    /// What of it carries code, in words.
    async fn code_in(
        &self,
        place: &Place,
        plan: &End,
        owned: &[Dependency],
    ) -> Result<Option<String>, Error> {
        let name = identifier(plan.account.as_str());
        for one in owned {
            let there = one.database.clone().map_or_else(|| place.clone(), Place::Exactly);
            let message = reassign::list_code(&plan.account, MOST_NAMED);
            let reply = self.server.run(&there, &message).await?;
            let found: Vec<&str> = reply.rows().iter().filter_map(|row| row.get(0)).collect();
            if found.is_empty() {
                continue;
            }
            let more = if found.len() > MOST_NAMED { " and more" } else { "" };
            let role = plan.reassign_to.as_deref().unwrap_or_default();
            return Ok(Some(format!(
                "code of {name} would run with the rights of {role:?}, so that nothing is given away: {}{more} in the database {:?}; drop that, or look at it and run REASSIGN OWNED BY {name} TO {}",
                found.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", "),
                one.database.as_deref().unwrap_or_default(),
                identifier(role)
            )));
        }
        Ok(None)
    }
}
