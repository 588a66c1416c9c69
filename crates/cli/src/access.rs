//! What users get on databases, by the functions of the operator. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, DbObjectImportRuleSpec, reasons};
use rolecall_engine::AccountName;
use rolecall_policy::{
    DatabaseNames, ImportRules, Origin, Provisioning, Roles, User, check_access, decide_provisioning,
    list_reach,
};
use rolecall_resolve::{Blocked, Claim, Grant, admin_user, user_spec, username_fault, username_holder};

use crate::input::Namespace;

/// No logical database has this name: it contains a character that none can.
const UNLISTED: &str = "\0";

/// The objects of a namespace, compiled once for many decisions.
#[derive(Debug)]
pub struct Policy<'a> {
    namespace: &'a Namespace,
    users: BTreeMap<&'a str, &'a DatabaseUser>,
    admins: BTreeMap<&'a str, &'a DatabaseAdmin>,
    roles: Roles,
    rules: ImportRules,
    /// Names in databases that several users have, with those users.
    shared: BTreeMap<String, Vec<DatabaseUser>>,
}

/// What a user gets on a database, in a session that asks for all that it may have.
#[derive(Clone, Debug)]
pub struct Access {
    /// The logical databases that it may connect to.
    pub names: DatabaseNames,
    /// What policy gives.
    pub grant: Grant,
    /// The same, with what gave it.
    pub provisioning: Provisioning,
    /// The roles that let it in.
    pub allowed_by: Vec<Origin>,
}

impl<'a> Policy<'a> {
    /// Compiles the objects.
    pub fn new(namespace: &'a Namespace) -> Self {
        let mut called: BTreeMap<String, Vec<&DatabaseUser>> = BTreeMap::new();
        for user in &namespace.users {
            called.entry(namespace.username(user)).or_default().push(user);
        }
        let shared = called.into_iter().filter(|(_, users)| users.len() > 1);
        Self {
            namespace,
            users: by_name(&namespace.users),
            admins: by_name(&namespace.admins),
            roles: namespace.compiled_roles(),
            rules: namespace.import_rules(),
            shared: shared.map(|(name, users)| (name, users.into_iter().cloned().collect())).collect(),
        }
    }

    /// The users, by name.
    pub fn users(&self) -> &BTreeMap<&'a str, &'a DatabaseUser> {
        &self.users
    }

    /// The databases, by name.
    pub fn admins(&self) -> &BTreeMap<&'a str, &'a DatabaseAdmin> {
        &self.admins
    }

    /// The import rules.
    pub fn rules(&self) -> &ImportRules {
        &self.rules
    }

    /// The name of a user in databases.
    pub fn username(&self, user: &DatabaseUser) -> String {
        self.namespace.username(user)
    }

