//! Permission sets: their records, and what they have in one logical database.

use std::collections::BTreeMap;
use std::sync::Arc;

use rolecall_engine::dialect::redshift::record;
use rolecall_engine::objects::{ObjectGrant, SetState};
use rolecall_engine::{Error, SetEntry, SetRecord};
use rolecall_policy::{ObjectKind, Privilege, PrivilegeSet};

use super::objects::Numbered;
use super::observe::Seen;
use super::roles::Roles;
use crate::Redshift;
use crate::statements::object::{READABLE, Target};
use crate::statements::query::Identity;
use crate::statements::{Statement, query};
use crate::transport::rows::{Row, text};

/// What roles have in one database: the privileges by role and object, as the server calls them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Granted(BTreeMap<(String, Target), Vec<String>>);

impl Granted {
    /// What is read for it.
    pub(crate) fn statements(roles: &[&str]) -> Vec<Statement> {
        let identity = Identity::Roles(roles);
        vec![
            query::relation_privileges(identity),
            query::schema_privileges(identity),
            query::function_privileges(identity),
        ]
    }

    /// From the answers.
    pub(crate) fn read(answers: &[Vec<Row>]) -> Self {
        let rows = |number: usize| answers.get(number).into_iter().flatten();
        let mut granted: BTreeMap<(String, Target), Vec<String>> = BTreeMap::new();
        let mut add = |role: &str, target: Target, privilege: &str| {
            granted.entry((role.to_owned(), target)).or_default().push(privilege.to_ascii_uppercase());
        };
        for row in rows(0) {
            let (schema, name) = (text(row, 0).to_owned(), text(row, 1).to_owned());
            add(text(row, 3), Target::Table { schema, name }, text(row, 2));
        }
        for row in rows(1) {
            add(text(row, 2), Target::Schema(text(row, 0).to_owned()), text(row, 1));
        }
        for row in rows(2) {
            // Which of the two it is shows in the catalogue alone.
            let target = Target::Function {
                schema: text(row, 0).to_owned(),
                name: text(row, 1).to_owned(),
                arguments: text(row, 2).to_owned(),
            };
            add(text(row, 4), target, text(row, 3));
        }
        Self(granted)
    }

    /// What a role has, by object.
    pub(crate) fn of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a Target, &'a [String])> {
        let all = self.0.iter().filter(move |((holder, _), _)| holder == role);
        all.map(|((_, target), privileges)| (target, privileges.as_slice()))
    }
}

/// The states of the sets that are asked for, those that exist.
pub(crate) fn set_states(
    sets: &[&str],
    seen: &Seen,
    granted: &Granted,
    objects: &Numbered<'_>,
) -> BTreeMap<String, SetState> {
    let existing = sets.iter().filter(|set| seen.roles.exists(set));
    existing.map(|set| ((*set).to_owned(), state(set, seen, granted, objects))).collect()
}

fn state(set: &str, seen: &Seen, granted: &Granted, objects: &Numbered<'_>) -> SetState {
    let nobody: Arc<str> = "".into();
    let mut foreign_grants = seen.roles.foreign_in(set).next().is_some();
    // Of a function with several lists of arguments: what it has on all of them, and on any.
    let mut on_all: BTreeMap<usize, (PrivilegeSet, usize)> = BTreeMap::new();
    for (target, privileges) in granted.of(set) {
        let Some(number) = objects.number(target) else {
            foreign_grants = true;
            continue;
        };
        let known: PrivilegeSet = privileges.iter().filter_map(|name| readable(name, target)).collect();
        foreign_grants |= privileges.iter().any(|name| readable(name, target).is_none());
        let entry = on_all.entry(number).or_insert((PrivilegeSet::ALL, 0));
        *entry = (entry.0.intersection(known), entry.1 + 1);
    }
    let grants = on_all.into_iter().filter_map(|(object, (privileges, count))| {
        // What it has on some of them only is taken away, and given again where it should have it.
        let is_partial = count < objects.targets[object].len();
        foreign_grants |= is_partial;
        let privileges = if is_partial { PrivilegeSet::EMPTY } else { privileges };
        let (grantor, grantable) = (Arc::clone(&nobody), PrivilegeSet::EMPTY);
        (!privileges.is_empty()).then_some(ObjectGrant { object, grantor, privileges, grantable })
    });
    let grants = grants.collect();
    SetState { record: record_of(set, &seen.roles, &seen.databases), connects: true, grants, foreign_grants }
}

