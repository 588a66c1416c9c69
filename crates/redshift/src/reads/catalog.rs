//! The catalogue of a logical database: its objects, and what permission sets may do with them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rolecall_engine::objects::SetState;
use rolecall_engine::{Catalog, CatalogQuery, Error};
use rolecall_policy::{DbObject, ObjectKind, Privilege, PrivilegeSet};

use super::objects::Objects;
use super::observe::Seen;
use super::sets::{Granted, set_states};
use super::sight::SERVER_USER;
use crate::Redshift;
use crate::statements::object::READABLE;
use crate::statements::query;
use crate::statements::query::Identity;
use crate::transport::rows::text;
use crate::transport::server::TargetDatabase;

impl Redshift {
    pub(crate) async fn catalog(&self, asked: &CatalogQuery) -> Result<Catalog, Error> {
        let database = &asked.database;
        let run_in = TargetDatabase::Exactly(database.clone());
        let sets: Vec<&str> = asked.sets.iter().map(String::as_str).collect();
        let what = format!("reading the objects of {database:?}");
        let admin = self.server.config().admin_user.as_str();
        let names = [admin, SERVER_USER];
        let mut statements = Seen::statements(Some(&names));
        let (accounts, objects) = (statements.len(), Objects::statements(database).len());
        statements.extend(Objects::statements(database));
        statements.push(query::schema_privileges(Identity::Public));
        statements.extend(Granted::statements(&sets));
        let answers = self.server.read(&run_in, &statements).await?;
        let (seen, rest) = answers.split_at(accounts.min(answers.len()));
        let seen = Seen::read(seen);
        let sight = seen.sight(admin);
        if !sight.sees_privileges() {
            return Err(sight.error(what, admin));
        }
        let (found, rest) = rest.split_at(objects.min(rest.len()));
        let objects = Objects::read(found, database);
        let (public, granted) = rest.split_at(1.min(rest.len()));
        let open: HashSet<&str> = public
            .iter()
            .flatten()
            .filter(|row| text(row, 1).eq_ignore_ascii_case("usage"))
            .map(|row| text(row, 0))
            .collect();
        let states: BTreeMap<String, SetState> =
            set_states(&sets, &seen, &Granted::read(granted), &objects.numbered(objects.all.keys()));
        Ok(catalog(database, &objects, &open, states))
    }
}

fn catalog(
    database: &str,
    objects: &Objects,
    open: &HashSet<&str>,
    sets: BTreeMap<String, SetState>,
) -> Catalog {
    let all: Arc<[DbObject]> = objects.all.keys().cloned().collect();
    let is_open = |object: &DbObject| object.kind == ObjectKind::Schema && open.contains(&*object.name);
    Catalog {
        database: database.to_owned(),
        // The server has no number that matters: privileges are on names.
        ids: (0..u32::try_from(all.len()).unwrap_or(u32::MAX)).collect(),
        open_schemas: all.iter().enumerate().filter(|(_, object)| is_open(object)).map(|(i, _)| i).collect(),
        // There is no right to connect.
        open: true,
        unknown: Privilege::all().filter(|privilege| !READABLE.contains(privilege)).collect::<PrivilegeSet>(),
        crowded: BTreeMap::new(),
        announced: false,
        elsewhere: None,
        objects: all,
        sets,
    }
}

#[cfg(test)]
mod tests {
    use super::super::objects::tests::objects;
    use super::*;

    #[test]
    fn privileges_that_are_not_shown_are_unknown() {
        let catalog = catalog("shop", &objects(), &HashSet::from(["app"]), BTreeMap::new());
        for privilege in [Privilege::Truncate, Privilege::Trigger, Privilege::Maintain, Privilege::Find] {
            assert!(catalog.unknown.contains(privilege), "{privilege}");
        }
        for privilege in READABLE {
            assert!(!catalog.unknown.contains(privilege), "{privilege}");
        }
        assert!(catalog.objects.is_sorted() && catalog.open && catalog.open_schemas.len() == 1);
    }
}
