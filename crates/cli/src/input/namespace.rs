//! The objects of one namespace.

use anyhow::{anyhow, bail};
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseUser, DbObjectImportRule, ProvisioningRole};
use rolecall_policy::{ImportRule, ImportRules, Roles};
use rolecall_resolve::{compile_role, database_username, rule_spec};

/// What a namespace holds, from whatever source. Objects that are being deleted are left out: they count as gone.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// Its name; `None` where manifests name none.
    pub name: Option<String>,
    /// The name of the cluster.
    pub cluster_name: String,
    /// DatabaseAdmins.
    pub admins: Vec<DatabaseAdmin>,
    /// ProvisioningRoles.
    pub roles: Vec<ProvisioningRole>,
    /// DatabaseUsers.
    pub users: Vec<DatabaseUser>,
    /// DbObjectImportRules.
    pub rules: Vec<DbObjectImportRule>,
}

impl Namespace {
    /// The DatabaseAdmin of that name.
    ///
    /// # Errors
    ///
    /// There is none; the message names those that there are.
    pub fn admin(&self, name: &str) -> anyhow::Result<&DatabaseAdmin> {
        self.admins.iter().find(|admin| admin.name_any() == name).ok_or_else(|| {
            anyhow!("there is no DatabaseAdmin {name:?}{}; {}", self.place(), known(&self.admins))
        })
    }

    /// The DatabaseUser of that name, else the one that has this name in databases.
    ///
    /// # Errors
    ///
    /// There is none, or several have the name in databases.
    pub fn user(&self, name: &str) -> anyhow::Result<&DatabaseUser> {
        if let Some(user) = self.users.iter().find(|user| user.name_any() == name) {
            return Ok(user);
        }
        let called: Vec<_> = self.users.iter().filter(|user| self.is_called(user, name)).collect();
        match called.as_slice() {
            [user] => Ok(user),
            [] => bail!("there is no DatabaseUser {name:?}{}; {}", self.place(), known(&self.users)),
            several => bail!(
                "several DatabaseUsers are called {name:?} in databases: {}; name one of them",
                several.iter().map(|user| user.name_any()).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// The name of a user in databases, remote form included.
    pub fn username(&self, user: &DatabaseUser) -> String {
        database_username(user, &self.cluster_name)
    }

    /// The roles, compiled; those that are not valid with their faults.
    pub fn compiled_roles(&self) -> Roles {
        let mut roles = Roles::new();
        for role in &self.roles {
            roles.insert_compiled(&role.name_any(), compile_role(role));
        }
        roles
    }

    /// The import rules; the built-in one where there is none.
    pub fn import_rules(&self) -> ImportRules {
        let read =
            |rule: &DbObjectImportRule| ImportRule::read(&rule.name_any(), &rule_spec(&rule.spec)).into();
        ImportRules::of_namespace(self.rules.iter().map(read))
    }

    /// Forgets what is being deleted.
    #[must_use]
    pub fn without_deleted(mut self) -> Self {
        fn live<K: ResourceExt>(objects: &mut Vec<K>) {
            objects.retain(|object| object.meta().deletion_timestamp.is_none());
        }
        live(&mut self.admins);
        live(&mut self.roles);
        live(&mut self.users);
        live(&mut self.rules);
        self
    }

    fn is_called(&self, user: &DatabaseUser, name: &str) -> bool {
        user.spec.username.as_deref() == Some(name) || self.username(user) == name
    }

    fn place(&self) -> String {
        self.name.as_ref().map(|name| format!(" in namespace {name}")).unwrap_or_default()
    }
}

/// "there are a, b", for a message about what is missing.
fn known<K: ResourceExt>(objects: &[K]) -> String {
    /// More names than a reader takes in help nobody.
    const SHOWN: usize = 10;
    let names: Vec<String> = objects.iter().take(SHOWN).map(ResourceExt::name_any).collect();
    match objects.len() {
        0 => "there are none".to_owned(),
        count if count > SHOWN => format!("there are {} and {} more", names.join(", "), count - SHOWN),
        _ => format!("there are {}", names.join(", ")),
    }
}
