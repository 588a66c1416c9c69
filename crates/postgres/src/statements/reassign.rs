//! What an account owns, given to another role before the account is dropped.
//!
//! What the user wrote must not run with more rights than the user had. So nothing is given away whose code runs, at some
//! time and whoever causes it, with the rights of its owner. [`CODE`] lists what that is: functions that are SECURITY
//! DEFINER, what a view or a rule reads, what REFRESH reads, expressions that ANALYZE evaluates, and whatever is evaluated
//! for a foreign key, which the server checks and carries out as the owner of the table: comparisons, triggers, checks. So
//! nobody else may be able to add any of that either (TRIGGER, REFERENCES).

use rolecall_engine::plan::End;
use rolecall_engine::{AccountName, Finding, Reason};
use serde::Deserialize;

use crate::quote::{identifier, literal, names};
use crate::statements::creators;
use crate::statements::guard::{Guard, managed};
use crate::statements::role;
use crate::transport::message::{Message, Needs};
use crate::transport::sqlstate::CARRIES_CODE;
use crate::transport::version::Dialect;

/// A role that gets objects, as the server shows it to the admin user.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct NewOwner {
    pub(crate) name: String,
    /// Attributes that nothing a user made may come near to.
    pub(crate) attributes: Option<Vec<String>>,
    /// It is an account itself.
    pub(crate) managed: bool,
    /// The admin user has its rights.
    pub(crate) inherited: bool,
    /// The admin user may become it.
    pub(crate) settable: bool,
    /// The admin user is a member of it, and does without its rights for an attribute of its own (15).
    pub(crate) member: bool,
    /// The admin user is a superuser.
    pub(crate) by_superuser: bool,
}

/// An expression: a list of those of these roles that exist, as [`NewOwner`] reads it. `names`: an array in SQL.
pub(crate) fn new_owners(names: &str, dialect: Dialect) -> String {
    let may_become = if dialect.has_grantors() { "SET" } else { "MEMBER" };
    format!(
        "(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', r.rolname,
    'attributes', pg_catalog.array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
      CASE WHEN r.rolreplication THEN 'REPLICATION' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL),
    'managed', {managed}, 'inherited', pg_catalog.pg_has_role(r.oid, 'USAGE'),
    'settable', pg_catalog.pg_has_role(r.oid, '{may_become}'), 'member', pg_catalog.pg_has_role(r.oid, 'MEMBER'),
    'by_superuser', EXISTS (SELECT FROM pg_catalog.pg_roles me WHERE me.rolname = CURRENT_USER AND me.rolsuper)))
  FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ({names}))",
        managed = managed("r"),
    )
}

/// Reads one of them.
pub(crate) fn new_owner(role: &str, dialect: Dialect) -> Message {
    let names = names([role]);
    Message::one(
        format!("reading the role {}", identifier(role)),
        format!("SELECT COALESCE({}, '[]')", new_owners(&names, dialect)),
    )
}

/// A query: what the account (an SQL text) owns in the logical database where it runs and whose code would run with the
/// rights of its owner, one text each.
fn code(account: &str) -> String {
    CODE.replace("{account}", account)
}

/// Objects that others wrote, superusers before all, are no code of the account: what depends on a function, an operator
/// or a type counts where that belongs to no superuser.
const CODE: &str = "WITH owned AS MATERIALIZED (
  SELECT s.classid, s.objid FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles u ON u.oid = s.refobjid
  WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND u.rolname = {account} AND s.deptype = 'o'
    AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
), relations AS MATERIALIZED (
  SELECT c.* FROM pg_catalog.pg_class c JOIN owned o ON o.objid = c.oid AND o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
), theirs AS MATERIALIZED (
  SELECT s.classid, s.objid FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid AND NOT r.rolsuper
  WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o'
    AND s.classid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
      'pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_opclass'::pg_catalog.regclass)
    AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
), calling AS MATERIALIZED (
  SELECT DISTINCT d.classid, d.objid FROM pg_catalog.pg_depend d JOIN theirs t ON t.classid = d.refclassid AND t.objid = d.refobjid
)
SELECT 'the routine ' || p.oid::pg_catalog.regprocedure || ' (SECURITY DEFINER)' AS what
FROM pg_catalog.pg_proc p JOIN owned o ON o.objid = p.oid AND o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass WHERE p.prosecdef
UNION ALL SELECT 'the view ' || c.oid::pg_catalog.regclass || ' (without security_invoker)' FROM relations c WHERE c.relkind = 'v'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_options_to_table(c.reloptions) x
    WHERE x.option_name = 'security_invoker' AND x.option_value::pg_catalog.bool)
