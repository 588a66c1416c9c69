//! Listing sets, and dropping those that nobody needs any more.

use std::collections::BTreeMap;

use rolecall_engine::sets::{MOST_OBJECTS, SetEntry, SetRecord};
use rolecall_engine::{Applied, Class, Error, OWN_ROLE_PREFIX};
use serde::Deserialize;

use super::change::{Change, Refused, Verb};
use super::{Postgres, Table, class_of};
use crate::quote::{identifier, is_possible, literal};
use crate::reads::objects::{Only, held, numbers};
use crate::reads::observe::parse;
use crate::statements::rights;
use crate::transport::message::{Message, Needs};
use crate::transport::server::Place;
use crate::transport::sqlstate::CHANGED;
use crate::transport::version::Dialect;

#[derive(Deserialize)]
struct Row {
    role: String,
    comment: Option<String>,
    members: usize,
    executes: bool,
}

impl Row {
    fn entry(self) -> SetEntry {
        let record: Option<SetRecord> = self.comment.and_then(|comment| serde_json::from_str(&comment).ok());
        SetEntry { role: self.role, record, members: self.members, executes: self.executes }
    }
}

impl Postgres {
    pub(crate) async fn all_sets(&self) -> Result<Vec<SetEntry>, Error> {
        self.list_sets_in(&self.server.place(None), None).await
    }

    async fn list_sets_in(&self, place: &Place, one: Option<&str>) -> Result<Vec<SetEntry>, Error> {
        let message = list(self.server.dialect(place).await?, one);
        let reply = self.server.run(place, &message).await?;
        let rows: Vec<Row> = parse(&reply, || message.attempted(0).to_owned())?;
        Ok(rows.into_iter().map(Row::entry).collect())
    }

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
                let told = self.what_depends_on(&place, set).await.unwrap_or_default();
                Ok(kept(format!("{error}: {told}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes away all that a set holds in one database, as far as the admin user can.
    async fn strip_set(&self, place: &Place, dialect: Dialect, set: &str) -> Result<(), Error> {
        let what = format!("reading what {} holds", identifier(set));
        let statement = held([set].into_iter(), dialect, &Only::Everything);
        let reply = self.server.run(place, &Message::one(what, statement)).await?;
        let mut groups: BTreeMap<(Table, &str, String), Vec<u32>> = BTreeMap::new();
        for row in reply.rows().iter().filter(|row| row.get(0) == Some("h")) {
            let table = match row.get(2) {
                Some("c") => Table::Class,
                Some("p") => Table::Proc,
                _ => Table::Namespace,
            };
            if let (Some(grantor), Some(list)) = (row.get(4), row.get(5)) {
                // The privileges are named, as for ALL the server might look for the grants of another grantor.
                groups.entry((table, grantor, list.replace('*', ""))).or_default().extend(numbers(row, 1));
            }
        }
        let mut busy = Refused::new();
        for ((table, grantor, privileges), ids) in &groups {
            let verb = Verb::Revoke { grantor, option_only: false };
            let change =
                Change { class: class_of(*table), table: *table, privileges: privileges.clone(), set, verb };
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

/// An expression: how many members has the role of the alias `r`? On 16+ whoever creates a role is a member of it
/// without having its rights.
fn members(dialect: Dialect) -> String {
    let real = if dialect.has_grantors() { "AND (m.inherit_option OR m.set_option)" } else { "" };
    format!(
        "(SELECT pg_catalog.count(DISTINCT m.member) FROM pg_catalog.pg_auth_members m
    JOIN pg_catalog.pg_roles u ON u.oid = m.member WHERE m.roleid = r.oid AND u.rolname <> CURRENT_USER {real})"
    )
}

fn list(dialect: Dialect, one: Option<&str>) -> Message {
    let which = match one {
        Some(set) => format!("r.rolname = {}", literal(set)),
        None => format!("pg_catalog.starts_with(r.rolname::pg_catalog.text, {})", literal(OWN_ROLE_PREFIX)),
    };
    Message::one(
        "listing the permission sets",
        format!(
            "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
  'role', r.rolname, 'comment', d.description, 'members', {}, 'executes', EXISTS (
    SELECT FROM pg_catalog.pg_shdepend s WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      AND s.refobjid = r.oid AND s.deptype = 'a' AND s.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass))
  ORDER BY r.rolname), '[]')
FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_shdescription d
  ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
WHERE {which}",
            members(dialect)
        ),
    )
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
