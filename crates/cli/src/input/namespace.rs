//! The objects of one namespace.

use anyhow::{anyhow, bail};
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseUser, DbObjectImportRule, KUBERNETES_USERS, ProvisioningRole};
use rolecall_policy::{ImportRule, ImportRules, Roles};
use rolecall_resolve::{compile_role, database_username, rule_spec};

/// The objects of a namespace, from any source. Objects that are being deleted are left out: they count as gone.
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
    /// There is none; the message names the existing ones.
    pub fn admin(&self, name: &str) -> anyhow::Result<&DatabaseAdmin> {
        self.admins.iter().find(|admin| admin.name_any() == name).ok_or_else(|| {
            anyhow!("there is no DatabaseAdmin {name:?}{}; {}", self.place(), known(name, &self.admins))
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
            [] => Err(self.no_user(name)),
            several => bail!(
                "several DatabaseUsers are called {name:?} in databases: {}; name one of them",
                several.iter().map(|user| user.name_any()).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// The one DatabaseUser that names somebody of the cluster: by its name, by its name in databases, or by an
    /// annotation.
    ///
    /// # Errors
    ///
    /// None does, or several do; the message names them.
    pub(crate) fn user_for(&self, me: &str) -> anyhow::Result<&DatabaseUser> {
        let names = |user: &DatabaseUser| {
            let listed = user.annotations().get(KUBERNETES_USERS);
            listed.is_some_and(|listed| listed.split(',').any(|name| name.trim() == me))
                || user.name_any() == me
                || self.is_called(user, me)
        };
        let found: Vec<_> = self.users.iter().filter(|user| names(user)).collect();
        match found.as_slice() {
            [user] => Ok(user),
            [] => Err(anyhow!(
                "you are {me:?} in the cluster, and no DatabaseUser{} says so; {}; name yours with --user, or let whoever \
                 administers it add your name to its annotation {KUBERNETES_USERS}",
                self.place(),
                known(me, &self.users)
            )),
            several => Err(anyhow!(
                "you are {me:?} in the cluster, which several DatabaseUsers{} say: {}; name one with --user",
                self.place(),
                several.iter().map(|user| user.name_any()).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    /// The error that there is no DatabaseUser of that name, with the existing ones.
    pub(crate) fn no_user(&self, name: &str) -> anyhow::Error {
        anyhow!("there is no DatabaseUser {name:?}{}; {}", self.place(), known(name, &self.users))
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

    /// The roles that a user names, compiled: all that decisions about this user need.
    pub fn compiled_roles_of(&self, user: &DatabaseUser) -> Roles {
        let mut roles = Roles::new();
        for role in self.roles.iter().filter(|role| user.spec.roles.contains(&role.name_any())) {
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

/// "there are a, b", for a message about a name that is missing.
fn known<K: ResourceExt>(missing: &str, objects: &[K]) -> String {
    listed(missing, objects.iter().map(ResourceExt::name_any).collect())
}

/// "there are a, b", for a message about a name that is missing: of many those that are most like it.
pub(crate) fn listed(missing: &str, mut names: Vec<String>) -> String {
    /// The most names that are listed.
    const SHOWN: usize = 10;
    /// From here on names look alike.
    const ALIKE: f64 = 0.85;
    let count = names.len();
    if count == 0 {
        return "there are none".to_owned();
    }
    let likeness = |name: &String| strsim::jaro_winkler(name, missing);
    let likely = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    // Of a single one it is clear.
    let likely = likely.filter(|name| count > 1 && likeness(name) > ALIKE);
    let meant = likely.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    if count <= SHOWN {
        return format!("there are {}{meant}", names.join(", "));
    }
    names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)).then_with(|| a.cmp(b)));
    names.truncate(SHOWN);
    format!("there are {} and {} more{meant}", names.join(", "), count - SHOWN)
}

#[cfg(test)]
mod tests {
    use rolecall_api::DatabaseUserSpec;

    use super::*;

    #[test]
    fn one_user_is_who_somebody_is_in_the_cluster() {
        let user = |name: &str, username: Option<&str>, listed: &str| {
            let spec =
                DatabaseUserSpec { username: username.map(str::to_owned), ..DatabaseUserSpec::default() };
            let mut user = DatabaseUser::new(name, spec);
            user.annotations_mut().insert(KUBERNETES_USERS.to_owned(), listed.to_owned());
            user
        };
        let users = vec![
            user("alice", Some("alice@example.com"), ""),
            user("robert", None, "oidc:bob, system:serviceaccount:ci:bob"),
            user("report", None, "oidc:bob"),
        ];
        let namespace = Namespace { name: Some("shop".to_owned()), users, ..Namespace::default() };
        let found = |me: &str| {
            let found = namespace.user_for(me).map(ResourceExt::name_any);
            found.map_err(|error| error.to_string())
        };
        assert_eq!(found("alice").as_deref(), Ok("alice"));
        assert_eq!(found("alice@example.com").as_deref(), Ok("alice"));
        assert_eq!(found("system:serviceaccount:ci:bob").as_deref(), Ok("robert"));
        let several = found("oidc:bob").expect_err("there are two");
        assert!(
            several.ends_with("in namespace shop say: robert, report; name one with --user"),
            "{several}"
        );
        // What only begins so is somebody else.
        let none = found("oidc:bo").expect_err("there is none");
        assert!(none.contains("there are alice, robert, report; name yours with --user"), "{none}");
    }

    #[test]
    fn of_many_names_the_most_similar_are_listed() {
        let names: Vec<String> = (0..40).map(|number| format!("database-{number:02}")).collect();
        let names = [names, vec!["orders".to_owned()]].concat();
        let message = listed("order", names);
        assert!(
            message.starts_with("there are orders, ")
                && message.ends_with(" and 31 more; did you mean orders?"),
            "{message}"
        );
        assert_eq!(listed("x", vec!["b".to_owned(), "a".to_owned()]), "there are b, a");
        assert_eq!(listed("x", Vec::new()), "there are none");
        let names = ["people", "orders"].map(str::to_owned).to_vec();
        assert_eq!(listed("poeple", names), "there are people, orders; did you mean people?");
    }
}