UNION ALL SELECT 'the materialized view ' || c.oid::pg_catalog.regclass FROM relations c WHERE c.relkind = 'm'
UNION ALL SELECT 'the rule ' || pg_catalog.quote_ident(w.rulename) || ' of ' || c.oid::pg_catalog.regclass
FROM relations c JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid AND w.rulename <> '_RETURN'
UNION ALL SELECT 'the trigger ' || pg_catalog.quote_ident(t.tgname) || ' of ' || c.oid::pg_catalog.regclass
FROM relations c JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
UNION ALL SELECT DISTINCT 'the right ' || a.privilege_type || ' of ' || COALESCE(pg_catalog.quote_ident(r.rolname), 'PUBLIC') || ' on ' || c.oid::pg_catalog.regclass
FROM relations c CROSS JOIN LATERAL (SELECT x.* FROM pg_catalog.aclexplode(c.relacl) x
  UNION ALL SELECT x.* FROM pg_catalog.pg_attribute t CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) x WHERE t.attrelid = c.oid) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE a.privilege_type IN ('TRIGGER', 'REFERENCES') AND a.grantee <> c.relowner
UNION ALL SELECT 'the index ' || i.indexrelid::pg_catalog.regclass || ' (calls functions)' FROM relations c
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
JOIN calling x ON x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND x.objid = i.indexrelid
UNION ALL SELECT 'the statistics ' || pg_catalog.quote_ident(e.stxname) || ' of ' || c.oid::pg_catalog.regclass || ' (call functions)'
FROM relations c JOIN pg_catalog.pg_statistic_ext e ON e.stxrelid = c.oid
JOIN calling x ON x.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass AND x.objid = e.oid
UNION ALL SELECT 'the range type ' || r.rngtypid::pg_catalog.regtype || ' (has a function of its own)' FROM pg_catalog.pg_range r
JOIN owned o ON o.objid = r.rngtypid AND o.classid = 'pg_catalog.pg_type'::pg_catalog.regclass WHERE r.rngsubdiff <> 0 OR r.rngcanonical <> 0
UNION ALL SELECT 'the foreign key ' || pg_catalog.quote_ident(k.conname) || ' of ' || c.oid::pg_catalog.regclass || ' (changes rows that are checked or computed)'
FROM relations c JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f'
WHERE (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')) AND (k.confdeltype = 'd' OR k.confupdtype = 'd'
  OR EXISTS (SELECT FROM pg_catalog.pg_constraint x WHERE x.conrelid = c.oid AND x.contype = 'c')
  OR EXISTS (SELECT FROM pg_catalog.pg_partitioned_table x WHERE x.partrelid = c.oid AND x.partexprs IS NOT NULL)
  OR EXISTS (SELECT FROM pg_catalog.pg_attribute x JOIN pg_catalog.pg_type t ON t.oid = x.atttypid
    WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped AND (x.attgenerated <> '' OR t.typtype = 'd')))
