//! The check that is made again under the account's lock.
//!
//! What a plan rests on was read in another transaction. So each transaction that changes an account first writes the
//! account's row in `pg_authid` (which no other transaction can do until this one ends) or takes the lock of `COMMENT
//! ON ROLE`, then checks, and is rolled back by the check where the account is not what it was.

use super::quote::{block, identifier, literal};
use super::sqlstate::CHANGED;
use crate::{AccountName, MARKER};

/// What an account must be. It must carry the marker in any case.
#[derive(Clone, Debug)]
pub(super) struct Guard<'a> {
    account: &'a AccountName,
    owner: Option<(&'a str, Unowned)>,
    idle: Option<Idle>,
    plain: bool,
}

/// What an account without an ownership record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unowned {
    Refused,
    Allowed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    NoLogin,
    NoLoginNoBackend,
}

impl<'a> Guard<'a> {
    pub(super) fn managed(account: &'a AccountName) -> Self {
        Self { account, owner: None, idle: None, plain: false }
    }

    /// Its ownership record is that of `uid`.
    pub(super) fn owned_by(self, uid: &'a str) -> Self {
        Self { owner: Some((uid, Unowned::Refused)), ..self }
    }

    /// Its ownership record is that of `uid`, or it has none.
    pub(super) fn not_foreign_to(self, uid: &'a str) -> Self {
        Self { owner: Some((uid, Unowned::Allowed)), ..self }
    }

    /// It may not log in.
    pub(super) fn closed(self) -> Self {
        Self { idle: Some(Idle::NoLogin), ..self }
    }

    /// It may not log in and has no backend.
    pub(super) fn idle(self) -> Self {
        Self { idle: Some(Idle::NoLoginNoBackend), ..self }
    }

    /// It has no attribute that gives more rights than its roles do.
    pub(super) fn plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// The statement, and what to call it.
    pub(super) fn sql(&self) -> (String, String) {
        let account = literal(self.account.as_str());
        let mut conditions = String::new();
        if self.idle.is_some() {
            conditions.push_str("\n    AND NOT u.rolcanlogin");
        }
        if self.idle == Some(Idle::NoLoginNoBackend) {
            conditions.push_str(
                "\n    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = u.oid)",
            );
        }
        if self.plain {
            conditions.push_str(
                "\n    AND NOT (u.rolsuper OR u.rolcreaterole OR u.rolcreatedb OR u.rolreplication OR u.rolbypassrls)",
            );
        }
        let owner = self.owner.map_or_else(String::new, |(uid, unowned)| {
            let uid = literal(uid);
            let matches = match unowned {
                Unowned::Refused => format!("owner = {uid}"),
                Unowned::Allowed => format!("COALESCE(owner, {uid}) = {uid}"),
            };
            conditions.push_str(&format!("\n    AND {matches}"));
            // Anybody may write a comment that is no JSON.
            format!(
                "
  BEGIN
    owner := (SELECT d.description::pg_catalog.jsonb ->> 'uid'
      FROM pg_catalog.pg_shdescription d JOIN pg_catalog.pg_roles u ON u.oid = d.objoid
      WHERE d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND u.rolname = {account});
  EXCEPTION WHEN data_exception THEN
    owner := NULL;
  END;"
            )
        });
        let body = format!(
            "DECLARE
  owner pg_catalog.text;
BEGIN{owner}
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles u
    JOIN pg_catalog.pg_auth_members m ON m.member = u.oid
    JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
    WHERE u.rolname = {account} AND g.rolname = {marker}{conditions}) THEN
    RAISE EXCEPTION USING ERRCODE = '{CHANGED}', MESSAGE = 'the account has changed since it was looked at';
  END IF;
END",
            marker = literal(MARKER),
        );
        (format!("checking that {} is what it was", identifier(self.account.as_str())), block(&body))
    }
}
