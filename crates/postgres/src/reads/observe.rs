//! Reading accounts: one query for as many as are asked for.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::account::{Account, DatabaseFacts, Leftover, Membership, Owner, RoleFacts, SetFacts};
use rolecall_engine::sets::SetRecord;
use rolecall_engine::{Class, Error, MARKER, OWN_ROLE_PREFIX, Observed, Query, Reason};
use serde::Deserialize;

use crate::quote::{is_possible, literal, names};
use crate::statements::creators;
use crate::statements::guard::managed;
use crate::statements::rights::HOLDS_ANY;
use crate::transport::message::{Message, Reply};
use crate::transport::standby::IS_WAITED_FOR;
use crate::transport::version::Dialect;

/// One question among those that share a message.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) query: Query,
    /// Also read logins under way, and take nothing from a snapshot: what the end of an access is proved by.
    pub(crate) to_verify: bool,
}

/// What was read for one question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) observed: Observed,
    /// Logins under way: anybody's, as it is not known yet whose they are. Only where it was asked for.
    pub(crate) starting: BTreeSet<String>,
    /// The account itself has rights on objects.
    pub(crate) holds_rights: bool,
    /// Commits wait for standbys.
    pub(crate) synchronous: bool,
    /// The admin user can become creator roles.
    pub(crate) creators: bool,
    /// How many roles the admin user holds itself, up to a number above which that is many.
    pub(crate) held_by_admin_user: usize,
    /// Somebody has cut the way to the account through its creator.
    pub(crate) lost: bool,
    /// The admin user holds the account itself.
    pub(crate) direct: bool,
}

/// The message that answers all questions.
pub(crate) fn message(questions: &[Question]) -> Message {
    Message::one(what(questions), query(questions))
}

fn what(questions: &[Question]) -> String {
    match questions {
        [one] => format!("reading the account {:?}", one.query.account.as_str()),
        many => format!("reading {} accounts", many.len()),
    }
}

/// The call of what [`prepare`] prepared.
fn query(questions: &[Question]) -> String {
    let possible = |name: &&str| is_possible(name);
    let accounts: BTreeSet<&str> = questions.iter().map(|q| q.query.account.as_str()).collect();
    let roles = questions.iter().flat_map(|q| q.query.roles.iter().chain(&q.query.sets));
    let roles: BTreeSet<&str> = roles.map(String::as_str).filter(possible).collect();
    let databases: BTreeSet<&str> =
        questions.iter().flat_map(|q| &q.query.databases).map(String::as_str).filter(possible).collect();
    let to_verify = questions.iter().any(|question| question.to_verify);
    format!(
        "EXECUTE rolecall_observe ({}, {}, {}, {to_verify})",
        names(accounts),
        names(roles),
        names(databases)
    )
}

