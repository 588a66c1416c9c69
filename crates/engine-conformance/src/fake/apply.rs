//! Plans on the server in memory.

use rolecall_engine::account::Leftover;
use rolecall_engine::plan::{Activate, Adjust, End, Strays};
use rolecall_engine::{AccountName, Applied, Class, Error, Reason, Reassigned};
use secrecy::ExposeSecret;

use super::refused;
use super::state::{ServerState, User};

impl ServerState {
    /// One transaction.
    pub(super) fn undo_on_error(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<Applied, Error>,
    ) -> Result<Applied, Error> {
        let before = self.clone();
        change(self).inspect_err(|_| *self = before)
    }

    pub(super) fn activate(&mut self, plan: &Activate) -> Result<Applied, Error> {
        self.create_roles(&plan.create_roles);
        let name = plan.account.as_str();
        if plan.create {
            if self.users.contains_key(name) || self.roles.contains_key(name) {
                let what = format!("creating the user {name:?}");
                return Err(refused(Class::Transient, Reason::ServerRefused, what, "42710", "it exists"));
            }
            self.users.insert(name.to_owned(), User { managed: true, ..User::default() });
        } else {
            if let Some(from_uid) = &plan.take_over_from {
                self.owned(&plan.account, from_uid)?.owner = Some(plan.owner.clone());
            }
            let uid = &plan.owner.uid;
            let close = plan.close_first;
            let user = self.checked(&plan.account, |user| {
                let foreign = user.owner.as_ref().is_some_and(|owner| owner.uid != *uid);
                let plain = !user.leftovers.iter().any(|left| matches!(left, Leftover::Attribute { .. }));
                plain && if close { !foreign } else { !user.login && user.backends == 0 }
            })?;
            user.backends = 0;
            user.limits = false;
            user.settings.clear();
            user.rights.clear();
            self.revoke(&plan.account, &plan.revoke);
        }
        self.grant(&plan.account, &plan.grant, &plan.grant_sets)?;
        let user = self.checked(&plan.account, |_| true)?;
        user.owner = Some(plan.owner.clone());
        user.password = plan.verifier.as_ref().map(|verifier| verifier.expose_secret().to_owned());
        user.login = true;
        Ok(Applied::default())
    }

    pub(super) fn adjust(&mut self, plan: &Adjust) -> Result<Applied, Error> {
        self.create_roles(&plan.create_roles);
        if let Some(owner) = &plan.record {
            let ours = |user: &User| user.owner.as_ref().is_none_or(|found| found.uid == owner.uid);
            self.checked(&plan.account, ours)?.owner = Some(owner.clone());
        }
        self.owned(&plan.account, &plan.owner_uid)?;
        self.revoke(&plan.account, &plan.revoke);
        self.grant(&plan.account, &plan.grant, &plan.grant_sets)?;
        let user = self.owned(&plan.account, &plan.owner_uid)?;
        if let Some(verifier) = &plan.verifier {
            user.password = Some(verifier.expose_secret().to_owned());
        }
        user.login |= plan.enable;
        if plan.terminate {
            user.backends = 0;
        }
        let Strays { settings, limits, expires, rights, attributes } = &plan.strays;
        user.limits &= !limits && !expires;
        user.settings.retain(|setting| !settings.contains(setting));
        if *rights {
            user.rights.clear();
        }
        user.leftovers.retain(
            |left| !matches!(left, Leftover::Attribute { attribute } if attributes.contains(attribute)),
        );
        Ok(Applied::default())
    }

    pub(super) fn end(&mut self, plan: &End) -> Result<Applied, Error> {
        if let Some(take_over) = &plan.take_over {
            self.owned(&plan.account, &take_over.from_uid)?.owner = Some(take_over.owner.clone());
        }
        let user = self.owned(&plan.account, &plan.owner_uid)?;
        user.login = false;
        user.password = None;
        user.backends = 0;
        user.limits = false;
        user.settings.clear();
        user.rights.clear();
        self.revoke(&plan.account, &plan.revoke);
        let mut user = self.owned(&plan.account, &plan.owner_uid)?.clone();
        let mut applied = Applied { leftovers: self.account(&user).leftovers, ..Applied::default() };
        if plan.drop {
            let prepared = applied.leftovers.iter().find(|left| matches!(left, Leftover::Prepared { .. }));
            let prepared = prepared.cloned();
            let to = plan.reassign_to.as_ref().filter(|_| prepared.is_none());
            let reassigned = to.and_then(|to| self.give_away(&mut user, to));
            match user.blocks_drop.or(prepared.map(|left| left.message(&plan.account))) {
                Some(why) => applied.kept_because = Some(why),
                None => {
                    self.users.remove(plan.account.as_str());
                    applied = Applied { dropped: true, ..Applied::default() };
                }
            }
            applied.reassigned = reassigned;
        }
        Ok(applied)
    }

    fn give_away(&mut self, user: &mut User, to: &str) -> Option<Reassigned> {
        let owned = user.blocks_drop.take()?;
        match self.roles.get_mut(to) {
            Some(role) => {
                role.owns.push(owned.clone());
                Some(Reassigned { to: to.to_owned(), objects: vec![owned] })
            }
            None => {
                user.blocks_drop = Some(format!("the role {to:?} does not exist: {owned}"));
                None
            }
        }
    }

    fn create_roles(&mut self, roles: &[String]) {
        for role in roles {
            self.roles.entry(role.clone()).or_default();
        }
    }

    /// The account, when it is managed and what the plan takes it for.
    fn checked(
        &mut self,
        account: &AccountName,
        check: impl FnOnce(&User) -> bool,
    ) -> Result<&mut User, Error> {
        let user = self.users.get_mut(account.as_str()).filter(|user| user.managed && check(user));
        user.ok_or_else(|| {
            let what = format!("checking \"{account}\" under its lock");
            refused(Class::Transient, Reason::AccountInUse, what, "RC001", "it has changed since it was read")
        })
    }

    fn owned(&mut self, account: &AccountName, uid: &str) -> Result<&mut User, Error> {
        self.checked(account, |user| user.owner.as_ref().is_some_and(|owner| owner.uid == uid))
    }

    fn revoke(&mut self, account: &AccountName, roles: &[String]) {
        let admin = self.admin_user.clone();
        if let Some(user) = self.users.get_mut(account.as_str()) {
            user.memberships.retain(|(role, grantor)| *grantor != admin || !roles.contains(role));
        }
    }

    fn grant(&mut self, account: &AccountName, roles: &[String], sets: &[String]) -> Result<(), Error> {
        let attempted = || format!("granting {roles:?} to \"{account}\"");
        let missing = roles.iter().find(|role| !self.roles.contains_key(*role));
        if let Some(missing) = missing.or(sets.iter().find(|set| !self.sets.contains_key(*set))) {
            let detail = format!("role {missing:?} does not exist");
            return Err(refused(Class::Refused, Reason::DbRoleNotFound, attempted(), "42704", &detail));
        }
        if roles.iter().any(|role| !self.roles[role].grantable) {
            let detail = "permission denied";
            return Err(refused(Class::Refused, Reason::MissingAdminOption, attempted(), "42501", detail));
        }
        let grants =
            roles.iter().chain(sets).map(|role| (role.clone(), self.admin_user.clone())).collect::<Vec<_>>();
        if let Some(user) = self.users.get_mut(account.as_str()) {
            user.memberships.extend(grants);
        }
        Ok(())
    }
}
