//! The creator roles that the admin user has, and how full they are.

use std::collections::BTreeSet;

use rolecall_engine::{AccountName, Error};
use serde::Deserialize;

use crate::Postgres;
use crate::quote::{literal, names};
use crate::reads::observe::parse;
use crate::statements::creators::{HOLDER, PREFIX};
use crate::statements::guard::{managed, record_of};
use crate::transport::message::Message;
use crate::transport::server::Place;

/// What was found.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Creators {
    /// The admin user is a superuser, who pays for no role that it created.
    pub(crate) superuser: bool,
    /// Only members of a role of RDS may set passwords. Creators are none.
    pub(crate) no_passwords: bool,
    /// The name of the group, and whether there is one.
    pub(crate) group: String,
    pub(crate) has_group: bool,
    /// How many roles the admin user holds itself.
    pub(crate) direct: usize,
    /// The pairs.
    pub(crate) pairs: Vec<Found>,
}

/// A creator and its holder.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Found {
    pub(crate) creator: String,
    pub(crate) holder: String,
    /// Accounts are created in it.
    pub(crate) open: bool,
    /// How many accounts it holds.
    pub(crate) held: usize,
}

impl Postgres {
    pub(crate) async fn read_creators(&self, place: &Place) -> Result<Creators, Error> {
        let message = message();
        parse(&self.server.run(place, &message).await?, || message.attempted(0).to_owned())
    }
}

/// An account that the admin user holds itself, and its record.
#[derive(Debug, Deserialize)]
struct Direct {
    name: String,
    comment: String,
}

impl Postgres {
    /// Some accounts of this owner, with their records, that the admin user holds itself and that nobody can use, but none of `others`.
    pub(crate) async fn read_direct(
        &self,
        place: &Place,
        owner_uid: &str,
        others: &BTreeSet<AccountName>,
        most: usize,
    ) -> Result<Vec<(AccountName, String)>, Error> {
        let message = Message::one(
            "looking for accounts that the admin user created itself",
            format!(
                "SELECT COALESCE(pg_catalog.json_agg(x), '[]') FROM (
  SELECT u.rolname AS name, d.description AS comment
  FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles u ON u.oid = a.roleid
  JOIN pg_catalog.pg_shdescription d ON d.objoid = u.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
  WHERE a.member = (SELECT me.oid FROM pg_catalog.pg_roles me WHERE me.rolname = CURRENT_USER) AND a.admin_option
    AND NOT u.rolcanlogin AND d.description ~ {} AND {} AND NOT u.rolname = ANY ({})
  LIMIT {most}) x",
                literal(record_of(owner_uid)),
                managed("u"),
                names(others.iter().map(AccountName::as_str))
            ),
        );
        let rows: Vec<Direct> =
            parse(&self.server.run(place, &message).await?, || message.attempted(0).to_owned())?;
        let named = |row: Direct| Some((AccountName::new(row.name).ok()?, row.comment));
        Ok(rows.into_iter().filter_map(named).collect())
    }
}

fn message() -> Message {
    Message::one(
        "reading the creator roles",
        format!(
            "WITH me AS MATERIALIZED (SELECT r.oid, r.rolsuper, {prefix} || r.oid::pg_catalog.text AS creators
  FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER),
k AS MATERIALIZED (SELECT k.oid, k.rolname FROM me JOIN pg_catalog.pg_auth_members s ON s.member = me.oid AND s.set_option
  JOIN pg_catalog.pg_roles k ON k.oid = s.roleid WHERE pg_catalog.starts_with(k.rolname::pg_catalog.text, {prefix}))
SELECT pg_catalog.json_build_object(
'superuser', me.rolsuper,
'no_passwords', COALESCE(pg_catalog.current_setting('rds.restrict_password_commands', true) IN ('1', 'on'), false),
'group', me.creators,
'has_group', EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname::pg_catalog.text = me.creators),
'direct', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_auth_members a WHERE a.member = me.oid AND a.admin_option
  AND a.roleid NOT IN (SELECT r.oid FROM pg_catalog.pg_roles r WHERE pg_catalog.starts_with(r.rolname::pg_catalog.text, {prefix}))),
'pairs', COALESCE((SELECT pg_catalog.json_agg(p) FROM (
  SELECT k.rolname AS creator, h.rolname AS holder, pg_catalog.bool_or(i.set_option) AS open,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_auth_members a WHERE a.member = h.oid AND a.admin_option) AS held
  FROM k JOIN pg_catalog.pg_auth_members i ON i.member = k.oid JOIN pg_catalog.pg_roles h ON h.oid = i.roleid
  WHERE h.rolname::pg_catalog.text = k.rolname::pg_catalog.text || '{HOLDER}' GROUP BY k.rolname, h.rolname, h.oid) p), '[]'))
FROM me",
            prefix = literal(PREFIX)
        ),
    )
}