impl Numbered<'_> {
    /// The number of what a list of privileges names.
    pub(crate) fn number(&self, target: &Target) -> Option<usize> {
        self.numbers.get(target).or_else(|| self.numbers.get(&as_procedure(target)?)).copied()
    }
}

/// What a set has and no set should, object by object: to be taken away.
pub(crate) fn foreign<'a>(
    set: &'a str,
    granted: &'a Granted,
    objects: &'a Numbered<'_>,
) -> impl Iterator<Item = Target> + 'a {
    let mut on: BTreeMap<usize, usize> = BTreeMap::new();
    for number in granted.of(set).filter_map(|(target, _)| objects.number(target)) {
        *on.entry(number).or_default() += 1;
    }
    granted.of(set).filter_map(move |(target, privileges)| {
        let is_foreign = match objects.number(target) {
            None => true,
            Some(number) => {
                let is_partial = on.get(&number).is_some_and(|count| *count < objects.targets[number].len());
                is_partial || privileges.iter().any(|name| readable(name, target).is_none())
            }
        };
        // As it is named where it is known: a procedure is listed as a function.
        let known = objects
            .number(target)
            .and_then(|number| objects.targets[number].iter().find(|known| known.is_same(target)));
        is_foreign.then(|| known.map_or_else(|| target.clone(), |known| (*known).clone()))
    })
}

fn as_procedure(target: &Target) -> Option<Target> {
    match target {
        Target::Function { schema, name, arguments } => Some(Target::Procedure {
            schema: schema.clone(),
            name: name.clone(),
            arguments: arguments.clone(),
        }),
        _ => None,
    }
}

/// A privilege that a set can have on such an object. (On schemas there are rights on all their tables, too.)
fn readable(name: &str, target: &Target) -> Option<Privilege> {
    let kind = match target {
        Target::Schema(_) => ObjectKind::Schema,
        Target::Function { .. } | Target::Procedure { .. } => ObjectKind::Function,
        Target::Table { .. } | Target::Database(_) => ObjectKind::Table,
    };
    Privilege::parse(name).filter(|privilege| READABLE.contains(privilege) && privilege.applies_to(kind))
}

/// The record of a set, from the roles that it has.
fn record_of(set: &str, roles: &Roles, databases: &[String]) -> Option<SetRecord> {
    let owner = record::owner(&roles.owner_uid(set)?, roles.names());
    let database = roles.nested_in(set).find_map(|role| record::database_of(role, databases));
    Some(SetRecord {
        uid: owner.uid,
        admin: owner.admin,
        cluster: owner.cluster,
        database: database.unwrap_or_default(),
        permissions: String::new(),
    })
}

impl Redshift {
    /// Every set of the cluster, with the number of its members.
    pub(crate) async fn all_sets(&self) -> Result<Vec<SetEntry>, Error> {
        let run_in = self.server.target_database(None);
        let seen = Seen::read(&self.server.read(&run_in, &Seen::statements(None)).await?);
        Ok(entries(&seen))
    }
}

