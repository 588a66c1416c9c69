//! Granting and revoking: many objects in a statement, each statement a transaction of its own.
//!
//! Objects are told by their numbers, and named by the server at the moment of the change: what was dropped since is
//! passed over, and what got its name is not touched. Where the server refuses a statement, it is halved until the
//! objects are found that it refuses; the others get what they should.
//!
//! A statement locks the rows of its objects one after the other (from 17 on to the end of the transaction), always in the
//! order of their numbers, so that two of ours never wait for each other. One of somebody else's on many objects may be in
//! another order: then the server ends one of both, and ours runs again.

use std::collections::BTreeMap;

use super::super::message::Message;
use super::super::quote::{block, identifier, literal, numbers};
use super::super::server::Place;
use super::super::sqlstate::UNDEFINED_OBJECT;
use super::super::version::Dialect;
use super::{Id, Postgres, name_of, relation_of};
use crate::objects::ObjectClass;
use crate::{Class, Error};

/// How many refused objects are looked for one by one. Where there are more, there is one cause for all.
const MOST_REFUSED: usize = 32;
/// How often a statement is sent again because an object went away while it ran.
const MOST_GONE: usize = 5;

/// One statement without its objects.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    pub(super) class: ObjectClass,
    /// The catalogue in which the objects stand.
    pub(super) table: super::Table,
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

/// Objects that the server refused, each with what it said.
pub(super) type Refused = BTreeMap<Id, Error>;

impl Postgres {
    /// Makes a change on these objects.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, is out of resources, or the set is gone. What it refuses for an object is
    /// in `refused`.
    pub(super) async fn change(
        &self,
        place: &Place,
        dialect: Dialect,
        change: &Change<'_>,
        ids: &[u32],
        refused: &mut Refused,
    ) -> Result<(), Error> {
        let (mut waiting, mut gone) = (vec![ids.to_vec()], 0);
        while let Some(ids) = waiting.pop() {
            let Err(error) = self.server.run(place, &change.message(dialect, &ids)).await else { continue };
            if is_gone(&error) && gone < MOST_GONE {
                gone += 1;
                waiting.push(ids);
            } else if error.class != Class::Refused || error.code == UNDEFINED_OBJECT {
                return Err(error);
            } else if ids.len() > 1 && refused.len() < MOST_REFUSED {
                let (first, second) = ids.split_at(ids.len() / 2);
                waiting.extend([second.to_vec(), first.to_vec()]);
            } else {
                refused.extend(ids.into_iter().map(|id| ((change.table, id), error.clone())));
            }
        }
        Ok(())
    }
}

/// An object was dropped between being named and being changed: undefined table, function, schema.
fn is_gone(error: &Error) -> bool {
    matches!(error.code.as_str(), "42P01" | "42883" | "3F000")
}

impl Change<'_> {
    fn message(&self, dialect: Dialect, ids: &[u32]) -> Message {
        let (class, set) = (self.class, identifier(self.set));
        let (relation, name) = (relation_of(self.table), name_of(self.table));
        let privileges = &self.privileges;
        let (what, before, after, become_grantor) = match self.verb {
            Verb::Grant => (
                format!("granting {privileges} on {} of class {class} to {set}", count(ids)),
                format!("GRANT {privileges} ON {class} "),
                format!(" TO {set}"),
                String::new(),
            ),
            Verb::Revoke { grantor, option_only } => {
                let option = if option_only { "GRANT OPTION FOR " } else { "" };
                (
                    format!("revoking {option}{privileges} on {} of class {class} from {set}", count(ids)),
                    format!("REVOKE {option}{privileges} ON {class} "),
                    format!(" FROM {set} CASCADE"),
                    become_grantor(grantor, dialect),
                )
            }
        };
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
        Message::one(what, block(&body))
    }
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

fn count(ids: &[u32]) -> String {
    if ids.len() == 1 { "one object".to_owned() } else { format!("{} objects", ids.len()) }
}
