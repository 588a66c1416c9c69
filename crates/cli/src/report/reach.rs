//! Who reaches what, from policy alone. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use rolecall_policy::Protocol;
use serde::Serialize;

use crate::access::{Access, Policy};
use crate::explain::NamesView;
use crate::input::Namespace;

/// Who reaches what.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// The namespace; `null` where manifests name none.
    pub namespace: Option<String>,
    /// Each user with each database that a session of it could start on, by user and database.
    pub items: Vec<ReachItem>,
    /// What changed since the manifests that it was compared with; `null`: with none.
    pub changes: Option<Vec<Change>>,
}

/// What a user could have on a database.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReachItem {
    /// The DatabaseUser.
    pub user: String,
    /// Its name in databases.
    pub username: String,
    /// The DatabaseAdmin.
    pub database: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The logical databases that it may connect to.
    pub database_names: NamesView,
    /// The database roles that it may have.
    pub db_roles: Vec<String>,
    /// The privileges on objects that it may have, each with the entry that gives it.
    pub permissions: Vec<String>,
    /// The ProvisioningRoles that give all this.
    pub roles: Vec<String>,
    /// How long a session lasts at most; `null`: as long as it likes.
    pub max_session_ttl: Option<String>,
}

/// What a user could have on a database, and what it could have before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The DatabaseUser.
    pub user: String,
    /// The DatabaseAdmin.
    pub database: String,
    /// What it reaches now and did not then.
    pub gained: Vec<String>,
    /// What it reached then and does not now.
    pub lost: Vec<String>,
}

/// Who reaches what by these objects; only of `user` and `database`, where they are named.
pub fn reach(namespace: &Namespace, user: Option<&str>, database: Option<&str>) -> Reach {
    let policy = Policy::new(namespace);
    let mut items = Vec::new();
    for (name, object) in policy.users() {
        let username = policy.username(object);
        if user.is_some_and(|user| user != *name && user != username) {
            continue;
        }
        for (admin_name, admin) in policy.admins() {
            if database.is_some_and(|database| database != *admin_name) {
                continue;
            }
            let Ok(access) = policy.access(object, admin) else { continue };
            let database = rolecall_resolve::database(admin);
            items.push(ReachItem {
                user: (*name).to_owned(),
                username: username.clone(),
                database: admin.name_any(),
                protocol: database.protocol,
                labels: database.labels.clone(),
                permissions: permissions(&access),
                db_roles: access.grant.db_roles.keys().cloned().collect(),
                roles: access.grant.roles.clone(),
                max_session_ttl: access
                    .grant
                    .max_session_ttl
                    .map(|ttl| rolecall_api::GoDuration::from(ttl).to_string()),
                database_names: access.names.into(),
            });
        }
    }
    Reach { namespace: namespace.name.clone(), items, changes: None }
}

fn permissions(access: &Access) -> Vec<String> {
    let entry = |entry: &std::sync::Arc<rolecall_policy::PermissionEntry>| {
        let objects = serde_json::to_value(&entry.spec.matching).unwrap_or_default();
        format!("{} on objects {} (role {})", entry.spec.permissions.join(", "), objects, entry.origin.role)
    };
    let entries = &access.provisioning.permissions;
    let given = entries.allow.iter().map(entry);
    let taken = entries.deny.iter().map(|denied| format!("not {}", entry(denied)));
    given.chain(taken).collect()
}

/// What changed between two, by user and database.
pub fn changes(before: &Reach, after: &Reach) -> Vec<Change> {
    let (old, new) = (by_place(before), by_place(after));
    let places: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    let none = BTreeSet::new();
    let change = |place: (&str, &str)| {
        let (old, new) = (old.get(&place).unwrap_or(&none), new.get(&place).unwrap_or(&none));
        Change {
            user: place.0.to_owned(),
            database: place.1.to_owned(),
            gained: new.difference(old).cloned().collect(),
            lost: old.difference(new).cloned().collect(),
        }
    };
    let all = places.into_iter().map(change);
    all.filter(|change| !(change.gained.is_empty() && change.lost.is_empty())).collect()
}

fn by_place(reach: &Reach) -> BTreeMap<(&str, &str), BTreeSet<String>> {
    reach.items.iter().map(|item| ((&*item.user, &*item.database), facets(item))).collect()
}

/// What an item consists of, one by one.
fn facets(item: &ReachItem) -> BTreeSet<String> {
    let mut facets = BTreeSet::from(["a login".to_owned()]);
    facets.extend(item.db_roles.iter().map(|role| format!("database role {role}")));
    facets.extend(item.permissions.iter().cloned());
    facets.insert(match &item.database_names {
        NamesView::AllExcept(names) if names.is_empty() => "every logical database".to_owned(),
        NamesView::AllExcept(names) => format!("every logical database except {}", names.join(", ")),
        NamesView::Only(names) => format!("the logical databases {}", names.join(", ")),
    });
    facets.insert(match &item.max_session_ttl {
        Some(ttl) => format!("sessions of at most {ttl}"),
        None => "sessions of any length".to_owned(),
    });
    facets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{collect_manifests, parse_documents};

    fn of(roles: &str) -> Reach {
        let text = format!(
            r#"
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {{name: orders, labels: {{env: prod}}}},
  spec: {{protocol: postgres, uri: "db:5432", auth: {{}}, adminUser: {{name: admin}}}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: DatabaseUser, metadata: {{name: alice}}, spec: {{roles: [reader]}}}}
---
{{apiVersion: rolecall.dev/v1alpha1, kind: ProvisioningRole, metadata: {{name: reader}}, spec: {{
  options: {{createDbUserMode: Keep}},
  allow: {{dbLabels: {{env: [prod]}}, dbNames: [app], dbUsers: ["*"], dbRoles: [{roles}]}}}}}}
"#
        );
        let documents = parse_documents(&text, "test").unwrap();
        reach(&collect_manifests(documents, None).unwrap().0, None, None)
    }

    #[test]
    fn what_a_user_could_have_is_told_with_what_gives_it() {
        let found = of("reader, writer");
        let [item] = found.items.as_slice() else { panic!("{found:?}") };
        assert_eq!((&*item.user, &*item.database), ("alice", "orders"));
        assert_eq!(
            (&*item.db_roles, &*item.roles),
            (&["reader".to_owned(), "writer".to_owned()][..], &["reader".to_owned()][..])
        );
        assert_eq!(item.labels["env"], "prod");
    }

    #[test]
    fn what_changed_is_told_one_by_one() {
        let changed = changes(&of("reader"), &of("writer"));
        let change = |gained: &[&str], lost: &[&str]| Change {
            user: "alice".into(),
            database: "orders".into(),
            gained: gained.iter().map(|&text| text.to_owned()).collect(),
            lost: lost.iter().map(|&text| text.to_owned()).collect(),
        };
        assert_eq!(changed, [change(&["database role writer"], &["database role reader"])]);
        assert!(changes(&of("reader"), &of("reader")).is_empty());
        let all = changes(&Reach::default(), &of("reader"));
        assert!(all[0].gained.contains(&"a login".to_owned()) && all[0].lost.is_empty(), "{all:?}");
    }
}