UNION ALL SELECT DISTINCT 'the foreign key ' || pg_catalog.quote_ident(k.conname) || ' of ' || k.conrelid::pg_catalog.regclass || ' (compares types of users)'
FROM relations c JOIN pg_catalog.pg_constraint k ON k.contype = 'f' AND c.oid IN (k.conrelid, k.confrelid)
JOIN pg_catalog.pg_attribute x ON (x.attrelid = k.conrelid AND x.attnum = ANY (k.conkey)) OR (x.attrelid = k.confrelid AND x.attnum = ANY (k.confkey))
JOIN theirs t ON t.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.objid = x.atttypid
UNION ALL SELECT 'the event trigger ' || pg_catalog.quote_ident(e.evtname) FROM pg_catalog.pg_event_trigger e
JOIN owned o ON o.objid = e.oid AND o.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass";

/// Names what of the account carries code, in the logical database where this runs, one more than `most` at the most.
pub(crate) fn list_code(account: &AccountName, most: usize) -> Message {
    Message::one(
        format!("reading the code of {}", identifier(account.as_str())),
        format!("SELECT x.what FROM ({}) x ORDER BY 1 LIMIT {}", code(&literal(account.as_str())), most + 1),
    )
}

/// The statements that give the admin user and the new owner the rights which the server asks for beside membership, in the
/// logical database where this runs: schemas need CREATE on it, routines and the like CREATE on their schema.
pub(crate) fn missing_rights(account: &AccountName, to: &str) -> Message {
    let (account_text, new_owner) = (literal(account.as_str()), literal(to));
    let in_schemas = [
        ("pg_proc", "pronamespace"),
        ("pg_operator", "oprnamespace"),
        ("pg_opclass", "opcnamespace"),
        ("pg_opfamily", "opfnamespace"),
        ("pg_collation", "collnamespace"),
        ("pg_conversion", "connamespace"),
        ("pg_statistic_ext", "stxnamespace"),
        ("pg_ts_config", "cfgnamespace"),
        ("pg_ts_dict", "dictnamespace"),
    ];
    let placed: Vec<String> = in_schemas
        .iter()
        .map(|(catalogue, schema)| {
            format!(
                "SELECT x.{schema} AS schema FROM pg_catalog.{catalogue} x JOIN owned o ON o.objid = x.oid AND o.classid = 'pg_catalog.{catalogue}'::pg_catalog.regclass"
            )
        })
        .collect();
    Message::one(
        format!("reading what {} needs to own what is given away", identifier(to)),
        format!(
            "WITH owned AS MATERIALIZED (
  SELECT s.classid, s.objid, s.refobjid FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles u ON u.oid = s.refobjid
  WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND u.rolname = {account_text} AND s.deptype = 'o'
    AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
), placed AS MATERIALIZED (
  {}
)
SELECT 'GRANT CREATE ON DATABASE ' || pg_catalog.quote_ident(pg_catalog.current_database()) || ' TO ' || pg_catalog.quote_ident(CURRENT_USER)
WHERE EXISTS (SELECT FROM owned o WHERE o.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass)
  AND NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
UNION ALL SELECT 'GRANT CREATE ON SCHEMA ' || pg_catalog.quote_ident(n.nspname) || ' TO ' || pg_catalog.quote_ident({new_owner})
FROM pg_catalog.pg_namespace n WHERE n.oid IN (SELECT p.schema FROM placed p)
  AND NOT EXISTS (SELECT FROM owned o WHERE o.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND o.objid = n.oid)
  AND NOT pg_catalog.has_schema_privilege({new_owner}::pg_catalog.name, n.oid, 'CREATE')",
            placed.join("\n  UNION ALL ")
        ),
    )
}

/// Gives everything that the account owns in the logical database where this runs to another role: all of it, or nothing
/// where some of it carries code.
///
/// The admin user has to have the rights of both. It is a member of the account only until the end of this transaction,
/// and for nobody else to see.
///
/// `through_creator`: a creator role may hold the account.
pub(crate) fn reassign(plan: &End, to: &NewOwner, dialect: Dialect, through_creator: bool) -> Message {
    let (name, new_owner) = (identifier(plan.account.as_str()), identifier(&to.name));
    with_rights_of(plan, to.by_superuser, dialect, through_creator, |message| {
        message.push_needing(
            Needs::Truth(CARRIES_CODE),
            format!("checking for code of {name}"),
            format!(
                "SELECT 1 / CASE WHEN EXISTS ({}) THEN 0 ELSE 1 END",
                code(&literal(plan.account.as_str()))
            ),
        );
        message.push(
            format!("giving what {name} owns to {new_owner}"),
            format!("REASSIGN OWNED BY {name} TO {new_owner}"),
        );
    })
}