/// The query, as it is prepared on a new connection. Its arguments: accounts, database roles and permission sets, logical
/// databases, and whether to read the logins under way.
///
/// Logins under way hold a virtual transaction before they show in `pg_stat_activity`. So what is locked is read first: a
/// login that has succeeded by the time of the second read shows there. The argument of the function that reads the backends
/// depends on the locks, as nothing else in a statement says in which order two things are read. (Within a transaction
/// the backends would be read only once: the message has no other statement.)
///
/// Each role and each membership is looked up by its index. Estimates that are made for all roles are far off: there is a
/// marker with all accounts as members, and from 16 on an admin user that is a member of all accounts.
pub(crate) fn prepare(dialect: Dialect) -> String {
    let (marker, own) = (literal(MARKER), literal(OWN_ROLE_PREFIX));
    // Whoever created it is a member that can only pass it on.
    let has_its_rights = if dialect.has_grantors() { " AND (m.inherit_option OR m.set_option)" } else { "" };
    let (is_managed, is_managed_role) = (managed("u"), managed("r"));
    let grantable = grantable(dialect);
    let revocable = if dialect.has_grantors() {
        format!(
            "g.grantable AND CASE WHEN m.grantor = me.oid THEN true WHEN {} THEN true
  ELSE pg_catalog.pg_has_role(m.grantor, 'USAGE') END",
            creators::acts_for("me.oid", "b")
        )
    } else {
        "g.grantable".to_owned()
    };
    let (has_creators, held) = match dialect.has_grantors() {
        true => (creators::any("me.oid"), creators::held_by_admin_user()),
        false => ("false".to_owned(), "0".to_owned()),
    };
    let (is_direct, is_lost) = match dialect.has_grantors() {
        true => (creators::direct("me.oid", "u.oid"), creators::lost("me.oid", "u.oid")),
        false => ("false".to_owned(), "false".to_owned()),
    };

    format!(
        "PREPARE rolecall_observe (pg_catalog.name[], pg_catalog.name[], pg_catalog.name[], pg_catalog.bool) AS
WITH me AS MATERIALIZED (SELECT r.oid, r.rolname, r.rolsuper, r.rolcreaterole FROM pg_catalog.pg_roles r
  WHERE r.rolname = CURRENT_USER),
u AS MATERIALIZED (SELECT r.* FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($1)),
r AS MATERIALIZED (SELECT r.*, {grantable} AS grantable FROM pg_catalog.pg_roles r, me
  WHERE r.oid = ANY (ARRAY(SELECT n.oid FROM pg_catalog.pg_roles n WHERE n.rolname = ANY ($2)
    UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN u ON u.oid = m.member))),
locks AS MATERIALIZED (SELECT l.pid, l.virtualtransaction FROM pg_catalog.pg_locks l
  WHERE $4 AND l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
    AND l.pid IS NOT NULL),
activity AS MATERIALIZED (SELECT a.pid, a.datid, a.usesysid FROM pg_catalog.pg_stat_get_activity(
  CASE WHEN (SELECT pg_catalog.count(*) FROM locks) >= 0 THEN NULL::pg_catalog.int4 END) a),
backends AS MATERIALIZED (SELECT a.usesysid, pg_catalog.count(*) AS n FROM activity a
  WHERE a.usesysid IS NOT NULL GROUP BY a.usesysid),
prepared AS MATERIALIZED (SELECT x.owner, pg_catalog.json_agg(pg_catalog.json_build_array(x.gid, x.database)) AS list
  FROM pg_catalog.pg_prepared_xacts x GROUP BY x.owner),
parameters AS MATERIALIZED (SELECT p.name, p.context FROM pg_catalog.pg_settings p)
SELECT pg_catalog.json_build_object(
'admin', (SELECT me.rolname FROM me),
'creators', (SELECT {has_creators} FROM me),
'held', (SELECT {held} FROM me),
'synchronous', {IS_WAITED_FOR},
'starting', (SELECT pg_catalog.json_agg(l.pid || ' ' || l.virtualtransaction) FROM locks l WHERE NOT EXISTS (
  SELECT FROM activity s WHERE s.pid = l.pid AND (s.usesysid IS NOT NULL OR s.datid IS NOT NULL))),
'accounts', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
  'name', u.rolname,
  'managed', {is_managed},
  'login', u.rolcanlogin,
  'direct', {is_direct},
  'lost', {is_lost},
  'comment', (SELECT d.description FROM pg_catalog.pg_shdescription d
    WHERE d.objoid = u.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass),
  'memberships', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(g.rolname, b.rolname, {revocable}))
    FROM pg_catalog.pg_auth_members m JOIN r g ON g.oid = m.roleid
    LEFT JOIN pg_catalog.pg_roles b ON b.oid = m.grantor
    WHERE m.member = u.oid AND g.rolname <> {marker}),
  'members', (SELECT pg_catalog.json_agg(DISTINCT b.rolname) FROM pg_catalog.pg_auth_members m
    JOIN pg_catalog.pg_roles b ON b.oid = m.member WHERE m.roleid = u.oid AND m.member <> me.oid{has_its_rights}),
  'attributes', pg_catalog.array_remove(ARRAY[
    CASE WHEN u.rolsuper THEN 'SUPERUSER' END, CASE WHEN u.rolcreaterole THEN 'CREATEROLE' END,
    CASE WHEN u.rolcreatedb THEN 'CREATEDB' END, CASE WHEN u.rolreplication THEN 'REPLICATION' END,
    CASE WHEN u.rolbypassrls THEN 'BYPASSRLS' END], NULL),
  'prepared', p.list,
  'settings', (SELECT pg_catalog.json_agg(d.datname) FROM pg_catalog.pg_db_role_setting s
    LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase WHERE {SETTINGS_TO_CLEAR}),
  'stored', pg_catalog.array_remove(ARRAY[
    CASE WHEN u.rolconnlimit <> -1 THEN 'CONNECTION LIMIT ' || u.rolconnlimit END,
    CASE WHEN COALESCE(u.rolvaliduntil, 'infinity') <> 'infinity' THEN 'VALID UNTIL ' || pg_catalog.quote_literal(u.rolvaliduntil) END,
    CASE WHEN NOT u.rolinherit THEN 'NOINHERIT' END], NULL) || ARRAY(
      SELECT 'SET ' || pg_catalog.split_part(c.entry, '=', 1)
        || COALESCE(' in the database ' || pg_catalog.quote_ident(d.datname), '')
      FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
      CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (entry) WHERE {SETTINGS_TO_CLEAR} ORDER BY 1 LIMIT 10),
  'limits', {HAS_LIMITS},
  'expires', COALESCE(u.rolvaliduntil, 'infinity') <> 'infinity',
  'backends', COALESCE(b.n, 0),
  'rights', {HOLDS_ANY}))
  FROM me, u LEFT JOIN backends b ON b.usesysid = u.oid LEFT JOIN prepared p ON p.owner = u.rolname),
