//! The rows of a list. No I/O.

use std::collections::BTreeMap;

use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase, conditions};
use rolecall_policy::format_duration;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::access::Policy;
use crate::args::Kind;
use crate::explain::API_VERSION;
use crate::input::Namespace;

/// What `get` answers. Its JSON is stable like that of `explain`; `docs/get-json.md` describes it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowList {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `RowList`.
    pub kind: &'static str,
    /// The objects, by name.
    pub items: Vec<Row>,
}

/// One object: its name, and its columns as text. In JSON an object of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The columns in their order; an empty text where there is nothing to say.
    pub columns: Vec<(&'static str, String)>,
    /// So many of them are shown without `-o wide`.
    pub narrow: usize,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len() + 1))?;
        map.serialize_entry("name", &self.name)?;
        for (name, value) in &self.columns {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The rows of one kind. `names`: only these. `sessions`: those of the namespace, where they are known.
///
/// # Errors
///
/// A name that no object of the kind has.
pub fn rows(
    namespace: &Namespace,
    kind: Kind,
    names: &[String],
    sessions: Option<&[DatabaseSession]>,
) -> anyhow::Result<RowList> {
    let policy = Policy::new(namespace);
    let mut items = match kind {
        Kind::Databases => databases(&policy, sessions),
        Kind::Users => users(&policy, sessions),
        Kind::Roles => roles(namespace, &policy),
        Kind::Rules => rules(namespace),
    };
    items.sort_by(|a, b| a.name.cmp(&b.name));
    for name in names {
        if !items.iter().any(|row| row.name == *name) {
            let known = items.iter().map(|row| row.name.clone()).collect();
            anyhow::bail!("there is none called {name:?}; {}", crate::input::listed(name, known));
        }
    }
    if !names.is_empty() {
        items.retain(|row| names.contains(&row.name));
    }
    Ok(RowList { api_version: API_VERSION, kind: "RowList", items })
}

fn databases(policy: &Policy<'_>, sessions: Option<&[DatabaseSession]>) -> Vec<Row> {
    let mut reaching: BTreeMap<String, usize> = BTreeMap::new();
    for user in policy.users().values() {
        for database in policy.reached(user, policy.admins().values().copied()) {
            *reaching.entry(database).or_default() += 1;
        }
    }
    let row = |(name, admin): (&&str, &&DatabaseAdmin)| {
        let status = admin.status.clone().unwrap_or_default();
        let ready = conditions::find(&status.conditions, conditions::READY);
        let database = rolecall_resolve::database(admin);
        let state = match (admin.spec.suspend, ready) {
            (true, _) => "suspended".to_owned(),
            (false, Some(ready)) => ready.reason.clone(),
            (false, None) => String::new(),
        };
        let live = sessions.map(|sessions| count(sessions, |session| session.spec.database == **name));
        Row {
            name: (*name).to_owned(),
            columns: vec![
                ("protocol", database.protocol.to_string()),
                ("state", state),
                ("users", reaching.get(*name).copied().unwrap_or_default().to_string()),
                ("sessions", live.unwrap_or_default()),
                ("uri", admin.spec.uri.clone()),
                ("version", status.version.unwrap_or_default()),
                ("labels", labels(&database.labels)),
                ("grantableDbRoles", admin.spec.grantable_db_roles.join(", ")),
            ],
            narrow: 4,
        }
    };
    policy.admins().iter().map(row).collect()
}

fn users(policy: &Policy<'_>, sessions: Option<&[DatabaseSession]>) -> Vec<Row> {
    let row = |(name, user): (&&str, &&rolecall_api::DatabaseUser)| {
        let reached = policy.reached(user, policy.admins().values().copied());
        let live = sessions.map(|sessions| count(sessions, |session| session.spec.user == **name));
        let traits: Vec<String> =
            user.spec.traits.iter().map(|(key, values)| format!("{key}={}", values.join("|"))).collect();
        Row {
            name: (*name).to_owned(),
            columns: vec![
                ("username", policy.username(user)),
                ("state", if user.spec.suspend { "suspended".to_owned() } else { String::new() }),
                ("databases", reached.len().to_string()),
                ("sessions", live.unwrap_or_default()),
                ("roles", user.spec.roles.join(", ")),
                ("traits", traits.join(", ")),
                ("reaches", reached.into_iter().collect::<Vec<_>>().join(", ")),
            ],
            narrow: 4,
        }
    };
    policy.users().iter().map(row).collect()
}

fn roles(namespace: &Namespace, policy: &Policy<'_>) -> Vec<Row> {
    let faults: BTreeMap<&str, String> = policy.faults().into_iter().collect();
    let row = |role: &rolecall_api::ProvisioningRole| {
        let name = role.name_any();
        let fault = faults.get(name.as_str()).cloned();
        let spec = &role.spec;
        let selected = rolecall_resolve::selected(role, &namespace.admins);
        let users = namespace.users.iter().filter(|user| user.spec.roles.contains(&name)).count();
        let mode = match (spec.options.create_db_user_mode, spec.options.create_db_user) {
            (Some(mode), _) => format!("{mode:?}"),
            (None, Some(true)) => "Keep".to_owned(),
            (None, _) => String::new(),
        };
        let ttl = spec.options.max_session_ttl.map(|ttl| format_duration(ttl.get()));
        Row {
            columns: vec![
                ("valid", if fault.is_some() { "no".to_owned() } else { "yes".to_owned() }),
                ("databases", selected.to_string()),
                ("users", users.to_string()),
                ("mode", mode),
                ("maxSessionTtl", ttl.unwrap_or_default()),
                ("dbNames", spec.allow.db_names.join(", ")),
                ("dbRoles", spec.allow.db_roles.join(", ")),
                ("dbPermissions", spec.allow.db_permissions.len().to_string()),
                ("fault", fault.unwrap_or_default()),
            ],
            name,
            narrow: 4,
        }
    };
    namespace.roles.iter().map(row).collect()
}

fn rules(namespace: &Namespace) -> Vec<Row> {
    let databases: Vec<_> = namespace.admins.iter().map(rolecall_resolve::database).collect();
    let row = |rule: &rolecall_api::DbObjectImportRule| {
        let read =
            rolecall_policy::ImportRule::read(&rule.name_any(), &rolecall_resolve::rule_spec(&rule.spec));
        let fault = read.faults().first().map(ToString::to_string);
        let selects: Vec<String> = rule
            .spec
            .database_labels
            .iter()
            .map(|(key, values)| format!("{key}: {}", values.join("|")))
            .collect();
        Row {
            name: rule.name_any(),
            columns: vec![
                ("valid", if fault.is_some() { "no".to_owned() } else { "yes".to_owned() }),
                ("priority", rule.spec.priority.to_string()),
                ("databases", databases.iter().filter(|one| read.applies_to(one)).count().to_string()),
                ("mappings", rule.spec.mappings.len().to_string()),
                ("databaseLabels", selects.join(", ")),
                ("fault", fault.unwrap_or_default()),
            ],
            narrow: 4,
        }
    };
    namespace.rules.iter().map(row).collect()
}

fn count(sessions: &[DatabaseSession], of: impl Fn(&DatabaseSession) -> bool) -> String {
    let live = |session: &&DatabaseSession| {
        let phase = session.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
        !matches!(phase, SessionPhase::Ended | SessionPhase::Rejected) && of(session)
    };
    sessions.iter().filter(live).count().to_string()
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}
