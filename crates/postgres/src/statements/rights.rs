//! Rights on objects that somebody granted to an account itself, rather than to a role it is a member of.
//!
//! They outlive every session, and they prevent a drop. The server knows of them across all databases
//! (`pg_shdepend`), but takes them away only in the database of the object, and only as whoever granted them. So this
//! is done where the admin user may, and never as part of what closes an access. CONNECT on a database is kept while
//! the account stays: somebody gave it so that the sessions can work.

use std::collections::BTreeSet;

use rolecall_engine::AccountName;
use serde::Deserialize;

use crate::quote::{block, identifier, literal};
use crate::transport::message::{Message, Needs};
use crate::transport::sqlstate::HOLDS_RIGHTS;
use crate::transport::version::Dialect;

/// What keeps an account from being dropped.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// `None`: the server as a whole.
    pub(crate) database: Option<String>,
    /// As in `pg_shdepend`: `o` owner, `a` rights, `r` policy.
    pub(crate) kind: String,
    pub(crate) count: u64,
    /// Some of the objects, where they could be read: kind and name, `table hr.employees`.
    #[serde(default)]
    pub(crate) names: Vec<String>,
}

/// True where the account of the alias `u` has rights on something other than CONNECT on databases. (From 16 on the
/// server counts memberships as rights as well.)
///
/// Where permission sets have many grants, nearly all of `pg_shdepend` belongs to a few roles, and the planner takes
/// that for the share of any role: it would rather read all of it. Counting a range of one makes it use the index.
pub(crate) const HOLDS_ANY: &str = "0 < (SELECT pg_catalog.count(*) FROM pg_catalog.pg_shdepend s
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid BETWEEN u.oid AND u.oid AND s.deptype = 'a'
      AND s.classid <> 'pg_catalog.pg_auth_members'::pg_catalog.regclass
      AND NOT (s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a
        WHERE d.oid = s.objid AND a.grantee = u.oid AND a.privilege_type <> 'CONNECT')))";

/// Fails with `RC002` where the account has such rights.
pub(crate) fn refuse_any(message: &mut Message, account: &AccountName) {
    message.push_needing(
        Needs::Truth(HOLDS_RIGHTS),
        format!("checking for rights of {} itself", identifier(account.as_str())),
        format!("EXECUTE rolecall_holds_no_rights ({})", literal(account.as_str())),
    );
}

/// The check of [`refuse_any`], prepared on a new connection.
pub(crate) fn prepare() -> String {
    format!(
        "PREPARE rolecall_holds_no_rights (pg_catalog.name) AS
SELECT 1 / CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles u WHERE u.rolname = $1 AND {HOLDS_ANY}) THEN 0 ELSE 1 END"
    )
}

/// Lists what depends on a role, counted by database and kind, as JSON.
pub(crate) fn dependencies(role: &str) -> Message {
    Message::one(
        format!("reading what depends on {}", identifier(role)),
        format!(
            "SELECT COALESCE(pg_catalog.json_agg(x), '[]') FROM (
  SELECT d.datname AS database, s.deptype AS kind, pg_catalog.count(*) AS count
  FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles u ON u.oid = s.refobjid
  LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
  WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND u.rolname = {}
    AND s.classid <> 'pg_catalog.pg_auth_members'::pg_catalog.regclass
  GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2) x",
            literal(role)
        ),
    )
}

/// Names what depends on a role in this way, in the database where this runs or, where `shared`, on the server as a whole:
/// one object in each row.
pub(crate) fn dependent_names(role: &str, kind: &str, shared: bool, most: usize) -> Message {
    let database = if shared {
        "0"
    } else {
        "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
    };
    Message::one(
        format!("reading what depends on {}", identifier(role)),
        format!(
            "SELECT DISTINCT i.type || ' ' || i.identity
FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles u ON u.oid = s.refobjid
CROSS JOIN LATERAL pg_catalog.pg_identify_object(s.classid, s.objid, s.objsubid) i
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND u.rolname = {} AND s.deptype = {}
  AND s.classid <> 'pg_catalog.pg_auth_members'::pg_catalog.regclass AND s.dbid = {database} AND i.identity IS NOT NULL
ORDER BY 1 LIMIT {most}",
            literal(role),
            literal(kind)
        ),
    )
}

