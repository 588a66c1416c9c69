//! Reading permission sets: their records, and how many members each has.

use rolecall_engine::sets::{SetEntry, SetRecord};
use rolecall_engine::{Error, OWN_ROLE_PREFIX};
use serde::Deserialize;

use crate::Postgres;
use crate::quote::literal;
use crate::reads::observe::parse;
use crate::transport::message::Message;
use crate::transport::server::Place;
use crate::transport::version::Dialect;

impl Postgres {
    /// Every set of the server, with the number of its members.
    pub(crate) async fn all_sets(&self) -> Result<Vec<SetEntry>, Error> {
        self.list_sets_in(&self.server.place(None), None).await
    }

    /// The sets, or `one` of them where it exists.
    pub(crate) async fn list_sets_in(
        &self,
        place: &Place,
        one: Option<&str>,
    ) -> Result<Vec<SetEntry>, Error> {
        let message = list(self.server.dialect(place).await?, one);
        let reply = self.server.run(place, &message).await?;
        let rows: Vec<Row> = parse(&reply, || message.attempted(0).to_owned())?;
        Ok(rows.into_iter().map(Row::entry).collect())
    }
}

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

/// An expression: how many members has the role of the alias `r`? On 16+ whoever creates a role is a member of it
/// without having its rights.
pub(crate) fn members(dialect: Dialect) -> String {
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