'roles', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
  'name', r.rolname,
  'attributes', pg_catalog.array_remove(ARRAY[
    CASE WHEN r.rolcanlogin THEN 'LOGIN' END, CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
    CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
    CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL),
  'managed', {is_managed_role},
  'comment', CASE WHEN pg_catalog.starts_with(r.rolname::pg_catalog.text, {own}) THEN
    (SELECT d.description FROM pg_catalog.pg_shdescription d
      WHERE d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass) END,
  'grantable', r.grantable))
  FROM r WHERE r.rolname = ANY ($2)),
'databases', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
  'name', d.datname,
  'allows', d.datallowconn,
  'public', pg_catalog.has_database_privilege('public', d.oid, 'CONNECT'),
  'roles', CASE WHEN pg_catalog.has_database_privilege('public', d.oid, 'CONNECT') THEN NULL ELSE
    (SELECT pg_catalog.json_agg(r.rolname) FROM r WHERE r.rolname = ANY ($2) AND NOT r.rolsuper
      AND pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT')) END,
  'accounts', (SELECT pg_catalog.json_agg(u.rolname) FROM u WHERE u.oid = d.datdba
    OR EXISTS (SELECT FROM pg_catalog.aclexplode(d.datacl) a WHERE a.grantee = u.oid AND a.privilege_type = 'CONNECT'))))
  FROM pg_catalog.pg_database d WHERE d.datname = ANY ($3)))"
    )
}

/// A condition: are these settings (the alias `s`) stored for the user of the alias `u`, and may the admin user (`me`)
/// clear one of them? `parameters`: names and contexts of all.
pub(crate) const SETTINGS_TO_CLEAR: &str = "s.setrole = u.oid AND (me.rolsuper OR EXISTS (
      SELECT FROM pg_catalog.unnest(s.setconfig) AS c (entry)
      CROSS JOIN LATERAL pg_catalog.split_part(c.entry, '=', 1) AS n (name)
      LEFT JOIN parameters ON parameters.name = n.name
      WHERE parameters.context = 'user' OR n.name IN ('role', 'session_authorization')
        OR pg_catalog.has_parameter_privilege(n.name, 'SET')))";

