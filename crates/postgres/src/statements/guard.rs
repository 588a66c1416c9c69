//! The check that is made again under the account's lock.
//!
//! What a plan rests on was read in another transaction. So each transaction that changes an account first writes the
//! account's row in `pg_authid` (which no other transaction can do until this one ends) or takes the lock of `COMMENT
//! ON ROLE`, then checks, and is rolled back by the check where the account is not what it was.

use rolecall_engine::{AccountName, MARKER};

use crate::quote::{identifier, literal};
use crate::transport::message::{Message, Needs};
use crate::transport::sqlstate::CHANGED;

/// What an account must be. It must carry the marker in any case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard<'a> {
    account: &'a AccountName,
    owner: Option<&'a str>,
    unowned: bool,
    closed: bool,
    idle: bool,
    plain: bool,
}

impl<'a> Guard<'a> {
    pub(crate) fn managed(account: &'a AccountName) -> Self {
        Self { account, owner: None, unowned: false, closed: false, idle: false, plain: false }
    }

    /// Its ownership record is that of `uid`.
    pub(crate) fn owned_by(self, uid: &'a str) -> Self {
        Self { owner: Some(uid), ..self }
    }

    /// Its ownership record is that of `uid`, or it has none.
    pub(crate) fn not_foreign_to(self, uid: &'a str) -> Self {
        Self { owner: Some(uid), unowned: true, ..self }
    }

    /// It may not log in.
    pub(crate) fn closed(self) -> Self {
        Self { closed: true, ..self }
    }

    /// It may not log in and has no backend.
    pub(crate) fn idle(self) -> Self {
        Self { closed: true, idle: true, ..self }
    }

    /// It has no attribute that gives more rights than its roles do.
    pub(crate) fn plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// Adds the check to a message.
    pub(crate) fn check(&self, message: &mut Message) {
        self.add(message, format!("EXECUTE rolecall_guard ({})", self.arguments().join(", ")));
    }

    /// As [`Guard::check`], for what must not depend on anything that was prepared before.
    pub(crate) fn check_unprepared(&self, message: &mut Message) {
        self.add(message, question(&self.arguments().each_ref().map(String::as_str)));
    }

    fn add(&self, message: &mut Message, sql: String) {
        let what = format!("checking {} under its lock", identifier(self.account.as_str()));
        message.push_needing(Needs::Truth(CHANGED), what, sql);
    }

    fn arguments(&self) -> [String; 6] {
        [
            literal(self.account.as_str()),
            self.owner.map_or_else(|| "NULL".to_owned(), |uid| literal(record_of(uid))),
            self.unowned.to_string(),
            self.closed.to_string(),
            self.idle.to_string(),
            self.plain.to_string(),
        ]
    }
}

/// A regular expression for the record of one owner. The comment may be no JSON at all, which 15 cannot check.
pub(crate) fn record_of(uid: &str) -> String {
    let json = serde_json::to_string(uid).unwrap_or_default();
    let escaped: String =
        json.chars().flat_map(|c| [c.is_ascii_punctuation().then_some('\\'), Some(c)]).flatten().collect();
    format!("\"uid\"\\s*:\\s*{escaped}")
}

/// The check, prepared on a new connection.
pub(crate) fn prepare() -> String {
    format!(
        "PREPARE rolecall_guard (pg_catalog.name, pg_catalog.text, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool) AS
{}",
        question(&["$1", "$2", "$3", "$4", "$5", "$6"])
    )
}

/// The check. Its arguments: account, record of the owner, may it be without one, must it be without login, without
/// backends, without attributes.
fn question([account, record, unowned, closed, idle, plain]: &[&str; 6]) -> String {
    format!(
        "SELECT 1 / CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles u
  LEFT JOIN pg_catalog.pg_shdescription d
    ON d.objoid = u.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
  WHERE u.rolname = {account} AND {}
    AND ({record} IS NULL OR COALESCE(d.description ~ {record}, false)
      OR {unowned} AND COALESCE(d.description !~ '\"uid\"\\s*:', true))
    AND NOT ({closed} AND u.rolcanlogin)
    AND NOT ({idle} AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = u.oid))
    AND NOT ({plain} AND (u.rolsuper OR u.rolcreaterole OR u.rolcreatedb OR u.rolreplication OR u.rolbypassrls)))
  THEN 1 ELSE 0 END",
        managed("u")
    )
}

/// An expression: is the role of this alias a managed account? It is a member of the marker, and not only with ADMIN
/// OPTION: so are the admin users that hand the marker out, the one that created it among them.
///
/// An aggregate, and not EXISTS: for that the planner would read all members of the marker, as most roles have few.
pub(crate) fn managed(alias: &str) -> String {
    format!(
        "COALESCE((SELECT pg_catalog.bool_or(NOT m.admin_option OR EXISTS (
      SELECT FROM pg_catalog.pg_shdescription d WHERE d.objoid = {alias}.oid
        AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.description ~ '\"uid\"\\s*:'))
    FROM pg_catalog.pg_auth_members m WHERE m.member = {alias}.oid
      AND m.roleid = (SELECT g.oid FROM pg_catalog.pg_roles g WHERE g.rolname = {})), false)",
        literal(MARKER)
    )
}