    /// Which of these databases policy lets the user reach at all. What keeps sessions from starting there for other
    /// reasons is not looked at.
    pub fn reached<'b>(
        &self,
        user: &DatabaseUser,
        admins: impl IntoIterator<Item = &'b DatabaseAdmin>,
    ) -> BTreeSet<String> {
        let resolved = self.resolve(user, &self.username(user));
        let databases: Vec<_> = admins.into_iter().map(rolecall_resolve::database).collect();
        let reach = list_reach(&resolved, &databases);
        let allowed = databases.iter().zip(&reach).filter(|(_, reach)| reach.denial.is_none());
        allowed.map(|(database, _)| database.name.clone()).collect()
    }

    /// What a user gets on a database.
    ///
    /// # Errors
    ///
    /// All that keeps its sessions from starting there, in the operator's order.
    pub fn access(&self, user: &DatabaseUser, admin: &DatabaseAdmin) -> Result<Access, Vec<Blocked>> {
        let username = self.username(user);
        let mut blocked = self.unusable(user, &username, admin);
        let resolved = self.resolve(user, &username);
        let database = rolecall_resolve::database(admin);
        let reach = list_reach(&resolved, [&database]).into_iter().next();
        let names = reach.as_ref().map(|reach| reach.database_names.clone());
        let names = names.unwrap_or(DatabaseNames::Only(Vec::new()));
        // One that represents all that the user may connect to: they differ in nothing else.
        let one = match &names {
            DatabaseNames::Only(names) => names.first().cloned(),
            DatabaseNames::AllExcept(_) => Some(UNLISTED.to_owned()),
        };
        let one = one.or_else(|| database.protocol.needs_database_name().then(|| UNLISTED.to_owned()));
        let one = one.as_deref();
        let grant = match rolecall_resolve::decide(user, &username, admin, &self.roles, one, &[]) {
            Ok(grant) => Some(grant),
            Err(refused) => {
                // One name stands for all: it must not be in what people read.
                let denial = reach.and_then(|reach| reach.denial.clone());
                blocked.push(match denial {
                    Some(denial) if refused.reason == denial.reason.as_str() => {
                        Blocked::new(refused.reason, denial.message)
                    }
                    _ => refused,
                });
                None
            }
        };
        blocked.extend(unusable_server(admin));
        let provisioning = decide_provisioning(&resolved, &database, &[]);
        match (grant, provisioning) {
            (Some(grant), Ok(provisioning)) if blocked.is_empty() => Ok(Access {
                names,
                grant,
                provisioning,
                allowed_by: check_access(&resolved, &database, one).unwrap_or_default(),
            }),
            _ => Err(blocked),
        }
    }

    /// What policy gives a session that exists.
    ///
    /// # Errors
    ///
    /// Why it may not be there, or may not start.
    pub fn session(&self, session: &DatabaseSession) -> Result<Grant, Blocked> {
        let spec = &session.spec;
        let Some(user) = self.users.get(spec.user.as_str()) else {
            return Err(Blocked::new(
                reasons::USER_NOT_FOUND,
                format!("there is no DatabaseUser {:?}", spec.user),
            ));
        };
        let Some(admin) = self.admins.get(spec.database.as_str()) else {
            return Err(Blocked::new(
                reasons::DATABASE_NOT_FOUND,
                format!("there is no DatabaseAdmin {:?}", spec.database),
            ));
        };
        let username = self.username(user);
        let mut unusable = self.unusable(user, &username, admin);
        unusable.extend(unusable_server(admin));
        if let Some(blocked) = unusable.into_iter().next() {
            return Err(blocked);
        }
        let name = spec.database_name.as_deref();
        rolecall_resolve::decide(user, &username, admin, &self.roles, name, &spec.db_roles)
    }

    /// Which import rules apply to a database, by name.
    pub fn applying_rules(&self, admin: &DatabaseAdmin) -> Vec<&str> {
        let rules = self.rules.applicable(&rolecall_resolve::database(admin));
        rules.into_iter().map(rolecall_policy::ImportRule::name).collect()
    }

    /// The import rules that apply to a database, in their order, with their content; the built-in one has none.
    pub fn rule_specs(&self, admin: &DatabaseAdmin) -> Vec<(String, Option<DbObjectImportRuleSpec>)> {
        let spec = |name: &str| {
            let rule = self.namespace.rules.iter().find(|rule| rule.name_any() == name);
            rule.map(|rule| rule.spec.clone())
        };
        self.applying_rules(admin).into_iter().map(|name| (name.to_owned(), spec(name))).collect()
    }

    /// The roles that are not valid, each with its first fault.
    pub fn faults(&self) -> Vec<(&'a str, String)> {
        let faulty = |role: &'a rolecall_api::ProvisioningRole| {
            let name = role.metadata.name.as_deref()?;
            match self.roles.get(name)? {
                Ok(_) => None,
                Err(faults) => Some((name, faults.first()?.to_string())),
            }
        };
        self.namespace.roles.iter().filter_map(faulty).collect()
    }

    fn resolve(&self, user: &DatabaseUser, username: &str) -> User {
        User::resolve(&user_spec(user, username), &self.roles)
    }

    /// Why the user can have no account on the server.
    fn unusable(&self, user: &DatabaseUser, username: &str, admin: &DatabaseAdmin) -> Vec<Blocked> {
        let mut blocked = Vec::new();
        if let Err(refusal) = AccountName::new(username) {
            blocked.push(Blocked::permanent(reasons::INVALID_USERNAME, refusal.message));
        }
        blocked.extend(username_fault(username, admin));
        if let Some(users) = self.shared.get(username)
            && let Claim::Taken(taken) = username_holder(user, users, &self.namespace.cluster_name)
        {
            blocked.push(taken);
        }
        blocked
    }
}

/// Why nobody gets anything on the server.
fn unusable_server(admin: &DatabaseAdmin) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    if admin_user(admin).name.is_none() {
        blocked.push(Blocked::no_admin_user());
    }
    if admin.spec.suspend {
        let message = format!("the DatabaseAdmin {:?} is suspended", admin.name_any());
        blocked.push(Blocked::new(reasons::DATABASE_SUSPENDED, message));
    }
    blocked
}

fn by_name<K: ResourceExt>(objects: &[K]) -> BTreeMap<&str, &K> {
    objects.iter().filter_map(|object| Some((object.meta().name.as_deref()?, object))).collect()
}
