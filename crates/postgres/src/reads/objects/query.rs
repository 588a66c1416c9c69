//! The statement that reads a catalogue. All its columns are text; the first says what a row is.

use rolecall_engine::OWN_ROLE_PREFIX;
use rolecall_engine::objects::{CROWDED, SomeObjects};

use super::Table;
use crate::quote::{is_possible, literal, names, numbers};
use crate::reads::announcements::are_installed;
use crate::transport::version::Dialect;

/// Which objects to read, and the grants of sets on which.
#[derive(Clone, Debug)]
pub(crate) enum Only<'a> {
    /// All of them.
    Everything,
    /// These. Whether a set has what no set has is not read then.
    These(&'a [(Table, u32)]),
    /// These, and the schemas that they lie in. As before, what a set has beyond grants is not read.
    Around(&'a SomeObjects),
}

impl Only<'_> {
    /// A condition that follows another one: the object of the alias, in this catalogue, is among them.
    fn among(&self, table: Table, alias: &str) -> String {
        let some = match self {
            Self::Everything => return String::new(),
            Self::These(these) => {
                let ids = these.iter().filter(|(of, _)| *of == table).map(|(_, id)| *id);
                return format!(" AND {alias}.oid = ANY ({})", numbers(ids));
            }
            Self::Around(some) => some,
        };
        let ids = |table: Table| {
            let of = some.objects.iter().filter(move |object| Table::of_class(object.class) == table);
            numbers(of.map(|object| object.id))
        };
        let named = ids(table);
        if table != Table::Namespace {
            return format!(" AND {alias}.oid = ANY ({named})");
        }
        // An array of numbers for each, so that the server looks them up instead of asking for every schema.
        let schemas = names(some.schemas.iter().filter(|name| is_possible(name)));
        format!(
            " AND {alias}.oid = ANY ({named} || ARRAY(SELECT c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = ANY ({}))
  || ARRAY(SELECT p.pronamespace FROM pg_catalog.pg_proc p WHERE p.oid = ANY ({}))
  || ARRAY(SELECT s.oid FROM pg_catalog.pg_namespace s WHERE s.nspname = ANY ({schemas})))",
            ids(Table::Class),
            ids(Table::Proc)
        )
    }
}

/// Objects: `o`, number, kind, schema, name, entries of a long access list. Schemas that everybody may use: `u`,
/// number. That everybody may connect: `c`. That changes are announced: `e`.
pub(super) fn objects(only: &Only<'_>) -> String {
    let system = not_system();
    let [classes, procs, namespaces] = [(Table::Class, "c"), (Table::Proc, "p"), (Table::Namespace, "n")]
        .map(|(table, alias)| only.among(table, alias));
    let announced = are_installed();
    // In pg_class a long list cannot be stored out of line, as those of functions and schemas are: it fills the row.
    let crowded = format!(
        "CASE WHEN pg_catalog.cardinality(c.relacl) > {CROWDED} THEN pg_catalog.cardinality(c.relacl)::pg_catalog.text END"
    );
    format!(
        "SELECT 'o' AS row, c.oid::pg_catalog.text AS a, c.relkind::pg_catalog.text AS b, n.nspname::pg_catalog.text AS c,
  c.relname::pg_catalog.text AS d, {crowded} AS e
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND {system}{classes}
UNION ALL
SELECT 'o', p.oid::pg_catalog.text, CASE p.prokind WHEN 'p' THEN 'P' ELSE 'F' END, n.nspname::pg_catalog.text,
  p.proname::pg_catalog.text, NULL
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {system}{procs}
UNION ALL
SELECT 'o', n.oid::pg_catalog.text, 'N', n.nspname::pg_catalog.text, n.nspname::pg_catalog.text, NULL
FROM pg_catalog.pg_namespace n WHERE {system}{namespaces}
UNION ALL
SELECT 'u', n.oid::pg_catalog.text, NULL, NULL, NULL, NULL
FROM pg_catalog.pg_namespace n WHERE {system}{namespaces} AND pg_catalog.has_schema_privilege('public', n.oid, 'USAGE')
UNION ALL
SELECT 'c', NULL, NULL, NULL, NULL, NULL FROM pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database() AND pg_catalog.has_database_privilege('public', d.oid, 'CONNECT')
UNION ALL
SELECT 'e', NULL, NULL, NULL, NULL, NULL WHERE {announced}"
    )
}