/// Drops what of the account nobody else can own, in the logical database where this runs: what it grants on what it would
/// create, and its logins at foreign servers. Nothing at all where it owns anything else. `through_creator`: a creator role may
/// hold the account.
pub(crate) fn drop_personal(
    plan: &End,
    by_superuser: bool,
    dialect: Dialect,
    through_creator: bool,
) -> Message {
    let (name, text) = (identifier(plan.account.as_str()), literal(plan.account.as_str()));
    with_rights_of(plan, by_superuser, dialect, through_creator, |message| {
        message.push_needing(
            Needs::Truth(CARRIES_CODE),
            format!("checking what {name} still owns"),
            format!(
                "SELECT 1 / CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles u ON u.oid = s.refobjid
  WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND u.rolname = {text} AND s.deptype = 'o'
    AND s.dbid IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
    AND s.classid NOT IN ('pg_catalog.pg_default_acl'::pg_catalog.regclass, 'pg_catalog.pg_user_mapping'::pg_catalog.regclass))
  THEN 0 ELSE 1 END"
            ),
        );
        message.push(
            format!("dropping default privileges and user mappings of {name}"),
            format!("DROP OWNED BY {name}"),
        );
    })
}

/// How long one lock is waited for: somebody may work with what is given away, and nothing depends on this.
const LOCK_TIMEOUT_MS: u32 = 3000;

/// A transaction in which the admin user has the rights of a drained account. The creator that holds the account, where one
/// does, gives them to the admin user and takes them back: it has none of the rights of the new owner.
fn with_rights_of(
    plan: &End,
    by_superuser: bool,
    dialect: Dialect,
    through_creator: bool,
    inside: impl FnOnce(&mut Message),
) -> Message {
    let name = identifier(plan.account.as_str());
    let mut message = Message::new();
    message.lock_timeout(LOCK_TIMEOUT_MS);
    role::lock(&mut message, &plan.account);
    Guard::managed(&plan.account).owned_by(&plan.owner_uid).idle().check(&mut message);
    let joining = format!("becoming a member of {name}");
    let (options, grantor) = match dialect.has_grantors() {
        true => (" WITH INHERIT TRUE, SET FALSE", " GRANTED BY CURRENT_USER"),
        false => ("", ""),
    };
    // Each holder of the account grants, and takes back, as itself.
    let (member, grantor) = if through_creator { ("SESSION_USER", "") } else { ("CURRENT_USER", grantor) };
    if !by_superuser {
        let grant = format!("GRANT {name} TO {member}{options}");
        message.push_needing(Needs::Role(name.clone()), &joining, grant);
    }
    if through_creator {
        message.push(creators::AS_ADMIN_USER, creators::BECOME_ADMIN_USER);
    }
    inside(&mut message);
    if !by_superuser {
        if through_creator {
            creators::act_for_from_here(&mut message, &plan.account);
        }
        message.push(joining, format!("REVOKE {name} FROM {member}{grantor}"));
    }
    if through_creator { creators::act_for(message, &plan.account) } else { message }
}

