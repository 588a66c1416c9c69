//! Granting and revoking: many objects in a statement, each statement a separate transaction.
//!
//! Objects are identified by their numbers, and named by the server at the moment of the change: what was dropped since
//! is skipped, and what got its name is not touched. Where the server refuses a statement, its objects are changed one
//! by one, so that each that can be changed is; one that another transaction has locked is tried a few times.
//!
//! A statement locks the rows of its objects one after the other (from 17 on to the end of the transaction), always in the
//! order of their numbers, so that two of ours never wait for each other. One of somebody else's on many objects may be in
//! another order: then ours gives way, and runs again.

use std::collections::BTreeMap;
use std::time::Duration;

use rolecall_engine::objects::ObjectClass;
use rolecall_engine::{Class, Error};

use crate::Postgres;
use crate::quote::{block, identifier, literal, numbers};
use crate::reads::objects::{ObjectId, Table};
use crate::reads::observe::parse;
use crate::statements::set::{self, AroundNames};
use crate::transport::message::{Message, Reply};
use crate::transport::server::{Place, jittered};
use crate::transport::sqlstate::{LOCK_NOT_AVAILABLE, UNDEFINED_OBJECT, is_retried, meaning};
use crate::transport::version::Dialect;

/// How long a statement waits for a lock, in milliseconds: less than the server's usual `deadlock_timeout`, so that of two
/// that wait for each other ours gives way.
const WAIT: u32 = 500;
/// The same for a single object, and for each after waiting for so many of them had failed.
const WAIT_SINGLY: (u32, u32) = (250, 10);
const MOST_WAITED_FOR: u32 = 4;
/// The pauses before objects that another transaction has locked are tried again.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(400)];
/// How often a statement is sent again because an object went away while it ran.
const MOST_GONE: usize = 5;

/// One statement without its objects.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    pub(super) class: ObjectClass,
    /// The catalogue that the objects are in.
    pub(super) table: Table,
    /// `SELECT, UPDATE`. Named one by one: for ALL the server might act for another grantor.
    pub(super) privileges: String,
    pub(super) set: &'a str,
    pub(super) verb: Verb<'a>,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb<'a> {
    Grant,
    /// What this role granted is taken away, with what the set passed on.
    Revoke {
        grantor: &'a str,
        option_only: bool,
    },
}

/// Objects for which something was not done, each with what the server said.
pub(super) type Refused = BTreeMap<ObjectId, Error>;

impl Postgres {
    /// Makes a change on these objects. Answers those for which the server refused it.
    ///
    /// `busy`: objects that another transaction has locked. Those that are in it already are skipped, so that nobody
    /// waits twice for one; those for which the wait failed are added.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, is out of resources, or the set is gone.
    pub(super) async fn change(
        &self,
        place: &Place,
        dialect: Dialect,
        change: &Change<'_>,
        ids: &[u32],
        busy: &mut Refused,
    ) -> Result<Refused, Error> {
        let mut waiting: Vec<u32> =
            ids.iter().copied().filter(|id| !busy.contains_key(&(change.table, *id))).collect();
        let (mut refused, mut gone) = (Refused::new(), 0);
        let error = loop {
            if waiting.is_empty() {
                return Ok(refused);
            }
            match self.server.run_unless_locked(place, &change.together(dialect, &waiting)).await {
                Ok(_) => return Ok(refused),
                Err(error) if is_gone(&error.code) && gone < MOST_GONE => gone += 1,
                Err(error) => break error,
            }
        };
        if !is_about_objects(&error) {
            return Err(error);
        }
        let mut pauses = PAUSES.into_iter();
        loop {
            let message = change.singly(dialect, &waiting);
            let reply = self.server.run(place, &message).await?;
            let mut locked = Refused::new();
            for (id, error) in refusals(&reply, message.attempted(1))? {
                match error.code.as_str() {
                    UNDEFINED_OBJECT => return Err(error),
                    code if is_retried(code) => drop(locked.insert((change.table, id), error)),
                    // Also where the object seems to be gone: an event trigger that does not find its own says the same.
                    _ => drop(refused.insert((change.table, id), error)),
                }
            }
            if locked.is_empty() {
                return Ok(refused);
            }
            let Some(pause) = pauses.next() else {
                busy.append(&mut locked);
                return Ok(refused);
            };
            waiting = locked.into_keys().map(|(_, id)| id).collect();
            tokio::time::sleep(jittered(pause)).await;
        }
    }
}

/// May the server do it for some of the objects and not for others? Not where it is out of resources, say.
fn is_about_objects(error: &Error) -> bool {
    error.code != UNDEFINED_OBJECT && (error.class == Class::Refused || is_retried(&error.code))
}