/// An expression: has the user of the alias `u` limits that no account has?
pub(crate) const HAS_LIMITS: &str =
    "(u.rolconnlimit <> -1 OR COALESCE(u.rolvaliduntil, 'infinity') <> 'infinity' OR NOT u.rolinherit)";

/// An expression: may the admin user (the alias `me`) grant the role of the alias `r`? From 16 on that is a matter of
/// ADMIN OPTION. A direct grant is checked first, as the function goes through all memberships of the admin user,
/// which on 16+ is a member of every role that it created. (It is no EXISTS, for which the planner would read all memberships
/// that there are.)
pub(crate) fn grantable(dialect: Dialect) -> &'static str {
    if dialect.has_grantors() {
        "me.rolsuper OR (NOT r.rolsuper AND CASE WHEN (SELECT pg_catalog.bool_or(a.admin_option)
    FROM pg_catalog.pg_auth_members a WHERE a.roleid = r.oid AND a.member = me.oid)
  THEN true ELSE pg_catalog.pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION') END)"
    } else {
        "me.rolsuper OR (NOT r.rolsuper AND (me.rolcreaterole
  OR pg_catalog.pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION')))"
    }
}

/// Parses an answer into one reading for each question.
pub(crate) fn readings(questions: &[Question], reply: &Reply) -> Result<Vec<Reading>, Error> {
    let all: All = parse(reply, || what(questions))?;
    let starting: BTreeSet<String> = all.starting.iter().flatten().cloned().collect();
    Ok(questions
        .iter()
        .map(|question| Reading {
            observed: all.observed(&question.query),
            starting: if question.to_verify { starting.clone() } else { BTreeSet::new() },
            holds_rights: all.account(&question.query).is_some_and(|row| row.rights),
            synchronous: all.synchronous,
            creators: all.creators,
            held_by_admin_user: all.held,
            direct: all.account(&question.query).is_some_and(|row| row.direct),
            lost: all.account(&question.query).is_some_and(|row| row.lost),
        })
        .collect())
}

/// Reads the JSON that the last statement gave.
pub(crate) fn parse<T: for<'a> Deserialize<'a>>(
    reply: &Reply,
    what: impl Fn() -> String,
) -> Result<T, Error> {
    parse_value(reply.value(), what)
}

/// As [`parse`], for one of several answers.
pub(crate) fn parse_value<T: for<'a> Deserialize<'a>>(
    value: Option<&str>,
    what: impl Fn() -> String,
) -> Result<T, Error> {
    serde_json::from_str(value.unwrap_or_default()).map_err(|error| Error {
        class: Class::Refused,
        reason: Reason::ServerRefused,
        attempted: what(),
        code: String::new(),
        detail: format!("the answer cannot be read: {error}"),
        remedy: String::new(),
    })
}

/// The ownership record in a comment. Comments of anybody else are no records.
pub(crate) fn record(comment: Option<&str>) -> Option<Owner> {
    comment.and_then(|comment| serde_json::from_str(comment).ok())
}

#[derive(Deserialize)]
struct All {
    admin: Option<String>,
    creators: bool,
    held: usize,
    synchronous: bool,
    starting: Option<Vec<String>>,
    accounts: Option<Vec<AccountRow>>,
    roles: Option<Vec<RoleRow>>,
    databases: Option<Vec<DatabaseRow>>,
}

#[derive(Deserialize)]
struct AccountRow {
    name: String,
    managed: bool,
    login: bool,
    direct: bool,
    lost: bool,
    comment: Option<String>,
    memberships: Option<Vec<(String, Option<String>, bool)>>,
    members: Option<Vec<String>>,
    attributes: Vec<String>,
    prepared: Option<Vec<(String, String)>>,
    settings: Option<BTreeSet<Option<String>>>,
    limits: bool,
    expires: bool,
    #[serde(default)]
    stored: Vec<String>,
    backends: u32,
    rights: bool,
}