fn entries(seen: &Seen) -> Vec<SetEntry> {
    let mut members: BTreeMap<&str, usize> = BTreeMap::new();
    for role in seen.users.roles.values().flat_map(BTreeMap::keys) {
        *members.entry(role).or_default() += 1;
    }
    let sets = seen.roles.names().filter(|role| record::is_set(role));
    sets.map(|role| SetEntry {
        role: role.clone(),
        record: record_of(role, &seen.roles, &seen.databases),
        members: members.get(role.as_str()).copied().unwrap_or_default(),
        // Which functions it has shows in its own database only. Assuming it ends connections that could have stayed.
        executes: true,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use rolecall_engine::Owner;

    use super::super::users::Users;
    use super::*;
    use crate::transport::rows::tests::row;

    fn owner() -> Owner {
        Owner { uid: "us".into(), admin: "shop/dwh".into(), cluster: "blue".into(), ..Owner::default() }
    }

    fn seen() -> Seen {
        let mut roles = vec![row(["rolecall_1", "admin"]), row(["rolecall_2", "admin"])];
        roles.extend(record::text_roles(&owner()).iter().map(|role| row([role, "admin"])));
        let nested = [
            row(["rolecall_1", &record::owner_role("us")]),
            row(["rolecall_1", &record::database_role("shop")]),
        ];
        Seen {
            users: Users::read(
                &[],
                &[],
                &[row(["alice", "rolecall_1", "f"]), row(["bob", "rolecall_1", "f"])],
            ),
            roles: Roles::read(&roles, &nested, &[]),
            sessions: Vec::new(),
            databases: vec!["shop".to_owned()],
        }
    }

    fn objects() -> super::super::objects::Objects {
        super::super::objects::Objects::read(
            &[
                vec![row(["app"])],
                vec![row(["app", "orders", "TABLE"])],
                vec![],
                vec![
                    row(["app", "f", "FUNCTION", "integer"]),
                    row(["app", "f", "FUNCTION", "text"]),
                    row(["app", "p", "PROCEDURE", ""]),
                ],
            ],
            "shop",
        )
    }

    fn state_with(relations: &[Row], functions: &[Row]) -> SetState {
        let schemas = vec![row(["app", "USAGE", "rolecall_1"])];
        let granted = Granted::read(&[relations.to_vec(), schemas, functions.to_vec()]);
        let objects = objects();
        let numbered = objects.numbered(objects.all.keys());
        set_states(&["rolecall_1", "rolecall_9"], &seen(), &granted, &numbered).remove("rolecall_1").unwrap()
    }

    #[test]
    fn a_set_is_read_with_its_record_and_its_grants() {
        let state = state_with(
            &[row(["app", "orders", "SELECT", "rolecall_1"]), row(["app", "orders", "INSERT", "rolecall_1"])],
            &[
                row(["app", "f", "integer", "EXECUTE", "rolecall_1"]),
                row(["app", "f", "text", "EXECUTE", "rolecall_1"]),
                row(["app", "p", "", "EXECUTE", "rolecall_1"]),
            ],
        );
        let record = state.record.unwrap();
        assert_eq!((record.owner(), record.database.as_str()), (owner(), "shop"));
        let grants: Vec<String> =
            state.grants.iter().map(|grant| format!("{} {}", grant.object, grant.privileges)).collect();
        assert_eq!(grants, ["0 INSERT, SELECT", "1 EXECUTE", "2 EXECUTE", "3 USAGE"]);
        assert!(!state.foreign_grants && state.connects);
    }

    #[test]
    fn what_no_set_has_is_seen() {
        let dropped = state_with(&[row(["app", "gone", "SELECT", "rolecall_1"])], &[]);
        let drop_right = state_with(&[row(["app", "orders", "DROP", "rolecall_1"])], &[]);
        let half = state_with(&[], &[row(["app", "f", "text", "EXECUTE", "rolecall_1"])]);
        for state in [dropped, drop_right, half] {
            assert!(state.foreign_grants, "{state:?}");
            assert_eq!(state.grants.len(), 1, "its USAGE alone: {state:?}");
        }
    }

    #[test]
    fn sets_are_listed_with_their_members() {
        let shown: Vec<_> = entries(&seen())
            .into_iter()
            .map(|entry| (entry.role, entry.record.map(|record| record.uid), entry.members))
            .collect();
        assert_eq!(
            shown,
            [("rolecall_1".to_owned(), Some("us".to_owned()), 2), ("rolecall_2".to_owned(), None, 0)]
        );
    }
}
