//! Logins under way that do not finish: whose they are, and ending those of an account.
//!
//! Whoever owns a logical database can lock it against every login, for as long as it likes. Such a login has no name
//! in `pg_stat_activity` yet, so an end would have to wait for anybody's. But it has locked its database, or waits for
//! that, and this comes after its role is known: so whoever has the rights of the account, and of nobody else, may end
//! it if it is the account's, and is refused if it is not.

use std::collections::BTreeSet;

use rolecall_engine::AccountName;

use crate::quote::{block, identifier, texts};
use crate::statements::guard::Guard;
use crate::transport::message::{Message, Needs};
use crate::transport::sqlstate::INSUFFICIENT_PRIVILEGE;
use crate::transport::version::Dialect;

/// The beginning of a query: logins under way hold a virtual transaction before they show in `pg_stat_activity`. So what is
/// locked is read first: a login that has succeeded by the time of the second read shows there. The argument of the function
/// that reads the backends depends on the locks, as nothing else in a statement says in which order two things are read. Within
/// a transaction the backends are read only once: nothing may have read them before.
pub(crate) const LOGINS: &str = "WITH locks AS MATERIALIZED (SELECT l.pid FROM pg_catalog.pg_locks l
  WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS NOT NULL),
activity AS MATERIALIZED (SELECT a.pid, a.datid, a.usesysid FROM pg_catalog.pg_stat_get_activity(
  CASE WHEN (SELECT pg_catalog.count(*) FROM locks) >= 0 THEN NULL::pg_catalog.int4 END) a)";

/// An expression after [`LOGINS`]: is a login under way, of whomever?
pub(crate) const UNDER_WAY: &str = "EXISTS (SELECT FROM locks l WHERE NOT EXISTS (
  SELECT FROM activity s WHERE s.pid = l.pid AND (s.usesysid IS NOT NULL OR s.datid IS NOT NULL)))";

/// Ends those of these logins that are the account's. Answers those that are somebody else's, as JSON; those of which
/// it is not known yet are neither.
pub(crate) fn end(
    guard: &Guard<'_>,
    account: &AccountName,
    logins: &BTreeSet<String>,
    dialect: Dialect,
) -> Message {
    let name = identifier(account.as_str());
    let what = format!("ending logins of {name} that are under way");
    let mut message = Message::begin(&what);
    guard.check(&mut message);
    let options = if dialect.has_grantors() { " WITH INHERIT FALSE, SET TRUE" } else { "" };
    message.push_needing(Needs::Role(name.clone()), &what, format!("GRANT {name} TO CURRENT_USER{options}"));
    // The rights of the admin user reach further.
    message.push(&what, format!("SET LOCAL ROLE {name}"));
    let body = format!(
        "DECLARE
  one pg_catalog.record;
  others pg_catalog.jsonb := '[]';
BEGIN
  FOR one IN
    SELECT l.pid, l.pid || ' ' || l.virtualtransaction AS login FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
      AND l.pid || ' ' || l.virtualtransaction = ANY ({})
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity s
        WHERE s.pid = l.pid AND (s.usesysid IS NOT NULL OR s.datid IS NOT NULL))
      AND EXISTS (SELECT FROM pg_catalog.pg_locks d WHERE d.pid = l.pid AND d.locktype = 'object'
        AND d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass)
  LOOP
    BEGIN
      PERFORM pg_catalog.pg_terminate_backend(one.pid);
    EXCEPTION WHEN SQLSTATE '{INSUFFICIENT_PRIVILEGE}' THEN
      others := others || pg_catalog.to_jsonb(one.login);
    END;
  END LOOP;
  PERFORM pg_catalog.set_config('rolecall.others', others::pg_catalog.text, true);
END",
        texts(logins)
    );
    message.push(&what, block(&body));
    message.ask(&what, "SELECT pg_catalog.current_setting('rolecall.others')");
    message.roll_back();
    message
}
