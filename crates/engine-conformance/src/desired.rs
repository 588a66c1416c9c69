//! Desired accounts, and what it takes to reach them.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::account::{Credential, Enabled, WantedRole};
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{AccountName, Applied, Desired, Engine, Error, Owner, Reason, Refusal, Want};
use secrecy::SecretString;

use super::{Harness, State};

/// Builds a [`Desired`].
#[derive(Clone, Debug)]
pub struct DesiredAccount(pub Desired);

/// Why a desired account could not be reached.
#[derive(Debug)]
pub enum Stopped {
    /// The plan was refused.
    Refused(Refusal),
    /// The engine failed.
    Failed(Error),
    /// It was carried out, and yet this is left to do.
    Unsettled(Box<Plan>),
}

impl DesiredAccount {
    /// An account in `database` without any role, that does not exist yet or is left over.
    pub fn start(account: &str, database: &str) -> Result<Self, String> {
        let account = AccountName::new(account).map_err(|refusal| refusal.to_string())?;
        Ok(Self(Desired {
            account,
            owner: owner("us"),
            session_database: Some(database.to_owned()),
            want: Want::Enabled(Enabled {
                roles: BTreeMap::new(),
                sets: BTreeSet::new(),
                databases: BTreeSet::from([database.to_owned()]),
                credential: Credential::External,
                in_use: false,
                create_missing_roles: false,
                disconnecting_sets: BTreeSet::new(),
            }),
        }))
    }

    /// With these roles.
    pub fn roles<T: AsRef<str>>(mut self, roles: impl IntoIterator<Item = T>) -> Self {
        if let Want::Enabled(enabled) = &mut self.0.want {
            enabled.roles =
                roles.into_iter().map(|role| (role.as_ref().to_owned(), WantedRole::default())).collect();
        }
        self
    }

    /// The roles are named literally in `grantableDbRoles`.
    pub fn literally(mut self) -> Self {
        if let Want::Enabled(enabled) = &mut self.0.want {
            enabled.roles.values_mut().for_each(|role| role.named_literally = true);
        }
        self
    }

    /// Roles that are missing are created.
    pub fn creating_roles(mut self) -> Self {
        if let Want::Enabled(enabled) = &mut self.0.want {
            enabled.create_missing_roles = true;
        }
        self
    }

    /// While a session is live.
    pub fn live(mut self) -> Self {
        if let Want::Enabled(enabled) = &mut self.0.want {
            enabled.in_use = true;
        }
        self
    }

    /// With this password verifier to store.
    pub fn password(mut self, set: Option<SecretString>) -> Self {
        if let Want::Enabled(enabled) = &mut self.0.want {
            enabled.credential = Credential::Password { set };
        }
        self
    }

    /// On behalf of another DatabaseAdmin.
    pub fn of(mut self, uid: &str) -> Self {
        self.0.owner = owner(uid);
        self
    }

    /// That it ends instead.
    pub fn end(mut self, drop: bool) -> Self {
        self.0.want = Want::Ended { drop, reassign_to: None };
        self
    }

    /// That it is dropped instead, after what it owns was given to somebody else.
    pub fn end_giving_to(mut self, new_owner: &str) -> Self {
        self.0.want = Want::Ended { drop: true, reassign_to: Some(new_owner.to_owned()) };
        self
    }

    /// Applies it, and reads back that nothing is left to do.
    pub async fn bring(&self, engine: &dyn Engine) -> Result<Applied, Stopped> {
        bring(engine, &self.0).await
    }

    /// As [`DesiredAccount::bring`], where that must work.
    pub(super) async fn must(&self, engine: &dyn Engine) -> Result<Applied, String> {
        self.bring(engine).await.map_err(|stopped| stopped.to_string())
    }

    /// The reason for which it cannot be.
    pub(super) async fn reason(&self, engine: &dyn Engine) -> Result<Reason, String> {
        match self.bring(engine).await {
            Ok(applied) => Err(format!("it succeeded: {applied:?}")),
            Err(stopped) => stopped.reason().ok_or_else(|| stopped.to_string()),
        }
    }

    /// The plan for it, as things are.
    pub(super) async fn plan(&self, engine: &dyn Engine) -> Result<Plan, String> {
        let observed = engine.observe(&self.0.query()).await.map_err(|error| error.to_string())?;
        plan::plan(&self.0, &observed).map_err(|refusal| refusal.to_string())
    }
}

/// Observes, plans, applies, and reads back that nothing is left to do.
///
/// # Errors
///
/// Where it stopped.
pub async fn bring(engine: &dyn Engine, desired: &Desired) -> Result<Applied, Stopped> {
    let query = desired.query();
    let observed = engine.observe(&query).await.map_err(Stopped::Failed)?;
    let plan = plan::plan(desired, &observed).map_err(Stopped::Refused)?;
    if matches!(desired.want, Want::Enabled(_)) {
        for database in &query.databases {
            plan::check_database(desired, &observed, database).map_err(Stopped::Refused)?;
        }
    }
    let applied = engine.apply(&plan).await.map_err(Stopped::Failed)?;
    let mut settled = plan::settled(desired);
    if applied.kept_because.is_some() {
        settled.want = Want::Ended { drop: false, reassign_to: None };
    }
    let observed = engine.observe(&query).await.map_err(Stopped::Failed)?;
    match plan::plan(&settled, &observed).map_err(Stopped::Refused)? {
        Plan::Nothing => Ok(applied),
        left => Err(Stopped::Unsettled(Box::new(left))),
    }
}

impl Stopped {
    /// The reason that a condition would carry.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(refusal) => Some(refusal.reason),
            Self::Failed(error) => Some(error.reason),
            Self::Unsettled(_) => None,
        }
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused, {}: {refusal}", refusal.reason),
            Self::Failed(error) => write!(f, "failed, {}: {error}", error.reason),
            Self::Unsettled(plan) => write!(f, "left to do: {plan}"),
        }
    }
}

/// The record of a DatabaseAdmin.
pub(super) fn owner(uid: &str) -> Owner {
    Owner {
        uid: uid.to_owned(),
        admin: format!("shop/{uid}"),
        cluster: "blue".to_owned(),
        ..Owner::default()
    }
}

/// What [`Harness::user_state`] returns; an error where the user is gone.
pub(super) async fn seen(harness: &dyn Harness, user: &str) -> Result<State, String> {
    harness.user_state(user).await.ok_or_else(|| format!("the user {user:?} is gone"))
}

/// A managed account of ours that works.
pub(super) fn working<T: AsRef<str>>(roles: impl IntoIterator<Item = T>) -> State {
    let memberships = roles.into_iter().map(|role| role.as_ref().to_owned()).collect();
    State { managed: true, login: true, memberships, owner: Some(owner("us")), ..State::default() }
}

/// A managed account of ours that is disabled.
pub(super) fn closed() -> State {
    State { login: false, ..working::<&str>([]) }
}
