//! All managed accounts of a server, in one query.

use std::collections::BTreeSet;

use rolecall_engine::server::InventoryEntry;
use rolecall_engine::{AccountName, Error, Inventory, MARKER};
use serde::Deserialize;

use crate::Postgres;
use crate::quote::literal;
use crate::reads::observe::{HAS_LIMITS, SETTINGS_TO_CLEAR, parse_value, record};
use crate::statements::rights::HOLDS_ANY;
use crate::transport::message::Message;
use crate::transport::version::Dialect;

#[derive(Deserialize)]
struct Row {
    name: String,
    comment: Option<String>,
    login: bool,
    backends: u32,
    manageable: bool,
    memberships: BTreeSet<String>,
    strays: bool,
}

impl Postgres {
    pub(crate) async fn list_accounts(&self) -> Result<Inventory, Error> {
        let place = self.server.place(None);
        let message = message(self.server.dialect(&place).await?);
        let reply = self.server.run(&place, &message).await?;
        inventory(reply.value(), &message)
    }
}

/// The accounts that the answer to this message lists.
pub(super) fn inventory(value: Option<&str>, message: &Message) -> Result<Inventory, Error> {
    let rows: Vec<Row> = parse_value(value, || message.attempted(0).to_owned())?;
    let entries = rows.into_iter().filter_map(|row| {
        Some(InventoryEntry {
            account: AccountName::new(row.name).ok()?,
            owner: record(row.comment.as_deref()),
            enabled: row.login,
            backends: row.backends,
            manageable: row.manageable,
            memberships: row.memberships,
            strays: row.strays,
        })
    });
    Ok(Inventory { accounts: entries.collect() })
}

/// More of a recursive clause: the roles that the admin user may change and grant, by itself or by what it is a member of.
const ADMINISTERED: &str = ",
reached (role) AS (
  SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER
  UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN reached ON reached.role = m.member),
administered (role) AS MATERIALIZED (
  SELECT DISTINCT m.roleid FROM pg_catalog.pg_auth_members m JOIN reached ON reached.role = m.member WHERE m.admin_option)";

pub(super) fn message(dialect: Dialect) -> Message {
    // Before 16, CREATEROLE is enough. From 16 on pg_has_role would go through all that the admin user is a member of, each role
    // that it created, for each account: beside 10,000 that takes longer than any statement may.
    let (administered, manageable) = if dialect.has_grantors() {
        (ADMINISTERED, "(SELECT me.rolsuper FROM me) OR u.oid IN (SELECT a.role FROM administered a)")
    } else {
        ("", "true")
    };
    Message::one(
        "listing the managed accounts",
        format!(
            "WITH RECURSIVE me AS MATERIALIZED (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER),
parameters AS MATERIALIZED (SELECT p.name, p.context FROM pg_catalog.pg_settings p){administered}
SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
  'name', u.rolname, 'comment', d.description, 'login', u.rolcanlogin, 'backends', COALESCE(b.n, 0), 'manageable', {manageable},
  'memberships', CASE WHEN u.rolcanlogin THEN (SELECT COALESCE(pg_catalog.json_agg(DISTINCT r.rolname), '[]')
    FROM pg_catalog.pg_auth_members h JOIN pg_catalog.pg_roles r ON r.oid = h.roleid
    WHERE h.member = u.oid AND r.rolname <> {marker}) ELSE '[]' END,
  'strays', u.rolcanlogin AND ({HAS_LIMITS} OR u.rolsuper OR u.rolcreaterole OR u.rolcreatedb OR u.rolreplication OR u.rolbypassrls
    OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s, me WHERE {SETTINGS_TO_CLEAR}) OR {HOLDS_ANY})) ORDER BY u.rolname), '[]')
FROM (SELECT m.member, pg_catalog.bool_and(m.admin_option) AS admin FROM pg_catalog.pg_auth_members m
  JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE g.rolname = {marker} GROUP BY m.member) k
JOIN pg_catalog.pg_roles u ON u.oid = k.member
LEFT JOIN pg_catalog.pg_shdescription d
  ON d.objoid = u.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
LEFT JOIN (SELECT a.usesysid, pg_catalog.count(*) AS n FROM pg_catalog.pg_stat_activity a
  WHERE a.usesysid IS NOT NULL GROUP BY a.usesysid) b ON b.usesysid = u.oid
WHERE NOT k.admin OR d.description ~ '\"uid\"\\s*:'",
            marker = literal(MARKER),
        ),
    )
}