impl NewOwner {
    /// Why this role must not get anything, or cannot, with the statement that helps. `admin`: the admin user.
    pub(crate) fn fault(&self, admin: &str, dialect: Dialect) -> Option<Finding> {
        let (role, admin) = (identifier(&self.name), identifier(admin));
        let attributes = self.attributes.as_deref().unwrap_or_default();
        if !attributes.is_empty() {
            return Some(unfit(
                &self.name,
                &format!(
                    "has the attribute {}, so that it gets nothing that users made",
                    attributes.join(", ")
                ),
            ));
        }
        if self.managed {
            return Some(unfit(&self.name, "is an account itself"));
        }
        if self.by_superuser || (self.inherited && self.settable) {
            return None;
        }
        let statement = match (dialect.has_grantors(), self.member) {
            (true, _) => format!("GRANT {role} TO {admin} WITH INHERIT TRUE, SET TRUE"),
            (false, false) => format!("GRANT {role} TO {admin}"),
            (false, true) => format!("ALTER ROLE {admin} INHERIT"),
        };
        Some(Finding::fixed_by(
            Reason::CannotReassign,
            &self.name,
            &format!(
                "the admin user does not have the rights of the role {:?}, to which options.ownedObjects gives what users own",
                self.name
            ),
            vec![statement],
        ))
    }
}

/// Why a role of this name gets nothing from the account (empty: from any), whatever it is.
pub(crate) fn name_fault(role: &str, account: &str) -> Option<Finding> {
    let is_of_the_server = ["pg_", "rds_"].iter().any(|prefix| role.starts_with(prefix))
        || role == rolecall_engine::MARKER
        || rolecall_engine::plan::is_set(role);
    if is_of_the_server {
        Some(unfit(role, "belongs to the server or to Rolecall"))
    } else if role == account {
        Some(unfit(role, "is the account itself"))
    } else {
        None
    }
}

/// There is no such role.
pub(crate) fn missing(role: &str) -> Finding {
    Finding::fixed_by(
        Reason::CannotReassign,
        role,
        &format!("the role {role:?}, to which options.ownedObjects gives what users own, does not exist"),
        vec![format!("CREATE ROLE {} NOLOGIN", identifier(role))],
    )
}

fn unfit(role: &str, why: &str) -> Finding {
    Finding::new(
        Reason::CannotReassign,
        role,
        format!("the role {role:?} {why}: name another one in options.ownedObjects"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> NewOwner {
        NewOwner {
            name: "grave".to_owned(),
            attributes: None,
            managed: false,
            inherited: false,
            settable: false,
            member: false,
            by_superuser: false,
        }
    }

    #[test]
    fn the_admin_user_needs_the_rights_of_the_new_owner() {
        let statement = |owner: &NewOwner, version| owner.fault("adm", Dialect(version))?.fix.pop();
        assert_eq!(
            statement(&owner(), 16).as_deref(),
            Some(r#"GRANT "grave" TO "adm" WITH INHERIT TRUE, SET TRUE"#)
        );
        assert_eq!(statement(&owner(), 15).as_deref(), Some(r#"GRANT "grave" TO "adm""#));
        let member = NewOwner { member: true, settable: true, ..owner() };
        assert_eq!(statement(&member, 15).as_deref(), Some(r#"ALTER ROLE "adm" INHERIT"#));
        let able = NewOwner { inherited: true, ..member };
        assert_eq!(able.fault("adm", Dialect(16)), None);
        assert_eq!(NewOwner { by_superuser: true, ..owner() }.fault("adm", Dialect(16)), None);
    }

    #[test]
    fn neither_the_powerful_nor_accounts_get_what_users_made() {
        let able = NewOwner { by_superuser: true, ..owner() };
        let powerful = NewOwner { attributes: Some(vec!["BYPASSRLS".to_owned()]), ..able.clone() };
        assert!(powerful.fault("adm", Dialect(17)).unwrap().message.contains("BYPASSRLS"));
        let managed = NewOwner { managed: true, ..able }.fault("adm", Dialect(17)).unwrap();
        assert!(managed.message.contains("account") && managed.fix.is_empty());
        for role in ["pg_database_owner", "rds_superuser", rolecall_engine::MARKER, "rolecall:0123", "alice"]
        {
            assert!(name_fault(role, "alice").is_some(), "{role}");
        }
        assert_eq!(name_fault("grave", "alice"), None);
    }
}