#[derive(Deserialize)]
struct RoleRow {
    name: String,
    attributes: Vec<String>,
    managed: bool,
    comment: Option<String>,
    grantable: bool,
}

#[derive(Deserialize)]
struct DatabaseRow {
    name: String,
    allows: bool,
    public: bool,
    roles: Option<BTreeSet<String>>,
    accounts: Option<BTreeSet<String>>,
}

impl All {
    fn account(&self, query: &Query) -> Option<&AccountRow> {
        self.accounts.iter().flatten().find(|row| row.name == query.account.as_str())
    }

    fn observed(&self, query: &Query) -> Observed {
        let roles = self.roles.iter().flatten().filter(|row| query.roles.contains(&row.name));
        let sets = self.roles.iter().flatten().filter(|row| query.sets.contains(&row.name));
        let databases = self.databases.iter().flatten().filter(|row| query.databases.contains(&row.name));
        Observed {
            account: self.account(query).map(AccountRow::account),
            still_running: 0,
            user_fault: None,
            roles: roles.map(|row| (row.name.clone(), row.facts())).collect(),
            sets: sets.map(|row| (row.name.clone(), row.set_facts())).collect(),
            databases: databases.map(|row| (row.name.clone(), row.facts(query))).collect::<BTreeMap<_, _>>(),
            admin_user: self.admin.clone().unwrap_or_default(),
            dialect: rolecall_engine::Dialect::PostgreSql,
        }
    }
}

impl AccountRow {
    fn account(&self) -> Account {
        let memberships: Vec<Membership> = self
            .memberships
            .iter()
            .flatten()
            .map(|(role, grantor, revocable)| Membership {
                role: role.clone(),
                grantor: grantor.clone().unwrap_or_default(),
                revocable: *revocable,
            })
            .collect();
        let kept = memberships
            .iter()
            .filter(|m| !m.revocable)
            .map(|m| Leftover::Membership { role: m.role.clone(), grantor: m.grantor.clone() });
        let members = self.members.iter().flatten().map(|member| Leftover::Member { member: member.clone() });
        let attributes =
            self.attributes.iter().map(|attribute| Leftover::Attribute { attribute: attribute.clone() });
        let prepared = self
            .prepared
            .iter()
            .flatten()
            .map(|(gid, database)| Leftover::Prepared { gid: gid.clone(), database: database.clone() });
        let mut leftovers: Vec<Leftover> = kept.chain(members).chain(attributes).chain(prepared).collect();
        leftovers.sort();
        Account {
            managed: self.managed,
            owner: record(self.comment.as_deref()),
            enabled: self.login,
            memberships: {
                let mut sorted = memberships;
                sorted.sort();
                sorted
            },
            leftovers,
            settings: self.settings.clone().unwrap_or_default(),
            limits: self.limits,
            expires: self.expires,
            stored: self.stored.clone(),
            rights: self.rights,
            unconfirmed: false,
            backends: self.backends,
        }
    }
}

impl RoleRow {
    fn facts(&self) -> RoleFacts {
        RoleFacts {
            attributes: self.attributes.clone(),
            managed: self.managed,
            grantable: self.grantable,
            unseen: false,
        }
    }
}

impl RoleRow {
    fn set_facts(&self) -> SetFacts {
        let record: Option<SetRecord> =
            self.comment.as_deref().and_then(|comment| serde_json::from_str(comment).ok());
        SetFacts {
            owner_uid: record.map(|record| record.uid),
            attributes: self.attributes.clone(),
            grantable: self.grantable,
            unseen: None,
        }
    }
}

impl DatabaseRow {
    fn facts(&self, query: &Query) -> DatabaseFacts {
        let through = |names: &Option<BTreeSet<String>>, name: &str| {
            names.as_ref().is_some_and(|names| names.contains(name))
        };
        DatabaseFacts {
            allows_connections: self.allows,
            connect: self.public
                || query.roles.iter().chain(&query.sets).any(|role| through(&self.roles, role))
                || through(&self.accounts, query.account.as_str()),
        }
    }
}