/// The databases in which rights have to be taken away. Those on databases and the like are seen from all.
pub(crate) fn databases(dependencies: &[Dependency]) -> BTreeSet<Option<String>> {
    dependencies.iter().filter(|d| d.kind == "a" || d.kind == "i").map(|d| d.database.clone()).collect()
}

/// Revokes what the account was granted in the database where this runs, and on the server as a whole. What the admin
/// user may not take away is skipped.
pub(crate) fn revoke(account: &AccountName, dialect: Dialect, connect_too: bool) -> Message {
    let on_database = if connect_too { "true" } else { "a.privilege_type <> 'CONNECT'" };
    revoke_from(account.as_str(), dialect, on_database, "true")
}

/// As [`revoke`], from any role: of databases what one condition is true for (aliases `d`, the database, and `a`, what
/// is granted), of other things what the other does (the alias `s`, the dependency).
///
/// The privileges are named: for ALL the server might choose the grants of another grantor, whose rights the admin
/// user has as well.
pub(crate) fn revoke_from(role: &str, dialect: Dialect, on_database: &str, which: &str) -> Message {
    let (name, select) = (literal(role), grants_to(role, dialect, on_database, which));
    let body = format!(
        "DECLARE
  one pg_catalog.record;
BEGIN
  FOR one IN
{select}  LOOP
    BEGIN
      -- What was granted by one is not taken away by another.
      IF one.become THEN
        EXECUTE pg_catalog.format('SET LOCAL ROLE %I', one.rolname);
      END IF;
      EXECUTE pg_catalog.format('%s FROM %I CASCADE', one.revoke, {name});
      SET LOCAL ROLE NONE;
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
END"
    );
    Message::one(format!("revoking rights of {} itself", identifier(role)), block(&body))
}

/// Lists what [`revoke_from`] would take away: the object, the privileges, the grantor, and the statement that does it.
pub(crate) fn list_grants(role: &str, dialect: Dialect, on_database: &str, which: &str) -> Message {
    Message::one(
        format!("listing rights of {} itself", identifier(role)),
        format!(
            "SELECT one.object, one.privileges, one.rolname,
  'SET ROLE ' || pg_catalog.quote_ident(one.rolname) || '; ' || one.revoke || ' FROM ' || {} || ' CASCADE'
FROM (
{}) one ORDER BY 1, 3",
            literal(identifier(role)),
            grants_to(role, dialect, on_database, which)
        ),
    )
}

