//! Dropping sets that nobody needs any more.

use std::collections::BTreeMap;

use rolecall_engine::sets::MOST_OBJECTS;
use rolecall_engine::{Applied, Class, Error, OWN_ROLE_PREFIX};

use super::change::{Change, Refused, Verb};
use crate::Postgres;
use crate::quote::{identifier, is_possible, literal};
use crate::reads::objects::{Only, Table, grants, numbers};
use crate::reads::sets::members;
use crate::statements::rights;
use crate::transport::message::{Message, Needs};
use crate::transport::server::Place;
use crate::transport::sqlstate::CHANGED;
use crate::transport::version::Dialect;

impl Postgres {
    pub(crate) async fn retire_set(&self, set: &str, owner_uid: &str) -> Result<Applied, Error> {
        let kept = |why: String| Applied { kept_because: Some(why), ..Applied::default() };
        if !set.starts_with(OWN_ROLE_PREFIX) || !is_possible(set) {
            return Ok(kept(format!("{set:?} is not the name of a permission set")));
        }
        let place = self.server.place(None);
        let Some(entry) = self.list_sets_in(&place, Some(set)).await?.pop() else {
            return Ok(Applied { dropped: true, ..Applied::default() });
        };
        let database = match entry.record {
            Some(record) if record.uid == owner_uid => record.database,
            _ => return Ok(kept(format!("{set:?} does not carry our record"))),
        };
        if entry.members > 0 {
            return Ok(kept(format!("{set:?} has {} members", entry.members)));
        }
        let dialect = self.server.dialect(&place).await?;
        let place = self.server.place(Some(&database));
        for database in rights::databases(&self.dependencies_of(&place, set).await?) {
            let place = database.map_or_else(|| place.clone(), Place::Exactly);
            match self.strip_set(&place, dialect, set).await {
                Err(error) if error.class != Class::Refused => return Err(error),
                Err(error) => return Ok(kept(error.to_string())),
                Ok(()) => {}
            }
        }
        match self.server.run(&place, &drop_role(set, dialect)).await {
            Ok(_) => Ok(Applied { dropped: true, ..Applied::default() }),
            Err(error) if error.class == Class::Refused || error.code == CHANGED => {
                let dependents = self.what_depends_on(&place, set).await.unwrap_or_default();
                Ok(kept(format!("{error}: {dependents}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Revokes everything from a set in one database, as far as the admin user can.
    async fn strip_set(&self, place: &Place, dialect: Dialect, set: &str) -> Result<(), Error> {
        let what = format!("reading the grants of {}", identifier(set));
        let statement = grants([set].into_iter(), dialect, &Only::Everything);
        let reply = self.server.run(place, &Message::one(what, statement)).await?;
        let mut groups: BTreeMap<(Table, &str, String), Vec<u32>> = BTreeMap::new();
        for row in reply.rows().iter().filter(|row| row.get(0) == Some("h")) {
            let table = match row.get(2) {
                Some("c") => Table::Class,
                Some("p") => Table::Proc,
                _ => Table::Namespace,
            };
            if let (Some(grantor), Some(list)) = (row.get(4), row.get(5)) {
                // The privileges are named, as for ALL the server might choose the grants of another grantor.
                groups.entry((table, grantor, list.replace('*', ""))).or_default().extend(numbers(row, 1));
            }
        }
        let mut busy = Refused::new();
        for ((table, grantor, privileges), ids) in &groups {
            let verb = Verb::Revoke { grantor, option_only: false };
            let change =
                Change { class: table.class(), table: *table, privileges: privileges.clone(), set, verb };
            for ids in ids.chunks(MOST_OBJECTS) {
                // What is refused shows when the role is dropped.
                self.change(place, dialect, &change, ids, &mut busy).await?;
            }
        }
        if let Some((_, error)) = busy.pop_first() {
            return Err(error);
        }
        // The rest: columns, types, databases. What cannot be taken away shows when the role is dropped.
        self.server.run(place, &rights::revoke_from(set, dialect, "true", "true")).await.map(drop)
    }
}

fn drop_role(set: &str, dialect: Dialect) -> Message {
    let (role, text) = (identifier(set), literal(set));
    let mut message = Message::new();
    message.push_needing(
        Needs::AdminOption(role.clone()),
        format!("locking the permission set {role}"),
        format!("ALTER ROLE {role} NOLOGIN"),
    );
    message.push_needing(
        Needs::Truth(CHANGED),
        format!("looking for members of {role}"),
        format!(
            "SELECT 1 / CASE WHEN {} = 0 THEN 1 ELSE 0 END FROM pg_catalog.pg_roles r WHERE r.rolname = {text}",
            members(dialect)
        ),
    );
    message.push(format!("dropping the permission set {role}"), format!("DROP ROLE {role}"));
    message
}