/// Numbers of objects with SQLSTATE, text and the place where it was said, as the statement for single objects puts them together.
fn refusals(reply: &Reply, attempted: &str) -> Result<Vec<(u32, Error)>, Error> {
    let all: Vec<(u32, String, String, String)> = parse(reply, || attempted.to_owned())?;
    let error = |code: String, said: String, place: String| {
        let (class, reason) = meaning(&code);
        // The last two places are the statement itself and the block around it.
        let places: Vec<&str> = place.lines().collect();
        let detail = match places.split_last_chunk::<2>() {
            Some((trigger, _)) if !trigger.is_empty() => format!("{said} ({})", trigger.join(", ")),
            _ => said,
        };
        Error { class, reason, attempted: attempted.to_owned(), code, detail, remedy: String::new() }
    };
    Ok(all.into_iter().map(|(id, code, said, place)| (id, error(code, said, place))).collect())
}

/// An object was dropped between being named and being changed: undefined table, function, schema.
fn is_gone(code: &str) -> bool {
    matches!(code, "42P01" | "42883" | "3F000")
}

impl Change<'_> {
    /// All objects in one statement.
    fn together(&self, dialect: Dialect, ids: &[u32]) -> Message {
        let Sql { before, after, become_grantor } = self.sql(dialect);
        let (relation, name) = (self.table.relation(), self.table.object_name());
        let body = format!(
            "DECLARE
  list pg_catalog.text;
BEGIN
  SELECT pg_catalog.string_agg({name}, ', ' ORDER BY o.oid) INTO list FROM {relation} o WHERE o.oid = ANY ({});
  IF list IS NOT NULL THEN{become_grantor}
    EXECUTE {} || list || {};
  END IF;
END",
            numbers(ids.iter().copied()),
            literal(before),
            literal(after)
        );
        let mut message = Message::new();
        message.lock_timeout(WAIT);
        message.push(self.attempted(ids), block(&body));
        message
    }

    /// Each object in a separate statement. The answer says for which that failed, with SQLSTATE and text.
    fn singly(&self, dialect: Dialect, ids: &[u32]) -> Message {
        let Sql { before, after, become_grantor } = self.sql(dialect);
        let (relation, name) = (self.table.relation(), self.table.object_name());
        let (wait, short) = WAIT_SINGLY;
        let body = format!(
            "DECLARE
  one record;
  refused pg_catalog.jsonb := '[]';
  waited pg_catalog.int4 := 0;
  place pg_catalog.text;
BEGIN{become_grantor}
  FOR one IN SELECT o.oid::pg_catalog.int8 AS id, {name} AS name FROM {relation} o WHERE o.oid = ANY ({})
      ORDER BY o.oid LOOP
    BEGIN
      EXECUTE {} || one.name || {};
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS place = PG_EXCEPTION_CONTEXT;
      refused := refused || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(one.id, SQLSTATE, SQLERRM, place));
      IF SQLSTATE = '{LOCK_NOT_AVAILABLE}' THEN
        waited := waited + 1;
        IF waited = {MOST_WAITED_FOR} THEN
          SET LOCAL lock_timeout = '{short}ms';
        END IF;
      END IF;
    END;
  END LOOP;
  PERFORM pg_catalog.set_config('rolecall.refused', refused::pg_catalog.text, true);
END",
            numbers(ids.iter().copied()),
            literal(before),
            literal(after)
        );
        let mut message = Message::new();
        message.lock_timeout(wait);
        message.push(self.attempted(ids), block(&body));
        // A DO statement cannot answer.
        message.ask(self.attempted(ids), "SELECT pg_catalog.current_setting('rolecall.refused')");
        message
    }

    fn attempted(&self, ids: &[u32]) -> String {
        let (privileges, class, set) = (&self.privileges, self.class, identifier(self.set));
        let objects = if ids.len() == 1 { "one object".to_owned() } else { format!("{} objects", ids.len()) };
        match self.verb {
            Verb::Grant => format!("granting {privileges} on {objects} of class {class} to {set}"),
            Verb::Revoke { option_only, .. } => {
                format!(
                    "revoking {}{privileges} on {objects} of class {class} from {set}",
                    set::option(option_only)
                )
            }
        }
    }

    fn sql(&self, dialect: Dialect) -> Sql {
        let Self { privileges, class, set, .. } = self;
        let (AroundNames { before, after }, become_grantor) = match self.verb {
            Verb::Grant => (set::grant(privileges, *class, set), String::new()),
            Verb::Revoke { grantor, option_only } => {
                (set::revoke(privileges, *class, set, option_only), become_grantor(grantor, dialect))
            }
        };
        Sql { before, after, become_grantor }
    }
}

/// A statement around the names of its objects, and what makes the admin user the grantor before.
struct Sql {
    before: String,
    after: String,
    become_grantor: String,
}

/// A grant is taken away by whoever made it only. Until the end of the transaction the admin user becomes the grantor,
/// where it may; where it has the grantor's rights without that, the server takes it for the grantor anyway.
fn become_grantor(grantor: &str, dialect: Dialect) -> String {
    let may_become = if dialect.has_grantors() { "SET" } else { "MEMBER" };
    let (name, text) = (identifier(grantor), literal(grantor));
    format!(
        "
    IF EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname = {text} AND g.rolname <> CURRENT_USER
        AND pg_catalog.pg_has_role(g.oid, '{may_become}')) THEN
      SET LOCAL ROLE {name};
    END IF;"
    )
}