/// A query: what a role was granted, by object and grantor. See [`revoke_from`].
fn grants_to(role: &str, dialect: Dialect, on_database: &str, which: &str) -> String {
    let name = literal(role);
    let may_become = if dialect.has_grantors() { "SET" } else { "MEMBER" };
    format!(
        "    SELECT x.before || 'REVOKE ' || pg_catalog.string_agg(DISTINCT x.privilege_type, ', ') || ' ON ' || x.object AS revoke,
      g.rolname <> CURRENT_USER AND pg_catalog.pg_has_role(g.oid, '{may_become}') AS become, g.rolname,
      x.before || x.object AS object, pg_catalog.string_agg(DISTINCT x.privilege_type, ', ') AS privileges
    FROM pg_catalog.pg_shdepend s
    JOIN pg_catalog.pg_roles u ON u.oid = s.refobjid AND u.rolname = {name}
    CROSS JOIN LATERAL (
      SELECT a.grantor, a.grantee, a.privilege_type, '' AS before,
        CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::pg_catalog.regclass AS object
      FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
      WHERE s.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = s.objid
      -- The column is named: whoever may pass on a right on a column only may not take it from the table.
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type || ' (' || pg_catalog.quote_ident(t.attname) || ')', '',
        'TABLE ' || t.attrelid::pg_catalog.regclass
      FROM pg_catalog.pg_attribute t CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) a
      WHERE s.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND t.attrelid = s.objid AND t.attnum = s.objsubid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'ROUTINE ' || p.oid::pg_catalog.regprocedure
      FROM pg_catalog.pg_proc p CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) a
      WHERE s.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = s.objid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'SCHEMA ' || pg_catalog.quote_ident(n.nspname)
      FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a
      WHERE s.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND n.oid = s.objid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'TYPE ' || t.oid::pg_catalog.regtype
      FROM pg_catalog.pg_type t CROSS JOIN LATERAL pg_catalog.aclexplode(t.typacl) a
      WHERE s.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = s.objid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'LANGUAGE ' || pg_catalog.quote_ident(l.lanname)
      FROM pg_catalog.pg_language l CROSS JOIN LATERAL pg_catalog.aclexplode(l.lanacl) a
      WHERE s.classid = 'pg_catalog.pg_language'::pg_catalog.regclass AND l.oid = s.objid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'FOREIGN DATA WRAPPER ' || pg_catalog.quote_ident(f.fdwname)
      FROM pg_catalog.pg_foreign_data_wrapper f CROSS JOIN LATERAL pg_catalog.aclexplode(f.fdwacl) a
      WHERE s.classid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass AND f.oid = s.objid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'FOREIGN SERVER ' || pg_catalog.quote_ident(f.srvname)
      FROM pg_catalog.pg_foreign_server f CROSS JOIN LATERAL pg_catalog.aclexplode(f.srvacl) a
      WHERE s.classid = 'pg_catalog.pg_foreign_server'::pg_catalog.regclass AND f.oid = s.objid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'LARGE OBJECT ' || l.oid
      FROM pg_catalog.pg_largeobject_metadata l CROSS JOIN LATERAL pg_catalog.aclexplode(l.lomacl) a
      WHERE s.classid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass AND l.oid = s.objid
      UNION ALL SELECT d.defaclrole, a.grantee, a.privilege_type, 'ALTER DEFAULT PRIVILEGES FOR ROLE ' || pg_catalog.quote_ident(r.rolname)
        || COALESCE(' IN SCHEMA ' || pg_catalog.quote_ident(n.nspname), '') || ' ',
        CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES'
          WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END
      FROM pg_catalog.pg_default_acl d CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) a
      JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
      WHERE s.classid = 'pg_catalog.pg_default_acl'::pg_catalog.regclass AND d.oid = s.objid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'DATABASE ' || pg_catalog.quote_ident(d.datname)
      FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a
      WHERE s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.oid = s.objid AND ({on_database})
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'TABLESPACE ' || pg_catalog.quote_ident(t.spcname)
      FROM pg_catalog.pg_tablespace t CROSS JOIN LATERAL pg_catalog.aclexplode(t.spcacl) a
      WHERE s.classid = 'pg_catalog.pg_tablespace'::pg_catalog.regclass AND t.oid = s.objid
      UNION ALL SELECT a.grantor, a.grantee, a.privilege_type, '', 'PARAMETER ' || p.parname
      FROM pg_catalog.pg_parameter_acl p CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) a
      WHERE s.classid = 'pg_catalog.pg_parameter_acl'::pg_catalog.regclass AND p.oid = s.objid
    ) x
    JOIN pg_catalog.pg_roles g ON g.oid = x.grantor
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'a' AND x.grantee = u.oid AND ({which})
      AND s.dbid IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
    GROUP BY x.before, x.object, g.oid, g.rolname
"
    )
}

/// What an account is kept for, in words.
pub(crate) fn described(dependencies: &[Dependency]) -> String {
    let items: Vec<String> = dependencies
        .iter()
        .map(|one| {
            let what = match one.kind.as_str() {
                "o" => "it owns",
                "a" => "it has rights on",
                "r" => "it is named in policies of",
                _ => "it is referred to by",
            };
            format!("{what} {}", described_objects(one))
        })
        .collect();
    items.join(", ")
}

/// What they are, in words: `2 objects in the database "shop" (table app.a, table app.b)`.
pub(crate) fn described_objects(one: &Dependency) -> String {
    let objects = if one.count == 1 { "object" } else { "objects" };
    let mut text = match &one.database {
        Some(database) => format!("{} {objects} in the database {database:?}", one.count),
        None => format!("{} {objects} of the whole server", one.count),
    };
    if !one.names.is_empty() {
        text.push_str(&format!(" ({}", one.names.join(", ")));
        let others = one.count.saturating_sub(one.names.len() as u64);
        text.push_str(&if others > 0 { format!(" and {others} more)") } else { ")".to_owned() });
    }
    text
}