/// Grants of sets: `h`, numbers, catalogue, set, grantor, privileges (`SELECT,UPDATE*`: the latter can be passed on).
///
/// Thousands of objects have the same access list, as the same grants were made on them: each list is parsed once.
///
/// The sets themselves: `s`, name, record, whether it connects, whether it has what no set has.
pub(crate) fn grants<'a>(sets: impl Iterator<Item = &'a str>, dialect: Dialect, only: &Only<'_>) -> String {
    let sets = names(sets);
    let grants_on = |table: Table| {
        let (relation, list, letter) = match table {
            Table::Class => ("pg_class", "relacl", 'c'),
            Table::Proc => ("pg_proc", "proacl", 'p'),
            Table::Namespace => ("pg_namespace", "nspacl", 'n'),
        };
        let among = only.among(table, "o");
        format!(
            "SELECT 'h' AS row, pg_catalog.array_to_string(l.ids, ',') AS a, '{letter}' AS b, s.rolname::pg_catalog.text AS c,
  COALESCE(g.rolname::pg_catalog.text, h.grantor::pg_catalog.text) AS d, h.privileges AS e
FROM (SELECT o.{list} AS list, pg_catalog.array_agg(o.oid) AS ids FROM pg_catalog.{relation} o
    WHERE o.{list} IS NOT NULL{among} GROUP BY o.{list}) l
CROSS JOIN LATERAL (SELECT a.grantee, a.grantor,
    pg_catalog.string_agg(CASE WHEN a.is_grantable THEN a.privilege_type || '*' ELSE a.privilege_type END, ',') AS privileges
  FROM pg_catalog.aclexplode(l.list) a
  WHERE a.grantee = ANY (ARRAY(SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ({sets})))
  GROUP BY a.grantee, a.grantor) h
JOIN pg_catalog.pg_roles s ON s.oid = h.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = h.grantor"
        )
    };
    let [classes, procs, namespaces] = [Table::Class, Table::Proc, Table::Namespace].map(grants_on);
    // That depends on everything the set has.
    let foreign_grants = match only {
        Only::Everything => foreign_grants(dialect),
        Only::These(_) | Only::Around(_) => "false".to_owned(),
    };
    format!(
        "{classes}
UNION ALL
{procs}
UNION ALL
{namespaces}
UNION ALL
SELECT 's', r.rolname::pg_catalog.text, (SELECT d.description FROM pg_catalog.pg_shdescription d
    WHERE d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass),
  pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT')::pg_catalog.text, ({foreign_grants})::pg_catalog.text, NULL
FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
WHERE r.rolname = ANY ({sets}) AND d.datname = pg_catalog.current_database()"
    )
}

/// An expression: has the set of the alias `r`, in the database of the alias `d`, what no set has? Objects of the
/// server's own have numbers below 16384, as has the schema public.
fn foreign_grants(dialect: Dialect) -> String {
    let own = literal(OWN_ROLE_PREFIX);
    let inherits = if dialect.has_grantors() { "AND (m.inherit_option OR m.set_option)" } else { "" };
    format!(
        "r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
  OR NOT pg_catalog.starts_with(r.rolname::pg_catalog.text, {own})
  OR EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid {inherits})
  OR EXISTS (SELECT FROM pg_catalog.pg_shdepend s
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid AND {}
      AND NOT (s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.objid = d.oid))
  OR EXISTS (SELECT FROM pg_catalog.aclexplode(d.datacl) a
    WHERE a.grantee = r.oid AND (a.privilege_type <> 'CONNECT' OR a.is_grantable))",
        is_foreign_grant("d.oid")
    )
}

/// An expression: is the dependency of the alias `s` none that sets are granted in the database of this number?
pub(crate) fn is_foreign_grant(database: &str) -> String {
    format!(
        "NOT (s.dbid = {database} AND s.deptype = 'a' AND s.objsubid = 0 AND (
      s.objid >= 16384 AND s.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass)
      OR (s.objid >= 16384 OR s.objid = 2200) AND s.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass))
    AND s.classid <> 'pg_catalog.pg_auth_members'::pg_catalog.regclass"
    )
}

/// An expression: is the schema of the alias `n` none of the server's own? As `DbObject::is_system` says.
fn not_system() -> &'static str {
    "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
}
